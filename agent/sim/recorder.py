"""What a swarm did: how soon deaths were noticed, who was thought dead and was not, and what it cost."""

from agent.core.swim.io import MemberEvent
from agent.core.swim.messages import SUSPECT
from agent.sim.swarm import Host, Swarm

CONVERGENCE_STEP_S = 0.1


class Crash:
    """One death, and who has noticed."""

    __slots__ = ("all_at", "at", "confirmed_at", "missing", "name", "over", "suspected_at")

    def __init__(self, name: str, at: float, observers: set[int]) -> None:
        self.name = name
        self.at = at
        self.suspected_at: float | None = None
        self.confirmed_at: float | None = None
        self.all_at: float | None = None
        """When the last of the members that were well at the time had it as dead."""
        self.missing = observers
        self.over = False
        """It is back: what is noticed now is not of this death."""


class Recorder:
    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._open: dict[str, Crash] = {}
        self.crashes: list[Crash] = []
        self.false_positives = 0
        """FP of the Lifeguard paper: a member that was well all the time was declared dead by somebody."""
        self.false_positives_at_healthy = 0
        """FP-: those of them that a member noted which itself was well all the time."""
        self.false_suspicions = 0
        """Members that were well were suspected, at members that were well."""
        self.unwell_declared_dead = 0
        """Times that a member noted another as dead which was up but paused, slow or cut off."""
        self.refutations = 0
        self.left = 0
        self.convergence_s: list[float | None] = []
        self.series: list[tuple[float, float, float, int]] = []
        """Each second: time, octets and packets a member, false positives so far."""
        self._octets = 0
        self._packets = 0
        swarm.on_event = self._on_event
        swarm.engine.after(1.0, self._sample)

    def crash(self, host: Host) -> None:
        """Kill it, and watch who notices."""
        swarm = self._swarm
        swarm.crash(host)
        for crash in self._open.values():
            self._seen_by(crash, host.index)
        observers = {other.index for other in swarm.living() if other.healthy and _takes_for_live(other, host.name)}
        crash = Crash(host.name, swarm.engine.now, observers)
        self._open[host.name] = crash
        self.crashes.append(crash)

    def restart(self, host: Host) -> None:
        living = self._swarm.living()
        if living:
            seed = living[int(self._swarm.engine.random.random() * len(living))]
            self._close(host.name)
            self._swarm.restart(host, (seed.place,))

    def _close(self, name: str) -> None:
        crash = self._open.pop(name, None)
        if crash is not None:
            crash.over = True

    def _seen_by(self, crash: Crash, index: int) -> None:
        crash.missing.discard(index)
        if not crash.missing and crash.all_at is None:
            crash.all_at = self._swarm.engine.now

    def _on_event(self, host: Host, event: MemberEvent) -> None:
        kind = event.kind
        if kind == "suspect" or kind == "fail":
            subject = self._swarm.by_name.get(event.member.name)
            if subject is None or subject.left:
                return
            if not subject.up:
                self._on_noticed(host, kind, subject.name)
            elif kind == "suspect":
                self.false_suspicions += subject.healthy and host.healthy
            elif subject.healthy:
                self.false_positives += 1
                self.false_positives_at_healthy += host.healthy
            else:
                self.unwell_declared_dead += 1
        elif kind == "refute":
            self.refutations += event.member.name == host.name
        elif kind == "leave":
            self.left += event.member.name == host.name

    def _on_noticed(self, host: Host, kind: str, name: str) -> None:
        crash = self._open.get(name)
        if crash is None:
            return
        now = self._swarm.engine.now
        if kind == "suspect":
            if crash.suspected_at is None:
                crash.suspected_at = now
            return
        if crash.confirmed_at is None:
            crash.confirmed_at = now
            if crash.suspected_at is None:
                crash.suspected_at = now
        self._seen_by(crash, host.index)

    def watch_convergence(self, give_up_s: float = 60.0) -> None:
        """From now on, see how long it takes until all members agree on who is there."""
        began = self._swarm.engine.now
        self._look(began, began + give_up_s)

    def _look(self, began: float, end: float) -> None:
        engine = self._swarm.engine
        if self._swarm.converged():
            self.convergence_s.append(engine.now - began)
        elif engine.now >= end:
            self.convergence_s.append(None)
        else:
            engine.after(CONVERGENCE_STEP_S, self._look, began, end)

    def _sample(self) -> None:
        hosts = self._swarm.hosts
        octets = sum([host.bytes_out + host.stream_bytes for host in hosts])
        packets = sum([host.packets_out for host in hosts])
        count = len(hosts)
        engine = self._swarm.engine
        self.series.append((engine.now, (octets - self._octets) / count, (packets - self._packets) / count, self.false_positives))
        self._octets, self._packets = octets, packets
        engine.after(1.0, self._sample)


def _takes_for_live(observer: Host, name: str) -> bool:
    known = observer.core.member(name)
    return known is not None and known.state <= SUSPECT
