"""The format of cockroachdb/datadriven, which etcd's tests are written in: a command, its input, `----`, what is expected."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "etcd-raft"


@dataclass(frozen=True)
class Step:
    line: int
    command: str
    args: tuple[tuple[str, str | None], ...]
    """Key and value; a word without `=` has None."""
    input: tuple[str, ...]
    expected: str

    def get(self, key: str) -> str | None:
        return dict(self.args).get(key)

    @property
    def words(self) -> list[str]:
        return [key for key, value in self.args if value is None]


ARGUMENT = re.compile(r"([^\s=]+)(?:=(\([^)]*\)|\"[^\"]*\"|\S*))?")


def steps(path: Path) -> Iterator[Step]:
    lines = path.read_text(encoding="utf-8").split("\n")
    at = 0
    while at < len(lines):
        if not lines[at].strip() or lines[at].startswith("#"):
            at += 1
            continue
        begin = at
        command, _, rest = lines[at].partition(" ")
        at += 1
        given = []
        while lines[at] != "----":
            given.append(lines[at])
            at += 1
        at += 1
        expected = []
        while at < len(lines) and lines[at].strip():
            expected.append(lines[at])
            at += 1
        args = tuple((one[1], one[2]) for one in ARGUMENT.finditer(rest))
        yield Step(begin + 1, command, args, tuple(given), "\n".join(expected))


def listed(value: str | None) -> list[str]:
    """``(1,2,_)`` as its parts."""
    if not value or value == "zero":
        return []
    return [one.strip() for one in value.strip("()").split(",") if one.strip()]
