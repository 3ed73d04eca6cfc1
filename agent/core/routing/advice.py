"""What peers report about endpoints, as advice: a breaker that several have opened, and the load that an endpoint itself reports.

Advice never turns a request away and never overrules what this agent sees itself. A quorum of fresh reports makes it try an endpoint
with half-open probes first, where it has no calls of its own to judge by; its own result then stands until peers report anew. While the
agent may be cut off from the others there is no advice at all.
"""

from typing import Final

from agent.core.routing.endpoint import Endpoint

QUORUM: Final = 3
"""Peers whose reports, each worth 1 when it is new, must add up; fewer in a small cluster: half of the peers, but at least two."""
QUORUM_LEAST: Final = 2
HALF_LIFE_S: Final = 20.0
"""A report is worth half after so long: an endpoint that has recovered must not be suspected for long on old words."""
REPORT_LEAST: Final = 0.05
CAUTIOUS_SHARE_MAX: Final = 0.5
"""Of a service's endpoints at most this share is put under caution, so that there is always somewhere to go."""
ENDPOINTS_MAX: Final = 10_000
PEERS_MAX: Final = 64
"""Reports that are kept of one endpoint; more add nothing."""


class Advice:
    """Peers' judgements of endpoints, by address. The host tells it what gossip says, and asks `cautious` when it looks at a service."""

    def __init__(self) -> None:
        self._reports: dict[str, dict[str, float]] = {}
        self._settled_at: dict[str, float] = {}
        self._live = 0
        self._known = 0
        self.given = 0
        """How often advice was taken."""

    # -- what the host tells

    def members(self, live: int, failed: int) -> None:
        """How many peers are live, and how many failed of late (those that left do not count)."""
        self._live = live
        self._known = live + failed

    def report(self, peer: str, address: str, opened: bool, now: float) -> None:
        """A peer's breaker for an endpoint opened, or is no longer open. A report that is repeated is not new."""
        reports = self._reports.get(address)
        if not opened:
            if reports is not None:
                reports.pop(peer, None)
                if not reports:
                    del self._reports[address]
            return
        if reports is None:
            if len(self._reports) >= ENDPOINTS_MAX:
                return
            reports = {}
            self._reports[address] = reports
        if peer not in reports and len(reports) < PEERS_MAX:
            reports[peer] = now

    def forget(self, peer: str) -> None:
        """A peer is gone, and its word with it."""
        for address in list(self._reports):
            reports = self._reports[address]
            reports.pop(peer, None)
            if not reports:
                del self._reports[address]

    # -- what it says

    @property
    def cut_off(self) -> bool:
        """Whether more than half of those that we knew have failed at once: then it may be we who are cut off."""
        return self._live == 0 or self._live * 2 < self._known

    def quorum(self) -> float:
        return float(max(QUORUM_LEAST, min(QUORUM, (self._live + 1) // 2)))

    def weight(self, address: str, now: float) -> float:
        """What the reports on an endpoint add up to now; those from before our own last verdict do not count."""
        reports = self._reports.get(address)
        if reports is None:
            return 0.0
        since = self._settled_at.get(address, float("-inf"))
        total = 0.0
        for peer in list(reports):
            at = reports[peer]
            worth = 2.0 ** (-max(now - at, 0.0) / HALF_LIFE_S)
            if worth < REPORT_LEAST:
                del reports[peer]
            elif at > since:
                total += worth
        return total

    def suspects(self, address: str, now: float) -> bool:
        """Whether a quorum of peers has it open."""
        # Two reports a moment apart must still make two.
        return not self.cut_off and self.weight(address, now) >= self.quorum() - 0.5

    def apply(self, endpoints: list[Endpoint], now: float) -> list[Endpoint]:
        """Put under caution those of a service that a quorum suspects and that we know nothing of; those newly put."""
        if self.cut_off or not self._reports:
            return []
        room = int(len(endpoints) * CAUTIOUS_SHARE_MAX)
        for endpoint in endpoints:
            if endpoint.breaker.state != 0:
                room -= 1
        found: list[Endpoint] = []
        for endpoint in endpoints:
            if room <= len(found):
                break
            if self.suspects(endpoint.address, now) and endpoint.caution(now):
                self._settled_at[endpoint.address] = now
                self.given += 1
                found.append(endpoint)
        self._trim(now)
        return found

    def _trim(self, now: float) -> None:
        """Verdicts older than any report can live are of no use."""
        oldest = now - 10.0 * HALF_LIFE_S
        for address in [address for address, at in self._settled_at.items() if at < oldest]:
            del self._settled_at[address]


FRESH_S: Final = 10.0
"""A load reported longer ago counts for nothing; before that whoever gets requests is asked (`agent.app.load_probes`)."""
CPU_BUSY: Final = 0.8
"""Share of its processor limit above which an endpoint costs more, linearly, twice as much at the limit."""
ADDED_MAX: Final = 3.0
"""The most that a report adds to what an endpoint counts as outstanding."""


class RemoteLoads:
    """The load that endpoints report of themselves, merged into `Endpoint.resting`, which is all that the data path reads.

    It pushes away from those that are busier than the mean of their service, and never pulls towards the idlest: all agents see the same
    report, and would all rush there.
    """

    def __init__(self, fresh_s: float = FRESH_S) -> None:
        self.fresh_s = fresh_s
        self._by_address: dict[str, tuple[float, float, float]] = {}

    def report(self, address: str, in_flight: float, cpu: float, now: float) -> None:
        """An endpoint's agent reported its load then; what is known from later stays."""
        before = self._by_address.get(address)
        if (before is not None and before[0] <= now) or (before is None and len(self._by_address) < ENDPOINTS_MAX):
            self._by_address[address] = (now, max(in_flight, 0.0), max(cpu, 0.0))

    def reported_at(self, address: str) -> float:
        """When its load was heard last; long ago where it never was."""
        report = self._by_address.get(address)
        return report[0] if report is not None else float("-inf")

    def forget(self, address: str) -> None:
        self._by_address.pop(address, None)

    def refresh(self, endpoints: list[Endpoint], now: float) -> None:
        """Work out `resting` of a service's endpoints; to be called about every second, and after reports."""
        fresh: list[tuple[Endpoint, float, float]] = []
        total = 0.0
        for endpoint in endpoints:
            report = self._by_address.get(endpoint.address)
            if report is None or now - report[0] > self.fresh_s:
                endpoint.resting = 1.0
            else:
                fresh.append((endpoint, report[1], report[2]))
                total += report[1]
        for endpoint, in_flight, cpu in fresh:
            mean = total / len(fresh)
            above = max(in_flight - mean, 0.0) / (mean + 1.0)
            busy = max(cpu - CPU_BUSY, 0.0) / (1.0 - CPU_BUSY)
            endpoint.resting = 1.0 + min(above + busy, ADDED_MAX)
