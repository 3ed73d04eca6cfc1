"""The agent itself, by its admin API: its cache, its status, its cluster."""

import json
from typing import Any, Final

from agent.client.errors import NotConfigured, SidecarError
from agent.client.transport import Answer, Call, Transport

PATIENCE_S: Final = 20.0
"""For what asks every member, which waits for those that do not answer."""


class Admin(Transport):
    """Requests to the admin API. It speaks JSON throughout, and everything that is asked of it here may be asked again."""

    async def get(self, path: str, query: dict[str, str] | None = None, timeout_s: float | None = None) -> Any:
        return (await self._ask(Call("GET", path, query or {}, {}, None), timeout_s)).json()

    async def post(self, path: str, body: Any, timeout_s: float | None = None) -> Any:
        call = Call("POST", path, {}, {"Content-Type": "application/json"}, json.dumps(body).encode())
        return (await self._ask(call, PATIENCE_S if timeout_s is None else timeout_s)).json()

    async def _ask(self, call: Call, timeout_s: float | None) -> Answer:
        return await self.ask(call, timeout_s, tells_server=False)


class Cache:
    """`sidecar.cache`: the agent's cache of HTTP responses."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def stats(self) -> dict[str, Any]:
        """Entries, octets, hits and so on, in the admin API's words."""
        answer: dict[str, Any] = await self._admin.get("/cache")
        return answer

    async def list(self, *, service: str = "", host: str = "", prefix: str = "", limit: int = 100) -> list[dict[str, Any]]:
        """What is in it, at most `limit` (10,000)."""
        query = {"list": "1", "limit": str(limit)}
        query |= {name: value for name, value in (("service", service), ("host", host), ("prefix", prefix)) if value}
        rows: list[dict[str, Any]] = (await self._admin.get("/cache", query))["listing"]
        return rows

    async def purge(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        host: str | None = None,
        tag: str | None = None,
        service: str | None = None,
        everything: bool = False,
        soft: bool = False,
        cluster: bool = True,
        wait_s: float | None = None,
        after: str = "",
    ) -> dict[str, Any]:
        """Remove what is under one of these, on every agent (`cluster`). `soft`: it may still be served stale. `wait_s`: wait for the
        others' acknowledgements; the answer has `acked`, `of` and `missing`. `after`: the `context` of a purge that must come first."""
        given = {"url": url, "prefix": prefix, "host": host, "tag": tag, "service": service}
        body: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if everything:
            body["all"] = True
        if len(body) != 1:
            raise ValueError(f"found {', '.join(body) or 'nothing'}, expected one of url, prefix, host, tag, service, everything")
        body |= {"soft": soft, "cluster": cluster}
        if wait_s is not None:
            body["wait"] = wait_s
        if after:
            body["after"] = after
        answer: dict[str, Any] = await self._admin.post("/cache/purge", body, None if wait_s is None else wait_s + PATIENCE_S)
        return answer


class Cluster:
    """`sidecar.cluster`: who else there is. Raises NotConfigured where the agent is alone."""

    def __init__(self, admin: Admin) -> None:
        self._admin = admin

    async def _get(self, path: str) -> Any:
        try:
            return await self._admin.get(path)
        except SidecarError as error:
            if error.status == 404:
                raise NotConfigured(error.detail, error.code, 404) from error
            raise

    async def info(self) -> dict[str, Any]:
        """The cluster as this agent sees it."""
        answer: dict[str, Any] = await self._get("/cluster")
        return answer

    async def members(self) -> list[dict[str, Any]]:
        """Members, their state and what they tell of themselves."""
        rows: list[dict[str, Any]] = await self._get("/cluster/members")
        return rows

    async def health(self) -> dict[str, Any]:
        """Who is not well, and how well this agent hears."""
        answer: dict[str, Any] = await self._get("/cluster/health")
        return answer
