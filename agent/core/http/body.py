"""Bodies and their framing (RFC 9112 sections 6 and 7), strictly: CRLF alone ends a line, a chunk size is hexadecimal digits."""

import re
from typing import Final

from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field, parse_line

LAST_CHUNK: Final = b"0\r\n\r\n"
SIZE_LINE_MAX: Final = 4096
"""Octets of a chunk's size line with its extensions (which mean nothing to anybody and are dropped)."""
EXTENSION_BYTES_MAX: Final = 65_536
"""Octets of extensions in a whole body: chunks of one octet with long extensions are an attack, not a body."""

_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")

_FORBIDDEN_TRAILERS: Final = frozenset(
    {
        b"content-length",
        b"transfer-encoding",
        b"host",
        b"trailer",
        b"te",
        b"connection",
        b"content-encoding",
        b"content-type",
        b"content-range",
        b"cache-control",
        b"expect",
        b"max-forwards",
        b"pragma",
        b"range",
        b"authorization",
        b"set-cookie",
        b"cookie",
        b"age",
        b"expires",
        b"date",
        b"location",
        b"retry-after",
        b"vary",
    }
)
"""Fields that frame, route or authenticate a message are not believed in a trailer (RFC 9110 section 6.5.1): dropped."""

_SIZE_LINE: Final = 0
_DATA: Final = 1
_DATA_END: Final = 2
_TRAILERS: Final = 3
_DONE: Final = 4


class ChunkedDecoder:
    """Unframes one chunked body, however it is cut into reads.

    `feed` returns the octets of the body in pieces. After the last chunk and the trailers `done` is true, and `rest` is
    what was fed beyond the end of the message.
    """

    def __init__(self, trailer_bytes_max: int = 32_768, trailer_count_max: int = 128) -> None:
        self.done = False
        self.rest = b""
        self.trailers: list[Field] = []
        self._state = _SIZE_LINE
        self._left = 0
        self._held = b""
        self._extension_bytes = 0
        self._trailer_bytes = 0
        self._trailer_bytes_max = trailer_bytes_max
        self._trailer_count_max = trailer_count_max

    def feed(self, data: bytes) -> list[bytes]:
        """The next octets from the wire. Raises `BadMessage` (400) on framing that is not exactly right."""
        pieces: list[bytes] = []
        if self._held:
            data = self._held + data
            self._held = b""
        at = 0
        end = len(data)
        while at < end and self._state != _DONE:
            state = self._state
            if state == _DATA:
                take = min(self._left, end - at)
                pieces.append(data if at == 0 and take == end else data[at : at + take])
                at += take
                self._left -= take
                if self._left == 0:
                    self._state = _DATA_END
            elif state == _DATA_END:
                if end - at < 2:
                    if data[at] != 13:
                        raise BadMessage(400, f"chunk data is followed by {data[at : at + 1]!r}; CRLF was expected")
                    break
                if data[at] != 13 or data[at + 1] != 10:
                    raise BadMessage(400, f"chunk data is followed by {data[at : at + 2]!r}; CRLF was expected")
                at += 2
                self._state = _SIZE_LINE
            else:
                stop = data.find(b"\r\n", at)
                if stop < 0:
                    self._check_unfinished(data, at)
                    break
                line = data[at:stop]
                at = stop + 2
                if state == _SIZE_LINE:
                    self._size_line(line)
                else:
                    self._trailer_line(line)
        if self._state == _DONE:
            self.done = True
            self.rest = data[at:]
        elif at < end:
            self._held = data[at:]
        return pieces

    def _check_unfinished(self, data: bytes, at: int) -> None:
        if data.find(b"\n", at) >= 0:
            raise BadMessage(400, "bare LF in chunked framing; lines end in CRLF")
        # One more than a whole line may have: its CR may have come before its LF.
        if self._state == _SIZE_LINE and len(data) - at > SIZE_LINE_MAX + 1:
            raise BadMessage(400, f"a chunk size line of more than {SIZE_LINE_MAX} octets")
        if self._state == _TRAILERS and len(data) - at > self._trailer_bytes_max + 1:
            raise BadMessage(431, f"trailers of more than {self._trailer_bytes_max} octets")

    def _size_line(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise BadMessage(400, f"chunk size {line[:40]!r} is not hexadecimal digits")
        digits = match.group(1)
        self._extension_bytes += len(line) - len(digits)
        if len(line) > SIZE_LINE_MAX or self._extension_bytes > EXTENSION_BYTES_MAX:
            raise BadMessage(400, f"chunk extensions of more than {EXTENSION_BYTES_MAX} octets")
        self._left = int(digits, 16)
        self._state = _DATA if self._left else _TRAILERS

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self._state = _DONE
            return
        self._trailer_bytes += len(line) + 2
        if self._trailer_bytes > self._trailer_bytes_max or len(self.trailers) >= self._trailer_count_max:
            raise BadMessage(431, f"trailers of more than {self._trailer_bytes_max} octets or {self._trailer_count_max} fields")
        field = parse_line(line)
        if field.name not in _FORBIDDEN_TRAILERS:
            self.trailers.append(field)


class RequestBody:
    """Unframes the body of one request, by its length or by its chunks, and holds it to its limit.

    `bytes_max` is in octets of the unframed body, 0 for no limit. Chunked bodies are told by a `length` below zero.
    """

    def __init__(self, length: int, bytes_max: int, trailer_bytes_max: int, trailer_count_max: int) -> None:
        self.done = False
        self.rest = b""
        self._left = length
        self._bytes = 0
        self._bytes_max = bytes_max
        self._decoder: ChunkedDecoder | None = None
        if length < 0:
            self._decoder = ChunkedDecoder(trailer_bytes_max, trailer_count_max)
        elif bytes_max and length > bytes_max:
            raise BadMessage(413, f"body of {length} octets; at most {bytes_max} are accepted")

    def feed(self, data: bytes) -> list[bytes]:
        """The next octets from the wire, unframed. Raises `BadMessage`: 400 for bad framing, 413 past the limit."""
        decoder = self._decoder
        if decoder is None:
            left = self._left
            size = len(data)
            if size < left:
                self._left = left - size
                return [data]
            self.done = True
            if size == left:
                return [data]
            self.rest = data[left:]
            return [data[:left]]
        pieces = decoder.feed(data)
        for piece in pieces:
            self._bytes += len(piece)
        if self._bytes_max and self._bytes > self._bytes_max:
            raise BadMessage(413, f"body of more than {self._bytes_max} octets")
        if decoder.done:
            self.done = True
            self.rest = decoder.rest
        return pieces


def encode_chunk(piece: bytes) -> bytes:
    """One chunk. `piece` must not be empty: an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)
