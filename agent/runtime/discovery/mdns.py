"""Members on the same link, by multicast DNS (RFC 6762, 6763). Imported only where configured, for zeroconf's sake (5 MB, 0.1 s)."""

import asyncio
import socket
from typing import Any, Final

from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from agent.core.swim.messages import Place
from agent.runtime.discovery import PLACES_MAX, ordered

SERVICE_TYPE: Final = "_pilotfish._tcp.local."
INFO_TIMEOUT_MS: Final = 2000
FIND_INTERVAL_S: Final = 1.0


class Mdns:
    """Announces this member, and knows those that announce the same cluster. Listening starts with the first `find`.

    `own`: what is announced, if anything. `interfaces`: addresses of those to use; none means all.
    """

    def __init__(
        self, cluster: str, node: str, own: Place | None, interfaces: tuple[str, ...] = (), interval_s: float = FIND_INTERVAL_S
    ) -> None:
        self.name = f"mdns:{cluster}"
        self.interval_s = interval_s
        self._cluster = cluster
        self._node = node
        self._own = own
        self._interfaces = interfaces
        self._zeroconf: AsyncZeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._known: dict[str, set[Place]] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def find(self) -> tuple[Place, ...]:
        if self._browser is None:
            try:
                await self._start()
            except BaseException:
                await self.close()
                raise
        return ordered(set().union(*self._known.values()))

    async def _start(self) -> None:
        interfaces: dict[str, Any] = {"interfaces": list(self._interfaces)} if self._interfaces else {}
        self._zeroconf = AsyncZeroconf(ip_version=IPVersion.V4Only, **interfaces)
        if self._own is not None:
            await (await self._zeroconf.async_register_service(self._info(self._own), allow_name_change=True))
        self._browser = AsyncServiceBrowser(self._zeroconf.zeroconf, SERVICE_TYPE, handlers=[self._on_change])

    def _info(self, own: Place) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            SERVICE_TYPE,
            f"{self._node[:48]}.{SERVICE_TYPE}",
            addresses=[socket.inet_aton(own[0])],
            port=own[1],
            properties={"cluster": self._cluster},
            server=f"{self._node[:48]}.local.",
        )

    def _on_change(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange) -> None:
        if state_change is ServiceStateChange.Removed:
            self._known.pop(name, None)
        elif len(self._known) + len(self._asking) < PLACES_MAX:
            task = asyncio.get_running_loop().create_task(self._ask(zeroconf, name))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, zeroconf: Zeroconf, name: str) -> None:
        info = AsyncServiceInfo(SERVICE_TYPE, name)
        if not await info.async_request(zeroconf, INFO_TIMEOUT_MS):
            return
        if (info.properties or {}).get(b"cluster") != self._cluster.encode() or not info.port:
            self._known.pop(name, None)
            return
        self._known[name] = {(address, info.port) for address in info.parsed_addresses(IPVersion.V4Only)}

    async def close(self) -> None:
        """Say goodbye. The next `find` begins anew."""
        browser, zeroconf = self._browser, self._zeroconf
        self._browser = self._zeroconf = None
        self._known.clear()
        for task in self._asking:
            task.cancel()
        if browser is not None:
            await browser.async_cancel()
        if zeroconf is not None:
            await zeroconf.async_unregister_all_services()
            await zeroconf.async_close()
