"""Whatever a crash leaves on the disk: everything that was reported stored is there, in order, and nothing that was never written."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sim.folder import PowerLoss
from tests.property.wal_model import Life


@settings(max_examples=400, deadline=None)
@given(seed=st.integers(0, 2**48), crashes=st.lists(st.integers(0, 90), min_size=1, max_size=4))
def test_what_was_stored_is_recovered_after_every_crash(seed: int, crashes: list[int]) -> None:
    life = Life(Random(seed))
    created = False
    for steps in crashes:
        try:
            opened = life.open(steps)
            check(life, opened, created)
            life.adopt(opened)
            created = True
            life.live(60)
        except PowerLoss:
            pass
        life.disk.crash()
    check(life, life.open(None), created)


def check(life: Life, opened: object, created: bool) -> None:
    possible = [life.surely, *life.perhaps]
    if created:
        assert opened.me == life.me
        assert opened.recovered in [model.expected() for model in possible]
    else:
        assert opened.recovered.entries == () and opened.recovered.snapshot.index == life.bootstrapped
