"""What a node does for clients: it takes commands and reads, forwards commands to the leader, and answers when it knows."""

from typing import TYPE_CHECKING

from agent.core.replica.io import Changed, Propose, Proposed, Read, ReadReady, Refused
from agent.core.replica.log import Entry
from agent.sim.consensus.host import Answer, Host, Reply, Waiting
from agent.sim.consensus.machine import Command, Query, envelope, read

if TYPE_CHECKING:
    from agent.sim.consensus.driver import Driver

HOPS_MAX = 2
"""A command is forwarded so often at most: who leads may have changed on the way."""

LINEARIZABLE, LEASE, STALE = "linearizable", "lease", "stale"


class Service:
    def __init__(self, driver: "Driver") -> None:
        self._driver = driver

    # -- commands

    def propose(self, host: Host, command: Command, reply: Reply, hops: int = 0) -> None:
        """`reply` is called at most once, perhaps never (a crash, a lost packet)."""
        core = host.core
        if core is None:
            return
        leader = core.leader
        if leader == host.peer:
            self._gather(host, command, reply)
        elif leader and hops < HOPS_MAX:
            self._forward(host, leader, command, reply, hops + 1)
        else:
            reply(Answer("no_leader"))

    def _gather(self, host: Host, command: Command, reply: Reply) -> None:
        driver = self._driver
        ticket = host.next_ticket(Waiting(reply))
        host.gathered.append((ticket, envelope(command, host.machine_time(driver.local_now(host)))))
        if len(host.gathered) == 1:
            driver.later(host, driver.settings.turn_s, self._hand_over, host)

    def _hand_over(self, host: Host) -> None:
        items, host.gathered = tuple(host.gathered), []
        self._driver.feed(host, Propose(items))

    def _forward(self, host: Host, leader: int, command: Command, reply: Reply, hops: int) -> None:
        driver = self._driver
        target = driver.by_peer.get(leader)
        if target is None:
            reply(Answer("no_leader"))
            return

        def answer(result: Answer) -> None:
            for delay_s in driver.network.delays(target.index, host.index)[:1]:
                driver.later(host, delay_s, reply, result)

        for delay_s in driver.network.delays(host.index, target.index):
            driver.later(target, delay_s, self.propose, target, command, answer, hops)

    def on_proposed(self, host: Host, effect: Proposed) -> None:
        waiting = host.tickets.pop(effect.ticket, None)
        if waiting is None:
            return
        if not effect.index:
            waiting.reply(Answer("ok"))
            return
        before = host.places.get(effect.index)
        if before is not None:
            before[1].reply(Answer("lost"))
        host.places[effect.index] = (effect.term, waiting)

    def on_refused(self, host: Host, effect: Refused) -> None:
        waiting = host.tickets.pop(effect.ticket, None)
        if waiting is not None:
            waiting.reply(Answer(effect.reason))

    def on_applied(self, host: Host, entry: Entry, value: object) -> None:
        place = host.places.pop(entry.index, None)
        if place is not None:
            term, waiting = place
            waiting.reply(Answer("ok", value, entry.index) if term == entry.term else Answer("lost"))

    def on_changed(self, host: Host, effect: Changed) -> None:
        """A new leader's clock for the state machine goes on from where the machine's stands."""
        if effect.role == "leader" and host.machine is not None:
            host.lead_since = self._driver.local_now(host)
            host.lead_time_ms = host.machine.time_ms

    # -- reads

    def read(self, host: Host, query: Query, consistency: str, reply: Reply, staleness_s: float = 0.0) -> None:
        """`staleness_s`: of a stale read, how old what it tells may be, on the host's clock."""
        core = host.core
        if core is None:
            return
        now = self._driver.local_now(host)
        if consistency == STALE and now - host.fresh_since <= staleness_s:
            self._answer(host, Waiting(reply, host.fresh_since, query))
            return
        ticket = host.next_ticket(Waiting(reply, now, query))
        self._driver.feed(host, Read(ticket, consistency == LEASE))

    def on_read_ready(self, host: Host, effect: ReadReady) -> None:
        waiting = host.tickets.pop(effect.ticket, None)
        if waiting is None:
            return
        if effect.index <= host.applied:
            self._answer(host, waiting)
        else:
            host.unapplied_reads.append((effect.index, waiting))

    def on_progress(self, host: Host) -> None:
        """More is applied: reads that waited for it are answered; commands that a snapshot jumped over never are."""
        if host.unapplied_reads:
            ready = [waiting for index, waiting in host.unapplied_reads if index <= host.applied]
            host.unapplied_reads = [(index, waiting) for index, waiting in host.unapplied_reads if index > host.applied]
            for waiting in ready:
                self._answer(host, waiting)

    def _answer(self, host: Host, waiting: Waiting) -> None:
        assert host.machine is not None and isinstance(waiting.query, Query)
        host.fresh_since = max(host.fresh_since, waiting.asked)
        waiting.reply(Answer("ok", read(host.machine, waiting.query), host.applied))
