"""What a stream holds: one message in each direction at most.

    frame     = PING map / ACK map / ERROR map / push-pull / user / COMPRESSED map
    push-pull = PUSH_PULL map(Nodes, UserStateLen, Join) Nodes*map UserStateLen*octet
    user      = USER map(UserMsgLen) UserMsgLen*octet

Nothing but the content says where a frame ends, for the peer keeps its direction open while it waits for the answer; so the
reader takes octets as they come and says when it has a message.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgpack

from agent.core.swim.envelope import SEAL_BYTES, Envelope
from agent.core.swim.errors import WireError
from agent.core.swim.messages import Foreign, Message, NodeState, PushPull, User
from agent.core.swim.schema import (
    ACK,
    COMPRESSED,
    ENCRYPTED,
    ERROR,
    LABEL,
    LIMITS,
    PING,
    PUSH_PULL,
    READERS,
    UNPACK_ERRORS,
    USER,
    WRITERS,
    Body,
    checked_body,
    flag,
    natural,
    node_state_of,
    pack_body,
    pack_node_state,
)
from agent.core.swim.wire import MARK, expanded, user_message

NODES_MAX: Final = 65_536
NODES_A_SLICE: Final = 200
"""Members that are written or read at once: below 2 ms."""
SMALL: Final = frozenset({PING, ACK, ERROR})


def encode_stream(message: Message) -> bytes:
    """One message as it stands in a stream. Raises ValueError for one that only packets carry."""
    return b"".join(encode_slices(message))


def encode_slices(message: Message) -> Iterator[bytes]:
    """The same in pieces of bounded work, between which a host may do something else."""
    if isinstance(message, PushPull):
        user = MARK + message.user if message.user else b""
        yield b"\x06" + pack_body({"Join": message.join, "Nodes": len(message.nodes), "UserStateLen": len(user)})
        for at in range(0, len(message.nodes), NODES_A_SLICE):
            yield b"".join(map(pack_node_state, message.nodes[at : at + NODES_A_SLICE]))
        yield user
    else:
        yield encode_small(message)


def encode_small(message: Message) -> bytes:
    """Any but a push/pull."""
    if isinstance(message, User | Foreign):
        payload = MARK + message.payload if isinstance(message, User) else message.payload
        return b"\x08" + pack_body({"UserMsgLen": len(payload)}) + payload
    kind, write = WRITERS[type(message)]
    if kind not in SMALL:
        raise ValueError(f"{type(message).__name__} goes in a packet")
    return bytes((kind,)) + write(message)


class FrameReader:
    """Reads one plain frame. `feed` gives the message once it is whole.

    Where `has_more` is true it has enough octets for more than it has read: feed b"" to let it go on.
    """

    def __init__(self, bytes_max: int, may_expand: bool = True) -> None:
        self._bytes_max = bytes_max
        self._may_expand = may_expand
        self._kind = -1
        self._unpacker: Any = msgpack.Unpacker(max_buffer_size=bytes_max, max_bin_len=bytes_max, max_str_len=bytes_max, **LIMITS)
        self._nodes: list[NodeState] = []
        self._nodes_to_come = -1
        self._user = bytearray()
        self._user_to_come = 0
        self._join = False
        self._inner: FrameReader | None = None
        self.has_more = False

    def feed(self, data: bytes) -> Message | None:
        """None while more must come. Octets behind the message are left unread. Raises `WireError`."""
        self.has_more = False
        if self._inner is not None:
            return self._read_inner(b"")
        if self._kind < 0:
            if not data:
                return None
            self._kind = data[0]
            if self._kind not in SMALL and self._kind not in (PUSH_PULL, USER, COMPRESSED):
                raise WireError("unsupported", f"message type {self._kind} in a stream")
            data = data[1:]
        try:
            self._unpacker.feed(data)
        except msgpack.BufferFull:
            raise WireError("too_large", f"a stream's message of more than {self._bytes_max} bytes") from None
        if self._kind in SMALL:
            body = self._body()
            return None if body is None else READERS[self._kind](body)
        if self._kind == COMPRESSED:
            body = self._body()
            return None if body is None else self._expand(body)
        return self._push_pull() if self._kind == PUSH_PULL else self._user_message()

    def _body(self) -> Body | None:
        try:
            return checked_body(self._unpacker.unpack())
        except msgpack.OutOfData:
            return None
        except UNPACK_ERRORS as error:
            raise WireError("malformed", f"not msgpack: {error or type(error).__name__}") from None

    def _expand(self, body: Body) -> Message | None:
        if not self._may_expand:
            raise WireError("unsupported", "a compressed frame in a compressed frame")
        self._inner = FrameReader(self._bytes_max, False)
        return self._read_inner(expanded(body, self._bytes_max))

    def _read_inner(self, data: bytes) -> Message | None:
        inner = self._inner
        assert inner is not None
        message = inner.feed(data)
        self.has_more = inner.has_more
        if message is None and not self.has_more:
            raise WireError("truncated", "a compressed frame without an end")
        return message

    def _push_pull(self) -> Message | None:
        if self._nodes_to_come < 0:
            body = self._body()
            if body is None:
                return None
            self._nodes_to_come = natural(body, b"Nodes", NODES_MAX)
            self._user_to_come = natural(body, b"UserStateLen", self._bytes_max)
            self._join = flag(body, b"Join")
        slice_end = self._nodes_to_come - NODES_A_SLICE
        while self._nodes_to_come:
            if self._nodes_to_come == slice_end:
                self.has_more = True
                return None
            body = self._body()
            if body is None:
                return None
            self._nodes.append(node_state_of(body))
            self._nodes_to_come -= 1
        if not self._take_user():
            return None
        user = bytes(self._user)
        return PushPull(tuple(self._nodes), self._join, user[len(MARK) :] if user.startswith(MARK) else b"")

    def _user_message(self) -> Message | None:
        if self._nodes_to_come < 0:
            body = self._body()
            if body is None:
                return None
            self._nodes_to_come = 0
            self._user_to_come = natural(body, b"UserMsgLen", self._bytes_max)
        return user_message(bytes(self._user)) if self._take_user() else None

    def _take_user(self) -> bool:
        if self._user_to_come:
            taken = self._unpacker.read_bytes(self._user_to_come)
            self._user += taken
            self._user_to_come -= len(taken)
        return not self._user_to_come


class StreamReader:
    """Reads one direction of a stream: label (the opener's direction alone has one), encryption, frame."""

    def __init__(self, envelope: Envelope, labelled: bool) -> None:
        self._envelope = envelope
        self._prefix = envelope.prefix if labelled else b""
        self._no_label = labelled and not envelope.prefix
        self._buffer = bytearray()
        self._frame: FrameReader | None = None
        self._opened = False
        self._sealed_bytes = 0
        self.received_bytes = 0

    @property
    def has_more(self) -> bool:
        """There is work left in what has come: feed b"" to go on."""
        return self._frame is not None and self._frame.has_more

    def feed(self, data: bytes) -> Message | None:
        """None while more must come. Raises `WireError`."""
        self.received_bytes += len(data)
        if self.received_bytes > self._envelope.stream_bytes_max:
            raise WireError("too_large", f"a stream of more than {self._envelope.stream_bytes_max} bytes")
        if self._frame is not None:
            return self._opened_frame(b"") if self._opened else self._frame.feed(data)
        self._buffer += data
        if not self._past_label():
            return None
        if self._buffer[0] == ENCRYPTED:
            return self._sealed()
        envelope = self._envelope
        if envelope.ring is not None and not envelope.accept_plain:
            raise WireError("not_encrypted", "a plain stream, where keys are set")
        self._frame = FrameReader(envelope.stream_bytes_max)
        return self._frame.feed(bytes(self._buffer))

    def _past_label(self) -> bool:
        """Whether the label is read and something stands behind it."""
        if self._prefix:
            start = bytes(self._buffer[: len(self._prefix)])
            if not self._prefix.startswith(start):
                raise WireError("label", "another cluster's label, or none")
            if len(start) < len(self._prefix):
                return False
            del self._buffer[: len(self._prefix)]
            self._prefix = b""
        elif self._no_label and self._buffer[:1] == bytes((LABEL,)):
            raise WireError("label", "a label, where this cluster has none")
        return bool(self._buffer)

    def _sealed(self) -> Message | None:
        ring = self._envelope.ring
        if ring is None:
            raise WireError("not_encrypted", "an encrypted stream, where no key is set")
        if len(self._buffer) < 5:
            return None
        if not self._sealed_bytes:
            self._sealed_bytes = int.from_bytes(self._buffer[1:5], "big")
            if not SEAL_BYTES < self._sealed_bytes <= self._envelope.stream_bytes_max:
                raise WireError("too_large", f"an encrypted frame of {self._sealed_bytes} bytes")
        if len(self._buffer) < 5 + self._sealed_bytes:
            return None
        header = bytes(self._buffer[:5])
        sealed = bytes(self._buffer[5 : 5 + self._sealed_bytes])
        plain = ring.open(sealed, header + self._envelope.label)
        self._envelope.see(sealed)
        self._opened = True
        self._frame = FrameReader(self._envelope.stream_bytes_max)
        return self._opened_frame(plain)

    def _opened_frame(self, plain: bytes) -> Message | None:
        assert self._frame is not None
        message = self._frame.feed(plain)
        if message is None and not self._frame.has_more:
            raise WireError("truncated", "an encrypted frame without an end")
        return message
