"""A node of Maelstrom's: requests of clients and messages of other nodes in, answers and messages out; no I/O."""

import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from math import inf
from random import Random
from typing import Any, Final

import msgspec

from agent.app.maelstrom import texts
from agent.app.maelstrom.flood import Flood
from agent.app.maelstrom.replica import MemoryReplica, WireError
from agent.app.maelstrom.texts import RequestError, field, octets
from agent.app.maelstrom.transactions import TRANSACTIONS, completed, transact
from agent.core.machine.commands import EQUAL, VALUE, Check, Put
from agent.core.machine.envelope import encode_command
from agent.core.machine.machine import Machine, built_in
from agent.core.machine.outcome import Outcome, decode_outcome, encode_outcome

ANSWER_S: Final = 5.0
"""What has no answer after so long is answered with a timeout, which says that it may or may not have happened."""
FORWARDED_MAX: Final = 10_000
"""Commands at the leader whose outcome is awaited; the oldest is given up, and its client told of a timeout."""

Reply = Callable[[dict[str, Any]], None]
Then = Callable[[Outcome], dict[str, Any]]


class Node:
    """`emit(message)`: to standard output."""

    def __init__(self, emit: Callable[[dict[str, Any]], None], now: Callable[[], float] = time.monotonic) -> None:
        self._emit = emit
        self._now = now
        self.name = ""
        self._number = 0
        self._replica: MemoryReplica | None = None
        self._flood: Flood | None = None
        self._forwarded: dict[int, Callable[[Outcome | None, str], None]] = {}
        self._open: dict[int, tuple[float, Reply]] = {}
        """Requests without an answer, the oldest first."""
        self._requests: dict[str, Callable[[dict[str, Any], Reply], None]] = {
            "topology": lambda body, reply: reply({"type": "topology_ok"}),
            "broadcast": self._broadcast,
            "read": self._read,
            "write": self._write,
            "cas": self._cas,
            "txn": self._txn,
        }
        self._between: dict[str, Callable[[str, dict[str, Any]], None]] = {
            "raft": lambda source, body: self._core.receive(source, b64decode(body["data"])),
            "gossip": lambda source, body: self._gossip.receive(b64decode(body["data"])),
            "propose": self._on_propose,
            "proposed": self._on_proposed,
        }

    # -- messages

    def take(self, message: dict[str, Any]) -> None:
        """A message from standard input. Nothing that it may hold raises."""
        source, body = message["src"], message["body"]
        between = self._between.get(body["type"])
        if between is not None:
            try:
                between(source, body)
            except (WireError, KeyError, ValueError, msgspec.MsgspecError) as error:
                print(f"{self.name}: dropped a message of {source}: {error!r}", file=sys.stderr)
            return
        self._number += 1
        number = self._number

        def reply(answer: dict[str, Any]) -> None:
            if self._open.pop(number, None) is not None:
                self._send(source, {**answer, "in_reply_to": body.get("msg_id")})

        self._open[number] = (self._now(), reply)
        try:
            if body["type"] == "init":
                self._init(body, reply)
            elif self._replica is None:
                raise RequestError(texts.TEMPORARILY_UNAVAILABLE, "not initialized")
            elif body["type"] in self._requests:
                self._requests[body["type"]](body, reply)
            else:
                raise RequestError(texts.NOT_SUPPORTED, f"type: found {body['type']!r}")
        except RequestError as error:
            reply(_error(error.code, str(error)))

    def next_wake(self) -> float:
        due = next(iter(self._open.values()))[0] + ANSWER_S if self._open else inf
        if self._replica is None:
            return due
        return min(due, self._core.next_wake(), self._gossip.next_wake())

    def wake(self) -> None:
        now = self._now()
        while self._open:
            asked, reply = next(iter(self._open.values()))
            if now < asked + ANSWER_S:
                break
            reply(_error(texts.TIMEOUT, "no answer in time: it may have happened, or may yet"))
        if self._replica is not None:
            if now >= self._core.next_wake():
                self._core.wake()
            if now >= self._gossip.next_wake():
                self._gossip.wake()

    def _send(self, to: str, body: dict[str, Any]) -> int:
        """Its number."""
        self._number += 1
        self._emit({"src": self.name, "dest": to, "body": {"msg_id": self._number, **body}})
        return self._number

    @property
    def _core(self) -> MemoryReplica:
        assert self._replica is not None
        return self._replica

    @property
    def _gossip(self) -> Flood:
        assert self._flood is not None
        return self._flood

    def _init(self, body: dict[str, Any], reply: Reply) -> None:
        self.name = field(body, "node_id", str)
        names = field(body, "node_ids", list)
        random = Random()
        registry = built_in()
        registry.add(TRANSACTIONS)

        def sender(kind: str) -> Callable[[str, bytes], object]:
            return lambda to, data: self._send(to, {"type": kind, "data": b64encode(data).decode()})

        self._replica = MemoryReplica(self.name, names, Machine(registry), sender("raft"), self._now, random)
        self._flood = Flood(self.name, names, time.time_ns() // 1_000_000, sender("gossip"), self._now, random)
        reply({"type": "init_ok"})

    # -- lin-kv, txn

    def _write(self, body: dict[str, Any], reply: Reply) -> None:
        self._propose(Put(octets(field(body, "key")), octets(field(body, "value"))), reply, lambda _: {"type": "write_ok"})

    def _cas(self, body: dict[str, Any], reply: Reply) -> None:
        check = Check(VALUE, EQUAL, 0, octets(field(body, "from")))

        def then(outcome: Outcome) -> dict[str, Any]:
            if outcome.error == "compare_failed" and outcome.value is None:
                return _error(texts.KEY_DOES_NOT_EXIST, "no such key")
            if outcome.error == "compare_failed":
                return _error(texts.PRECONDITION_FAILED, "the value is another")
            return {"type": "cas_ok"}

        self._propose(Put(octets(field(body, "key")), octets(field(body, "to")), checks=(check,)), reply, then)

    def _txn(self, body: dict[str, Any], reply: Reply) -> None:
        operations = field(body, "txn", list)

        def then(outcome: Outcome) -> dict[str, Any]:
            if outcome.error:
                return _error(texts.ABORT, f"{outcome.error}: {outcome.value}")
            return {"type": "txn_ok", "txn": completed(operations, outcome.value)}

        self._propose(transact(operations), reply, then)

    def _read(self, body: dict[str, Any], reply: Reply) -> None:
        if "key" not in body:
            reply({"type": "read_ok", "messages": [texts.value(message) for message in self._gossip.messages]})
            return
        key = octets(body["key"])

        def ready(so: bool) -> None:
            record = self._core.machine.kv.records.get(key)
            if not so:
                reply(_error(texts.TEMPORARILY_UNAVAILABLE, "nobody leads"))
            elif record is None:
                reply(_error(texts.KEY_DOES_NOT_EXIST, "no such key"))
            else:
                reply({"type": "read_ok", "value": texts.value(record.value)})

        self._core.read(ready)

    def _propose(self, command: msgspec.Struct, reply: Reply, then: Then) -> None:
        def answer(outcome: Outcome | None, reason: str) -> None:
            if outcome is not None:
                reply(then(outcome))
            elif reason == "lost":
                reply(_error(texts.ABORT, "another leader's entry took its place"))
            else:
                reply(_error(texts.TEMPORARILY_UNAVAILABLE, reason))

        data, core = encode_command(command), self._core
        if core.leads:
            core.propose(data, answer)
        elif core.leader:
            self._forwarded[self._send(core.leader, {"type": "propose", "command": b64encode(data).decode()})] = answer
            if len(self._forwarded) > FORWARDED_MAX:
                del self._forwarded[next(iter(self._forwarded))]
        else:
            answer(None, "nobody leads")

    def _on_propose(self, source: str, body: dict[str, Any]) -> None:
        """A command that another node forwards. It is forwarded once, so that it is executed once at most."""

        def answer(outcome: Outcome | None, reason: str) -> None:
            told = b64encode(encode_outcome(outcome)).decode() if outcome is not None else None
            self._send(source, {"type": "proposed", "in_reply_to": body["msg_id"], "outcome": told, "reason": reason})

        self._core.propose(b64decode(body["command"]), answer)

    def _on_proposed(self, source: str, body: dict[str, Any]) -> None:
        answer = self._forwarded.pop(body["in_reply_to"], None)
        if answer is not None:
            answer(decode_outcome(b64decode(body["outcome"])) if body["outcome"] is not None else None, body["reason"])

    # -- broadcast

    def _broadcast(self, body: dict[str, Any], reply: Reply) -> None:
        try:
            self._gossip.broadcast(octets(field(body, "message")))
        except ValueError as error:
            raise RequestError(texts.MALFORMED_REQUEST, str(error)) from None
        reply({"type": "broadcast_ok"})


def _error(code: int, text: str) -> dict[str, Any]:
    return {"type": "error", "code": code, "text": text}
