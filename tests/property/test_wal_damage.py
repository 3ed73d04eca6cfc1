"""Damage to what was durable is found, whichever octet it is; and octets that nobody wrote are never taken for records."""

from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.replica.log import Recovered
from agent.core.wal import frame, records, snapshot
from agent.core.wal.disk import segment_sequence
from agent.core.wal.errors import REASONS, WalCorrupt
from agent.core.wal.recover import recover
from agent.core.wal.segment import SegmentReader
from tests.property.wal_model import GROUP, Life


class Image:
    """A folder as octets, read only."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def names(self) -> list[str]:
        return sorted(self.files)

    def size(self, name: str) -> int:
        return len(self.files[name])

    def read(self, name: str, offset: int, size: int) -> bytes:
        return self.files[name][offset : offset + size]

    def run(self, op: object) -> None:
        raise AssertionError("recovery writes nothing")


def lived(seed: int, moves: int = 40) -> tuple[dict[str, bytes], Recovered]:
    life = Life(Random(seed))
    life.adopt(life.open(None))
    life.live(moves)
    return {name: life.disk.read(name) for name in life.disk.names()}, life.surely.expected()


@settings(max_examples=300)
@example(seed=101, where=0.96875, change=1)
@given(seed=st.integers(0, 400), where=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
def test_any_changed_octet_is_found(seed: int, where: float, change: int) -> None:
    files, before = lived(seed)
    at = int(where * sum(map(len, files.values())))
    for name in sorted(files):
        if at < len(files[name]):
            break
        at -= len(files[name])
    changed = bytearray(files[name])
    changed[at] ^= change
    image = Image({**files, name: bytes(changed)})
    try:
        found = recover(image, GROUP)
    except WalCorrupt as error:
        if error.reason not in REASONS:
            raise
        return
    assert found is not None
    if segment_sequence(name) is None:
        # The snapshot before it is used, with a longer log that ends where it did. What the damaged one covers is learnt to be
        # committed again.
        hard, was = found.recovered.hard, before.hard
        assert found.bad_snapshots and (hard.term, hard.vote, hard.extra) == (was.term, was.vote, was.extra) and hard.commit <= was.commit
        assert found.recovered.entries[-1:] == before.entries[-1:] or found.recovered.entries[-1].index == before.snapshot.index
        return
    # In the zeros ahead of what is written.
    assert found.recovered == before and at >= found.end


@pytest.mark.parametrize("seed", range(6))
def test_every_octet_of_the_last_segment_is_guarded(seed: int) -> None:
    files, before = lived(seed, 14)
    name = max(name for name in files if segment_sequence(name) is not None)
    whole = recover(Image(files), GROUP)
    assert whole is not None and whole.recovered == before
    refused = 0
    for at in range(whole.end):
        changed = bytearray(files[name])
        changed[at] ^= 1 << (at % 8)
        with pytest.raises(WalCorrupt):
            recover(Image({**files, name: bytes(changed)}), GROUP)
        refused += 1
    assert refused > 100


@settings(max_examples=200)
@given(seed=st.integers(0, 400), cut=st.integers(0, 4000))
def test_a_segment_that_ends_early_is_a_torn_tail_or_refused_and_what_is_read_was_written(seed: int, cut: int) -> None:
    """Without the zeros ahead, a file that was cut cannot be told from one whose last write was: but only the last file."""
    files, _ = lived(seed)
    segments = [name for name in sorted(files) if segment_sequence(name) is not None]
    for name in segments:
        shorter = files[name][: max(len(files[name]) - cut, 0)]
        try:
            found = recover(Image({**files, name: shorter}), GROUP)
        except WalCorrupt:
            continue
        whole = recover(Image(files), GROUP)
        assert found is not None and whole is not None
        if name != segments[-1]:
            assert found.recovered == whole.recovered, "only zeros were cut off"


@given(st.binary(max_size=3000), st.integers(0, 2**32 - 1))
def test_octets_that_nobody_wrote_are_no_record(data: bytes, salt: int) -> None:
    for offset in range(0, len(data), 8):
        assert frame.decode(data, offset, salt) is None
    frame.find_later(data, 0, salt)
    if data:
        frame.is_torn(data, 0, salt)
    with pytest.raises(WalCorrupt):
        SegmentReader("x", data, last=True)


@given(st.integers(-1, 16), st.binary(max_size=200))
def test_a_payload_that_is_none_is_an_error_and_nothing_else(kind: int, payload: bytes) -> None:
    try:
        record = records.decode(kind, payload)
    except ValueError:
        return
    assert records.encode(record)


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_a_snapshots_file_of_any_octets_is_read_or_refused(before: bytes, foot: bytes) -> None:
    for data in (before, before + snapshot.MARK, before + len(before).to_bytes(8, "little") + snapshot.MARK, before + foot):
        name = f"{1:016x}-{1:016x}.snap"
        assert snapshot.verify(Image({name: data}), name).meta is None


@given(
    payload=st.one_of(
        st.binary(max_size=2000),
        st.integers(0, 3000).map(bytes),
        st.binary(min_size=1, max_size=40).map(lambda data: data + bytes(700) + data),
    ),
    slot=st.integers(0, 300),
    salt=st.integers(0, 2**32 - 1),
    previous=st.integers(0, 2**32 - 1),
)
def test_a_record_is_read_back_only_where_it_was_written_and_no_sector_of_it_is_zeros(
    payload: bytes, slot: int, salt: int, previous: int
) -> None:
    offset = slot * 8
    octets, crc = frame.encode(2, payload, offset, previous, 0, salt)
    assert len(octets) == frame.frame_bytes(len(payload)) and len(octets) % 8 == 0
    data = bytes(offset) + octets
    read = frame.decode(data, offset, salt)
    assert read is not None and (read.payload, read.crc, read.previous, read.end) == (payload, crc, previous, len(data))
    assert frame.decode(bytes(8) + data, offset + 8, salt) is None
    assert frame.decode(data, offset, salt ^ 1) is None
    at = offset
    while at < len(data):
        border = min(frame.sector_end(at), len(data))
        assert sum(octet != 0 for octet in data[at:border]) > 1
        at = border


@given(payload=st.binary(min_size=1, max_size=3000), slot=st.integers(0, 200), kept=st.sets(st.integers(0, 12)), end=st.integers(8, 4000))
def test_what_a_crash_leaves_of_a_record_is_torn_or_whole_and_never_damage(payload: bytes, slot: int, kept: set[int], end: int) -> None:
    """Some sectors and not others; or a part of 8 octets or more at its beginning, all but the last octet excepted."""
    offset = slot * 8
    octets, _ = frame.encode(2, payload, offset, 1, 0, 9)
    whole = bytes(offset) + octets
    sectors = bytearray(whole)
    for number in range(offset // 512, len(whole) // 512 + 1):
        if number - offset // 512 not in kept:
            sectors[max(number * 512, offset) : (number + 1) * 512] = bytes(len(sectors[max(number * 512, offset) : (number + 1) * 512]))
    part = whole[: offset + (end if end < len(octets) - 1 else len(octets))]
    for left in (bytes(sectors), part, part + bytes(5000)):
        at_end = not left[offset:].strip(b"\0")
        assert at_end or frame.decode(left, offset, 9) is not None or frame.is_torn(left, offset, 9)
