"""Requests to one agent: tried again while that is safe and there is time, and errors as what they mean."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from agent.client.address import Address
from agent.client.errors import AgentUnreachable, NotFound, OutcomeUnknown, SidecarError, Unavailable, error_of
from agent.client.session import Sessions
from agent.client.types import Item

BACKOFF_S: Final = 0.02
"""Before the second try, at most; twice as much before each further one,"""
BACKOFF_S_MAX: Final = 1.0
"""up to this. A share of it drawn at random: clients that failed together do not come back together."""
ANSWER_S: Final = 1.0
"""So long after its own time limit an agent has to say that it is over."""
SERVER_TIMEOUT_S_MAX: Final = 60.0
CLOSE_S: Final = 1.0
CONNECTIONS_MAX: Final = 256

_NOT_SENT: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
_SENT: Final = (aiohttp.ClientError, TimeoutError, ConnectionError)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body. Raises SidecarError where it is not JSON."""
        try:
            return json.loads(self.body) if self.body else {}
        except ValueError as error:
            raise SidecarError(f"the agent's answer is not JSON: {error}", "bad_answer", self.status) from error

    @property
    def revision(self) -> int:
        return int(self.headers.get("Pilotfish-Revision", "0"))


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it goes out. `query` and `headers` are the same in every repetition."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes | None
    expect: frozenset[int] = frozenset()
    """Statuses from 400 on that are answers to the caller, not errors."""


class Transport:
    """One agent's address. `timeout_s`: of a call with all its repetitions."""

    def __init__(self, address: Address, timeout_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self._http: aiohttp.ClientSession | None = None
        self._closed = False

    def _session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise SidecarError("this Sidecar is closed: make another", "closed")
        if self._http is None:
            connector: aiohttp.BaseConnector
            if self.address.socket:
                connector = aiohttp.UnixConnector(self.address.socket, limit=CONNECTIONS_MAX)
            else:
                connector = aiohttp.TCPConnector(limit=CONNECTIONS_MAX)
            jar = aiohttp.DummyCookieJar()
            self._http = aiohttp.ClientSession(connector=connector, cookie_jar=jar, auto_decompress=False, trust_env=False)
        return self._http

    async def close(self) -> None:
        self._closed = True
        if self._http is not None:
            await self._http.close()
            self._http = None

    def url(self, path: str, query: Mapping[str, str]) -> URL:
        """The path is encoded already."""
        text = "&".join(f"{name}={quoted(value)}" for name, value in query.items())
        return URL(f"{self.address.base}{path}{'?' + text if text else ''}", encoded=True)

    async def once(self, call: Call, attempt_s: float, server_s: float | None) -> Answer:
        """One try. Raises what aiohttp raises, and TimeoutError."""
        query = dict(call.query) if server_s is None else {**call.query, "timeout": duration(server_s)}
        timeout = aiohttp.ClientTimeout(total=attempt_s)
        url = self.url(call.path, query)
        async with self._session().request(
            call.method, url, headers=call.headers, data=call.body, timeout=timeout, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    async def stream(self, path: str, query: Mapping[str, str], headers: Mapping[str, str], silence_s: float) -> aiohttp.ClientResponse:
        """A response that goes on. Raises what aiohttp raises; SidecarError for an answer that is an error."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self.timeout_s, sock_read=silence_s)
        response = await self._session().get(self.url(path, query), headers=headers, timeout=timeout, allow_redirects=False)
        if response.status != 200:
            body = await response.read()
            response.release()
            raise error_of(response.status, _parsed(body), Item.of)
        return response

    async def ask(
        self, call: Call, timeout_s: float | None, *, again: bool = True, waits_s: float = 0.0, tells_server: bool = True
    ) -> Answer:
        """Try until there is an answer. `again`: a repetition does no harm, whatever became of the try before; else OutcomeUnknown is
        raised where nobody knows that. `waits_s`: so long the agent may take beside the time that it needs."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        end = time.monotonic() + limit_s
        unknown = False
        pause = BACKOFF_S
        while True:
            left = end - time.monotonic()
            wait = random.uniform(0.25, 1.0) * pause
            last: SidecarError
            try:
                server_s = min(max(left, 0.05), SERVER_TIMEOUT_S_MAX) if tells_server else None
                answer = await self.once(call, max(left, 0.05) + ANSWER_S + waits_s, server_s)
            except _NOT_SENT as error:
                last = AgentUnreachable(f"no agent answers at {self.address} ({self.address.source}): {error}", "unreachable")
            except _SENT as error:
                unknown = True
                last = OutcomeUnknown(f"no answer of the agent at {self.address}: {type(error).__name__} {error}".rstrip(), "no_answer")
            else:
                if answer.status < 400 or answer.status in call.expect:
                    return answer
                body = _parsed(answer.body)
                last = error_of(answer.status, body, Item.of)
                if not isinstance(last, Unavailable | OutcomeUnknown):
                    if unknown and last.code in ("session_not_found", "request_too_old", "idempotency_mismatch"):
                        raise _unknown(last) from last
                    raise last
                unknown = unknown or (isinstance(body, dict) and body.get("applied") == "unknown") or isinstance(last, OutcomeUnknown)
                if last.code == "busy":
                    # Of the others, a new leader may be there sooner than the agent guesses.
                    with suppress(ValueError):
                        wait = float(answer.headers.get("Retry-After", ""))
            if unknown and not again:
                raise _unknown(last) from last
            pause = min(pause * 2, BACKOFF_S_MAX)
            if end - time.monotonic() <= wait:
                raise _unknown(last) if unknown and call.method not in ("GET", "HEAD") else _in_vain(last, limit_s)
            await asyncio.sleep(wait)


class Api(Transport):
    """The application's API: commands exactly once."""

    def __init__(self, address: Address, timeout_s: float, session_ttl_s: float) -> None:
        super().__init__(address, timeout_s)
        self._session_ttl_s = session_ttl_s
        self.sessions = Sessions(self._make_session, self._keep_session, self._end_session)
        self.at_close: list[Callable[[], Awaitable[None]]] = []
        """What ends before the connections do: leases that are kept."""

    async def read(
        self, path: str, query: Mapping[str, str] | None = None, timeout_s: float | None = None, expect: frozenset[int] = frozenset()
    ) -> Answer:
        """A GET, tried again at will."""
        return await self.ask(Call("GET", path, query or {}, {}, None, expect), timeout_s)

    async def command(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Carried out once at most, and once if there is an answer; body: octets, or what is made JSON."""
        headers, data = _body(body)
        while True:
            async with self.sessions.command() as numbers:
                call = Call(method, path, query or {}, {**headers, **numbers}, data)
                try:
                    return await self.ask(call, timeout_s)
                except SidecarError as error:
                    if error.code not in ("session_not_found", "request_too_old"):
                        raise
                    self.sessions.forget(numbers["Pilotfish-Session"])
                    if isinstance(error, OutcomeUnknown):
                        raise
                    # It was not carried out: the session ended while nothing was asked. Again, in a new one.

    async def plain(
        self, method: str, path: str, body: Any = None, timeout_s: float | None = None, *, again: bool = True, waits_s: float = 0.0
    ) -> Answer:
        """A command without a session: one that says the same when it is said twice (`again`), or whose caller sees to that."""
        headers, data = _body(body)
        return await self.ask(Call(method, path, {}, headers, data), timeout_s, again=again, waits_s=waits_s)

    async def _make_session(self) -> tuple[int, int, float]:
        answer = await self.plain("POST", "/v1/sessions", {"ttl": duration(self._session_ttl_s)})
        fields = answer.json()
        return int(fields["session"]), int(fields["window"]), float(fields["ttl_s"])

    async def _keep_session(self, session: int) -> bool:
        try:
            await self.plain("POST", f"/v1/sessions/{session}/keepalive", {}, self._session_ttl_s / 3)
        except NotFound:
            return False
        except SidecarError:
            return True
        return True

    async def _end_session(self, session: int) -> None:
        with suppress(SidecarError):
            await self.plain("DELETE", f"/v1/sessions/{session}", None, CLOSE_S)

    async def close(self) -> None:
        if self._http is not None:
            await asyncio.gather(*(call() for call in list(self.at_close)))
            await self.sessions.close()
        await super().close()


def _body(body: Any) -> tuple[dict[str, str], bytes | None]:
    if body is None:
        return {}, None
    if isinstance(body, bytes):
        return {"Content-Type": "application/octet-stream"}, body
    return {"Content-Type": "application/json"}, json.dumps(body).encode()


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {}


def _unknown(last: SidecarError) -> SidecarError:
    if isinstance(last, OutcomeUnknown):
        return last
    return OutcomeUnknown(f"the command may have been carried out: {last.detail}", last.code, last.status)


def _in_vain(last: SidecarError, limit_s: float) -> SidecarError:
    if isinstance(last, OutcomeUnknown):
        return Unavailable(f"{last.detail}; tried for {limit_s:g} s", last.code, last.status)
    return type(last)(f"{last.detail}; tried for {limit_s:g} s", last.code, last.status)


def duration(seconds: float) -> str:
    return f"{max(int(seconds * 1000), 1)}ms"


def quoted(value: str | bytes) -> str:
    """Percent-encoded for a path's segment or a query. A text may carry any octets (surrogateescape)."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    # A path of dots alone would be taken for a way up.
    return quote(value, safe="").replace(".", "%2E") if value in (b".", b"..") else quote(value, safe="")
