"""Which endpoints the members of the mesh announce, and which of those that failed are kept while it may be we who are cut off.

A member that leaves takes its endpoints with it at once, and so does one that fails while others are alive. Once no peer is alive any
more, it looks from here as if all had failed, one after the other: then those that failed within `keep_s` are taken back, and what this
agent sees of them itself (health checks, ejection, breakers) decides, as it does for endpoints from the configuration.
"""

from typing import Final

from agent.core.routing.endpoint import EndpointSpec

Announced = dict[str, list[EndpointSpec]]
"""By service."""
FAILED: Final = "dead"
PRESENT: Final = ("alive", "suspect")


class Directory:
    """Endpoints by service and member. `now` is monotonic seconds."""

    def __init__(self, keep_s: float) -> None:
        self.keep_s = keep_s
        self.isolated = False
        self._present: dict[tuple[str, str, str], EndpointSpec] = {}
        """By service, member and address."""
        self._lost: dict[tuple[str, str, str], tuple[EndpointSpec, float]] = {}
        """Of members that failed, and since when."""

    def update(self, announced: dict[str, list[tuple[str, EndpointSpec]]], states: dict[str, str], now: float) -> None:
        """announced: by service, the member and what it announces. states: of the other members."""
        present: dict[tuple[str, str, str], EndpointSpec] = {}
        for service, rows in announced.items():
            for member, spec in rows:
                present[(service, member, spec.address)] = spec
        for key, spec in self._present.items():
            if key not in present:
                self._lost[key] = (spec, now)
        self._present = present
        self.look(states, now)

    def look(self, states: dict[str, str], now: float) -> None:
        """See who is there; to be called now and then, and with each `update`."""
        alive = False
        failed = False
        for state in states.values():
            alive = alive or state in PRESENT
            failed = failed or state == FAILED
        self.isolated = not alive and (failed or (self.isolated and not states))
        for key, (_, since) in list(self._lost.items()):
            # Of a member that is there or has left, it was withdrawn; one that is not known any more has failed long ago.
            if key in self._present or now - since >= self.keep_s or states.get(key[1], FAILED) != FAILED:
                del self._lost[key]

    def endpoints(self) -> Announced:
        """What is to be used now."""
        found: dict[str, dict[str, EndpointSpec]] = {}
        for key in sorted(self._present):
            found.setdefault(key[0], {}).setdefault(key[2], self._present[key])
        if self.isolated:
            for key in sorted(self._lost):
                found.setdefault(key[0], {}).setdefault(key[2], self._lost[key][0])
        return {service: list(specs.values()) for service, specs in found.items()}

    @property
    def kept(self) -> int:
        """How many endpoints of failed members are in use."""
        return len(self._lost) if self.isolated else 0
