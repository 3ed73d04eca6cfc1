"""The bookkeeping of conflicts against the definition of one, whatever is held, accepted, forgotten and committed."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.raft.fast.keys import KIND_BITS, KIND_MASK, Keys, Pending, keys_of
from agent.core.raft.fast.witness import Witness
from agent.core.replica.log import COMMAND, Entry

KEYS = st.builds(
    lambda names, kind: keys_of([b"%d" % name for name in names], kind),
    st.sets(st.integers(0, 4), max_size=3),
    st.sampled_from((0, 0, 1, 2)),
)


def conflict(first: Keys, second: Keys) -> bool:
    """They share a key on which they do not commute."""
    ours = {key >> KIND_BITS: key & KIND_MASK for key in first}
    return any(ours.get(key >> KIND_BITS, -1) not in (-1, key & KIND_MASK) or (key in first and not key & KIND_MASK) for key in second)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 12), KEYS), max_size=40))
def test_no_two_commands_that_are_held_conflict(steps: list[tuple[bool, int, Keys]]) -> None:
    witness = Witness(8, 1 << 20, b"", 0.0)
    held: dict[bytes, Keys] = {}
    for accepts, number, keys in steps:
        command = b"c%d" % number
        if accepts:
            free = command in held or (len(held) < 8 and not any(conflict(keys, other) for other in held.values()))
            assert witness.accept(command, keys, 0.0) == free
            if free:
                held.setdefault(command, keys)
        else:
            witness.forget_entries((Entry(1, 1, COMMAND, command),))
            held.pop(command, None)
        assert {one.command: one.keys for one in witness.all()} == held
    again = Witness(8, 1 << 20, witness.encoded(), 0.0)
    assert again.all() == witness.all()
    assert all(again.conflicts(keys) == any(conflict(keys, other) for other in held.values()) for _, _, keys in steps)


@given(st.lists(st.one_of(KEYS, st.none()), min_size=1, max_size=30), st.integers(0, 30), KEYS)
def test_entries_that_are_not_committed_and_touch_the_same_are_found(entries: list[Keys | None], commit: int, keys: Keys) -> None:
    pending = Pending(0)
    for index, one in enumerate(entries, 1):
        pending.add(one, index, min(commit, index - 1))
    open_ones = entries[commit:]
    if any(one is None or conflict(keys, one) for one in open_ones):
        assert pending.conflicts(keys, commit)
    if not open_ones or not any(one is None or {key >> KIND_BITS for key in one} & {key >> KIND_BITS for key in keys} for one in open_ones):
        assert not pending.conflicts(keys, commit)
