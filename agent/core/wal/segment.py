"""Reading one segment: its records, and whether it ends well, was cut short by a crash, or is damaged.

Records were appended in order, each write made durable before the next was begun. So where the first bad octets stand:

1. Nothing but zeros follows: the end (segments are filled with zeros ahead of what is written).
2. It is not the log's last segment: damage, as the next one was begun when this was whole.
3. A good record follows that says that this place was durable: damage.
4. What is there cannot be what a crash leaves of a record, whole sectors of it or zeros (`frame.is_torn`): damage.
5. Else it is the end of a write that was never reported durable: cut off.

Any change of a single octet of a durable record falls under 2, 3 or 4, but for one: the only octet of a sector that is not zero, in the
very last record; records have no such sectors (`frame.py`, *whitened*).
"""

from collections.abc import Iterator

from agent.core.wal import frame, records
from agent.core.wal.errors import WalCorrupt
from agent.core.wal.records import FORMAT, HEAD, Head

HEAD_SALT = 0


class SegmentReader:
    """`head` is read at once; then `records` yields each record, and afterwards `end`, `crc` and `cut_bytes` say how it ended.

    Raises WalCorrupt, from the constructor and while iterating.
    """

    def __init__(self, name: str, data: bytes, last: bool) -> None:
        self.name = name
        self._data = data
        self._last = last
        first = frame.decode(data, 0, HEAD_SALT)
        if first is None or first.kind != HEAD:
            raise WalCorrupt("head", name, 0, _shown(data, 0), "a segment's first record")
        self.head: Head = self._head(first.payload)
        self.salt = first.crc
        self.begin = first.end
        self.end = first.end
        self.crc = first.crc
        self.cut_bytes = 0
        """What a crash left of an unfinished write, up to the last octet that is not zero."""

    def _head(self, payload: bytes) -> Head:
        try:
            head = records.decode(HEAD, payload)
        except ValueError as error:
            raise WalCorrupt("head", self.name, 0, str(error), f"a head of format {FORMAT}") from error
        assert isinstance(head, Head)
        if head.format != FORMAT:
            raise WalCorrupt("head", self.name, 0, f"format {head.format}", f"format {FORMAT}, which is what this version reads")
        return head

    def records(self) -> Iterator[tuple[int, frame.Frame]]:
        """Each record with its offset."""
        data, salt = self._data, self.salt
        while True:
            read = frame.decode(data, self.end, salt)
            if read is None:
                break
            if read.previous != self.crc:
                raise WalCorrupt("chain", self.name, self.end, f"a record after {read.previous:08x}", f"one after {self.crc:08x}")
            offset = self.end
            self.end, self.crc = read.end, read.crc
            yield offset, read
        self._judge_end()

    def _judge_end(self) -> None:
        data, end = self._data, self.end
        rest = len(data[end:].rstrip(b"\0"))
        if not rest:
            return
        if not self._last:
            raise WalCorrupt("checksum", self.name, end, _shown(data, end), "a whole record, as a later segment was begun")
        later = frame.find_later(data, end, self.salt)
        if later is not None:
            text = f"a whole record, as the one at {later[0]} says that this was durable up to {later[1].synced}"
            raise WalCorrupt("checksum", self.name, end, _shown(data, end), text)
        if not frame.is_torn(data, end, self.salt):
            raise WalCorrupt("checksum", self.name, end, _shown(data, end), "a whole record, or what a crash leaves of one")
        self.cut_bytes = rest


def _shown(data: bytes, offset: int) -> str:
    octets = data[offset : offset + 16]
    return octets.hex(" ", 4) if octets else "the end of the file"
