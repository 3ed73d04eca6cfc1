"""SRV records (RFC 2782): host and port of each member. Imported only where configured, for dnspython's sake (7 MB, 0.2 s)."""

import asyncio

from dns.asyncresolver import Resolver
from dns.exception import DNSException
from dns.rdtypes.IN.SRV import SRV

from agent.core.swim.messages import Place
from agent.runtime.discovery import ordered
from agent.runtime.discovery.sources import RESOLVE_INTERVAL_S, resolve


class DnsSrv:
    """The targets of one name, such as ``_pilotfish._tcp.example``. Priority and weight do not matter: members are all alike.

    `nameservers` and `port` stand in for /etc/resolv.conf's.
    """

    def __init__(self, service: str, interval_s: float = RESOLVE_INTERVAL_S, nameservers: tuple[str, ...] = (), port: int = 53) -> None:
        self.name = f"srv:{service}"
        self.interval_s = interval_s
        self._service = service
        self._nameservers = nameservers
        self._port = port
        self._resolver: Resolver | None = None

    async def find(self) -> tuple[Place, ...]:
        try:
            answer = await self._resolving().resolve(self._service, "SRV", search=True)
        except DNSException as error:
            raise OSError(f"{type(error).__name__}: {error}") from None
        targets = [(record.target.to_text(omit_final_dot=True), record.port) for record in answer if isinstance(record, SRV)]
        ordered(targets)
        answers = await asyncio.gather(*(resolve(host, port) for host, port in targets if host != "."), return_exceptions=True)
        found = [places for places in answers if not isinstance(places, BaseException)]
        for failure in answers:
            if isinstance(failure, BaseException) and not found:
                raise failure
        return ordered(set().union(*found))

    def _resolving(self) -> Resolver:
        """Made when first asked: without a resolv.conf that is an error of each look, not of the start."""
        if self._resolver is None:
            self._resolver = Resolver(configure=not self._nameservers)
            if self._nameservers:
                self._resolver.nameservers = list(self._nameservers)
                self._resolver.port = self._port
        return self._resolver

    async def close(self) -> None:
        """Nothing is held."""
