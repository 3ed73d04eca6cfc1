"""The state API: its listener, its connections, and what they share."""

import asyncio
import contextlib
import os
import re
import socket
import stat
from typing import Any, Final

from agent.core.http.head import RequestHead, parse_request_head
from agent.core.http.repeats import read_request_line
from agent.runtime.log import Logger
from agent.runtime.wheel import TimerWheel
from agent.state.config import ApiConfig
from agent.state.connection import HEADERS_MAX, ApiConnection
from agent.state.errors import ApiError
from agent.state.figures import ApiFigures
from agent.state.handlers import router
from agent.state.hub import Hub
from agent.state.plan import Plan, Sender, foreign, split_target
from agent.state.questions import Questions
from agent.state.reads import Reads
from agent.state.router import Route
from agent.state.service import Service
from agent.state.waits import Waits
from agent.state.writes import Writes

PLANS_MAX: Final = 2_048
SENDERS_MAX: Final = 512
MEMO_HEAD_MAX: Final = 1_024
"""What comes again and again is understood once: so many heads, and so many heads but for their first lines, of so many octets at most."""
TARGET_BYTES_MAX: Final = 8_192
BACKLOG: Final = 1_024
DRAIN_S: Final = 1.0
_ADDRESS: Final = re.compile(rb"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class ListenError(Exception):
    """The address cannot be listened on."""


class StateApi:
    """One agent's. `service`: the group; see `service.py`."""

    def __init__(self, service: Service, config: ApiConfig, log: Logger, agent_id: str = "") -> None:
        self.service = service
        self.config = config
        self.log = log
        self.agent_id = agent_id
        self.loop = asyncio.get_running_loop()
        self.wheel = TimerWheel(self.loop)
        self.figures = ApiFigures()
        self.router = router()
        self.questions = Questions(service, self.router)
        service.answer_with(self.questions.answer)
        self.reads = Reads(service, self.questions)
        self.writes = Writes(service, self.figures)
        self.hub = Hub(service, config, self.figures, self.wheel)
        self.waits = Waits(self.loop)
        self.connections: set[ApiConnection] = set()
        self.address = ""
        nobody = Sender(RequestHead(1, [], 0, b"GET", b"/"))
        self.no_plan = Plan(nobody, "GET", Route("", None), b"", {}, 0.0)
        self._server: Any = None
        self._plans: dict[bytes, Plan] = {}
        self._senders: dict[bytes, Sender] = {}
        self._names = {name.lower().encode("ascii") for name in ("localhost", *config.hosts)}
        self._any_host = config.listen.startswith("unix:")
        self._empty: asyncio.Event | None = None
        """Set when the last connection has gone, once the API closes."""
        service.watchers.append(self._applied)

    # -- requests

    def plan(self, raw: bytes) -> Plan:
        """What a head asks for. Raises BadMessage or ApiError."""
        known = self._plans.get(raw)
        if known is not None:
            return known
        end = raw.find(b"\r\n")
        line = read_request_line(raw[:end], TARGET_BYTES_MAX)
        fields = raw[end - 1 :]  # with the last digit of the version: what fields mean depends on it
        sender = self._senders.get(fields) if line.target[:1] == b"/" else None
        if sender is None:
            head = parse_request_head(raw, HEADERS_MAX, TARGET_BYTES_MAX)
            self._check_sender(head)
            sender = Sender(head)
            if not sender.unique and not head.absolute and len(fields) <= MEMO_HEAD_MAX:
                if len(self._senders) >= SENDERS_MAX:
                    self._senders.clear()
                self._senders[fields] = sender
        path, parameters = split_target(line.target if line.target[:1] == b"/" else sender.head.target)
        method = line.method.decode("latin-1")
        route, name = self.router.find(method, path)
        plan = Plan(sender, method, route, name, parameters, self.config.timeout)
        if not sender.unique and len(raw) <= MEMO_HEAD_MAX and route.error is None:
            if len(self._plans) >= PLANS_MAX:
                self._plans.clear()
            self._plans[raw] = plan
        return plan

    def _check_sender(self, head: RequestHead) -> None:
        """A page in a browser has no business here, by whatever name it comes."""
        authority = head.authority
        if not self._any_host and (authority or head.minor == 1) and _ADDRESS.fullmatch(authority) is None:
            name = authority.rpartition(b":")[0] if b":" in authority else authority
            if name not in self._names:
                shown = authority.decode("latin-1")[:100]
                raise ApiError(421, "wrong_host", f"Host {shown!r}: expected localhost, an address, or one of consensus.api.hosts", "no")
        site = foreign(head)
        if site:
            raise ApiError(403, "foreign_origin", f"a request of another site ({site}) is not taken", "no")

    def _applied(self, index: int) -> None:
        machine = self.service.machine
        if machine is not None:
            self.hub.on_applied(machine)
            self.waits.on_applied(machine)

    def forget(self, connection: ApiConnection) -> None:
        """A connection is gone."""
        self.connections.discard(connection)
        if self._empty is not None and not self.connections:
            self._empty.set()

    # -- life

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        listen = self.config.listen
        factory: Any = self._connection
        try:
            if listen.startswith("unix:"):
                path = listen[5:]
                if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
                    os.unlink(path)
                self._server = await self.loop.create_unix_server(factory, path, backlog=BACKLOG)
                self.address = listen
                return
            host, _, port = listen.rpartition(":")
            host = host.strip("[]")
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, int(port)))
            sock.setblocking(False)
            self._server = await self.loop.create_server(factory, sock=sock, backlog=BACKLOG)
            bound = sock.getsockname()[1]
            self.address = f"[{host}]:{bound}" if ":" in host else f"{host}:{bound}"
        except OSError as error:
            raise ListenError(f"consensus.api.listen: cannot listen on {listen}: {error.strerror or error}") from error

    def _connection(self) -> ApiConnection:
        return ApiConnection(self)

    async def stop(self) -> None:
        """Accept no more, tell the watchers, let what is under way have its answers for a moment."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._applied in self.service.watchers:
            self.service.watchers.remove(self._applied)
        for connection in list(self.connections):
            connection.end()
        if self.connections:
            self._empty = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_S):
                    await self._empty.wait()
        self.writes.stop()
        for connection in list(self.connections):
            connection.transport.abort()
        if self.config.listen.startswith("unix:") and os.path.exists(self.config.listen[5:]):
            os.unlink(self.config.listen[5:])
