"""Builds that are broken on purpose, one promise each: what the simulator is worth is which of them it catches."""

from random import Random
from typing import Any

from msgspec.structs import replace

from agent.core.machine.machine import Machine
from agent.core.raft import quorum
from agent.core.raft.core import Raft
from agent.core.raft.leader import Leader
from agent.core.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, VoteReply
from agent.core.raft.votes import Elections
from agent.core.replica.io import Persist, Read, Receive, Stored
from agent.core.replica.log import Entry, HardState, Members, Recovered, SnapshotMeta
from agent.sim.consensus.cores import RAFT_FAST
from agent.sim.consensus.host import Host
from agent.sim.consensus.machine import REGISTRY
from agent.sim.consensus.run import Core
from agent.sim.consensus.swarm import ConsensusSwarm

ONE_AT_A_TIME = replace(RAFT_FAST, max_batch_bytes=1, max_inflight=1)
"""An entry a message: what stands between two entries of one batch shows itself."""


def core(kind: type[Raft] = Raft, config: Any = RAFT_FAST, swarm: type[ConsensusSwarm] = ConsensusSwarm, **options: Any) -> Core:
    def make(me: int, random: Random, recovered: Recovered, now: float) -> Raft:
        return kind(me, config, random, recovered, now)

    return Core(kind.__name__, make, swarm=swarm, **options)


# -- of the host


class StoredEarly(ConsensusSwarm):
    """Says that a batch is durable when it has only been given to the disk."""

    def _persist(self, host: Host, effect: Persist) -> None:
        super()._persist(host, effect)
        host.inputs.append(Stored(effect.number))


class SkippedSync(ConsensusSwarm):
    """Never synchronises: what is reported durable is in the page cache."""

    def restart(self, host: Host) -> None:
        host.store.finish = lambda op: None  # type: ignore[method-assign]
        super().restart(host)


class SnapshotWithoutMembers(ConsensusSwarm):
    def snapshot_meta(self, host: Host, data: bytes) -> SnapshotMeta:
        return replace(super().snapshot_meta(host, data), members=Members())


class AppliedTwice(ConsensusSwarm):
    """After a restart with a snapshot the machine stands one entry too early, as if the snapshot's index were off by one."""

    def snapshot_meta(self, host: Host, data: bytes) -> SnapshotMeta:
        meta = super().snapshot_meta(host, data)
        return replace(meta, index=meta.index - 1) if meta.index > 2 else meta


class Forgetful(Machine):
    """Keeps no outcomes: a request that comes again is executed again."""

    def apply(self, entry: Entry) -> Any:
        outcome = super().apply(entry)
        for session in self.sessions.table.values():
            session.outcomes.clear()
        return outcome


class NoDeduplication(ConsensusSwarm):
    def new_machine(self) -> Machine:
        return Forgetful(REGISTRY)


# -- of the core


class IgnoresTerms(Raft):
    """A leader takes no notice of higher terms; others take what an older leader says for their own leader's word."""

    def _on_receive(self, sender: int, message: Any) -> None:
        if self.role == "leader":
            if isinstance(message, Append | Heartbeat):
                return
            ignored: Any = AppendReply | HeartbeatReply
        else:
            ignored = Append | Heartbeat
        super()._on_receive(sender, replace(message, term=self.term) if isinstance(message, ignored) else message)


class CountsDuplicates(Raft):
    """A second vote of the same voter counts as another's."""

    def step(self, now: float, event: Any) -> Any:
        if isinstance(event, Receive) and isinstance(event.message, VoteReply) and event.message.granted:
            votes = self._elections._votes
            if event.sender in votes:
                others = [one for one in self.members.voters if one not in votes]
                event = Receive(others[0], event.message) if others else event
        return super().step(now, event)


class CommitsOldTerms(Raft):
    """Figure 3.8: commits an entry of an older term because a majority has it."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._leader.__class__ = CommitsByCount  # type: ignore[assignment]


class CommitsByCount(Leader):
    def advance(self) -> None:
        desk = self._desk
        index = self._quorum_index()
        if desk.commit < index and desk.log.term(index) != desk.term:
            desk.commit_to(index)
        super().advance()


class BreaksPromises(Raft):
    """Helps to replace a leader that it has just heard: the lease means nothing."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._elections.__class__ = NeverPromised  # type: ignore[assignment]


class NeverPromised(Elections):
    @property
    def promised(self) -> bool:
        return False


class ReadsUnconfirmed(Raft):
    """Answers reads from what it knows, without asking whether it still leads."""

    def step(self, now: float, event: Any) -> Any:
        if isinstance(event, Read) and self.role == "leader":
            self._reads._answer((0, event.ticket, False), self.commit)
            return self._desk.finish()
        return super().step(now, event)


class AcknowledgesEarly(Raft):
    """A follower says that it has what is still on its way to the disk."""

    def step(self, now: float, event: Any) -> Any:
        effects = super().step(now, event)
        if isinstance(event, Receive) and self.role == "follower" and self._follower._owed and self.leader == event.sender:
            self._desk.send(event.sender, AppendReply(self.term, self._follower._verified))
            effects += self._desk.finish()
        return effects


class ForgetsVotes(Raft):
    """Begins without the vote that it gave before it crashed."""

    def __init__(self, me: int, config: Any, random: Any, recovered: Recovered, now: float) -> None:
        hard = recovered.hard
        super().__init__(me, config, random, replace(recovered, hard=HardState(hard.term, 0, hard.commit)), now)
        self._elections.__class__ = NeverPromised  # type: ignore[assignment]


class ElectsAnybody(Raft):
    """Votes for candidates whose logs lack what its own has."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._desk.log.is_as_new = lambda last_index, last_term: True  # type: ignore[method-assign]


class OneMajority(Raft):
    """In joint consensus the incoming majority alone decides."""

    def step(self, now: float, event: Any) -> Any:
        kept = quorum.jointly, quorum.joint_vote
        quorum.jointly = lambda voters, outgoing, *rest: quorum.agreed(voters, *rest)
        quorum.joint_vote = lambda voters, outgoing, votes: quorum.vote(voters, votes)
        try:
            return super().step(now, event)
        finally:
            quorum.jointly, quorum.joint_vote = kept


class CommitsUnverified(Raft):
    """A follower believes the leader's commit index for entries that the leader has not said are alike."""

    def step(self, now: float, event: Any) -> Any:
        if isinstance(event, Receive) and type(event.message).__name__ == "Heartbeat":
            event = Receive(event.sender, replace(event.message, commit=1 << 40))
            desk = self._desk
            event = Receive(event.sender, replace(event.message, commit=desk.log.last))
        return super().step(now, event)
