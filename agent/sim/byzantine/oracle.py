"""What a Byzantine group promises, checked at every step of a simulation: agreement, validity, exactly once, no lost answer, reads."""

from msgspec import Struct

from agent.core.replica import io
from agent.core.replica.log import COMMAND, Entry
from agent.sim.byzantine.node import Node

LIARS_OWN = b"liar's "
"""Commands that a liar proposes under its own name: it is a member and may."""


class Violation(AssertionError):
    """A promise was broken."""


class Asked(Struct, gc=False):
    data: bytes
    at: float
    answered: float = 0.0


class Oracle:
    """`correct`: members that follow the protocol; what the others deliver or answer counts for nothing."""

    def __init__(self, correct: set[int]) -> None:
        self.correct = correct
        self.decided: dict[int, Entry] = {}
        self.where: dict[bytes, int] = {}
        self.submitted: set[bytes] = set()
        self.tickets: dict[tuple[int, int], Asked] = {}
        self.reads: dict[tuple[int, int], int] = {}
        self.acknowledged = 0
        self.answered = 0
        self.refused = 0
        self.reads_answered = 0

    def asked(self, node: Node, ticket: int, data: bytes) -> None:
        self.submitted.add(data)
        self.tickets[node.me, ticket] = Asked(data, node.engine.now)

    def read(self, node: Node, ticket: int) -> None:
        self.reads[node.me, ticket] = self.acknowledged

    def on_entry(self, node: Node, entry: Entry) -> None:
        if node.me not in self.correct:
            return
        known = self.decided.get(entry.index)
        if known is not None:
            if known != entry:
                raise Violation(f"agreement: index {entry.index} is {known} and, at {node.me}, {entry}")
            return
        self.decided[entry.index] = entry
        if entry.kind == COMMAND and not entry.data.startswith(LIARS_OWN):
            if entry.data not in self.submitted:
                raise Violation(f"validity: {entry.data!r} at {entry.index} was proposed by nobody")
            if entry.data in self.where:
                raise Violation(f"exactly once: {entry.data!r} at {self.where[entry.data]} and {entry.index}")
            self.where[entry.data] = entry.index

    def on_answer(self, node: Node, effect: io.Effect) -> None:
        if node.me not in self.correct:
            return
        if isinstance(effect, io.Proposed):
            asked = self.tickets.get((node.me, effect.ticket))
            if asked is not None and not asked.answered:
                asked.answered = node.engine.now
                self.answered += 1
                node.engine.at(node.engine.now, self._check_answer, asked, effect)
        elif isinstance(effect, io.Refused):
            asked = self.tickets.get((node.me, effect.ticket))
            if asked is not None:
                asked.answered = node.engine.now
                self.refused += 1
            self.reads.pop((node.me, effect.ticket), None)
        elif isinstance(effect, io.ReadReady):
            least = self.reads.pop((node.me, effect.ticket), None)
            if least is not None:
                self.reads_answered += 1
                if effect.index < least:
                    raise Violation(f"linearizability: a read at {effect.index}, and {least} was acknowledged before it was asked")

    def _check_answer(self, asked: Asked, effect: io.Proposed) -> None:
        entry = self.decided.get(effect.index)
        if entry is None or entry.data != asked.data or entry.term != effect.term:
            raise Violation(f"answer: {asked.data!r} was to stand at {effect.index}, which is {entry}")
        self.acknowledged = max(self.acknowledged, effect.index)

    def unanswered(self) -> list[Asked]:
        return [asked for (member, _), asked in self.tickets.items() if member in self.correct and not asked.answered]
