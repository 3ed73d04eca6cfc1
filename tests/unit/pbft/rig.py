"""One replica, and hands to write what the others would say."""

from typing import Any

from msgspec.structs import replace

from agent.core.pbft import messages as m
from agent.core.pbft.config import PbftConfig
from agent.core.pbft.core import Pbft
from agent.core.pbft.wire import batch_digest, statement
from agent.core.replica import io
from agent.core.replica.log import Members, Peer, SnapshotMeta
from agent.sim.byzantine.keys import Keys
from agent.sim.byzantine.node import Disk

KEYS = Keys(7)
CONFIG = PbftConfig(context=b"test", checkpoint_interval=2, window=8, max_inflight=4)


def members(voters: int) -> Members:
    ids = tuple(range(1, voters + 1))
    return Members(voters=ids, peers=tuple(Peer(one, f"n{one}") for one in ids))


def signed(who: int, message: Any, context: bytes = b"test") -> Any:
    return replace(message, sig=KEYS.signer(who)(statement(context, message.said())))


def request(origin: int, number: int, *items: bytes) -> m.Request:
    return signed(origin, m.Request(origin, number, 0, items or (b"%d/%d" % (origin, number),)))


def pre_prepare(view: int, seq: int, *requests: m.Request, by: int = 0, voters: int = 4) -> m.PrePrepare:
    batch = m.Batch(view, requests)
    return m.PrePrepare(signed(by or 1 + view % voters, m.Proposal(view, seq, batch_digest(batch))), batch)


def prepare(who: int, of: m.PrePrepare) -> m.Prepare:
    p = of.proposal
    return signed(who, m.Prepare(p.view, p.seq, p.digest, who, p.sig))


def commit(who: int, of: m.PrePrepare) -> m.Commit:
    p = of.proposal
    return signed(who, m.Commit(p.view, p.seq, p.digest, who))


def prepared(of: m.PrePrepare, *backups: int) -> m.Prepared:
    p = of.proposal
    return m.Prepared(p.view, p.seq, p.digest, p.sig, tuple((who, prepare(who, of).sig) for who in backups))


class Rig:
    """`hear(sender, message)` and the like return what the replica did; what it persists is durable at once unless `slow`."""

    def __init__(self, me: int = 2, voters: int = 4, config: PbftConfig = CONFIG) -> None:
        self.me = me
        self.members = members(voters)
        self.config = config
        self.disk = Disk(SnapshotMeta(members=self.members), b"")
        self.now = 0.0
        self.slow = False
        self.waiting: list[io.Persist] = []
        self.delivered: list[bytes] = []
        self.begin()

    def begin(self) -> tuple[io.Effect, ...]:
        self.core = Pbft(self.me, self.config, self.members, self.disk.recovered()[0], KEYS.signer(self.me), KEYS.verify)
        self.waiting = []
        self.delivered = []
        return self.step(io.Wake())

    def step(self, event: io.Input) -> tuple[io.Effect, ...]:
        effects = self.core.step(self.now, event)
        for effect in effects:
            if isinstance(effect, io.Persist):
                self.waiting.append(effect)
            elif isinstance(effect, io.Deliver):
                self.delivered += [entry.data for entry in effect.entries]
        return effects if self.slow else effects + self.sync()

    def sync(self) -> tuple[io.Effect, ...]:
        if not self.waiting:
            return ()
        batches, self.waiting = self.waiting, []
        for batch in batches:
            self.disk.write(batch)
        return self.step(io.Stored(batches[-1].number))

    def hear(self, sender: int, *messages: Any) -> tuple[io.Effect, ...]:
        out: tuple[io.Effect, ...] = ()
        for message in messages:
            out += self.step(io.Receive(sender, message))
        return out

    def wait(self, seconds: float) -> tuple[io.Effect, ...]:
        """Let time pass, with every wake-up that is due."""
        out: tuple[io.Effect, ...] = ()
        until = self.now + seconds
        while (due := max(self.now, self.core.next_wake())) <= until:
            self.now = due
            out += self.step(io.Wake())
        self.now = until
        return out

    def crash(self) -> tuple[io.Effect, ...]:
        return self.begin()


def said(effects: tuple[io.Effect, ...], kind: type) -> list[Any]:
    """The messages of this kind that were sent, once each."""
    found: list[Any] = []
    for effect in effects:
        if isinstance(effect, io.Send) and isinstance(effect.message, kind) and effect.message not in found:
            found.append(effect.message)
    return found
