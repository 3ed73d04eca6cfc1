"""A machine's state as octets: equal for equal states, written while the machine goes on.

Frames, each a length of 4 octets (big-endian) and msgpack: first a `Header`, then (number of the part in the header, its rows) as often as
needed, in the header's order, then `END` and how many rows there were. Cut into chunks without regard to frames.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec
from msgspec import Raw

from agent.core.machine.config import Limits
from agent.core.machine.envelope import UNREADABLE
from agent.core.machine.frames import FORMAT, Header
from agent.core.machine.registry import Part, Registry, SnapshotError
from agent.core.machine.shared import Shared

CHUNK_BYTES: Final = 262_144
FRAME_BYTES: Final = 65_536
"""Rows are gathered to about so much."""
FRAME_BYTES_MAX: Final = 1 << 28
"""More than any row can have; what says more is no snapshot."""
END: Final = -1
_WAY_OUT: Final = "install the version that wrote it"

_encoder: Final = msgspec.msgpack.Encoder()
_headers: Final = msgspec.msgpack.Decoder(Header)
_frames: Final = msgspec.msgpack.Decoder(tuple[int, list[Any]])


class Snapshot:
    """The state at the moment when this was made, as an iterator of chunks of at most `CHUNK_BYTES`, to be taken between commands."""

    def __init__(self, registry: Registry, shared: Shared, parts: dict[str, Part]) -> None:
        versions = [(name, kind.version) for name, kind in registry.parts.items()]
        self.index = shared.index
        header = Header(FORMAT, shared.index, shared.time_ms, shared.revision, shared.fence, versions)
        # No generator holds this object: one that is given up ends at once, and with it what its parts put aside for it.
        self._chunks = _cut(header, [parts[name].freeze() for name in registry.parts])

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def __next__(self) -> bytes:
        return next(self._chunks)


def _cut(header: Header, frozen: list[Iterator[Any]]) -> Iterator[bytes]:
    held = bytearray()
    for frame in _framed(header, frozen):
        held += len(frame).to_bytes(4, "big")
        held += frame
        while len(held) >= CHUNK_BYTES:
            yield bytes(held[:CHUNK_BYTES])
            del held[:CHUNK_BYTES]
    if held:
        yield bytes(held)


def _framed(header: Header, frozen: list[Iterator[Any]]) -> Iterator[bytes]:
    yield _encoder.encode(header)
    total = 0
    for number, rows in enumerate(frozen):
        gathered: list[Raw] = []
        size = 0
        for row in rows:
            octets = _encoder.encode(row)
            gathered.append(Raw(octets))
            size += len(octets)
            total += 1
            if size >= FRAME_BYTES:
                yield _encoder.encode((number, gathered))
                gathered = []
                size = 0
        if gathered:
            yield _encoder.encode((number, gathered))
    yield _encoder.encode((END, [total]))


class Restored:
    """A state read from a snapshot, for a machine to adopt."""

    def __init__(self, shared: Shared, parts: dict[str, Part]) -> None:
        self.shared = shared
        self.parts = parts


def read_snapshot(registry: Registry, chunks: Iterable[bytes]) -> Restored:
    """The state that a snapshot holds; touches no machine, so it may run on another thread. Raises SnapshotError."""
    frames = _split(chunks)
    try:
        header = _headers.decode(next(frames))
    except (StopIteration, *UNREADABLE) as error:
        raise SnapshotError("no header: these octets are no snapshot of a state machine") from error
    _check(header, registry)
    shared = Shared(Limits())
    shared.index, shared.time_ms, shared.revision, shared.fence = header.index, header.time_ms, header.revision, header.fence
    parts = {name: kind.make(shared) for name, kind in registry.parts.items()}
    reader = _Reader(frames)
    for number, (name, version) in enumerate(header.parts):
        rows = reader.rows(number)
        try:
            parts[name].load(version, rows)
        except StopIteration as error:
            raise SnapshotError(f"part {name}: it ends too early") from error
        except UNREADABLE as error:
            raise SnapshotError(f"part {name}: {error}") from error
        if next(rows, None) is not None:
            raise SnapshotError(f"part {name}: more than it has rows for")
    reader.finish()
    return Restored(shared, parts)


def _check(header: Header, registry: Registry) -> None:
    if header.format != FORMAT:
        raise SnapshotError(f"format {header.format}; this build reads {FORMAT}: {_WAY_OUT}")
    for name, version in header.parts:
        kind = registry.parts.get(name)
        if kind is None:
            raise SnapshotError(f"part {name} (version {version}) is unknown to this build: {_WAY_OUT}")
        if version > kind.version:
            raise SnapshotError(
                f"part {name} has version {version}; this build reads up to {kind.version}: install the version that wrote it"
            )


class _Reader:
    """Rows of one part after the other."""

    def __init__(self, frames: Iterator[bytes]) -> None:
        self._frames = frames
        self._number = 0
        self._rows: list[Any] = []
        self._total = 0
        self._advance()

    def _advance(self) -> None:
        try:
            self._number, self._rows = _frames.decode(next(self._frames))
        except StopIteration as error:
            raise SnapshotError("it ends too early") from error
        except UNREADABLE as error:
            raise SnapshotError(f"a frame that is none: {error}") from error

    def rows(self, number: int) -> Iterator[Any]:
        while self._number == number:
            for row in self._rows:
                self._total += 1
                yield row
            self._advance()

    def finish(self) -> None:
        if self._number != END or self._rows != [self._total]:
            raise SnapshotError(f"{self._total} rows where its end says {self._rows}")
        if next(self._frames, None) is not None:
            raise SnapshotError("octets after its end")


def _split(chunks: Iterable[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        at = 0
        while len(held) - at >= 4:
            size = int.from_bytes(held[at : at + 4], "big")
            if size > FRAME_BYTES_MAX:
                raise SnapshotError(f"a frame of {size} octets")
            if len(held) - at - 4 < size:
                break
            yield bytes(held[at + 4 : at + 4 + size])
            at += 4 + size
        del held[:at]
    if held:
        raise SnapshotError("it ends within a frame")


def digest_of(chunks: Iterable[bytes]) -> bytes:
    """SHA-256 of a snapshot's octets: what replicas compare."""
    hashed = hashlib.sha256()
    for chunk in chunks:
        hashed.update(chunk)
    return hashed.digest()
