"""The cluster, for operators: members, health, keys, pings, leaving, the stream of events, and all that the page shows."""

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec
from aiohttp import web

from agent.admin import mesh
from agent.admin.events import EventRing
from agent.proxy.purging import subject

NO_CLUSTER: Final = (
    "no cluster is configured: set cluster.bind and cluster.seeds (docs/configuration.md) and start the agent again; "
    "one agent alone needs none"
)
KEY_BYTES: Final = (16, 24, 32)
Event = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Fabric(Protocol):
    """What operating a cluster needs of it."""

    def snapshot(self) -> dict[str, Any]:
        """`self`, `members`, `keys` (fingerprints), `gossip` and `invalidations` (counters), ready for JSON."""

    async def wan(self) -> dict[str, Any]:
        """`region`, `gateway`, `regions` (name to round trip in ms, or None where it cannot be reached), `members` (of the gateways'
        cluster; None where no gateway answers)."""

    async def ping(self, name: str) -> float:
        """Round trip in seconds. LookupError: no such member; TimeoutError: it does not answer."""

    async def leave(self) -> None:
        """Tell the others and stop taking part; the agent goes on alone."""

    async def change_keys(self, op: str, key: str) -> dict[str, Any]:
        """op: list, install, use, remove. ValueError where it cannot be done; the text never holds the key."""

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back for each event (at, kind, member, detail) until the function that is returned is called."""


class Refused(Exception):
    """An answer that says what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ClusterApi:
    """Handlers over an agent, whose `fabric` is None where no cluster is configured."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent
        self.ring: EventRing | None = None
        self._unsubscribe: Callable[[], None] = lambda: None

    def register(self, router: web.UrlDispatcher) -> None:
        for path, handler in (
            ("/cluster", self.snapshot),
            ("/cluster/members", self.members),
            ("/cluster/wan", self.wan),
            ("/cluster/holders", self.holders),
            ("/cluster/health", self.health),
            ("/cluster/keys", self.keys),
            ("/cluster/events", self.events),
            ("/cluster/mesh", self.mesh),
        ):
            router.add_get(path, _refusals_told(handler), allow_head=False)
        for path, handler in (("/cluster/keys", self.change_keys), ("/cluster/leave", self.leave), ("/cluster/ping", self.ping)):
            router.add_post(path, _refusals_told(handler))

    def start(self) -> None:
        """Begin to keep events."""
        fabric = self.agent.fabric
        if fabric is not None and self.ring is None:
            self.ring = EventRing(int(self.agent.started_at * 1000))
            self._unsubscribe = fabric.subscribe(self.ring.add)

    def stop(self) -> None:
        """End the streams, so that the server can stop."""
        self._unsubscribe()
        if self.ring is not None:
            self.ring.close()

    def _fabric(self) -> Fabric:
        fabric: Fabric | None = self.agent.fabric
        if fabric is None:
            raise Refused(404, NO_CLUSTER)
        return fabric

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        found = self._fabric().snapshot()
        return _json({**found, "members": [mesh.member(row) for row in found["members"]], "counts": mesh.counts(found["members"])})

    async def members(self, request: web.Request) -> web.StreamResponse:
        return _json([mesh.member(row) for row in self._fabric().snapshot()["members"]])

    async def wan(self, request: web.Request) -> web.StreamResponse:
        return _json(await self._fabric().wan())

    async def holders(self, request: web.Request) -> web.StreamResponse:
        self._fabric()
        service, url = request.query.get("service", ""), request.query.get("url", "")
        try:
            host, target = subject("url", url)
        except ValueError as error:
            raise Refused(400, f"url: found {url!r}, expected http://host/path: {error}") from None
        members, told_by = self.agent.mesh.holders(service, host, target) if self.agent.mesh is not None else ([], 0)
        return _json({"service": service, "url": url, "members": members, "told_by": told_by})

    async def health(self, request: web.Request) -> web.StreamResponse:
        found = self._fabric().snapshot()
        own, rows = found["self"], found["members"]
        return _json(
            {
                "name": own["name"],
                "health": own["health"],
                "health_score": own["health_score"],
                "encrypted": own["encrypted"],
                "counts": mesh.counts(rows),
                "unwell": mesh.unwell(rows),
            }
        )

    async def keys(self, request: web.Request) -> web.StreamResponse:
        found = self._fabric().snapshot()
        return _json({"encrypted": found["self"]["encrypted"], "keys": found["keys"]})

    async def change_keys(self, request: web.Request) -> web.StreamResponse:
        fabric = self._fabric()
        wish = await _body(request, {"op", "key"})
        op, key = wish.get("op", ""), wish.get("key", "")
        if op not in ("list", "install", "use", "remove"):
            raise Refused(400, "op: expected one of list, install, use, remove")
        if (op == "list") != (key == "") or (key and not _is_key(key)):
            expected = "none for list" if op == "list" else "base64 of 16, 24 or 32 octets"
            raise Refused(400, f"key: expected {expected}")  # what was found may be a key with a slip in it: it is not repeated
        try:
            return _json(await fabric.change_keys(op, key))
        except ValueError as error:
            raise Refused(400, f"{op}: {str(error).replace(key, '(key)') if key else error}") from None

    async def leave(self, request: web.Request) -> web.StreamResponse:
        await self._fabric().leave()
        return _json({"status": "left"})

    async def ping(self, request: web.Request) -> web.StreamResponse:
        fabric = self._fabric()
        name = (await _body(request, {"member"})).get("member", "")
        if not name:
            raise Refused(400, "member: expected a member's name")
        try:
            rtt_s = await fabric.ping(name)
        except LookupError:
            raise Refused(404, f"no member is called {name!r}") from None
        except TimeoutError:
            raise Refused(504, f"{name} does not answer") from None
        return _json({"member": name, "rtt_ms": round(rtt_s * 1000, 3)})

    async def events(self, request: web.Request) -> web.StreamResponse:
        self._fabric()
        assert self.ring is not None, "started"
        return await self.ring.stream(request)

    async def mesh(self, request: web.Request) -> web.StreamResponse:
        found = self._fabric().snapshot()
        own, rows = found["self"], found["members"]
        now = self.agent.loop.time()
        clusters = [cluster.snapshot(now) for _, cluster in sorted(self.agent.path.clusters.items())]
        shown = [mesh.member(row) for row in rows]
        for row in shown:
            if row["name"] == own["name"]:
                row["cache"] = mesh.cache_use(self.agent.path)
        return _json(
            {
                "self": own,
                "counts": mesh.counts(rows),
                "members": shown,
                "latency": mesh.latency(own["name"], rows),
                "services": mesh.services(clusters, rows),
            }
        )


def _json(value: Any) -> web.Response:
    """With msgspec: a view of a thousand members must not hold the data path's loop for long."""
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) in KEY_BYTES
    except (binascii.Error, ValueError):
        return False


async def _body(request: web.Request, names: set[str]) -> dict[str, str]:
    """The texts of a JSON object; raises Refused."""
    try:
        wish = await request.json()
    except (ValueError, LookupError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(wish, dict) or not wish.keys() <= names:
        raise Refused(400, f"the body: expected a JSON object of {', '.join(sorted(names))}")
    for name, value in wish.items():
        if not isinstance(value, str):
            raise Refused(400, f"{name}: expected text")
    return wish


def _refusals_told(handler: Handler) -> Handler:
    async def told(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as error:
            return web.json_response({"error": str(error)}, status=error.status)

    return told
