"""Commands over few names, so that they meet each other."""

from hypothesis import strategies as st
from msgspec import Raw, Struct

from agent.core.machine import commands as c
from agent.core.machine.envelope import encode_command

KEYS = st.sampled_from([b"a", b"a/1", b"a/2", b"b", b"\xff", b"", b"k" * 40])
NAMES = st.sampled_from([b"l", b"m", b""])
VALUES = st.sampled_from([b"", b"1", b"2", b"x" * 50])
IDS = st.integers(0, 8)
OWNERS = st.sampled_from(["", "o", "long" * 20])
TTLS = st.sampled_from([0, 100, 1_000, 5_000, 10**12])
NO_TTL = st.sampled_from([0, 0, 0, 500])
CHECKS = st.builds(c.Check, st.integers(0, 4), st.integers(0, 3), st.integers(0, 5), VALUES)
OPS = st.one_of(
    st.builds(c.OpPut, KEYS, VALUES, st.sampled_from([0, 0, 1, 2])),
    st.builds(c.OpDelete, KEYS),
    st.builds(c.OpGet, KEYS),
    st.builds(c.OpRange, KEYS, KEYS, st.integers(0, 3)),
)


def some(strategy: st.SearchStrategy, most: int = 3) -> st.SearchStrategy:
    return st.lists(strategy, max_size=most).map(tuple)


PLAIN: st.SearchStrategy[Struct] = st.one_of(
    st.builds(c.Put, KEYS, VALUES, st.sampled_from([0, 0, 1, 2, 3]), NO_TTL, some(CHECKS, 1)),
    st.builds(c.Delete, KEYS, some(CHECKS, 1)),
    st.builds(c.DeleteRange, KEYS, KEYS, st.integers(0, 3)),
    st.builds(c.Txn, some(st.builds(c.Compare, KEYS, CHECKS), 2), some(OPS), some(OPS)),
    st.builds(c.LeaseGrant, TTLS),
    st.builds(c.LeaseKeep, IDS),
    st.builds(c.LeaseRevoke, IDS),
    st.builds(c.SessionOpen, TTLS, st.integers(0, 5)),
    st.builds(c.SessionKeep, IDS, st.integers(0, 5)),
    st.builds(c.SessionEnd, IDS),
    st.builds(c.LockAcquire, NAMES, IDS, OWNERS, st.booleans(), NO_TTL, VALUES),
    st.builds(c.LockRelease, NAMES, IDS, OWNERS, st.integers(0, 9)),
    st.builds(c.Campaign, NAMES, IDS, OWNERS, VALUES, NO_TTL),
    st.builds(c.Proclaim, NAMES, IDS, OWNERS, VALUES),
    st.builds(c.Resign, NAMES, IDS, OWNERS),
    st.builds(c.CounterAdd, NAMES, st.integers(-(2**63), 2**63 - 1), st.booleans()),
    st.builds(c.CounterDelete, NAMES),
    st.builds(c.BarrierEnter, NAMES, IDS, st.integers(0, 3), OWNERS, NO_TTL),
    st.builds(c.BarrierLeave, NAMES, IDS, OWNERS),
    st.builds(c.Tick),
    st.builds(
        c.SetLimits, st.dictionaries(st.sampled_from(["keys", "leases", "seats", "history_events", "wrong"]), st.integers(2, 9), max_size=1)
    ),
)
ONCE = st.builds(lambda key, ttl, command: c.Once(key, ttl, Raw(encode_command(command))), st.sampled_from(["", "i", "j"]), TTLS, PLAIN)
COMMANDS: st.SearchStrategy[Struct] = st.one_of(PLAIN, PLAIN, PLAIN, ONCE)
STEPS = st.tuples(st.integers(0, 700), COMMANDS, st.sampled_from([0, 0, 1, 2, 3]), st.integers(0, 8), st.integers(0, 8))
"""How much time passes (ms), a command, and its session, request and what is acknowledged."""
