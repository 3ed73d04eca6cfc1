"""The agent's data path in this process, without sockets or a clock: octets from a client in, octets to upstreams and back out."""

from typing import Any

from agent.core.cache.store import CacheStore
from agent.core.http.config import HttpLimits
from agent.core.routing.cluster import Cluster
from agent.core.routing.config import Breaker, Outlier, Retries, Service
from agent.core.routing.endpoint import EndpointSpec
from agent.core.routing.table import RouteTable
from agent.proxy.client import ClientConnection
from agent.proxy.counters import ListenerCounters
from agent.proxy.datapath import DataPath
from agent.proxy.gate import EGRESS, Gate
from agent.proxy.plugins import PluginHost
from agent.proxy.pool import Pool, PoolLimits
from agent.proxy.upstream import Try, UpstreamConnection
from agent.runtime.wheel import TimerWheel


class StoppedLoop:
    """A loop whose time stands still, so that no limit ever passes."""

    def time(self) -> float:
        return 1000.0

    def call_later(self, delay: float, callback: Any, *args: Any) -> "StoppedLoop":
        return self

    def call_soon(self, callback: Any, *args: Any) -> "StoppedLoop":
        return self

    def cancel(self) -> None:
        """As a timer's handle."""


class RecordingTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.written += data

    def writelines(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            self.write(piece)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """The other direction goes on."""

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else None

    def pause_reading(self) -> None:
        """Nothing is read here; octets are handed in."""

    def resume_reading(self) -> None:
        """As above."""


class DirectPool(Pool):
    """Connects at once, to a transport that records."""

    def __init__(self, loop: Any, wheel: TimerWheel) -> None:
        super().__init__(loop, wheel, "upstream", 80, PoolLimits(512, 128, 30.0, 1024))
        self.made: list[UpstreamConnection] = []

    def acquire(self, user: Try, fresh: bool = False) -> None:
        connection: UpstreamConnection | None = self.idle.pop() if self.idle and not fresh else None
        if connection is None:
            connection = UpstreamConnection(self, 32_768, 128)
            connection.connection_made(RecordingTransport())
            self.made.append(connection)
        user.on_connected(connection)


class Rig:
    """A data path before one upstream. `caching` puts the L1 cache between them."""

    def __init__(self, caching: bool = False) -> None:
        self.loop: Any = StoppedLoop()
        service = {
            "hosts": ("*",),
            "endpoints": ("upstream:80",),
            "retries": Retries(attempts=0),
            "outlier": Outlier(enabled=False),
            "breaker": Breaker(enabled=False),
        }
        config = Service(**service)  # type: ignore[arg-type]
        self.path = DataPath(self.loop, TimerWheel(self.loop), CacheStore(1 << 20, "lru", 1 << 16), PluginHost(lambda *_, **__: None))
        self.path.seed(1)
        self.path.http = HttpLimits(body_bytes_max=100_000)
        cluster = Cluster("web", config, "", 1)
        cluster.update([EndpointSpec("upstream", 80)], 1000.0)
        self.cluster = cluster
        self.path.install(RouteTable({"web": config}), {"web": cluster})
        self.gate = Gate(self.path, EGRESS, self.path.table, ListenerCounters("egress"))
        self.new_pool()

    def new_pool(self) -> DirectPool:
        """Forget every upstream connection."""
        self.pool = DirectPool(self.loop, self.path.wheel)
        self.cluster.endpoints[0].pool = self.pool
        self.path._request_number = 0
        return self.pool

    def connect(self) -> tuple[ClientConnection, RecordingTransport]:
        """A new client connection."""
        connection = ClientConnection(self.gate)
        transport = RecordingTransport()
        connection.connection_made(transport)
        return connection, transport
