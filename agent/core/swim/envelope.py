"""What is around every packet and stream: the cluster's label, and encryption.

    packet = [ LABEL length label ] ( frame / sealed )              the label is sealed with it as associated data
    stream = [ LABEL length label ] ( frame / ENCRYPTED length sealed )  so are the five octets before, and then the label

A label is the cluster's name: who has another, or none, is not heard. It keeps clusters apart that meet by mistake; against
whoever wants to be heard there are keys.
"""

import struct
from typing import TYPE_CHECKING, Final

from agent.core.swim.errors import WireError
from agent.core.swim.replay import ReplayWindow
from agent.core.swim.schema import ENCRYPTED, LABEL
from agent.core.swim.wire import CRC_BYTES, compressed, with_crc

if TYPE_CHECKING:  # without keys, nothing of `cryptography` is loaded
    from agent.core.swim.keyring import KeyRing

LABEL_BYTES_MAX: Final = 255
SEAL_BYTES: Final = 29
"""What sealing adds: version, nonce, tag."""
COMPRESS_BYTES_MAX: Final = 16 * 1024
"""What is larger goes as it is: compressing takes some 200 µs a kilobyte where it is compiled, and nothing else runs meanwhile."""
NONCE_START: Final = 1
NONCE_END: Final = 13
"""Where a sealed frame's nonce stands."""
REPLAY_FRAMES: Final = 8192
"""At 100 packets a second one to three minutes; at most 2 MB."""
STREAM_BYTES_MAX: Final = 8 * 1024 * 1024
"""Of a stream's message, sealed or not, and of what it expands to: 10,000 members with all the metadata that they may have."""


class Envelope:
    """How this member's packets and streams are closed and opened.

    `accept_plain` and `send_plain` are for a cluster on its way to encryption (memberlist's gossip_verify_incoming and
    _outgoing): first all get the key and both, then all send encrypted, then all refuse plain.
    """

    def __init__(
        self,
        label: str = "",
        ring: "KeyRing | None" = None,
        *,
        compress: bool = False,
        accept_plain: bool = False,
        send_plain: bool = False,
        stream_bytes_max: int = STREAM_BYTES_MAX,
        replay_frames: int = REPLAY_FRAMES,
    ) -> None:
        self.label = label.encode()
        if len(self.label) > LABEL_BYTES_MAX:
            raise ValueError(f"a label has at most {LABEL_BYTES_MAX} bytes")
        self.prefix = bytes((LABEL, len(self.label))) + self.label if self.label else b""
        self.ring = ring
        self.compress = compress
        self.accept_plain = accept_plain
        self.send_plain = send_plain
        self.stream_bytes_max = stream_bytes_max
        self._window = ReplayWindow(replay_frames)

    @property
    def sealing(self) -> "KeyRing | None":
        """The ring that seals what we send."""
        return None if self.send_plain else self.ring

    @property
    def overhead_bytes(self) -> int:
        """What closing adds to a packet at most: the core's budget is the datagram's size less this."""
        return len(self.prefix) + (CRC_BYTES if self.sealing is None else SEAL_BYTES)

    def close_packet(self, frame: bytes) -> bytes:
        """The datagram. A checksum is of use only where no tag is."""
        if self.compress and len(frame) <= COMPRESS_BYTES_MAX:
            frame = compressed(frame)
        ring = self.sealing
        return self.prefix + (with_crc(frame) if ring is None else ring.seal(frame, self.label))

    def open_packet(self, data: bytes) -> bytes:
        """The frame for `wire.decode_packet`. Raises `WireError`."""
        data = self.without_label(data)
        if self.ring is None:
            return data
        try:
            plain = self.ring.open(data, self.label)
        except WireError:
            if not self.accept_plain:
                raise
            return data
        self.see(data)
        return plain

    def see(self, sealed: bytes) -> None:
        """A sealed frame that verified. Raises `WireError` where it came before."""
        if not self._window.is_new(bytes(sealed[NONCE_START:NONCE_END])):
            raise WireError("replayed", "a frame that came before")

    def without_label(self, data: bytes) -> bytes:
        if not data:
            raise WireError("truncated", "an empty packet")
        if self.prefix:
            if not data.startswith(self.prefix):
                raise WireError("label", "another cluster's label, or none")
        elif data[0] == LABEL:
            raise WireError("label", "a label, where this cluster has none")
        return data[len(self.prefix) :]

    def close_stream(self, frame: bytes) -> bytes:
        """All that goes into a stream in one direction, the label left out."""
        if self.compress and len(frame) <= COMPRESS_BYTES_MAX:
            frame = compressed(frame)
        ring = self.sealing
        if ring is None:
            return frame
        header = struct.pack(">BI", ENCRYPTED, len(frame) + SEAL_BYTES)
        return header + ring.seal(frame, header + self.label)
