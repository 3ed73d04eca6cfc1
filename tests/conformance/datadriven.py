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


MESSAGE = re.compile(r"^ *(\d+->\d+) (Msg\w+) Term:(\d+)(.*)$")
ENTRY = re.compile(r"(\d+/\d+) Entry")


def received(expected: str) -> list[str]:
    """The messages that are received in what a script expects, in `etcd_cluster.shown`'s words."""
    found = []
    receiving = False
    current: list[str] = []
    for line in expected.split("\n"):
        if line.startswith("> "):
            receiving = line.endswith("receiving messages")
        match = MESSAGE.match(line) if receiving else None
        if match is not None:
            current = [match[1], match[2], match[3], match[4]]
            found.append(current)
        elif receiving and current and re.match(r" +\d+/\d+ Entry", line):
            current[3] += line
    return [_normal(*one) for one in found]


def _normal(way: str, name: str, term: str, rest: str) -> str:
    text = f"{way} {name} Term:{term}"
    log = re.search(r"Log:(\d+)/(\d+)", rest)
    assert log is not None
    commit = re.search(r"Commit:(\d+)", rest)
    at = commit[1] if commit else "0"
    if name in ("MsgVote", "MsgPreVote"):
        return f"{text} Log:{log[1]}/{log[2]}"
    if name == "MsgApp":
        return f"{text} Log:{log[1]}/{log[2]} Commit:{at}" + "".join(f" {one}" for one in ENTRY.findall(rest))
    if name == "MsgAppResp":
        hint = re.search(r"Rejected (\(Hint: \d+\))", rest)
        return f"{text} {log[2]}" + (f" Rejected {hint[1]}" if hint else "")
    if name == "MsgHeartbeat":
        return f"{text} Commit:{at}"
    if name.endswith("VoteResp"):
        return text + (" Rejected" if "Rejected" in rest else "")
    return text
