"""HTTP for operators, on aiohttp and a port of its own. What it answers is in `agent/admin/openapi.py`."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from agent.admin import page
from agent.admin.applications import bad, on_load, on_purge
from agent.admin.cluster import ClusterApi
from agent.admin.consensus import ConsensusApi
from agent.admin.metrics import render
from agent.admin.names import known_name
from agent.admin.openapi import DOCUMENT
from agent.proxy.explain import explain, find

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class AdminServer:
    """Routes of the admin API over one agent.

    reload: reads the configuration again, given the cause; shown: the settings as people may see them.
    """

    def __init__(self, agent: Any, reload: Callable[[str], Awaitable[dict[str, object]]], shown: Callable[[Any], dict[str, Any]]) -> None:
        self.agent = agent
        self._shown = shown
        self.address = ""
        self.on_drain: Callable[[], None] = lambda: None
        self._reload = reload
        self._runner: web.AppRunner | None = None
        self._cluster = ClusterApi(agent)
        self._consensus = ConsensusApi(agent)

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=65_536, middlewares=[_errors_as_json, _own_names, _no_other_sites])
        get, post = app.router.add_get, app.router.add_post
        get("/healthz", self.healthz)
        get("/readyz", self.readyz)
        get("/readyz/outbound", self.readyz_outbound)
        get("/metrics", self.metrics)
        get("/config", self.config)
        get("/clusters", self.clusters)
        get("/cache", self.cache)
        post("/cache/purge", self.purge)
        post("/load", self.load)
        get("/routes", self.routes)
        get("/why", self.why)
        get("/status", self.status)
        get("/plugins", self.plugins)
        post("/reload", self.reload)
        post("/drain", self.drain)
        get("/debug/loop", self.debug_loop)
        get("/openapi.json", self.openapi)
        self._cluster.register(app.router)
        self._consensus.register(app.router)
        page.register(app.router)
        return app

    async def start(self, address: str) -> None:
        self._cluster.start()
        self._runner = web.AppRunner(self._application(), access_log=None, handle_signals=False)
        await self._runner.setup()
        site: web.BaseSite
        if address.startswith("unix:"):
            site = web.UnixSite(self._runner, address[5:])
        else:
            host, _, port = address.rpartition(":")
            site = web.TCPSite(self._runner, host.strip("[]"), int(port), reuse_port=self.agent.settings.listen.reuse_port)
        await site.start()
        if address.startswith("unix:"):
            self.address = address
        else:
            host, port = self._runner.addresses[0][:2]
            self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def stop(self) -> None:
        self._cluster.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "id": self.agent.agent_id})

    async def readyz(self, request: web.Request) -> web.Response:
        return _readiness(self.agent.ready())

    async def readyz_outbound(self, request: web.Request) -> web.Response:
        return _readiness(self.agent.ready_outbound())

    async def metrics(self, request: web.Request) -> web.Response:
        body, content_type = render(self.agent, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def config(self, request: web.Request) -> web.Response:
        return web.json_response(self._shown(self.agent.settings))

    async def clusters(self, request: web.Request) -> web.Response:
        now = self.agent.loop.time()
        return web.json_response([cluster.snapshot(now) for _, cluster in sorted(self.agent.path.clusters.items())])

    async def cache(self, request: web.Request) -> web.Response:
        store = self.agent.path.store
        answer = store.stats()
        query = request.query
        text = query.get("limit", "100")
        if not (text.isascii() and text.isdigit()):
            return bad(f"limit: found {text!r}, expected a whole number of entries")
        if not query.keys().isdisjoint(("list", "service", "host", "prefix", "limit")):
            limit = min(int(text[:9]), 10_000)
            now = self.agent.path.wall()
            found = store.listing(query.get("service", ""), query.get("host", "").encode(), query.get("prefix", "").encode(), limit)
            answer["listing"] = [
                {
                    "service": entry.service,
                    "host": entry.host.decode("latin-1"),
                    "target": entry.target.decode("latin-1"),
                    "status": entry.status,
                    "bytes": entry.size,
                    "hits": entry.hits,
                    "ttl_s": round(entry.fresh_until - now, 1),
                    "tags": [tag.decode("latin-1") for tag in entry.tags],
                }
                for entry in found
            ]
        return web.json_response(answer)

    async def purge(self, request: web.Request) -> web.Response:
        return await on_purge(self.agent, request)

    async def load(self, request: web.Request) -> web.Response:
        return await on_load(self.agent, request)

    async def routes(self, request: web.Request) -> web.Response:
        rows = []
        for name, service in self.agent.settings.services.items():
            known = self.agent.path.table.services[name]
            rows.append({"service": name, "hosts": list(service.hosts), "routes": [target.route for _, target in known.routes]})
        return web.json_response(rows)

    async def why(self, request: web.Request) -> web.Response:
        story = find(self.agent.path.recent, request.query.get("id", ""), request.query.get("target", ""))
        if story is None:
            return web.json_response({"error": "no recent request with that id or target is known"}, status=404)
        return web.json_response(explain(self.agent.agent_id, story))

    async def status(self, request: web.Request) -> web.Response:
        agent = self.agent
        return web.json_response(
            {
                "id": agent.agent_id,
                "uptime_s": round(agent.path.wall() - agent.started_at, 1),
                "draining": agent.draining,
                "clustered": agent.fabric is not None,
                "in_flight": agent.path.in_flight,
                "reload": agent.reload,
                "plugins": {
                    row["name"]: {key: row[key] for key in ("enabled", "faults", "last_fault")} for row in agent.plugins.snapshot()
                },
                "services": {name: _totals(books) for name, books in sorted(agent.path.counters.items())},
            }
        )

    async def plugins(self, request: web.Request) -> web.Response:
        return web.json_response(self.agent.plugins.snapshot())

    async def reload(self, request: web.Request) -> web.Response:
        result = await self._reload("POST /reload")
        return web.json_response(result, status=200 if result["result"] in ("ok", "unchanged") else 409)

    async def drain(self, request: web.Request) -> web.Response:
        self.agent.loop.call_soon(self.on_drain)
        return web.json_response({"status": "draining"}, status=202)

    async def debug_loop(self, request: web.Request) -> web.Response:
        agent = self.agent
        return web.json_response(
            {
                "lag_s": agent.loop_lag_s,
                "lag_max_s": agent.loop_lag_max_s,
                "tasks": len(asyncio.all_tasks()),
                "connections": len(agent.path.connections),
                "timers": len(agent.path.wheel),
                "gc": agent.collector.as_json(),
            }
        )

    async def openapi(self, request: web.Request) -> web.Response:
        return web.json_response(DOCUMENT)


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Unknown paths, wrong methods and bodies that are too large are told as everything else is."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        return web.json_response({"error": error.reason}, status=error.status, headers=headers)


@web.middleware
async def _own_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    """On loopback, only loopback's names and addresses as such: a name that somebody lets resolve to 127.0.0.1 (DNS rebinding) would
    make an operator's browser take the agent for that site. Other interfaces have names that are not known here."""
    if not known_name(request.host, _local_address(request)):
        return web.json_response({"error": f"Host: found {request.host!r}, expected an address or localhost"}, status=421)
    return await handler(request)


def _local_address(request: web.Request) -> str:
    """Where the connection arrived; empty for a Unix socket, which no browser opens."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else ""
    return str(name[0]) if isinstance(name, tuple) else ""


@web.middleware
async def _no_other_sites(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A page of some other site, open in an operator's browser, must not make the agent do things (it cannot read answers anyway)."""
    if request.method not in ("GET", "HEAD"):
        origin = request.headers.get("Origin")
        foreign = request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin")
        if foreign or (origin is not None and urlsplit(origin).netloc != request.host):
            return web.json_response({"error": f"a request of another site ({origin or 'unnamed'}) is not taken"}, status=403)
    return await handler(request)


def _readiness(state: tuple[bool, str]) -> web.Response:
    ok, why = state
    return web.json_response({"ready": ok, "reason": why}, status=200 if ok else 503)


def _totals(books: Any) -> dict[str, Any]:
    from agent.proxy.counters import CLASSES, LATENCY_BOUNDS_S, OUTCOMES

    outcomes: dict[str, int] = {}
    classes: dict[str, int] = {}
    buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
    for index, series in enumerate(books.table):
        if series is not None and series.count:
            outcomes[OUTCOMES[index // CLASSES]] = outcomes.get(OUTCOMES[index // CLASSES], 0) + series.count
            classes[f"{index % CLASSES}xx"] = classes.get(f"{index % CLASSES}xx", 0) + series.count
            for place, count in enumerate(series.buckets):
                buckets[place] += count
    total = sum(buckets)
    quantiles: dict[str, float | None] = {}
    for share in (0.5, 0.99):
        seen = 0
        for place, count in enumerate(buckets):
            seen += count
            if total and seen >= share * total:
                # None: more than the last bound
                quantiles[f"p{int(share * 100)}_ms_at_most"] = LATENCY_BOUNDS_S[place] * 1000 if place < len(LATENCY_BOUNDS_S) else None
                break
    return {
        "requests": total,
        "in_flight": books.in_flight,
        "outcomes": outcomes,
        "classes": classes,
        "flags": books.flags,
        "retries": books.retries,
        **quantiles,
    }
