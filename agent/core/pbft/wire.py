"""Messages to octets and back. Every number, length and count of what comes in is bounded before anything else looks at it."""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec

from agent.core.pbft import messages as m
from agent.core.replica.log import COMMAND, EPOCH, NOOP, Entry

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
NUMBER_MAX: Final = 2**53 - 1
VOTERS_MAX: Final = 64
WINDOW_MAX: Final = 1024
ITEM_BYTES_MAX: Final = 1024 * 1024
DIGEST_BYTES: Final = 32
SIG_BYTES_MAX: Final = 128
KINDS: Final = (COMMAND, NOOP, EPOCH)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(m.Message)


class WireError(ValueError):
    """What a peer sent is not a message."""


def encode(message: m.Message) -> bytes:
    return _encoder.encode(message)


def statement(context: bytes, said: tuple[object, ...]) -> bytes:
    """What is signed: the context keeps groups, epochs and other users of the key apart."""
    return b"pilotfish pbft 1\x00" + _encoder.encode((context, said))


def request_digest(request: m.Request) -> bytes:
    return sha256(_encoder.encode(request.said())).digest()


def batch_digest(batch: m.Batch) -> bytes:
    """Signatures are no part of it: a batch keeps its digest where they are no longer needed."""
    if not batch.requests:
        return m.NULL
    return sha256(b"".join((b"batch", batch.view.to_bytes(8, "big"), *map(request_digest, batch.requests)))).digest()


def table_digest(rows: tuple[m.Row, ...]) -> bytes:
    return sha256(b"table" + _encoder.encode(rows)).digest()


def decode(data: bytes) -> m.Message:
    """Raises `WireError`."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise WireError(f"a message of {len(data)} bytes, at most {MESSAGE_BYTES_MAX} are read")
    try:
        message: m.Message = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
        raise WireError(str(error)) from None
    check(message)
    return message


def check(message: m.Message) -> None:
    """Raises `WireError` where a field is out of its bounds."""
    _CHECKS[type(message)](message)


def _number(*values: int) -> None:
    for value in values:
        if not 0 <= value <= NUMBER_MAX:
            raise WireError(f"{value} is out of range")


def _digest(*values: bytes) -> None:
    for value in values:
        if len(value) != DIGEST_BYTES:
            raise WireError(f"a digest of {len(value)} bytes")


def _sig(*values: bytes) -> None:
    for value in values:
        if len(value) > SIG_BYTES_MAX:
            raise WireError(f"a signature of {len(value)} bytes")


def _few(count: int, most: int) -> None:
    if count > most:
        raise WireError(f"{count} in a list of at most {most}")


def _request(one: m.Request) -> None:
    _number(one.origin, one.number)
    _sig(one.sig)
    if one.kind not in KINDS:
        raise WireError(f"a request of kind {one.kind}")
    if not 0 < len(one.items) <= 65_536:
        raise WireError(f"a request of {len(one.items)} commands")
    if max(map(len, one.items)) > ITEM_BYTES_MAX:
        raise WireError(f"a command above {ITEM_BYTES_MAX} bytes")


def _batch(one: m.Batch) -> None:
    _number(one.view)
    _few(len(one.requests), 65_536)
    for request in one.requests:
        _request(request)


def _vote(one: m.Proposal | m.Prepare | m.Commit) -> None:
    _number(one.view, one.seq)
    _digest(one.digest)
    _sig(one.sig)
    if isinstance(one, m.Prepare):
        _sig(one.shown)
    if not isinstance(one, m.Proposal):
        _number(one.sender)


def _pre_prepare(one: m.PrePrepare) -> None:
    _vote(one.proposal)
    _batch(one.batch)


def _checkpoint(one: m.Checkpoint | m.Vouch) -> None:
    _number(one.seq, one.index, one.term, one.sender)
    _digest(one.chain, one.table)
    _sig(one.sig)
    if isinstance(one, m.Vouch):
        _number(one.size)
        _digest(one.digest)


def check_proof(proof: tuple[m.Checkpoint, ...]) -> None:
    _few(len(proof), VOTERS_MAX)
    for one in proof:
        _checkpoint(one)


def _view_change(one: m.ViewChange) -> None:
    _number(one.view, one.stable, one.sender)
    _sig(one.sig)
    check_proof(one.proof)
    _few(len(one.prepared), WINDOW_MAX)
    for cert in one.prepared:
        _number(cert.view, cert.seq)
        _digest(cert.digest)
        _sig(cert.shown)
        _votes(cert.prepares)


def _new_view(one: m.NewView) -> None:
    _number(one.view)
    _sig(one.sig)
    _few(len(one.changes), VOTERS_MAX)
    _few(len(one.proposals), WINDOW_MAX)
    for change in one.changes:
        _view_change(change)
    for proposal in one.proposals:
        _vote(proposal)


def _rows(rows: tuple[m.Row, ...]) -> None:
    _few(len(rows), 1024)
    for origin, last, bits in rows:
        _number(origin, last)
        if len(bits) != DIGEST_BYTES:
            raise WireError(f"a row of {len(bits)} bytes")


def _entries(one: m.EntriesAre) -> None:
    _number(one.seq)
    _few(len(one.entries), 65_536)
    for entry in one.entries:
        _entry(entry)
    _rows(one.table or ())


def _entry(entry: Entry) -> None:
    _number(entry.term, entry.index)
    if not 0 <= entry.kind <= 3:
        raise WireError(f"an entry of kind {entry.kind}")


def _offer(one: m.Offer) -> None:
    _few(len(one.vouches), VOTERS_MAX)
    for vouch in one.vouches:
        _checkpoint(vouch)
    _rows(one.table)


def _read_answer(one: m.ReadAnswer) -> None:
    _number(one.nonce, one.index, one.sender)
    _sig(one.sig)


def _decision(one: m.Decision) -> None:
    _number(one.view, one.seq)
    _digest(one.digest)
    _votes(one.commits)


def _votes(votes: tuple[tuple[int, bytes], ...]) -> None:
    _few(len(votes), VOTERS_MAX)
    for sender, sig in votes:
        _number(sender)
        _sig(sig)


def _fetch_batch(one: m.FetchBatch) -> None:
    _number(one.seq)
    _digest(one.digest)


def _batch_is(one: m.BatchIs) -> None:
    _number(one.seq)
    _batch(one.batch)


_CHECKS: Final[dict[type, Callable[[Any], None]]] = {
    m.Request: _request,
    m.PrePrepare: _pre_prepare,
    m.Prepare: _vote,
    m.Commit: _vote,
    m.Checkpoint: _checkpoint,
    m.ViewChange: _view_change,
    m.NewView: _new_view,
    m.Status: lambda one: _number(one.view, one.executed, one.stable),
    m.StableProof: lambda one: check_proof(one.proof),
    m.FetchBatch: _fetch_batch,
    m.BatchIs: _batch_is,
    m.FetchEntries: lambda one: _number(one.index, one.seq),
    m.EntriesAre: _entries,
    m.Vouch: _checkpoint,
    m.Offer: _offer,
    m.FetchChunk: lambda one: _number(one.index, one.offset),
    m.Part: lambda one: _number(one.index, one.offset),
    m.ReadAsk: lambda one: _number(one.nonce),
    m.ReadAnswer: _read_answer,
    m.Decision: _decision,
}
