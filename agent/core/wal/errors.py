"""The one error of the log on disk: it says something that cannot be true."""

from typing import Final

REASONS: Final = (
    "checksum",
    "chain",
    "undecodable",
    "head",
    "group",
    "member",
    "missing_segment",
    "gap",
    "commit",
    "snapshot",
    "no_log",
)
"""checksum: a record whose octets are not those that were written. chain: a record that does not follow the one before it.
undecodable: a record's checksum is right and its content is not. head: a segment does not begin as one. group: another group's log.
member: segments of two members. missing_segment: a segment is gone whose entries no snapshot holds. gap: indices with a hole.
commit: what was committed is beyond the log's end. snapshot: a snapshot is needed and there is no good one. no_log: snapshots without
any segment of the log."""

WAY_OUT: Final = (
    "What this log has promised to its group may be lost, so the replica does not start from it. If the disk can be mended or the file "
    "restored from just before, do that. Otherwise move the folder away and start again: the agent rejoins its group as a new learner "
    "and gets the state from the others. `pilotfish wal verify FOLDER` shows what can still be read."
)


class WalCorrupt(Exception):
    """The log in `file` is damaged at `offset`: `found` stands where `expected` should. `reason` is one of `REASONS`.

    Nothing has been changed on the disk. The way out is in the message (`docs/operations.md`).
    """

    def __init__(self, reason: str, file: str, offset: int, found: str, expected: str) -> None:
        super().__init__(f"{file}, offset {offset}: found {found}, expected {expected} ({reason}). {WAY_OUT}")
        self.reason = reason
        self.file = file
        self.offset = offset
        self.found = found
        self.expected = expected


class WalFailed(Exception):
    """The disk failed in a way that leaves open what it holds (an I/O error of a write or of a synchronisation). A second try that
    succeeds would prove nothing: after a failed fsync, Linux marks the pages clean (Rebello and others, ATC 2020). The replica stops;
    when it starts again, it reads what there is."""
