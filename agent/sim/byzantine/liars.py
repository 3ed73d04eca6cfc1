"""Members that lie, each kind in its own way. A liar runs the real core and what it sends is changed; it has its own key, and those of
its accomplices, and nobody else's. (Castro and Liskov, 2: an adversary coordinates faulty nodes, delays messages, breaks no keys.)
"""

from collections.abc import Callable
from random import Random
from typing import Any, Final

from msgspec.structs import replace

from agent.core.pbft import messages as m
from agent.core.pbft.desk import Sign
from agent.core.pbft.messages import NULL
from agent.core.pbft.wire import batch_digest, statement

Out = list[tuple[float, int, Any]]
"""After how many seconds, to whom, what."""


class Liar:
    """`sign`: signs a statement with its key. `side(member)`: the half of the group that a two-faced liar counts it to."""

    def __init__(self, me: int, members: tuple[int, ...], context: bytes, signers: dict[int, Sign], random: Random) -> None:
        self.me = me
        self.members = members
        self.context = context
        self.signers = signers
        self.random = random
        self.heard: list[Any] = []

    def signed(self, message: Any, who: int = 0) -> Any:
        return replace(message, sig=self.signers[who or self.me](statement(self.context, message.said())))

    def side(self, member: int) -> int:
        return self.members.index(member) % 2

    def hears(self, message: Any) -> None:
        self.heard.append(message)
        if len(self.heard) > 2000:
            del self.heard[:1000]

    def says(self, to: int, message: Any) -> Out:
        return [(0.0, to, message)]

    def bursts(self) -> Out:
        """What it sends unasked, ten times a second."""
        return []


class Silent(Liar):
    """Says nothing at all: crashed, as far as others can tell."""

    def says(self, to: int, message: Any) -> Out:
        return []


class Mute(Liar):
    """Silent as a primary only: takes requests and orders none, but votes in everything else."""

    def says(self, to: int, message: Any) -> Out:
        return [] if isinstance(message, m.PrePrepare | m.NewView) else [(0.0, to, message)]


class Late(Liar):
    """Everything comes half a second to four seconds late."""

    def says(self, to: int, message: Any) -> Out:
        return [(self.random.uniform(0.5, 4.0), to, message)]


class Equivocator(Liar):
    """As a primary it proposes two batches for one place, one to each side; it votes for whatever the other side wants to hear."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.twins: dict[tuple[int, int], m.PrePrepare] = {}

    def twin(self, message: m.PrePrepare) -> m.PrePrepare:
        proposal, batch = message.proposal, message.batch
        key = (proposal.view, proposal.seq)
        if key not in self.twins:
            requests = tuple(reversed(batch.requests)) if len(batch.requests) > 1 else self.another(batch)
            other = m.Batch(batch.view, requests)
            self.twins[key] = m.PrePrepare(self.signed(m.Proposal(*key, batch_digest(other))), other)
        return self.twins[key]

    def another(self, batch: m.Batch) -> tuple[m.Request, ...]:
        """Requests that were really made, but are not what the batch has."""
        known = [one for one in self.heard if isinstance(one, m.Request) and one not in batch.requests]
        own = self.signed(m.Request(self.me, 1 << 40 | self.random.getrandbits(30), 0, (b"liar's twin",)))
        return (known[-1],) if known else (own,)

    def says(self, to: int, message: Any) -> Out:
        if isinstance(message, m.PrePrepare) and self.side(to):
            return [(0.0, to, self.twin(message))]
        if isinstance(message, m.Prepare | m.Commit) and self.side(to):
            other = self.twins.get((message.view, message.seq))
            if other is not None:
                shown = {"shown": other.proposal.sig} if isinstance(message, m.Prepare) else {}
                return [(0.0, to, self.signed(replace(message, digest=other.proposal.digest, **shown)))]
        return [(0.0, to, message)]


class Colluder(Equivocator):
    """An equivocator whose accomplices (those whose keys it has) vote with it, on both sides."""

    def says(self, to: int, message: Any) -> Out:
        out = super().says(to, message)
        for delay, target, said in list(out):
            if isinstance(said, m.PrePrepare):
                p = said.proposal
                for who in sorted(self.signers):
                    if who != self.me:
                        out.append((delay, target, self.signed(m.Prepare(p.view, p.seq, p.digest, who, p.sig), who)))
                    out.append((delay, target, self.signed(m.Commit(p.view, p.seq, p.digest, who), who)))
        return out


class Impersonator(Equivocator):
    """An equivocator that votes in everybody's name on each side, with signatures that it cannot make."""

    def says(self, to: int, message: Any) -> Out:
        out = super().says(to, message)
        for delay, target, said in list(out):
            if isinstance(said, m.PrePrepare):
                p, junk = said.proposal, self.random.randbytes(16)
                for who in self.members:
                    out.append((delay, target, m.Prepare(p.view, p.seq, p.digest, who, p.sig, junk)))
                    out.append((delay, target, m.Commit(p.view, p.seq, p.digest, who, junk)))
        return out


class WrongDigests(Liar):
    """Votes and checkpoints for what nobody proposed; batches, entries and snapshots that are not what was asked for."""

    def says(self, to: int, message: Any) -> Out:
        junk = self.random.randbytes(32)
        if isinstance(message, m.Prepare | m.Commit) and self.random.random() < 0.7:
            message = self.signed(replace(message, digest=junk))
        elif isinstance(message, m.Checkpoint):
            message = self.signed(replace(message, chain=junk))
        elif isinstance(message, m.Vouch):
            message = self.signed(replace(message, digest=junk))
        elif isinstance(message, m.BatchIs):
            message = replace(message, batch=m.Batch(message.batch.view, message.batch.requests[1:]))
        elif isinstance(message, m.EntriesAre) and message.entries:
            message = replace(message, entries=(replace(message.entries[0], data=b"made up"), *message.entries[1:]))
        elif isinstance(message, m.Part):
            message = replace(message, data=bytes(len(message.data)))
        elif isinstance(message, m.ReadAnswer):
            message = self.signed(replace(message, index=self.random.choice((0, 1 << 40))))
        return [(0.0, to, message)]


class Forger(Liar):
    """Lies in view-changes and new views: hides what is prepared, forges certificates, proposes what does not follow; invents requests."""

    def cert(self, view: int, seq: int) -> m.Prepared:
        digest = self.random.randbytes(32)
        backups = [one for one in self.members if one != self.members[view % len(self.members)]]
        return m.Prepared(view, seq, digest, self.random.randbytes(16), tuple((one, self.random.randbytes(16)) for one in backups))

    def says(self, to: int, message: Any) -> Out:
        if isinstance(message, m.ViewChange) and message.sender == self.me:
            message = self.signed(replace(message, prepared=self.forged(message)))
        elif isinstance(message, m.NewView):
            proposals = tuple(self.signed(replace(one, digest=NULL, sig=b"")) for one in message.proposals)
            extra = message.proposals[-1].seq if message.proposals else max(change.stable for change in message.changes)
            if not proposals or self.random.random() < 0.5:
                proposals = (*message.proposals, self.signed(m.Proposal(message.view, extra + 1, self.random.randbytes(32))))
            message = self.signed(replace(message, proposals=proposals, sig=b""))
        elif isinstance(message, m.PrePrepare) and self.random.random() < 0.3:
            other = self.members[to % len(self.members)]
            invented = m.Request(other, 1 << 41 | self.random.getrandbits(30), 0, (b"invented",), self.random.randbytes(16))
            batch = m.Batch(message.batch.view, (*message.batch.requests, invented))
            proposal = m.Proposal(message.proposal.view, message.proposal.seq, batch_digest(batch))
            message = m.PrePrepare(self.signed(proposal), batch)
        return [(0.0, to, message)]

    def forged(self, message: m.ViewChange) -> tuple[m.Prepared, ...]:
        kind = self.random.randrange(3)
        if kind == 0:
            return ()
        if kind == 1:
            return (self.cert(message.view - 1, message.stable + 1),)
        return tuple(replace(one, digest=self.random.randbytes(32)) for one in message.prepared)

    def bursts(self) -> Out:
        """Somebody else's votes, without their keys, and view-changes for views far away."""
        out: Out = []
        other = self.random.choice(self.members)
        view = self.random.choice((1, 2, 1000, 1 << 50))
        out.append((0.0, other, self.signed(m.ViewChange(view, 0, (), (), self.me))))
        fake = self.random.choice([one for one in self.members if one != self.me])
        out.append((0.0, other, m.Commit(0, 1 + self.random.randrange(64), self.random.randbytes(32), fake, self.random.randbytes(16))))
        return out


class Replayer(Liar):
    """Sends again, to anybody, what it has heard: old views', old checkpoints', others' requests."""

    def bursts(self) -> Out:
        return [(0.0, self.random.choice(self.members), self.random.choice(self.heard)) for _ in range(20)] if self.heard else []


class Flooder(Liar):
    """Numbers, views and checkpoints far beyond the watermarks; requests without end."""

    def bursts(self) -> Out:
        out: Out = []
        for _ in range(20):
            to = self.random.choice(self.members)
            seq = self.random.choice((65, 1000, 1 << 40)) + self.random.randrange(1000)
            digest = self.random.randbytes(32)
            number = self.random.getrandbits(50)
            message: Any = self.random.choice(
                (
                    m.Commit(self.random.randrange(9), seq, digest, self.me),
                    m.Prepare(0, seq, digest, self.me, b""),
                    m.Checkpoint(seq // 8 * 8, seq, 1, digest, digest, self.me),
                    m.Request(self.me, number, 0, (b"liar's %d" % number,)),
                    m.Vouch(seq, seq, 1, digest, digest, digest, 10, self.me),
                    m.ReadAnswer(number, seq, self.me),
                )
            )
            out.append((0.0, to, self.signed(message)))
        return out


LIARS: Final[dict[str, Callable[..., Liar]]] = {
    "silent": Silent,
    "mute": Mute,
    "late": Late,
    "equivocator": Equivocator,
    "colluder": Colluder,
    "impersonator": Impersonator,
    "wrong_digests": WrongDigests,
    "forger": Forger,
    "replayer": Replayer,
    "flooder": Flooder,
}
