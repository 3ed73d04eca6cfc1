"""The global group of several regions in simulated time: what a host does for it while it leads its region.

world = World(Engine(seed), factory, global_factory, regions=3)
world.start()
world.engine.run(5.0)
world.cut_off(2)                       # region 2 hears no other
world.regions[2].crash(host, power=True)
"""

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

from agent.core.hierarchy.acting import Acting, ActingEffect, Answered, ToRegion
from agent.core.hierarchy.commands import Found
from agent.core.machine.envelope import TICK, encode_command, seal
from agent.core.machine.outcome import Outcome
from agent.core.replica.io import Changed, Input, Propose, Receive, Refused, Wake
from agent.core.replica.log import Entry, Members, Peer, Recovered
from agent.sim.consensus.driver import Factory
from agent.sim.consensus.host import Answer, Host, Reply
from agent.sim.consensus.machine import Command, Query, fetch, fetched, read
from agent.sim.consensus.oracle import Oracle
from agent.sim.consensus.regions import GlobalOracle, Region, Seat, part_of
from agent.sim.consensus.service import STALE
from agent.sim.consensus.settings import Settings
from agent.sim.consensus.watch import Watcher
from agent.sim.engine import Engine
from agent.sim.network import Network, NetworkConfig

RETRY_S = 0.02
"""Until what the region's own group refused is offered again."""
SYNC_S = 0.25
"""How often an acting leader sees to it that the region's copy is fresh."""
HOPS_MAX = 3
ROUNDING_S = 1e-7
WAKE = Wake()


class World(Watcher):
    acting = Acting
    hops = HOPS_MAX
    """What is kept is asked of the own replica alone; a mutant's comes in anywhere."""

    def __init__(
        self,
        engine: Engine,
        factory: Factory,
        global_factory: Factory,
        regions: int = 3,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        across_s: float = 0.02,
        loss: float = 0.0,
    ) -> None:
        self.engine = engine
        self.global_factory = global_factory
        self.oracle = GlobalOracle(engine, regions)
        self.across = Network(NetworkConfig(across_s=across_s, loss=loss), [(i, 0) for i in range(regions)], engine.random)
        self.regions = [Region(i, self.oracle, engine, factory, settings) for i in range(regions)]
        self.oracles = [Oracle(region) for region in self.regions]
        self.hosts = [host for region in self.regions for host in region.hosts]
        self.home = {id(host): region for region in self.regions for host in region.hosts}
        self.seats: dict[int, Seat] = {}
        self.acting_changes = 0
        self.global_snapshots = 0
        self.service = GlobalService(self)
        self.members = Members(
            voters=tuple(range(1, regions + 1)), peers=tuple(Peer(i, f"region-{i}", "", f"region-{i}") for i in range(1, regions + 1))
        )
        for region, oracle in zip(self.regions, self.oracles, strict=True):
            region.watch(oracle)
            region.watch(self)

    def start(self) -> None:
        for region in self.regions:
            region.start()
            self._found(region)

    def _found(self, region: Region) -> None:
        """An operator tells each region which member of the global group it is, until it knows."""
        leader = region.leader()
        if leader is None or not part_of(leader).me:
            command = Command(0, 0, 0, encode_command(Found(region.number + 1, self.members)))
            if leader is not None:
                region.service.propose(leader, command, _ignore)
            self.engine.after(0.2, self._found, region)

    def later(self, host: Host, seconds: float, call: Callable[..., None], *args: Any) -> None:
        self.home[id(host)].later(host, seconds, call, *args)

    def now(self, host: Host) -> float:
        return max(self.home[id(host)].local_now(host), host.last_now)

    def cut_off(self, number: int) -> None:
        """The region hears no other, and no other hears it."""
        self.across.partition([[number], [region.number for region in self.regions if region.number != number]])

    # -- who acts for a region

    def seat_of(self, host: Host) -> Seat | None:
        seat = self.seats.get(id(host))
        return seat if seat is not None and seat.life == host.life and host.up else None

    def crashed(self, host: Host, power: bool) -> None:
        self.seats.pop(id(host), None)

    def changed(self, host: Host, effect: Changed) -> None:
        seat = self.seats.get(id(host))
        if seat is not None and (effect.role != "leader" or effect.term != seat.term):
            del self.seats[id(host)]

    def applied(self, host: Host, entry: Entry, value: object) -> None:
        """Once an entry of the own term is applied, all that earlier leaders were told is kept is here."""
        if host.role == "leader" and entry.term == host.term and id(host) not in self.seats:
            if part_of(host).me:
                self.begin(host)

    def recovered(self, host: Host) -> Recovered:
        """What the member goes on from."""
        return part_of(host).recovered()

    def begin(self, host: Host) -> None:
        """From here on this host acts for its region."""
        part = part_of(host)
        core = self.global_factory(part.me, Random(self.engine.random.random()), self.recovered(host), self.now(host))
        seat = self.seats[id(host)] = Seat(self.acting(part, host.term, core), host.life, host.term)
        self.acting_changes += 1
        self.later(host, 0.0, self._sync, host, seat)

    def stepped(self, host: Host) -> None:
        seat = self.seat_of(host)
        if seat is not None:
            self.global_snapshots += part_of(host).installed is not None
            self._carry_out(host, seat, seat.acting.progress(self.now(host)))

    # -- the acting leader

    def feed(self, host: Host, event: Input) -> None:
        seat = self.seat_of(host)
        if seat is not None:
            self._carry_out(host, seat, seat.acting.step(self.now(host), event))

    def _carry_out(self, host: Host, seat: Seat, effects: tuple[ActingEffect, ...]) -> None:
        for effect in effects:
            if isinstance(effect, ToRegion):
                self._send(host, effect)
            elif isinstance(effect, Answered):
                reply = seat.tickets.pop(effect.ticket, None)
                if reply is not None:
                    reply(Answer("ok", effect.outcome, effect.index) if effect.outcome is not None else Answer("lost"))
            elif isinstance(effect, Refused):
                reply = seat.tickets.pop(effect.ticket, None)
                if reply is not None:
                    reply(Answer(effect.reason))
            elif isinstance(effect, Changed):
                self._on_changed(host, seat, effect)
        self._offer(host, seat)
        self._schedule(host, seat)

    def _on_changed(self, host: Host, seat: Seat, effect: Changed) -> None:
        region = self.home[id(host)]
        region.note(f"{host.name}, for region {region.number + 1}: {effect.role} in global term {effect.term} {effect.why}")
        if effect.role == "leader":
            self.oracle.leads(region.number, effect.term)
            seat.lead_since, seat.lead_time_ms = self.now(host), part_of(host).machine.time_ms

    def _offer(self, host: Host, seat: Seat) -> None:
        wanted = seat.acting.wanted()
        if wanted is not None:
            self.later(host, 0.0, self._propose(host, seat, wanted))

    def _propose(self, host: Host, seat: Seat, wanted: bytes) -> Callable[[], None]:
        """To the own group, by this node alone: what an older leader wanted must not come in through another."""
        region = self.home[id(host)]

        def answered(answer: Answer) -> None:
            if answer.status != "ok":
                self.later(host, RETRY_S, go)

        def go() -> None:
            if self.seat_of(host) is seat:
                region.service.propose(host, Command(0, 0, 0, wanted), answered, self.hops)

        return go

    def _schedule(self, host: Host, seat: Seat) -> None:
        due = (seat.acting.core.next_wake() - host.clock_offset) / host.clock_rate
        if due < seat.wake_at:
            seat.wake_at = due
            self.engine.at(due, self._on_wake, host, seat, due)

    def _on_wake(self, host: Host, seat: Seat, due: float) -> None:
        if self.seat_of(host) is not seat or due != seat.wake_at:
            return
        seat.wake_at = inf
        if host.paused:
            self.later(host, 0.0, self.feed, host, WAKE)
        elif seat.acting.core.next_wake() <= self.now(host) + ROUNDING_S:
            host.last_now = max(host.last_now, seat.acting.core.next_wake())
            self._carry_out(host, seat, seat.acting.step(max(self.now(host), seat.acting.core.next_wake()), WAKE))
        else:
            self._schedule(host, seat)

    # -- between regions

    def _send(self, host: Host, effect: ToRegion) -> None:
        source = self.home[id(host)].number
        sender = part_of(host).me
        for delay_s in self.across.delays(source, effect.region - 1):
            self.engine.after(delay_s, self._arrive, effect.region - 1, sender, effect.message)

    def _arrive(self, number: int, sender: int, message: object) -> None:
        """At whatever node of the region the sender knows of."""
        region = self.regions[number]
        host = region.hosts[self.engine.random.randrange(len(region.hosts))]
        region.later(host, 0.0, self._hand_on, region, host, sender, message)

    def _hand_on(self, region: Region, host: Host, sender: int, message: object) -> None:
        if self.seat_of(host) is not None:
            self.feed(host, Receive(sender, message))
            return
        target = region.by_peer.get(host.core.leader) if host.core is not None else None
        if target is not None and target is not host:
            for delay_s in region.network.delays(host.index, target.index):
                region.later(target, delay_s, self.feed, target, Receive(sender, message))

    # -- freshness

    def _sync(self, host: Host, seat: Seat) -> None:
        """A command that changes nothing, for the region's copy to be known to be fresh."""
        if self.seat_of(host) is not seat:
            return
        asked = self.now(host)

        def answered(answer: Answer) -> None:
            if answer.status == "ok" and self.seat_of(host) is seat:
                seat.acting.note_fresh(asked, answer.index)

        self.service.propose(host, Command(0, 0, 0, TICK), answered)
        self.later(host, SYNC_S, self._sync, host, seat)


class GlobalService:
    """Global commands and reads, through any node of any region."""

    def __init__(self, world: World) -> None:
        self._world = world

    def propose(self, host: Host, command: Command, reply: Reply, hops: int = 0) -> None:
        world = self._world
        seat = world.seat_of(host)
        if seat is not None and seat.acting.leads:
            seat.ticket += 1
            seat.tickets[seat.ticket] = reply
            time_ms = seat.lead_time_ms + int((world.now(host) - seat.lead_since) * 1000.0)
            data = seal(time_ms, command.session, command.request, command.acked, command.data)
            world.feed(host, Propose(((seat.ticket, data),)))
        elif hops < HOPS_MAX:
            self._forward(host, seat, command, reply, hops + 1)
        else:
            reply(Answer("no_leader"))

    def _forward(self, host: Host, seat: Seat | None, command: Command, reply: Reply, hops: int) -> None:
        """To whoever leads the own region; from there, to the region that leads."""
        world = self._world
        region = world.home[id(host)]
        if seat is None:
            target = region.by_peer.get(host.core.leader) if host.core is not None else None
            there, network, here, far = region, region.network, host.index, target.index if target is not None else 0
        else:
            leading = seat.acting.core.leader
            there = world.regions[leading - 1] if leading else region
            target = there.hosts[world.engine.random.randrange(len(there.hosts))] if leading else None
            network, here, far = world.across, region.number, there.number
        if target is None or target is host:
            reply(Answer("no_leader"))
            return

        def answer(result: Answer) -> None:
            for delay_s in network.delays(far, here)[:1]:
                region.later(host, delay_s, reply, result)

        for delay_s in network.delays(here, far)[:1]:
            there.later(target, delay_s, self.propose, target, command, answer, hops)

    def read(self, host: Host, query: Query, consistency: str, reply: Reply, staleness_s: float) -> None:
        """Of the region's copy, if it is known to be fresh enough; else, and for what is to be linearizable, through the log."""
        world = self._world
        seat = world.seat_of(host)
        if consistency == STALE and seat is not None:
            if seat.acting.staleness(world.now(host)) <= staleness_s:
                part = part_of(host)
                reply(Answer("ok", read(part.machine, query), part.applied))
            else:
                reply(Answer("stale"))
            return

        def fetched_it(answer: Answer) -> None:
            outcome = answer.value
            reply(Answer("ok", fetched(query, outcome), answer.index) if isinstance(outcome, Outcome) else answer)

        self.propose(host, Command(0, 0, 0, fetch(query)), fetched_it)


def _ignore(_answer: Answer) -> None:
    """Whoever asked looks again."""
