"""What befalls a group in one run: a random choice of kinds of misfortune, and random misfortunes of these kinds.

That each run has only some of the kinds finds more than all of them in every run (Groce et al., Swarm Testing, 2012): a crash hides
what a slow disk alone would show.
"""

from collections.abc import Callable
from random import Random

from agent.core.replica.io import Change, Transfer
from agent.core.replica.log import Members
from agent.sim.consensus.host import Answer, Host, Waiting
from agent.sim.consensus.swarm import ConsensusSwarm

FEATURES = (
    "kill",
    "power",
    "leader_crash",
    "pause",
    "freeze",
    "partition",
    "isolate",
    "one_way",
    "partial",
    "loss",
    "disorder",
    "slow_disk",
    "full_disk",
    "clocks",
    "transfer",
    "members",
    "wipe",
    "snapshots",
)
"""loss: of packets; disorder: packets twice and out of order; partial: two do not hear each other, and both hear the rest; isolate:
the leader, from some or all; freeze: the leader stands still, and is cut off when it goes on; wipe: a disk is lost, and another takes
its place. loss, disorder and snapshots (often) are there from the beginning of a run; the others come and go."""
FROM_THE_START = ("loss", "disorder", "snapshots")
OPERATOR_S = 0.25
LOST_MAX = 1
"""Disks lost at once, before their voters are replaced: more would lose what is committed, and no protocol can help it."""


def draw_features(random: Random) -> tuple[str, ...]:
    """About half of them."""
    return tuple(feature for feature in FEATURES if random.random() < 0.4)


class Nemesis:
    """`mean_s`: between two misfortunes. Until `heal`."""

    def __init__(
        self, swarm: ConsensusSwarm, features: tuple[str, ...], random: Random, target: int, clock_spread: float, mean_s: float = 0.25
    ) -> None:
        self.swarm = swarm
        self.clock_spread = clock_spread
        self.features = tuple(feature for feature in features if feature not in FROM_THE_START)
        self.random = random
        self.mean_s = mean_s
        self.healed = False
        self.target = target
        """Voters that there should be."""
        self.wanted: tuple[int, ...] = ()
        """Machines that should be voters; empty: as they are."""
        self.counts: dict[str, int] = {}
        self._acts: dict[str, Callable[[], None]] = {name: getattr(self, f"_{name}") for name in FEATURES if name not in FROM_THE_START}
        if self.features:
            swarm.engine.after(random.expovariate(1.0 / mean_s), self._act)
        swarm.engine.after(OPERATOR_S, self._operate)

    def _act(self) -> None:
        if self.healed:
            return
        feature = self.features[self.random.randrange(len(self.features))]
        self.counts[feature] = self.counts.get(feature, 0) + 1
        self.swarm.engine.mark_text(feature)
        self.swarm.note(f"nemesis: {feature}")
        self._acts[feature]()
        self.swarm.engine.after(self.random.expovariate(1.0 / self.mean_s), self._act)

    def _duration_s(self) -> float:
        return 0.05 + self.random.expovariate(1.0 / 0.6)

    def _until(self, undo: Callable[..., None], *args: object) -> None:
        self.swarm.engine.after(self._duration_s(), undo, *args)

    def _one(self) -> Host:
        hosts = self.swarm.hosts
        return hosts[self.random.randrange(len(hosts))]

    # -- processes and machines

    def crash(self, host: Host, power: bool) -> None:
        """For a while."""
        if host.up:
            self.swarm.crash(host, power=power)
            self._until(self._restart, host, host.life)

    def _restart(self, host: Host, life: int) -> None:
        if not host.up and host.life == life:
            self.swarm.restart(host)

    def _kill(self) -> None:
        self.crash(self._one(), False)

    def _power(self) -> None:
        if self.random.random() < 0.2:
            # All of them: a rack's power.
            for host in self.swarm.hosts:
                self.crash(host, True)
        else:
            self.crash(self._one(), True)

    def _leader_crash(self) -> None:
        leader = self.swarm.leader()
        if leader is not None:
            self.crash(leader, self.random.random() < 0.5)

    def _pause(self) -> None:
        host = (self.swarm.leader() if self.random.random() < 0.5 else None) or self._one()
        if host.up and not host.paused:
            self.swarm.pause(host)
            self._until(self._resume, host)

    def _resume(self, host: Host) -> None:
        self.swarm.resume(host)

    # -- the network

    def _partition(self) -> None:
        self._cut(False)

    def _one_way(self) -> None:
        self._cut(True)

    def _cut(self, one_way: bool) -> None:
        order = self.random.sample(range(len(self.swarm.hosts)), len(self.swarm.hosts))
        border = 1 + self.random.randrange(max(1, len(order) - 1))
        self.swarm.network.heal()
        self.swarm.network.partition([order[:border], order[border:]], one_way=one_way)
        self._until(self.swarm.network.heal)

    def _isolate(self) -> None:
        leader = self.swarm.leader()
        if leader is not None:
            self._cut_off(leader, 1.0 if self.random.random() < 0.6 else 0.6)
            self._until(self.swarm.network.heal)

    def _cut_off(self, host: Host, share: float) -> None:
        for other in self.swarm.hosts:
            for source, target in ((host, other), (other, host)):
                if source is not target and self.random.random() < share:
                    self.swarm.network.cut(source.index, target.index)

    def _freeze(self) -> None:
        leader = self.swarm.leader()
        if leader is not None and not leader.paused:
            self._cut_off(leader, 1.0)
            self.swarm.pause(leader)
            wakes = self._duration_s()
            self.swarm.engine.after(wakes, self._resume, leader)
            self.swarm.engine.after(wakes + self._duration_s(), self.swarm.network.heal)

    def _partial(self) -> None:
        one, other = self.random.sample(range(len(self.swarm.hosts)), 2)
        self.swarm.network.cut(one, other)
        self.swarm.network.cut(other, one)
        self._until(self.swarm.network.heal)

    # -- disks and clocks

    def _slow_disk(self) -> None:
        host = self._one()
        host.disk_factor = 10.0 ** self.random.uniform(0.5, 2.7)
        self._until(setattr, host, "disk_factor", 1.0)

    def _full_disk(self) -> None:
        host = self._one()
        host.store.full = True
        self._until(self._free_disk, host)

    def _free_disk(self, host: Host) -> None:
        host.store.full = False

    def _clocks(self) -> None:
        self.swarm.skew(self._one(), 1.0 + self.random.uniform(-self.clock_spread, self.clock_spread))

    # -- members

    def _transfer(self) -> None:
        leader = self.swarm.leader()
        if leader is not None and not leader.paused:
            to = self._one().peer if self.random.random() < 0.7 else 0
            self.swarm.feed(leader, Transfer(leader.next_ticket(Waiting(_ignore)), to))

    def _members(self) -> None:
        hosts = self.swarm.hosts
        count = min(len(hosts), max(1, self.target + self.random.choice((-1, 0, 0, 1))))
        self.wanted = tuple(self.random.sample(range(len(hosts)), count))

    def _wipe(self) -> None:
        leader = self.swarm.leader()
        if leader is None or not self._may_lose_one(leader):
            return
        host = self._one()
        # No change is wanted any more that still counts on it.
        self.wanted = ()
        self.swarm.wipe(host)
        self._until(self._restart, host, host.life)

    def _may_lose_one(self, leader: Host) -> bool:
        """The group is large enough, nobody is lost yet, and all agree on who belongs to it: no change is under way."""
        members = leader.members
        if len(members.voters) < 3 or members.outgoing or members.target or self.lost_voters(leader):
            return False
        return all(host.members == members for host in self.swarm.hosts if host.peer in members.voters)

    def lost_voters(self, leader: Host) -> tuple[int, ...]:
        """Voters whose disks are no more."""
        return tuple(peer for peer in leader.members.voters if peer not in self.swarm.by_peer)

    def _operate(self) -> None:
        """What an operator, or the placing of voters, does: brings the members to what they should be, and replaces the lost."""
        self.swarm.engine.after(OPERATOR_S, self._operate)
        leader = self.swarm.leader()
        if leader is None or leader.paused or leader.members.outgoing:
            return
        wanted = self._wanted(leader)
        if wanted is not None:
            self.swarm.feed(leader, Change(leader.next_ticket(Waiting(_ignore)), wanted))

    def _wanted(self, leader: Host) -> Members | None:
        swarm, members = self.swarm, leader.members
        hosts = [swarm.hosts[i] for i in self.wanted]
        if not hosts:
            if not self.lost_voters(leader):
                return None
            hosts = [swarm.by_peer[peer] for peer in members.voters if peer in swarm.by_peer]
            others = [host for host in swarm.hosts if host not in hosts and host.up]
            hosts += self.random.sample(others, min(len(others), max(0, self.target - len(hosts))))
        voters = tuple(sorted(host.peer for host in hosts))
        if voters == members.voters:
            return None
        return Members(voters=voters, peers=tuple(sorted((swarm.peer_of(host) for host in hosts), key=lambda peer: peer.id)))

    # -- the end

    def heal(self) -> None:
        """All misfortunes end: from here on the group has no excuse."""
        self.healed = True
        swarm = self.swarm
        swarm.note("nemesis: all is well from here on")
        swarm.network.heal()
        swarm.network.loss = 0.0
        for host in swarm.hosts:
            host.disk_factor = 1.0
            host.store.full = False
            swarm.skew(host, 1.0)
            if host.paused:
                swarm.resume(host)
            if not host.up:
                swarm.restart(host)


def _ignore(_answer: Answer) -> None:
    """Whoever operates looks again later."""
