"""What must hold for any octets that are found in the log's files: a state that is found again, or a `WalCorrupt`."""

from collections.abc import Callable
from random import Random
from typing import Final

from agent.core.replica.log import HardState
from agent.core.wal import frame, records
from agent.core.wal.disk import segment_name
from agent.core.wal.errors import REASONS, WalCorrupt
from agent.core.wal.log import WalConfig
from agent.core.wal.opening import open_log
from agent.core.wal.records import FORMAT, HEAD, Head, Place
from agent.core.wal.recover import recover
from agent.sim.disk import SimDisk
from agent.sim.folder import SimFolder

GROUP: Final = "blue"
FIRST: Final = frame.encode(HEAD, records.encode(Head(FORMAT, GROUP, 5, 1, 0, HardState(), Place())), 0, 0, 0, 0)


def wal_segment(data: bytes) -> None:
    """What is recovered of a segment is the same again once the folder is put in order."""
    disk = SimDisk(Random(1))
    disk.write(segment_name(1), 0, data)
    disk.fsync(segment_name(1))
    disk.fsync_folder()
    folder = SimFolder(disk)
    try:
        found = recover(folder, GROUP)
    except WalCorrupt as error:
        assert error.reason in REASONS, error.reason  # noqa: PT017 (a refusal is an answer here)
        return
    assert found is not None
    opened = open_log(folder, GROUP, lambda: 6, WalConfig(fill_bytes=512))
    assert (opened.me, opened.recovered) == (found.me, found.recovered)
    disk.crash()
    again = recover(folder, GROUP)
    assert again is not None and again.recovered == found.recovered and again.cut_bytes == 0


def wal_records(data: bytes) -> None:
    """Payloads, each with a first octet for its kind and two for its length, in records whose checksums are right."""
    octets, crc = FIRST
    salt = crc
    while data:
        kind, length, payload = data[0] & frame.KINDS_MAX, int.from_bytes(data[1:3], "big"), data[3:]
        data = payload[length:]
        record, crc = frame.encode(kind, payload[:length], len(octets), crc, 0, salt)
        octets += record
    wal_segment(octets)


WAL_TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"wal_segment": wal_segment, "wal_records": wal_records}
