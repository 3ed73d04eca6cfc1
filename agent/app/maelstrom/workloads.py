"""What the runner's clients ask, and how their histories are judged."""

from collections.abc import Callable
from random import Random
from typing import Any, Final, Protocol

from agent.app.maelstrom.texts import DEFINITE, KEY_DOES_NOT_EXIST, PRECONDITION_FAILED
from agent.sim.history.counted import misapplied
from agent.sim.history.linearizable import check
from agent.sim.history.models import Model, Register, Transactions
from agent.sim.history.operation import Operation, Recorder
from agent.sim.history.report import explain

Body = dict[str, Any]


class Workload(Protocol):
    def request(self, recorder: Recorder, process: int) -> tuple[Operation, Body]: ...

    def answered(self, recorder: Recorder, operation: Operation, body: Body) -> None:
        """An answer that is no error with an unknown outcome."""

    def judge(self, operations: list[Operation], finals: list[Body]) -> tuple[bool, str]:
        """Whether all is well, and a text about it. finals: each node's answer to a last `read` (of workloads with `final_read`)."""

    @property
    def final_read(self) -> bool: ...


def _judged(operations: list[Operation], model: Model) -> tuple[bool, str]:
    verdicts = check(operations, model)
    return all(verdict.linearizable for verdict in verdicts), explain(verdicts)


class LinKv:
    """Reads, writes and compare-and-sets of a few keys and values; a key is left for the next after so many operations."""

    final_read = False
    OPERATIONS_A_KEY: Final = 60
    KEYS: Final = 4

    def __init__(self, random: Random) -> None:
        self._random = random
        self._count = 0

    def request(self, recorder: Recorder, process: int) -> tuple[Operation, Body]:
        random = self._random
        self._count += 1
        key = self._count // (self.OPERATIONS_A_KEY * self.KEYS) * self.KEYS + random.randrange(self.KEYS)
        kind = random.choice(("read", "read", "write", "cas"))
        old, new = random.randrange(5), random.randrange(5)
        if kind == "read":
            return recorder.begin(process, "read", key), {"type": "read", "key": key}
        if kind == "write":
            return recorder.begin(process, "write", key, new), {"type": "write", "key": key, "value": new}
        return recorder.begin(process, "cas", key, old, new), {"type": "cas", "key": key, "from": old, "to": new}

    def answered(self, recorder: Recorder, operation: Operation, body: Body) -> None:
        code = body.get("code")
        if code is None:
            recorder.ok(operation, {"read": body.get("value"), "write": None, "cas": True}[operation.name])
        elif operation.name == "cas" and code in (KEY_DOES_NOT_EXIST, PRECONDITION_FAILED):
            recorder.ok(operation, False)
        elif operation.name == "read" and code == KEY_DOES_NOT_EXIST:
            recorder.ok(operation, None)
        else:
            recorder.fail(operation)

    def judge(self, operations: list[Operation], finals: list[Body]) -> tuple[bool, str]:
        return _judged(operations, Register())


class Txn:
    """Transactions of one to four micro-operations, strictly serializable. `writes`: "append" (list-append) or "w" (rw-register)."""

    final_read = False
    KEYS: Final = 4
    WRITES_A_KEY: Final = 24

    def __init__(self, random: Random, writes: str) -> None:
        self._random = random
        self._writes = writes
        self._written: dict[int, int] = {}
        self._active = list(range(self.KEYS))

    def _micro_operation(self) -> tuple[str, int, int | None]:
        place = self._random.randrange(self.KEYS)
        key = self._active[place]
        if self._random.random() < 0.5:
            return ("r", key, None)
        value = self._written[key] = self._written.get(key, 0) + 1
        if value == self.WRITES_A_KEY:
            self._active[place] = max(self._active) + 1
        return (self._writes, key, value)

    def request(self, recorder: Recorder, process: int) -> tuple[Operation, Body]:
        operations = tuple(self._micro_operation() for _ in range(self._random.randint(1, 4)))
        return recorder.begin(process, "txn", None, operations), {"type": "txn", "txn": operations}

    def answered(self, recorder: Recorder, operation: Operation, body: Body) -> None:
        if "code" in body:
            recorder.fail(operation)
        else:
            told = [(what, key, tuple(value) if isinstance(value, list) else value) for what, key, value in body["txn"]]
            recorder.ok(operation, tuple(told))

    def judge(self, operations: list[Operation], finals: list[Body]) -> tuple[bool, str]:
        return _judged(operations, Transactions())


class Broadcast:
    """Numbers, each told to one node; at the end every node has every one that was acknowledged, once."""

    final_read = True

    def __init__(self, random: Random) -> None:
        self._random = random
        self._number = 0

    def request(self, recorder: Recorder, process: int) -> tuple[Operation, Body]:
        if self._random.random() < 0.2:
            return recorder.begin(process, "read"), {"type": "read"}
        self._number += 1
        return recorder.begin(process, "broadcast", None, self._number), {"type": "broadcast", "message": self._number}

    def answered(self, recorder: Recorder, operation: Operation, body: Body) -> None:
        if "code" in body:
            recorder.fail(operation)
        else:
            recorder.ok(operation, len(body["messages"]) if operation.name == "read" else None)

    def judge(self, operations: list[Operation], finals: list[Body]) -> tuple[bool, str]:
        told = [one for one in operations if one.name == "broadcast"]
        acknowledged = [one.args[0] for one in told if one.known]
        unknown = [one.args[0] for one in told if not one.known]
        for number, final in enumerate(finals, 1):
            wrong = misapplied(final["messages"], acknowledged, unknown)
            if wrong:
                return False, f"node n{number}: {wrong}"
        return True, f"every node has the {len(acknowledged)} acknowledged messages once"


def definite(body: Body) -> bool:
    """Not an error that leaves open what happened."""
    return body["type"] != "error" or body["code"] in DEFINITE


WORKLOADS: Final[dict[str, Callable[[Random], Workload]]] = {
    "lin-kv": LinKv,
    "broadcast": Broadcast,
    "txn-list-append": lambda random: Txn(random, "append"),
    "txn-rw-register": lambda random: Txn(random, "w"),
}
