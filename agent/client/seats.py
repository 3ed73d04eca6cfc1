"""Locks and elections: one holder at a time, with a fencing token that is greater than every one before."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp

from agent.client.claims import Held, claim
from agent.client.errors import AgentUnreachable, LeaseLost, NotFound, NotOwner, OutcomeUnknown, Unavailable
from agent.client.leases import Lease
from agent.client.transport import BACKOFF_S, BACKOFF_S_MAX, Api, duration, quoted
from agent.client.types import Holder, Octets, octets, to_json
from agent.client.watch import SILENCE_S, server_sent

NOT_FOUND: Final = frozenset({404})


class Lock:
    """`async with sidecar.lock("nightly") as held`. `wait_s`: None waits without an end; 0 raises Locked at once. First come, first
    served; each `async with` or `acquire` is a claim of its own."""

    def __init__(self, api: Api, name: str, ttl_s: float, wait_s: float | None, owner: str) -> None:
        self.name = name
        self._api = api
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._owner = owner
        self._path = f"/v1/locks/{quoted(octets(name))}"
        self._held: Held | None = None

    async def acquire(self) -> Held:
        """Raises Locked where another holds it and the wait is over."""

        async def attempt(lease: Lease, wait_s: float) -> int:
            return await _claimed(self._api, self._path, {"lease": lease.id, "owner": self._owner}, wait_s)

        lease, token = await claim(self._api, self._ttl_s, self._wait_s, attempt)
        return Held(lease, self.name, token, "the lock")

    async def holder(self, *, timeout_s: float | None = None) -> Holder | None:
        """Who holds it now; None for nobody."""
        answer = await self._api.read(self._path, None, timeout_s, NOT_FOUND)
        return Holder.of(answer.json().get("holder")) if answer.status != 404 else None

    async def __aenter__(self) -> Held:
        if self._held is not None:
            raise RuntimeError(f"the lock {self.name!r} is entered already: another claim needs another object")
        self._held = await self.acquire()
        return self._held

    async def __aexit__(self, kind: object, *rest: object) -> None:
        held, self._held = self._held, None
        assert held is not None
        await held.__aexit__(kind, *rest)


class Leadership(Held):
    """This program leads, until it resigns (`release`) or it is lost."""

    def __init__(self, lease: Lease, name: str, token: int, path: str, owner: str) -> None:
        super().__init__(lease, name, token, "the leadership of")
        self._path = path
        self._owner = owner

    async def proclaim(self, value: Octets, *, timeout_s: float | None = None) -> None:
        """Change what the others see of the leader. Raises LockLost."""
        self.check()
        body = {"lease": self.lease.id, "owner": self._owner, **to_json("value", value)}
        try:
            await self.lease.api.command("PUT", self._path, None, body, timeout_s)
        except (NotOwner, NotFound, LeaseLost):
            self.lease.lose()
            self.check()


class Election:
    """`async with await sidecar.election("indexer").campaign("10.0.0.7:80") as leadership`."""

    def __init__(self, api: Api, name: str, ttl_s: float, owner: str) -> None:
        self.name = name
        self._api = api
        self._ttl_s = ttl_s
        self._owner = owner
        self._path = f"/v1/elections/{quoted(octets(name))}"

    async def campaign(self, value: Octets = b"", *, wait_s: float | None = None) -> Leadership:
        """Stand, and lead when all before have gone. Raises Locked when the wait is over."""

        async def attempt(lease: Lease, left_s: float) -> int:
            body = {"lease": lease.id, "owner": self._owner, **to_json("value", value)}
            # A candidate without a wait stays one: a moment's wait gives the candidacy up again.
            return await _claimed(self._api, self._path, body, max(left_s, 0.001))

        lease, token = await claim(self._api, self._ttl_s, wait_s, attempt)
        return Leadership(lease, self.name, token, self._path, self._owner)

    async def leader(self, *, timeout_s: float | None = None) -> Holder | None:
        """None where nobody leads."""
        answer = await self._api.read(self._path, None, timeout_s, NOT_FOUND)
        return Holder.of(answer.json().get("leader")) if answer.status != 404 else None

    async def observe(self) -> AsyncIterator[Holder | None]:
        """Who leads, now and at each change; without an end. Changes that follow each other fast may be seen as one."""
        pause = BACKOFF_S
        seen: Any = self
        while True:
            try:
                response = await self._api.stream(f"{self._path}/observe", {}, {"Accept": "text/event-stream"}, SILENCE_S)
                try:
                    async for event, _, data in server_sent(response):
                        if event == "leader":
                            pause = BACKOFF_S
                            leader = Holder.of(json.loads(data).get("leader"))
                            if leader != seen:
                                seen = leader
                                yield leader
                finally:
                    response.close()
            except (aiohttp.ClientError, TimeoutError, ConnectionError, Unavailable, OutcomeUnknown, AgentUnreachable):
                pass
            await asyncio.sleep(pause)
            pause = min(pause * 2, BACKOFF_S_MAX)


async def _claimed(api: Api, path: str, body: dict[str, Any], wait_s: float) -> int:
    """The token, once it is ours."""
    if wait_s > 0:
        body["wait"] = duration(wait_s)
    answer = await api.plain("POST", path, body, again=False, waits_s=wait_s)
    return int(answer.json()["token"])
