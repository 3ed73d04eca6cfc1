"""Replicas whose messages and disks are moved by hand: `wires` holds what was sent, writes wait for `disk`."""

from collections.abc import Iterable
from random import Random

from agent.core.raft import messages as m
from agent.core.raft import wire
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.replica import io
from agent.core.replica.log import COMMAND, Members, Peer, Recovered, SnapshotMeta


def group_of(count: int) -> Members:
    ids = tuple(range(1, count + 1))
    return Members(voters=ids, peers=tuple(Peer(one, f"n{one}") for one in ids))


class Stage:
    def __init__(self, members: Members, config: RaftConfig = RaftConfig(commit_notice_s=0.0), kind: type[Raft] = Raft) -> None:  # noqa: B008
        self.now = 0.0
        self.config = config
        self.kind = kind
        begin = Recovered(snapshot=SnapshotMeta(index=1, term=1, members=members))
        self.durable = dict.fromkeys((*members.voters, *members.learners), begin)
        self.raft: dict[int, Raft] = {}
        self.wires: list[tuple[int, int, m.Message]] = []
        self.writes: dict[int, list[io.Persist]] = {one: [] for one in self.durable}
        self.told: dict[int, list[io.Effect]] = {one: [] for one in self.durable}
        """What each wants its host to know: everything but messages and writes."""
        for one in self.durable:
            self.start(one)

    def start(self, one: int) -> None:
        self.raft[one] = self.kind(one, self.config, Random(one), self.durable[one], self.now)

    def crash(self, *ones: int) -> None:
        """The power goes: what was not durable, and what was on the wires from and to them, is lost. `start` brings them back."""
        for one in ones:
            del self.raft[one]
            self.writes[one] = []
            self.told[one] = []
        self.wires = [wire for wire in self.wires if wire[0] in self.raft and wire[1] in self.raft]

    def feed(self, one: int, event: io.Input) -> list[io.Effect]:
        effects = self.raft[one].step(self.now, event)
        for effect in effects:
            if isinstance(effect, io.Persist):
                self.writes[one].append(effect)
            elif isinstance(effect, io.Send):
                self.wires.append((one, effect.to, wire.decode(wire.encode(effect.message))))
            else:
                self.told[one].append(effect)
        return list(effects)

    def disk(self, *ones: int) -> None:
        """What they write is durable now."""
        for one in ones:
            writes, self.writes[one] = self.writes[one], []
            for write in writes:
                before = self.durable[one]
                kept = before.entries
                if write.entries:
                    kept = (*[entry for entry in kept if entry.index < write.entries[0].index], *write.entries)
                self.durable[one] = Recovered(write.hard or before.hard, before.snapshot, kept)
            if writes:
                self.feed(one, io.Stored(writes[-1].number))

    def carry(self, *kinds: type, among: Iterable[int] = (), to: int = 0, drop: bool = False) -> int:
        """Messages of these kinds (all: none given) arrive, or are lost. How many."""
        among = set(among) or set(self.durable)
        mine = [
            one
            for one in self.wires
            if (not kinds or isinstance(one[2], kinds)) and one[0] in among and one[1] in among and (not to or one[1] == to)
        ]
        self.wires = [one for one in self.wires if not any(one is other for other in mine)]
        for sender, target, message in mine:
            if not drop and target in self.raft:
                self.feed(target, io.Receive(sender, message))
        return len(mine)

    def settle(self, *among: int) -> None:
        """Everything among them arrives and is written, until there is nothing left. What goes to others is lost."""
        among = among or tuple(self.raft)
        for _ in range(100):
            moved = self.carry(among=among)
            for one in among:
                moved += len(self.writes[one])
                self.disk(one)
            if not moved:
                break
        self.wires = []

    def pass_time(self, seconds: float, *among: int) -> None:
        """Time passes for these alone; what they say to each other arrives."""
        until = self.now + seconds
        among = among or tuple(self.raft)
        while True:
            first = min(among, key=lambda one: self.raft[one].next_wake())
            due = self.raft[first].next_wake()
            if due > until:
                break
            self.now = max(self.now, due)
            self.feed(first, io.Wake())
            self.settle(*among)
        self.now = until

    def elect(self, one: int, *among: int) -> Raft:
        """Only this one stands, when the others have not heard a leader for long; its voters are `among`."""
        among = among or tuple(self.raft)
        self.now += 3 * self.config.election_s
        self.feed(one, io.Wake())
        self.settle(*among)
        assert self.raft[one].role == "leader", self.raft[one].role
        return self.raft[one]

    def told_of(self, one: int, *kinds: type) -> list[io.Effect]:
        return [effect for effect in self.told[one] if isinstance(effect, kinds)]

    def commands(self, one: int) -> list[bytes]:
        """What is in its log, committed or not."""
        return [entry.data for entry in self.raft[one].log.entries if entry.kind == COMMAND]
