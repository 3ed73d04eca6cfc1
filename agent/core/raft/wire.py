"""Messages as octets: msgpack arrays tagged by a number. What comes from outside is whole and within bounds once `decode` let it pass."""

from collections.abc import Sequence
from typing import Final

import msgspec

from agent.core.raft.config import MEMBERS_MAX
from agent.core.raft.fast.keys import KEY_MAX, KEYS_MAX
from agent.core.raft.messages import (
    Append,
    AppendReply,
    FastRecord,
    FastReply,
    Gone,
    Heartbeat,
    HeartbeatReply,
    Held,
    Message,
    ReadReply,
    ReadRequest,
    Record,
    SnapshotChunk,
    SnapshotReply,
    VoteReply,
    VoteRequest,
)
from agent.core.replica.log import KINDS, MEMBERS, Entry, Members, SnapshotMeta

NUMBER_MAX: Final = 1 << 53
"""Terms, indices, rounds, ids."""
MESSAGE_BYTES_MAX: Final = 10 << 20
ENTRIES_MAX: Final = 1 << 20
NAME_CHARS_MAX: Final = 255
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, TypeError, RecursionError)
"""What msgspec raises on octets that are not what is expected."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)
_members_decoder = msgspec.msgpack.Decoder(Members)


class WireError(ValueError):
    """These octets are no message, or one beyond its bounds: the peer's fault."""


def encode(message: Message) -> bytes:
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Raises `WireError`."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise WireError(f"a message of {len(data)} octets, at most {MESSAGE_BYTES_MAX} expected")
    try:
        message: Message = _decoder.decode(data)
    except UNREADABLE as error:
        raise WireError(str(error)) from None
    return check(message)


def check(message: Message) -> Message:
    """A message of the right types: is it within bounds, and does it agree with itself?"""
    number(message.term, "term")
    if isinstance(message, Append):
        _check_append(message)
    elif isinstance(message, AppendReply):
        number(message.index, "index")
        number(message.hint_index, "hint_index")
        number(message.hint_term, "hint_term")
    elif isinstance(message, Heartbeat):
        number(message.commit, "commit")
        number(message.round, "round")
        _moment(message.sent, "sent")
    elif isinstance(message, HeartbeatReply):
        number(message.round, "round")
        _moment(message.sent, "sent")
        _moment(message.disk_s, "disk_s")
    elif isinstance(message, VoteReply):
        _check_held(message.held)
    elif isinstance(message, FastRecord):
        _check_held(message.records)
        for record in message.records:
            number(record.number, "number")
    elif isinstance(message, FastReply):
        number(message.config, "config")
        for answer in message.answers:
            number(answer.number, "number")
            number(answer.index, "index")
    elif isinstance(message, VoteRequest):
        number(message.last_index, "last_index")
        number(message.last_term, "last_term")
    elif isinstance(message, SnapshotChunk):
        check_meta(message.meta)
        number(message.offset, "offset")
        if message.offset + len(message.data) > message.meta.size:
            raise WireError("a chunk that reaches beyond its snapshot")
    elif isinstance(message, SnapshotReply):
        number(message.index, "index")
        number(message.offset, "offset")
    elif isinstance(message, ReadRequest):
        number(message.number, "number")
    elif isinstance(message, ReadReply):
        number(message.number, "number")
        number(message.index, "index")
    elif isinstance(message, Gone):
        number(message.index, "index")
    return message


def _check_held(records: Sequence[Held | Record]) -> None:
    for one in records:
        if len(one.keys) > KEYS_MAX:
            raise WireError(f"{len(one.keys)} keys, at most {KEYS_MAX} expected")
        if any(not 0 <= key < KEY_MAX for key in one.keys):
            raise WireError("a key that is not a number of 40 bits")


def number(value: int, name: str) -> None:
    if not 0 <= value <= NUMBER_MAX:
        raise WireError(f"{name} is not a number from 0 to {NUMBER_MAX}: {value}")


def _moment(value: float, name: str) -> None:
    # Not a number compares as nothing: it would go through every maximum.
    if not -1e12 < value < 1e12:
        raise WireError(f"{name} is not a time: {value}")


def _check_append(message: Append) -> None:
    number(message.prev_index, "prev_index")
    number(message.prev_term, "prev_term")
    number(message.commit, "commit")
    entries = message.entries
    if len(entries) > ENTRIES_MAX:
        raise WireError(f"{len(entries)} entries, at most {ENTRIES_MAX} expected")
    index, term, most = message.prev_index, message.prev_term, message.term
    for entry in entries:
        index += 1
        if entry.index != index:
            raise WireError(f"an entry with index {entry.index} where {index} is due")
        if not term <= entry.term <= most:
            raise WireError(f"entry {index}: term {entry.term}, expected {term} to {most}")
        term = entry.term
        if entry.kind:
            _check_kind(entry)


def _check_kind(entry: Entry) -> None:
    if not 0 <= entry.kind < len(KINDS):
        raise WireError(f"entry {entry.index}: no kind {entry.kind}")
    if entry.kind == MEMBERS:
        try:
            members = _members_decoder.decode(entry.data)
        except UNREADABLE as error:
            raise WireError(f"entry {entry.index}: {error}") from None
        check_members(members)


def check_members(members: Members) -> None:
    groups = (members.voters, members.learners, members.outgoing, members.learners_next, members.target)
    for group in groups:
        if len(group) > MEMBERS_MAX:
            raise WireError(f"{len(group)} members, at most {MEMBERS_MAX} expected")
        if any(not 0 < member < NUMBER_MAX for member in group) or list(group) != sorted(set(group)):
            raise WireError("members that are not sorted ids from 1 on")
    if not members.voters:
        raise WireError("members without voters")
    if len(members.peers) > 2 * MEMBERS_MAX:
        raise WireError(f"{len(members.peers)} peers, at most {2 * MEMBERS_MAX} expected")
    for peer in members.peers:
        number(peer.id, "peers.id")
        if len(peer.name) > NAME_CHARS_MAX or len(peer.zone) > NAME_CHARS_MAX or len(peer.region) > NAME_CHARS_MAX:
            raise WireError("a peer's name, zone or region beyond 255 characters")


def check_meta(meta: SnapshotMeta) -> None:
    number(meta.index, "meta.index")
    number(meta.term, "meta.term")
    number(meta.epoch, "meta.epoch")
    number(meta.size, "meta.size")
    if len(meta.digest) > 64:
        raise WireError("a digest beyond 64 octets")
    check_members(meta.members)
