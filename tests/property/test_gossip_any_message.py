"""Whatever a peer says, in whatever order: no exception, nothing too large to send, tables within their bounds."""

from random import Random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.gossip import messages as m
from agent.core.gossip.core import GossipConfig, GossipCore
from agent.core.gossip.invalidation import InvalidationConfig
from agent.core.gossip.io import Broadcast, Input, Invalidate, MemberGone, MemberUp, Publish, PushPullIn, Received, SendPacket, Wake, Want
from agent.core.gossip.nodes import Limits

NAMES = st.sampled_from(("me", "a", "b", "c", "d", "eu\x1fa", "n" * 255))
NUMBERS = st.one_of(st.integers(0, 6), st.sampled_from((1_500, m.NUMBER_MAX - 1, m.NUMBER_MAX)))


def several(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(strategy, max_size=4).map(tuple)


POSITIONS = st.builds(m.Position, NAMES, NUMBERS, NUMBERS, NUMBERS)
ITEMS = st.builds(m.Item, st.sampled_from(("", "k", "load", "seen")), NUMBERS, st.none() | st.binary(max_size=2_000))
DELTAS = st.builds(m.NodeDelta, NAMES, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, several(ITEMS))
STREAMS = st.builds(m.Stream, NAMES, NUMBERS, NUMBERS)
INVALIDATIONS = st.builds(
    m.Invalidation,
    NAMES,
    NUMBERS,
    NUMBERS,
    st.sampled_from(("url", "all", "fence", "new")),
    st.booleans(),
    st.binary(max_size=40),
    st.binary(max_size=300),
    st.booleans(),
    several(STREAMS),
)
MESSAGES = st.one_of(
    st.builds(m.Digest, NAMES, st.integers(-1, 9), several(POSITIONS)),
    st.builds(m.Delta, several(DELTAS), st.booleans()),
    st.builds(m.Invalidations, several(INVALIDATIONS), st.booleans()),
    st.builds(m.Acknowledge, NAMES, NAMES, NUMBERS, several(NUMBERS), several(NUMBERS)),
    st.builds(m.Ask, NAMES, NAMES, NUMBERS, several(NUMBERS)),
    st.builds(m.Lost, NAMES, NUMBERS, several(NUMBERS), st.booleans(), several(st.binary(max_size=40))),
    st.builds(m.Streams, NAMES, several(STREAMS), st.booleans()),
    st.builds(m.Exchange, several(DELTAS), several(POSITIONS), several(STREAMS), NAMES),
)
LARGE = m.Invalidations((m.Invalidation("c", 1, 1, "all", after=tuple(m.Stream("n" * 255, 1, number) for number in range(4))),), True)
PEERS = st.sampled_from(("a", "b", "c"))
INPUTS: st.SearchStrategy[Input] = st.one_of(
    MESSAGES.map(lambda message: Received(m.encode(message))),
    MESSAGES.map(lambda message: Received(m.encode(message))),
    st.builds(PushPullIn, MESSAGES.map(m.encode), st.booleans()),
    st.builds(Received, st.binary(max_size=30)),
    st.builds(MemberUp, PEERS),
    st.builds(MemberGone, PEERS),
    st.builds(Publish, st.just((("load", b"x"), ("hot", b"y" * 1_500))), st.booleans()),
    st.builds(Publish, st.just((("load", None),)), st.booleans()),
    st.builds(Invalidate, st.integers(0, 9), st.just("url"), st.just(b"h"), st.binary(max_size=900), st.booleans(), st.floats(0, 1)),
    st.builds(Want, NAMES, NUMBERS, several(NUMBERS)),
    st.builds(Wake),
)


@settings(max_examples=100)
@given(st.lists(st.tuples(INPUTS, st.floats(0.0, 20.0)), min_size=1, max_size=40), st.integers(0, 99))
@example([(MemberUp("a"), 0.0), (MemberUp("b"), 0.0), (Received(m.encode(LARGE)), 0.0), (Wake(), 1.0)], 1)
def test_nothing_that_is_said_breaks_it(story: list[tuple[Input, float]], seed: int) -> None:
    limits = Limits(nodes_max=5, keys_max=4)
    config = GossipConfig(limits=limits, invalidation=InvalidationConfig(ring_entries=6, streams_max=6))
    now = 0.0
    core = GossipCore("me", 1, config, Random(seed), now)
    for item, later in story:
        now += later
        for effect in core.step(now, item):
            if isinstance(effect, SendPacket | Broadcast):
                m.decode(effect.payload)
                assert len(effect.payload) <= (m.BROADCAST_BYTES if isinstance(effect, Broadcast) else 1_300)
        m.decode(core.push_pull(now))
        assert core.next_wake() < float("inf")
        assert len(core.nodes.by_name) <= 5 and len(core.invalidations.streams) <= 6 and len(core.invalidations.ring) <= 6
        assert all(len(state.items) <= 4 for state in core.nodes.by_name.values())
        assert set(core.nodes.by_name) == set(core.nodes._by_change) == set(core.nodes._names)
