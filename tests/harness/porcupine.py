"""Reads the histories that Porcupine (anishathalye/porcupine) is tested with: Jepsen's logs of an etcd register, and key-value ones."""

import re

from agent.sim.history.operation import Operation

ETCD = re.compile(r"INFO\s+jepsen\.util\s+-\s+(\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.+)")
TEXT = re.compile(r'\{:process (\d+), :type :(invoke|ok), :f :(get|put|append), :key "(.*)", :value (?:nil|"(.*)")\}')


def etcd(text: str) -> list[Operation]:
    """A register. A read that timed out says nothing; a write or exchange that timed out may have happened, then or later."""
    operations: list[Operation] = []
    under_way: dict[str, Operation] = {}
    for at, line in enumerate(text.splitlines()):
        found = ETCD.fullmatch(line.strip())
        if found is None:
            continue
        process, kind, name, value = found.groups()
        if kind == "invoke":
            args = tuple(int(number) for number in re.findall(r"\d+", value))
            under_way[process] = Operation(int(process), name, None, args, start=at)
            operations.append(under_way[process])
            continue
        operation = under_way.pop(process)
        if kind == "info" or value == ":timed-out":
            continue
        operation.end = at
        operation.output = {"ok": True, "fail": False}[kind] if name == "cas" else None if value == "nil" else int(value)
    return operations


def texts(text: str) -> list[Operation]:
    """A text for each key."""
    operations: list[Operation] = []
    under_way: dict[str, Operation] = {}
    for at, line in enumerate(text.splitlines()):
        found = TEXT.fullmatch(line.strip())
        assert found is not None, line
        process, kind, name, key, value = found.groups()
        if kind == "invoke":
            under_way[process] = Operation(int(process), name, key, () if name == "get" else (value,), start=at)
            operations.append(under_way[process])
        else:
            operation = under_way.pop(process)
            operation.end = at
            operation.output = value if name == "get" else None
    return operations
