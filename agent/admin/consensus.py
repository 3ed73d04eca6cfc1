"""Consensus, for operators: how the group stands, its members, and orders to whoever leads it."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec
from aiohttp import web

NO_CONSENSUS: Final = "no consensus is configured: set consensus (docs/consensus.md) and start the agent again"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ORDERS: Final = ("add", "remove", "transfer")


class Refused(Exception):
    """An answer that says what is wrong."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ConsensusApi:
    """Handlers over an agent, whose `consensus` is None where none is configured."""

    def __init__(self, agent: Any) -> None:
        self.agent = agent

    def register(self, router: web.UrlDispatcher) -> None:
        for path, handler in (("/consensus", self.status), ("/consensus/members", self.members)):
            router.add_get(path, _refusals_told(handler), allow_head=False)
        router.add_get("/consensus/limits", _refusals_told(self.limits), allow_head=False)
        router.add_post("/consensus/limits", _refusals_told(self.limits))
        for path, handler in (
            ("/consensus/add", self.order),
            ("/consensus/remove", self.order),
            ("/consensus/transfer", self.order),
            ("/consensus/snapshot", self.snapshot),
        ):
            router.add_post(path, _refusals_told(handler))

    def _consensus(self) -> Any:
        consensus = self.agent.consensus
        if consensus is None:
            raise Refused(404, NO_CONSENSUS)
        return consensus

    async def status(self, request: web.Request) -> web.StreamResponse:
        return _json(self._consensus().status())

    async def members(self, request: web.Request) -> web.StreamResponse:
        return _json(self._consensus().status()["members"])

    async def order(self, request: web.Request) -> web.StreamResponse:
        consensus = self._consensus()
        what = request.path.rpartition("/")[2]
        name = await _name(request)
        if not name and what != "transfer":
            raise Refused(400, "agent: expected an agent's name")
        try:
            await consensus.orders.give(what, name)
        except consensus.orders.Error as error:
            raise Refused(409, str(error)) from None
        except TimeoutError:
            raise Refused(504, "the leader has not answered in time; what came of it shows `pilotfish consensus members`") from None
        return _json({"status": "accepted", "order": what, "agent": name})

    async def snapshot(self, request: web.Request) -> web.StreamResponse:
        consensus = self._consensus()
        try:
            index = await consensus.orders.snapshot()
        except consensus.orders.Error as error:
            raise Refused(409, str(error)) from None
        except TimeoutError:
            raise Refused(504, "the snapshot is still being written") from None
        return _json({"index": index})

    async def limits(self, request: web.Request) -> web.StreamResponse:
        """Of the replicated state; with a body: set some first."""
        from agent.admin import limits

        consensus = self._consensus()
        try:
            bounds = limits.wish(await request.read()) if request.method == "POST" else {}
            return _json(await limits.set_and_tell(consensus, bounds))
        except limits.NoLimits as error:
            raise Refused(error.status, str(error)) from None


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


async def _name(request: web.Request) -> str:
    """The agent that a body `{"agent": "name"}` names. Raises Refused."""
    try:
        wish = await request.json() if request.can_read_body else {}
    except (ValueError, LookupError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(wish, dict) or not wish.keys() <= {"agent"} or not isinstance(wish.get("agent", ""), str):
        raise Refused(400, 'the body: expected {"agent": "a name"}')
    return str(wish.get("agent", ""))


def _refusals_told(handler: Handler) -> Handler:
    async def told(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as error:
            return web.json_response({"error": str(error)}, status=error.status)

    return told
