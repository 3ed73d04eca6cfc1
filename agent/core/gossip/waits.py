"""The purges whose callers wait: who has acknowledged, who is to be told again, what the answer is."""

from agent.core.gossip.io import PurgeAnswer
from agent.core.gossip.messages import Acknowledge, Invalidation

WAITS_MAX = 256
"""Purges that wait at the same time; a further one is answered at once with what is known."""
NAMED_MAX = 100
"""Members that an answer names."""
RESEND_FIRST_S = 0.3
"""When rumour should have reached everyone; from then on those who have not acknowledged are told directly, ever less often."""
RESEND_TO_MAX = 128


class Wait:
    """One purge. expected: the members that were live when it was issued and still are, ourselves among them."""

    __slots__ = ("acked", "deadline", "early", "expected", "invalidation", "request", "resend_at", "resend_every_s")

    def __init__(self, request: int, invalidation: Invalidation, expected: set[str], now: float, wait_s: float) -> None:
        self.request = request
        self.invalidation = invalidation
        self.expected = expected
        self.acked: set[str] = set()
        self.early: set[str] = set()
        self.deadline = now + wait_s
        self.resend_every_s = RESEND_FIRST_S
        self.resend_at = now + RESEND_FIRST_S

    def answer(self) -> PurgeAnswer:
        missing = sorted(self.expected - self.acked - self.early)
        early = sorted((self.expected & self.early) - self.acked)
        total = len(self.expected)
        return PurgeAnswer(self.request, total - len(missing) - len(early), total, tuple(missing[:NAMED_MAX]), tuple(early[:NAMED_MAX]))


class Waits:
    """All of them, by sequence number of our own stream."""

    def __init__(self) -> None:
        self.by_sequence: dict[int, Wait] = {}

    def add(self, wait: Wait) -> list[PurgeAnswer]:
        if wait.expected <= wait.acked or len(self.by_sequence) >= WAITS_MAX:
            return [wait.answer()]
        self.by_sequence[wait.invalidation.sequence] = wait
        return []

    def on_ack(self, ack: Acknowledge) -> list[PurgeAnswer]:
        early = set(ack.early)
        for sequence in ack.sequences:
            wait = self.by_sequence.get(sequence)
            if wait is not None:
                (wait.early if sequence in early else wait.acked).add(ack.sender)
        return self._complete(ack.sequences)

    def on_gone(self, name: str) -> list[PurgeAnswer]:
        """A member is no longer live: it is not waited for."""
        for wait in self.by_sequence.values():
            wait.expected.discard(name)
        return self._complete(tuple(self.by_sequence))

    def due(self, now: float) -> tuple[list[PurgeAnswer], list[tuple[Invalidation, list[str]]]]:
        """The answers whose time is up, and whom to tell again."""
        answers: list[PurgeAnswer] = []
        again: list[tuple[Invalidation, list[str]]] = []
        for sequence, wait in list(self.by_sequence.items()):
            if now >= wait.deadline:
                answers.append(self.by_sequence.pop(sequence).answer())
            elif now >= wait.resend_at:
                again.append((wait.invalidation, sorted(wait.expected - wait.acked - {wait.invalidation.origin})[:RESEND_TO_MAX]))
                wait.resend_every_s *= 2.0
                wait.resend_at = now + wait.resend_every_s
        return answers, again

    def next_at(self) -> float:
        return min((min(wait.deadline, wait.resend_at) for wait in self.by_sequence.values()), default=float("inf"))

    def _complete(self, sequences: tuple[int, ...]) -> list[PurgeAnswer]:
        done = [
            sequence
            for sequence in sequences
            if sequence in self.by_sequence and self.by_sequence[sequence].expected <= self.by_sequence[sequence].acked
        ]
        return [self.by_sequence.pop(sequence).answer() for sequence in dict.fromkeys(done)]
