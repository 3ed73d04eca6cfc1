"""The core as a whole, under any inputs."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.swim.config import LAN
from agent.core.swim.core import Swim
from agent.core.swim.io import PacketIn, SendPacket, Wake
from agent.core.swim.messages import ALIVE, DEAD, Ack, Alive, Dead, NodeState, Suspect
from agent.core.swim.sizes import PACKED_BYTES, size_of


def node(number: int) -> NodeState:
    return NodeState(f"n{number}", bytes((10, 0, 0, number)), 7946, 1, ALIVE)


def member(count: int, seed: int, now: float = 0.0) -> Swim:
    core = Swim(LAN, node(0), Random(seed).random, now)
    core.load([node(number) for number in range(1, count)])
    return core


@given(st.integers(0, 2**32), st.floats(0, 1e9), st.lists(st.floats(0.0, 30.0), min_size=20, max_size=60))
@settings(max_examples=60)
def test_a_wake_up_in_time_always_gets_on_however_much_time_was_lost(seed: int, start: float, lags: list[float]) -> None:
    core = member(8, seed, start)
    for lag in lags:
        before = core.next_wake()
        core.step(before + lag, Wake())
        still = 0
        while core.next_wake() <= before + lag:
            core.step(core.next_wake(), Wake())
            still += 1
            assert still < 100


names = st.integers(0, 7).map(lambda number: f"n{number}")
counts = st.integers(0, 6)
messages = st.one_of(
    st.builds(Suspect, counts, names, names),
    st.builds(Dead, counts, names, names),
    st.builds(lambda name, i, meta: Alive(i, name, bytes((10, 0, 0, int(name[1:]))), 7946, meta), names, counts, st.binary(max_size=3)),
    st.builds(Ack, st.integers(0, 2**32 - 1)),
)


@given(st.integers(0, 2**32), st.lists(st.tuples(st.floats(0.0, 2.0), messages), max_size=50))
@settings(max_examples=100)
def test_whatever_is_said_we_live_on_incarnations_only_grow_and_packets_keep_their_budget(seed: int, said: list[tuple[float, Ack]]) -> None:
    core = member(6, seed)
    now = 0.0
    incarnations: dict[str, int] = {}
    for wait, message in said:
        end = now + wait
        effects = []
        while core.next_wake() <= end:
            now = max(now, core.next_wake())
            effects += core.step(now, Wake())
        now = max(now, end)
        effects += core.step(now, PacketIn(("10.0.0.9", 7946), message))
        for effect in effects:
            if isinstance(effect, SendPacket):
                assert sum(size_of(part) + PACKED_BYTES for part in effect.messages) <= LAN.packet_bytes
        assert core.own.state == ALIVE
        for one in core.members():
            assert one.incarnation >= incarnations.get(one.name, 0)
            incarnations[one.name] = one.incarnation
    assert core.live_count == 1 + sum(one.state < DEAD for one in core.members() if one.name != "n0")
