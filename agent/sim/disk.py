"""A disk that keeps what was synchronised and, when the power fails, any part of what was not.

Files are written at an offset. Until `fsync` a write is in the page cache: a crash may keep it, lose it, or keep a prefix of it
(torn), each write by itself, so that a later one can survive an earlier one. A new name, a renamed or a removed one holds after
`fsync_folder`, as on a POSIX file system; before, a crash keeps the old or the new.
"""

from random import Random

from msgspec import Struct

SECTOR = 512
"""Octets that a disk writes whole or not at all: a torn write ends at a multiple of it."""


class DiskConfig(Struct, frozen=True):
    write_s: float = 0.00002
    fsync_s: float = 0.002
    slow_share: float = 0.0
    """Share of the synchronisations that take `slow_s` instead."""
    slow_s: float = 1.0
    lying_share: float = 0.0
    """Share of the synchronisations that report success and do nothing, as consumer disks are known to."""


class Write(Struct, frozen=True):
    offset: int
    data: bytes


class File:
    __slots__ = ("durable", "pending")

    def __init__(self) -> None:
        self.durable = bytearray()
        self.pending: list[Write] = []

    def current(self) -> bytes:
        """What a reader sees while the machine is up."""
        image = bytearray(self.durable)
        for write in self.pending:
            apply_write(image, write)
        return bytes(image)

    def settle(self) -> None:
        """What was written is durable from here on."""
        for write in self.pending:
            apply_write(self.durable, write)
        self.pending.clear()


def apply_write(image: bytearray, write: Write) -> None:
    """With zeros for a hole, as a file has that was written past its end."""
    end = write.offset + len(write.data)
    if len(image) < end:
        image.extend(bytes(end - len(image)))
    image[write.offset : end] = write.data


class SimDisk:
    """Each operation returns how long it takes, in seconds. Raises FileNotFoundError for names that are not there."""

    def __init__(self, random: Random, config: DiskConfig = DiskConfig()) -> None:  # noqa: B008 - frozen
        self.config = config
        self._random = random
        self._names: dict[str, File] = {}
        self._durable_names: dict[str, File] = {}
        self.crashes = 0

    def _file(self, name: str) -> File:
        file = self._names.get(name)
        if file is None:
            raise FileNotFoundError(name)
        return file

    def names(self) -> list[str]:
        return sorted(self._names)

    def size(self, name: str) -> int:
        file = self._file(name)
        return max(len(file.durable), *(write.offset + len(write.data) for write in file.pending), 0)

    def read(self, name: str) -> bytes:
        return self._file(name).current()

    def write(self, name: str, offset: int, data: bytes) -> float:
        """The file is made if it is not there."""
        file = self._names.setdefault(name, File())
        file.pending.append(Write(offset, bytes(data)))
        return self.config.write_s

    def append(self, name: str, data: bytes) -> float:
        return self.write(name, self.size(name) if name in self._names else 0, data)

    def truncate(self, name: str, size: int) -> float:
        """Cut off the end, durably: journalled with the file's length."""
        file = self._file(name)
        image = bytearray(file.current()[:size])
        file.durable, file.pending = image, []
        return self.config.write_s

    def fsync(self, name: str) -> float:
        """From here on, what was written to the file survives (but not its name: `fsync_folder`)."""
        file = self._file(name)
        config = self.config
        if not (config.lying_share and self._random.random() < config.lying_share):
            file.settle()
        return config.slow_s if config.slow_share and self._random.random() < config.slow_share else config.fsync_s

    def fsync_folder(self) -> float:
        self._durable_names = dict(self._names)
        return self.config.fsync_s

    def rename(self, old: str, new: str) -> float:
        self._names[new] = self._file(old)
        del self._names[old]
        return self.config.write_s

    def remove(self, name: str) -> float:
        self._file(name)
        del self._names[name]
        return self.config.write_s

    def crash(self) -> None:
        """The machine stops; what is found when it starts again."""
        self.crashes += 1
        random = self._random
        kept = self._names if random.random() < 0.5 else self._durable_names
        self._names = dict(kept)
        self._durable_names = dict(kept)
        # In the order of names, each file once: chance must not depend on anything else.
        done: set[int] = set()
        for name in sorted(self._names):
            file = self._names[name]
            if id(file) not in done:
                done.add(id(file))
                self._settle(file)

    def _settle(self, file: File) -> None:
        random = self._random
        for write in file.pending:
            fate = random.random()
            if fate < 0.4:
                continue
            data = write.data
            if fate < 0.7:
                # Sectors are whole, counted from the file's beginning.
                end = write.offset + int(random.random() * (len(data) + 1))
                data = data[: max(0, end // SECTOR * SECTOR - write.offset)]
            if data:
                apply_write(file.durable, Write(write.offset, data))
        file.pending = []
