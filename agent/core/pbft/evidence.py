"""What speaks against members: counted by member and kind, with the last pieces kept. The controller of modes reads it."""

from collections import Counter, deque
from typing import Any, Final

from msgspec import Struct

KINDS: Final = {
    "signature": "a signature that is not the sender's, or not what was signed",
    "equivocation": "two proposals for one place in one view, both signed by its primary: a proof",
    "proposal": "a proposal that a correct primary does not make: wrong digest, requests executed before, commands of none",
    "view_change": "a view-change whose certificates do not hold",
    "new_view": "a new view that does not follow from its view-changes",
    "checkpoint": "a checkpoint that a quorum contradicts",
    "window": "numbers far beyond the watermarks",
    "state": "entries or a snapshot that do not have the proven digest",
    "silence": "a primary that let a request wait too long: no proof, networks do it too",
    "malformed": "what is no message, or not from who may send it",
}
PROOFS: Final = frozenset({"signature", "equivocation", "proposal", "view_change", "new_view", "checkpoint", "state", "malformed"})
"""Kinds that a correct member does not give cause for: silence and numbers beyond the watermarks can be the network's fault."""
KEPT: Final = 32


class Evidence(Struct, frozen=True):
    """`first`, `second`: the messages, where there are some."""

    member: int
    kind: str
    first: Any = None
    second: Any = None


class Suspicions:
    def __init__(self) -> None:
        self.counts: Counter[tuple[int, str]] = Counter()
        """By member and kind. Bounded: who is no member is counted as member 0."""
        self.kept: deque[Evidence] = deque(maxlen=KEPT)

    def note(self, evidence: Evidence) -> None:
        assert evidence.kind in KINDS
        self.counts[evidence.member, evidence.kind] += 1
        self.kept.append(evidence)

    def wrong(self) -> int:
        """How often something was wrong that no correct member and no network does."""
        return sum(count for (_, kind), count in self.counts.items() if kind in PROOFS)

    def liars(self) -> tuple[int, ...]:
        return tuple(sorted({member for (member, kind) in self.counts if kind in PROOFS and member}))
