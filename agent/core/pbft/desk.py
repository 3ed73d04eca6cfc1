"""What the parts of a replica share: who it is, its keys, what it says, and what it holds back until the disk has it."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from agent.core.pbft.config import PbftConfig
from agent.core.pbft.evidence import Evidence, Suspicions
from agent.core.pbft.messages import Message, Proposal, Signed
from agent.core.pbft.wire import statement
from agent.core.replica.io import Effect, Send

Sign = Callable[[bytes], bytes]
Verify = Callable[[int, bytes, bytes], bool]
S = TypeVar("S", bound=Signed)

HELD_MAX: Final = 100_000
"""Messages that wait for the disk: each is bound to a slot of the window, so this is never reached; it is the assertion of it."""


def faults(voters: int) -> int:
    """f: how many of so many voters may be Byzantine (1)."""
    return (voters - 1) // 3


def quorum(voters: int) -> int:
    """2f + 1 of 3f + 1; in between, as many as make any two of them share f + 1 (4)."""
    return (voters + faults(voters)) // 2 + 1


class Desk:
    """`held`: messages to all (`to` 0) or to one that must not be said before the `Persist` of that number is durable."""

    def __init__(self, me: int, voters: tuple[int, ...], learners: tuple[int, ...], config: PbftConfig, sign: Sign, verify: Verify) -> None:
        self.me = me
        self.voters = voters
        self.voting = me in voters
        self.everyone = tuple(sorted({*voters, *learners}))
        self.others = tuple(one for one in self.everyone if one != me)
        self.config = config
        self.n = len(voters)
        self.f = faults(self.n)
        self.quorum = quorum(self.n)
        self.suspicions = Suspicions()
        self.out: list[Effect] = []
        self.held: deque[tuple[int, int, Message]] = deque()
        self.dirty = False
        """Something is to be persisted at the end of this step."""
        self.number = 0
        """Of the last `Persist`."""
        self.now = 0.0
        self._sign = sign
        self._verify = verify

    def primary(self, view: int) -> int:
        """p = v mod n (4)."""
        return self.voters[view % self.n]

    def signed(self, message: S) -> S:
        return replace(message, sig=self._sign(statement(self.config.context, message.said())))

    def proves(self, who: int, message: Signed) -> bool:
        """Did this member say it?"""
        return self._verify(who, statement(self.config.context, message.said()), message.sig)

    def proves_said(self, who: int, said: tuple[object, ...], sig: bytes) -> bool:
        return self._verify(who, statement(self.config.context, said), sig)

    def send(self, to: int, message: Message) -> None:
        if to != self.me:
            self.out.append(Send(to, message))

    def send_all(self, message: Message) -> None:
        for other in self.others:
            self.out.append(Send(other, message))

    def hold(self, message: Message, to: int = 0) -> None:
        """Say it when what this step persists is durable; `to` 0: to all, oneself included."""
        assert len(self.held) < HELD_MAX
        self.dirty = True
        self.held.append((self.number + 1, to, message))

    def blame(self, who: int, kind: str, first: Any = None, second: Any = None) -> None:
        self.suspicions.note(Evidence(who, kind, first, second))

    def equivocation(self, one: Proposal, other: Proposal) -> bool:
        """Two proposals of one primary for one place in one view: it is a liar, provably."""
        if (one.view, one.seq) != (other.view, other.seq) or one.digest == other.digest:
            return False
        who = self.primary(one.view)
        if not (self.proves(who, one) and self.proves(who, other)):
            return False
        self.blame(who, "equivocation", one, other)
        return True
