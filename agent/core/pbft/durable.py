"""What a replica must find again after a crash, beside its entries: it stands in `HardState.extra`.

The view, the last stable checkpoint with its proof, of each slot the proposal that was accepted and the certificate that was prepared
(the paper keeps them in the replica's memory, since a replica there never forgets, 4.2). A batch is rebuilt from its entries;
where they are not the whole of it, it stands here itself.
"""

import msgspec
from msgspec import Struct

from agent.core.pbft.board import Board
from agent.core.pbft.messages import NULL, Batch, Checkpoint, Prepared, Proposal, Request, Row
from agent.core.pbft.slots import Slot
from agent.core.pbft.state import State, render, table_of, with_done
from agent.core.replica.log import Entry, Recovered

VERSION = 1


class Mark(Struct, frozen=True, array_like=True):
    """A `State`."""

    seq: int
    index: int
    term: int
    chain: bytes
    table: tuple[Row, ...]
    ended: bool = False


class Piece(Struct, frozen=True, array_like=True):
    """A request of a batch without its commands."""

    origin: int
    number: int
    kind: int
    count: int


class Record(Struct, frozen=True, array_like=True):
    """A slot. `placed`: whether it had its place in the log; `index`, `term`, `chain` are those after it then. `kept`, `kept_cert`: the
    batches that its entries do not give back."""

    seq: int
    proposal: Proposal | None
    digest: bytes
    view: int
    pieces: tuple[Piece, ...]
    placed: bool
    index: int
    term: int
    chain: bytes
    ended: bool
    decided: bytes
    cert: Prepared | None
    kept: Batch | None
    kept_cert: Batch | None


class Extra(Struct, frozen=True, array_like=True):
    version: int
    view: int
    active: bool
    reserved: int
    stable: Mark
    proof: tuple[Checkpoint, ...]
    records: tuple[Record, ...]
    marks: tuple[Mark, ...]
    incoming: Mark | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Extra)


def mark_of(state: State) -> Mark:
    return Mark(state.seq, state.index, state.term, state.chain, state.rows(), state.ended)


def state_of(mark: Mark) -> State:
    return State(mark.seq, mark.index, mark.term, mark.chain, table_of(mark.table), mark.ended)


def record_of(slot: Slot) -> Record:
    batch = slot.batch
    after = slot.after
    pieces: tuple[Piece, ...] = ()
    whole = True
    if batch is not None:
        pieces = tuple(Piece(one.origin, one.number, one.kind, len(one.items)) for one in batch.requests)
        whole = after is not None and len(slot.placed) == len(batch.requests)
    other = slot.cert is not None and slot.cert.digest not in (slot.digest, NULL)
    return Record(
        slot.seq,
        slot.proposal,
        slot.digest,
        0 if batch is None else batch.view,
        pieces,
        after is not None,
        0 if after is None else after.index,
        0 if after is None else after.term,
        b"" if after is None else after.chain,
        after is not None and after.ended,
        slot.decided,
        slot.cert,
        None if whole else batch,
        slot.cert_batch if other else None,
    )


def encode_extra(board: Board) -> bytes:
    records = tuple(record_of(slot) for slot in board.slots.in_order() if slot.proposal or slot.cert or slot.decided)
    return _encoder.encode(
        Extra(
            VERSION,
            board.view,
            board.active,
            board.reserved,
            mark_of(board.stable),
            board.proof,
            records,
            tuple(map(mark_of, board.marks)),
            None if board.incoming is None else mark_of(board.incoming),
        )
    )


def decode_extra(data: bytes) -> Extra:
    """Raises ValueError for what no version of this program wrote."""
    try:
        extra = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ValueError(f"the replica's state on disk cannot be read: {error}") from None
    if extra.version != VERSION:
        raise ValueError(f"the replica's state on disk is of version {extra.version}, this program knows {VERSION}")
    return extra


def restore(board: Board, extra: Extra, recovered: Recovered) -> None:
    """Bring a new board to where the old one was. Raises ValueError where log and state do not belong together."""
    board.view, board.active, board.reserved = extra.view, extra.active, extra.reserved
    board.proof = extra.proof
    board.marks = tuple(map(state_of, extra.marks))
    snapshot = recovered.snapshot.index
    commit = max(recovered.hard.commit, snapshot)
    by_index = {entry.index: entry for entry in recovered.entries}
    board.stable = board.executed = state = state_of(extra.stable)
    board.slots.raise_low(state.seq)
    board.accepted, board.last_checkpoint = state.seq, state.index
    for record in extra.records:
        slot = board.slots.at(record.seq)
        slot.proposal, slot.cert, slot.decided, slot.digest = record.proposal, record.cert, record.decided, record.digest
        slot.batch = record.kept
        if record.placed and record.seq == state.seq + 1:
            _restore_slot(board, slot, record, state, by_index)
            if slot.decided and board.executed is state and (state.index < snapshot or slot.after.index <= commit):  # type: ignore[union-attr]
                board.executed = slot.after  # type: ignore[assignment]
                board.note_end(state.chain, slot.entries)
                if slot.seq % board.config.checkpoint_interval == 0:
                    board.last_checkpoint = board.executed.index
            state = slot.after  # type: ignore[assignment]
            board.accepted = record.seq
        slot.cert_batch = record.kept_cert
        if slot.cert is not None and slot.cert_batch is None and slot.cert.digest == slot.digest:
            slot.cert_batch = slot.batch
    if snapshot > board.executed.index:
        _take_snapshot(board, extra, snapshot)
    board.accepted = max(board.accepted, board.executed.seq)
    board.next_seq = board.accepted + 1
    _restore_history(board, recovered)


def _restore_history(board: Board, recovered: Recovered) -> None:
    snapshot = recovered.snapshot.index
    entries = tuple(entry for entry in recovered.entries if snapshot < entry.index <= board.executed.index)
    if not board.blank and snapshot + len(entries) < board.executed.index:
        raise ValueError(f"the log ends at index {snapshot + len(entries)}, and {board.executed.index} was committed")
    board.history.restart(snapshot + 1)
    board.history.extend(entries)


def _restore_slot(board: Board, slot: Slot, record: Record, state: State, by_index: dict[int, Entry]) -> None:
    """Give it its place again: a batch that was executed in part gives other entries than its requests, and stands whole in the record."""
    if record.kept is not None:
        slot.entries, slot.after, slot.placed = render(state, record.seq, record.kept, board.ends)
        return
    table, index, complete = state.table, state.index, True
    requests, placed = [], []
    for piece in record.pieces:
        table = with_done(table, piece.origin, piece.number)
        placed.append((piece.origin, piece.number, index + 1))
        items = [by_index[i] for i in range(index + 1, index + piece.count + 1) if i in by_index]
        complete = complete and len(items) == piece.count
        requests.append(Request(piece.origin, piece.number, piece.kind, tuple(entry.data for entry in items)))
        index += piece.count
    slot.batch = Batch(record.view, tuple(requests)) if complete else None
    slot.placed = tuple(placed)
    slot.entries = tuple(by_index[i] for i in range(state.index + 1, record.index + 1) if i in by_index)
    slot.after = State(record.seq, record.index, record.term, record.chain, table, record.ended)


def _take_snapshot(board: Board, extra: Extra, snapshot: int) -> None:
    """The newest snapshot is beyond what the records reach: it was fetched, or taken just before the crash."""
    known = [*board.marks, *([state_of(extra.incoming)] if extra.incoming is not None else [])]
    state = next((one for one in known if one.index == snapshot), None)
    if state is None:
        # Nobody told what it is: promises hold, and the state is fetched anew.
        board.blank = True
        return
    board.executed = state
    board.marks = (*[mark for mark in board.marks if mark.index != snapshot], state)[-2:]
    board.last_checkpoint = state.index
    board.unplace_below(state.seq)
