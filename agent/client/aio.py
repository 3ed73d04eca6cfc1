"""The asynchronous SDK.

async with AsyncSidecar() as sidecar:
    await sidecar.kv.put("greeting", "hello")
    async with sidecar.lock("nightly") as held:
        ...
"""

import os
import socket
from typing import Any, Final

from agent.client.address import find_admin, find_api
from agent.client.counters import Barrier, Counter
from agent.client.errors import SidecarError
from agent.client.kv import Kv
from agent.client.leases import Leases
from agent.client.local import Admin, Cache, Cluster
from agent.client.seats import Election, Leadership, Lock
from agent.client.transport import Api

__all__ = ["AsyncSidecar", "Barrier", "Cache", "Cluster", "Counter", "Election", "Leadership", "Lock"]
TIMEOUT_S: Final = 10.0
SESSION_TTL_S: Final = 60.0


class AsyncSidecar:
    """The local agent. Belongs to one event loop, and may be used by any number of its tasks.

    api, admin: ``host:port`` or ``unix:/path``; otherwise ``$PILOTFISH_API`` and ``$PILOTFISH_ADMIN``, a socket in /run/pilotfish, or the
    ports 15030 and 15020 of 127.0.0.1. timeout_s: of each call, repetitions included, unless it has its own. owner: how this program is
    called in locks and elections; its host's name and process id otherwise. Connects when it is first used."""

    def __init__(
        self,
        api: str | None = None,
        admin: str | None = None,
        *,
        timeout_s: float = TIMEOUT_S,
        session_ttl_s: float = SESSION_TTL_S,
        owner: str = "",
    ) -> None:
        self._api = Api(find_api(api), timeout_s, session_ttl_s)
        self._admin = Admin(find_admin(admin), timeout_s)
        self._owner = owner or f"{socket.gethostname()}/{os.getpid()}"
        self.kv = Kv(self._api)
        self.leases = Leases(self._api)
        self.cache = Cache(self._admin)
        self.cluster = Cluster(self._admin)

    # -- coordination

    def lock(self, name: str, *, ttl_s: float = 10.0, wait_s: float | None = None) -> Lock:
        """A lock that is kept while this program lives, and passes on `ttl_s` after it died."""
        return Lock(self._api, name, ttl_s, wait_s, self._owner)

    def election(self, name: str, *, ttl_s: float = 10.0) -> Election:
        return Election(self._api, name, ttl_s, self._owner)

    def counter(self, name: str) -> Counter:
        return Counter(self._api, name)

    def barrier(self, name: str, parties: int, *, ttl_s: float = 10.0, wait_s: float | None = None) -> Barrier:
        """For one of `parties` programs (or tasks, each with an object of its own)."""
        return Barrier(self._api, name, parties, ttl_s, wait_s, self._owner)

    # -- status

    async def status(self) -> dict[str, Any]:
        """Of the group, as the local agent knows it: `ready`, `leader`, `term`, `revision`. Asks nobody."""
        answer: dict[str, Any] = (await self._api.read("/v1/status")).json()
        return answer

    async def agent_status(self) -> dict[str, Any]:
        """Of the agent: uptime, services, how the last reload went."""
        answer: dict[str, Any] = await self._admin.get("/status")
        return answer

    async def is_ready(self) -> bool:
        """Whether the agent takes requests; False too where none answers. Does not raise."""
        try:
            await self._admin.get("/readyz/outbound", None, 1.0)
        except SidecarError:
            return False
        return True

    # -- life

    async def close(self) -> None:
        """End the leases that are kept (with what they hold), the session, and every connection."""
        await self._api.close()
        await self._admin.close()

    async def __aenter__(self) -> "AsyncSidecar":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
