"""Ed25519 keys, and a Byzantine group that runs on them."""

import pytest

from agent.core.pbft.core import Pbft
from agent.core.replica.log import Recovered
from agent.runtime.signatures import Ed25519Keys, new_key
from agent.sim.byzantine import run


def test_only_the_owner_of_a_key_signs_for_it() -> None:
    first, second = new_key(), new_key()
    public = {1: Ed25519Keys(first, {}).public, 2: Ed25519Keys(second, {}).public}
    one = Ed25519Keys(first, public)
    sig = one.sign(b"said")
    assert one.verify(1, b"said", sig)
    assert not one.verify(2, b"said", sig)
    assert not one.verify(1, b"other", sig)
    assert not one.verify(3, b"said", sig)
    assert not one.verify(1, b"said", b"short")


def test_what_is_no_key_is_named() -> None:
    with pytest.raises(ValueError, match="own key: 3 bytes, expected 32"):
        Ed25519Keys(b"abc", {})
    with pytest.raises(ValueError, match="public key of member 7: 2 bytes"):
        Ed25519Keys(new_key(), {7: b"ab"})


def test_a_group_agrees_on_ed25519(monkeypatch: pytest.MonkeyPatch) -> None:
    private = {me: new_key() for me in (1, 2, 3, 4)}
    public = {me: Ed25519Keys(key, {}).public for me, key in private.items()}
    keys = {me: Ed25519Keys(key, public) for me, key in private.items()}

    def make(swarm: run.Swarm, me: int, recovered: Recovered) -> Pbft:
        return Pbft(me, swarm.plan.config, swarm.members, recovered, keys[me].sign, keys[me].verify)

    monkeypatch.setattr(run.Swarm, "make", make)
    swarm = run.simulate(run.Plan(1, proposals=10, reads=4, bad_s=2.0, good_s=10.0, crashes=1, blackouts=0))
    assert swarm.oracle.answered >= 8 and not swarm.oracle.unanswered()
