"""The state after a batch, as far as consensus has a part in it, and the entries that a batch becomes.

The hash chain over all entries stands for the state machine's state, which follows from them. The table of numbers keeps a request
from being executed twice (the paper's "last reply" by client, 4.1), with a window, since an origin has many requests under way.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

from msgspec import Struct

from agent.core.pbft.messages import Batch, Row
from agent.core.pbft.wire import table_digest
from agent.core.replica.log import EPOCH, Entry

NUMBERS: Final = 256
"""An origin's numbers that are told apart; what is older counts as executed. An origin has never more under way (`pending_max`)."""
MASK: Final = (1 << NUMBERS) - 1

Table = dict[int, tuple[int, int]]
Ends = Callable[[bytes], bool]
Placed = tuple[tuple[int, int, int], ...]
"""Which requests a batch executed: origin, number, index of the first entry."""


class State(Struct, frozen=True, gc=False):
    """After batch `seq`. `table` is never changed in place. `ended`: the epoch's last entry is executed; what comes after it is nothing."""

    seq: int
    index: int
    term: int
    chain: bytes
    table: Table
    ended: bool = False

    def rows(self) -> tuple[Row, ...]:
        return tuple((origin, last, bits.to_bytes(NUMBERS // 8, "big")) for origin, (last, bits) in sorted(self.table.items()))

    def body(self) -> tuple[int, int, int, bytes, bytes]:
        """What a checkpoint says of it."""
        return (self.seq, self.index, self.term, self.chain, table_digest(self.rows()))


def table_of(rows: tuple[Row, ...]) -> Table:
    return {origin: (last, int.from_bytes(bits, "big")) for origin, last, bits in rows}


def genesis(context: bytes, index: int, term: int) -> State:
    """What an epoch begins with."""
    return State(0, index, term, sha256(b"genesis %d %d " % (index, term) + context).digest(), {})


def is_done(table: Table, origin: int, number: int) -> bool:
    row = table.get(origin)
    if row is None or number > row[0]:
        return False
    back = row[0] - number
    return back >= NUMBERS or bool(row[1] >> back & 1)


def with_done(table: Table, origin: int, number: int) -> Table:
    last, bits = table.get(origin, (0, 0))
    if number > last:
        last, bits = number, (bits << min(number - last, NUMBERS) | 1) & MASK
    else:
        bits |= 1 << (last - number)
    return {**table, origin: (last, bits)}


def link(chain: bytes, entry: Entry) -> bytes:
    """The chain with one more entry."""
    head = b"%d %d %d %d " % (entry.term, entry.index, entry.kind, len(entry.data))
    return sha256(chain + head + entry.data).digest()


def never(command: bytes) -> bool:
    return False


def render(state: State, seq: int, batch: Batch, ends: Ends = never) -> tuple[tuple[Entry, ...], State, Placed]:
    """A batch's entries after this state; `ends(command)`: does this command of kind EPOCH end the epoch?

    A pure function of the order, so that all correct replicas have the same entries: a request that was executed is left out, and terms
    never fall though a batch of an earlier view may follow one of a later.
    """
    term = max(state.term, batch.view)
    index, chain, table, ended = state.index, state.chain, state.table, state.ended
    entries: list[Entry] = []
    placed = []
    for request in batch.requests:
        if ended or is_done(table, request.origin, request.number):
            continue
        table = with_done(table, request.origin, request.number)
        placed.append((request.origin, request.number, index + 1))
        for item in request.items:
            index += 1
            entry = Entry(term, index, request.kind, item)
            chain = link(chain, entry)
            entries.append(entry)
            if request.kind == EPOCH and ends(item):
                ended = True
                break
    return tuple(entries), State(seq, index, term if entries else state.term, chain, table, ended), tuple(placed)
