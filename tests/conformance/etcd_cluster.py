"""etcd-raft's interaction scripts on our core: its commands, its way of showing states. Each node has a clock of its own, as there.

A node's effects wait until its `Ready` is handled; writes are durable then, or, with async storage writes, when the append thread is
run. A group begins behind a snapshot of term 0, so that terms and indices are etcd's.
"""

from collections import deque
from dataclasses import dataclass, field

from msgspec.structs import replace

from agent.core.raft import confchange
from agent.core.raft import messages as m
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.desk import LEADER
from agent.core.raft.progress import PROBE, REPLICATE
from agent.core.replica import io
from agent.core.replica.log import COMMAND, MEMBERS, NOOP, Entry, Members, Peer, Recovered, SnapshotMeta
from tests.conformance.datadriven import Step, listed

STATES = {0: "StateProbe", 1: "StateReplicate", 2: "StateSnapshot"}
ROLES = {"follower": "StateFollower", "learner": "StateFollower", "removed": "StateFollower", "leader": "StateLeader"}
EVERYBODY = tuple(Peer(one, f"n{one}") for one in range(1, 10))


class NotOurs(Exception):
    """A command that our core has no counterpart for."""


class Late:
    """Nobody stands by itself within two election timeouts."""

    def random(self) -> float:
        return 0.999


NAMES = {
    m.Append: "MsgApp",
    m.AppendReply: "MsgAppResp",
    m.Heartbeat: "MsgHeartbeat",
    m.HeartbeatReply: "MsgHeartbeatResp",
    m.SnapshotChunk: "MsgSnap",
    m.SnapshotReply: "MsgSnapStatus",
    m.TimeoutNow: "MsgTimeoutNow",
    m.Gone: "ours alone",
}


def shown(sender: int, to: int, message: m.Message) -> str:
    """A message as etcd prints it, less what only one of us says."""
    term = message.term
    if isinstance(message, m.VoteRequest):
        name = "MsgPreVote" if message.pre else "MsgVote"
        return f"{sender}->{to} {name} Term:{term} Log:{message.last_term}/{message.last_index}"
    if isinstance(message, m.VoteReply):
        return f"{sender}->{to} {'MsgPreVoteResp' if message.pre else 'MsgVoteResp'} Term:{term}{'' if message.granted else ' Rejected'}"
    text = f"{sender}->{to} {NAMES[type(message)]} Term:{term}"
    if isinstance(message, m.Append):
        text += f" Log:{message.prev_term}/{message.prev_index} Commit:{message.commit}"
        return text + "".join(f" {entry.term}/{entry.index}" for entry in message.entries)
    if isinstance(message, m.AppendReply):
        return f"{text} {message.index}" + ("" if message.ok else f" Rejected (Hint: {message.hint_index})")
    if isinstance(message, m.Heartbeat):
        return f"{text} Commit:{message.commit}"
    return text


@dataclass
class Node:
    raft: Raft
    asynchronous: bool
    now: float = 0.0
    ready: deque[io.Effect] = field(default_factory=deque)
    writes: deque[int] = field(default_factory=deque)
    prevote: bool = False
    checkquorum: bool = False
    snapshot: SnapshotMeta = field(default_factory=SnapshotMeta)

    def step(self, event: io.Input) -> None:
        self.ready.extend(self.raft.step(self.now, event))

    def step_wake(self) -> None:
        self.step(io.Wake())


class Cluster:
    def __init__(self) -> None:
        self.nodes: dict[int, Node] = {}
        self.wires: list[tuple[int, int, m.Message]] = []
        self.received: list[str] = []

    def run(self, step: Step) -> str | None:
        """What etcd would have printed; None where the command prints nothing that we compare."""
        name = step.command.replace("-", "_")
        method = getattr(self, f"on_{name}", None)
        if method is None:
            raise NotOurs(step.command)
        result: str | None = method(step)
        return result

    # -- setting up

    def on_log_level(self, step: Step) -> None:
        """What the core says of itself is not compared."""

    def on_add_nodes(self, step: Step) -> None:
        voters = tuple(int(one) for one in listed(step.get("voters")))
        learners = tuple(int(one) for one in listed(step.get("learners")))
        index = int(step.get("index") or 0)
        named = tuple(peer for peer in EVERYBODY if peer.id in voters + learners)
        meta = SnapshotMeta(index=index, term=0, members=Members(voters=voters, learners=learners, peers=named))
        if step.get("disable-conf-change-validation") or step.get("max-committed-size-per-ready"):
            raise NotOurs("options of etcd's own")
        config = RaftConfig(commit_notice_s=0.0, max_inflight=int(step.get("inflight") or 256), margin_entries=0)
        for _ in range(int(step.words[0])):
            one = len(self.nodes) + 1
            raft = Raft(one, config, Late(), Recovered(snapshot=meta), 0.0)
            node = Node(raft, step.get("async-storage-writes") == "true", snapshot=meta)
            node.prevote = step.get("prevote") == "true"
            node.checkquorum = step.get("checkquorum") == "true"
            # A start counts as having heard a leader; etcd's does not.
            raft._desk.heard_at = -10.0
            self.nodes[one] = node

    # -- inputs

    def node(self, step: Step) -> Node:
        return self.nodes[int(step.words[0])]

    def on_campaign(self, step: Step) -> None:
        node = self.node(step)
        node.raft._desk.now = node.now
        if node.raft._desk.role != LEADER:
            node.raft._elections.stand(not node.prevote)
            node.ready.extend(node.raft._desk.finish())

    def on_propose(self, step: Step) -> None:
        self.node(step).step(io.Propose(((1, step.words[1].encode()),)))

    def on_tick_heartbeat(self, step: Step) -> None:
        node = self.node(step)
        if node.raft.role != "leader":
            raise NotOurs("ticks of a follower")
        node.now = node.raft.next_wake()
        node.step(io.Wake())

    def on_tick_election(self, step: Step) -> None:
        """An election timeout's time passes."""
        node = self.node(step)
        until = node.now + 1.0
        while node.raft.next_wake() <= until:
            node.now = max(node.now, node.raft.next_wake())
            node.step(io.Wake())
        node.now = until

    def on_set_randomized_election_timeout(self, step: Step) -> None:
        """Nobody stands by itself here."""

    def on_report_unreachable(self, step: Step) -> None:
        self.node(step).step(io.Unreachable(int(step.words[1])))

    def on_transfer_leadership(self, step: Step) -> None:
        self.nodes[int(step.get("from") or 0)].step(io.Transfer(1, int(step.get("to") or 0)))

    def on_propose_conf_change(self, step: Step) -> None:
        node = self.node(step)
        changes = [(word[0], int(word[1:])) for line in step.input for word in line.split()]
        now = node.raft.members
        if not changes:
            # Leaving a joint configuration: ours does by itself.
            return
        after = confchange.enter_joint(replace(now, outgoing=()), changes, False)
        wanted = Members(voters=after.voters, learners=tuple(sorted({*after.learners, *after.learners_next})), peers=EVERYBODY)
        named = tuple(peer for peer in EVERYBODY if peer.id in wanted.voters + wanted.learners)
        node.step(io.Change(1, replace(wanted, peers=named)))

    def on_compact(self, step: Step) -> None:
        node = self.node(step)
        index = int(step.words[1])
        raft = node.raft
        node.snapshot = SnapshotMeta(index=index, term=raft.log.term(index), members=raft.members, size=0)
        raft.log.snapshot = node.snapshot
        raft.log.compact(index)

    # -- time passes

    def on_process_ready(self, step: Step) -> None:
        self.handle_ready(int(step.words[0]))

    def handle_ready(self, one: int) -> bool:
        """All that the node wants done, once."""
        node = self.nodes[one]
        if not node.ready:
            return False
        effects, node.ready = node.ready, deque()
        for effect in effects:
            if isinstance(effect, io.Send):
                self.wires.append((one, effect.to, effect.message))
            elif isinstance(effect, io.Persist):
                node.writes.append(effect.number)
            elif isinstance(effect, io.StoreChunk):
                node.step(io.SnapshotStored(effect.meta))
        if not node.asynchronous:
            while node.writes:
                node.step(io.Stored(node.writes.popleft()))
        return True

    def on_process_append_thread(self, step: Step) -> None:
        self.append(int(step.words[0]))

    def append(self, one: int) -> bool:
        node = self.nodes[one]
        if not node.writes:
            return False
        node.step(io.Stored(node.writes.popleft()))
        return True

    def on_process_apply_thread(self, step: Step) -> None:
        node = self.node(step)
        node.step(io.Applied(node.raft.commit))

    def on_deliver_msgs(self, step: Step) -> None:
        drop = [int(one) for one in listed(step.get("drop"))]
        self.deliver([int(word) for word in step.words], drop)

    def deliver(self, to: list[int], drop: list[int]) -> bool:
        mine = [wire for wire in self.wires if wire[1] in to or wire[1] in drop]
        self.wires = [wire for wire in self.wires if wire not in mine]
        for sender, target, message in mine:
            if target in to and target in self.nodes:
                self.received.append(shown(sender, target, message))
                self.nodes[target].step(io.Receive(sender, message))
        return bool(mine)

    def on_stabilize(self, step: Step) -> None:
        chosen = [int(word) for word in step.words] or sorted(self.nodes)
        for _ in range(200):
            moved = False
            for one in chosen:
                moved = self.handle_ready(one) or moved
            for one in chosen:
                moved = self.deliver([one], []) or moved
            for one in chosen:
                moved = self.append(one) or moved
            if not moved:
                return
        raise AssertionError("it does not come to rest")

    # -- what is shown

    def on_raft_state(self, step: Step) -> str:
        lines = []
        for one, node in self.nodes.items():
            raft = node.raft
            role = ROLES.get(raft.role) or ("StatePreCandidate" if raft._desk.role == 1 else "StateCandidate")
            voter = "Voter" if one in raft.members.voters + raft.members.outgoing else "Non-Voter"
            lines.append(f"{one}: {role} ({voter}) Term:{raft.term} Lead:{raft.leader}")
        return "\n".join(lines)

    def on_raft_log(self, step: Step) -> str:
        log = self.node(step).raft.log
        if not log.entries:
            return f"log is empty: first index={log.offset + 1}, last index={log.offset}"
        return "\n".join(self.entry(one) for one in log.entries)

    @staticmethod
    def entry(entry: Entry) -> str:
        if entry.kind == MEMBERS:
            return f"{entry.term}/{entry.index} EntryConfChange"
        assert entry.kind in (COMMAND, NOOP)
        return f'{entry.term}/{entry.index} EntryNormal "{entry.data.decode()}"'

    def on_status(self, step: Step) -> str:
        node = self.node(step)
        raft = node.raft
        members = raft.members
        lines = []
        for one in sorted({*members.voters, *members.outgoing, *members.learners}):
            if one == raft.me:
                lines.append(f"{one}: StateReplicate match={raft.log.stable} next={raft.log.stable + 1}")
                continue
            progress = raft.progress[one]
            line = f"{one}: {STATES[progress.state]} match={progress.match} next={progress.next}"
            if one in members.learners:
                line += " learner"
            full = progress.state == REPLICATE and len(progress.inflight) >= raft._desk.config.max_inflight
            if (progress.state == PROBE and progress.paused) or full or progress.meta is not None:
                line += " paused"
            if progress.meta is not None:
                line += f" pendingSnap={progress.meta.index}"
            if not progress.heard:
                line += " inactive"
            if progress.state == REPLICATE and progress.inflight:
                line += f" inflight={len(progress.inflight)}" + ("[full]" if full else "")
            lines.append(line)
        return "\n".join(lines)
