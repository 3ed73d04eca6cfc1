"""All connections of an agent with its peers: those it keeps up, and those that come."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final

from agent.core.swim.messages import Place
from agent.runtime.log import Logger
from agent.runtime.peers.counters import PeerCounters
from agent.runtime.peers.link import HANDSHAKE_S, Link
from agent.runtime.peers.wire import Frame

if TYPE_CHECKING:
    from agent.runtime.transport.tls import MutualTls

BACKOFF_FIRST_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0
"""Doubled from the first on at each failure, and drawn between half of it and all of it."""
AGE_S: Final = 3600.0
"""A connection that we opened is replaced by a new one at this age, less up to a tenth: certificates and keys are looked at again."""
INCOMING_MAX: Final = 1024
UNPROVED_MAX: Final = 64
"""Connections that came and are not proved yet."""
BACKLOG: Final = 256
ACCEPT_PAUSE_S: Final = 0.5


def no_keys() -> tuple[bytes, ...]:
    """Of a cluster that is plain."""
    return ()


class PeerTransport:
    """`receive(name, frames)` takes what peers send; `unreachable(name)` says that what was sent to a peer lately is lost. Both are called
    on the loop and must not raise."""

    def __init__(
        self,
        cluster: str,
        name: str,
        receive: Callable[[str, list[Frame]], None],
        unreachable: Callable[[str], None],
        log: Logger,
        random: Random,
        keys: Callable[[], tuple[bytes, ...]] = no_keys,
        tls: "MutualTls | None" = None,
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.keys = keys
        self.tls = tls
        self.log = log
        self.counters = PeerCounters()
        self.place: Place = ("", 0)
        """Where it listens, once it is started."""
        self.on_connected: Callable[[str], None] = lambda name: None
        self._receive = receive
        self._unreachable = unreachable
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[str, Place] = {}
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._outgoing: dict[str, Link] = {}
        self._incoming: dict[str, Link] = {}
        self._links: set[Link] = set()
        self._unproved: set[asyncio.Task[None]] = set()
        self._dirty: list[Link] = []
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._stopped = False

    # -- life

    async def start(self, place: Place) -> None:
        """Listen. Raises OSError where the place is taken."""
        host, port = place
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        self.place = listener.getsockname()[:2]
        self._listener = listener
        self._accepting = self._loop.create_task(self._accept(listener))

    async def stop(self) -> None:
        """What is queued goes yet, as far as the sockets take it."""
        self._stopped = True
        tasks = [*self._dialling.values(), *self._unproved]
        if self._accepting is not None:
            tasks.append(self._accepting)
        links = [*self._links, *self._outgoing.values()]
        for link in links:
            link.close("the agent stops")
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            link.abort("the agent stops")
        await asyncio.gather(*(link.ended for link in links if link.ended is not None), return_exceptions=True)
        if self._listener is not None:
            self._listener.close()

    # -- who is connected

    def want(self, peers: Mapping[str, Place]) -> None:
        """Keep a connection to each of these, and to no others (those that others opened stay)."""
        for name in [name for name, place in self._wanted.items() if peers.get(name) != place]:
            self._dialling.pop(name).cancel()
            del self._wanted[name]
            link = self._outgoing.pop(name, None)
            if link is not None:
                link.close("no longer wanted at that place")
        for name, place in peers.items():
            if name not in self._wanted and name != self.name and not self._stopped:
                self._wanted[name] = place
                self._dialling[name] = self._loop.create_task(self._keep(name, place))

    def connected(self, name: str) -> bool:
        """Whether what is sent goes somewhere."""
        return name in self._outgoing or name in self._incoming

    def peers(self) -> dict[str, dict[str, Any]]:
        """For people: whom we want or have, and how it stands."""
        names = sorted({*self._wanted, *self._outgoing, *self._incoming})
        return {
            name: {
                "connected": self.connected(name),
                "outgoing": name in self._outgoing,
                "incoming": name in self._incoming,
                "waiting_bytes": sum(
                    link.waiting_bytes for link in (self._outgoing.get(name), self._incoming.get(name)) if link is not None
                ),
                "identity": next((link.identity for link in (self._outgoing.get(name), self._incoming.get(name)) if link is not None), ""),
            }
            for name in names
        }

    def recheck(self) -> None:
        """Close what a key that is no longer in the ring had proved."""
        keys = self.keys() if self.tls is None else ()
        for link in list(self._links):
            if link.open and link.key and link.key not in keys:
                link.close("its key was removed from the ring")

    # -- sending

    def send(self, name: str, frame: Frame) -> bool:
        """To be sent at the end of this turn of the loop. False: nothing leads there."""
        link = self._outgoing.get(name) or self._incoming.get(name)
        if link is None:
            self.counters.unsent += 1
            self._unreachable(name)
            return False
        if not self._dirty:
            self._loop.call_soon(self.flush)
        self._dirty.append(link)
        link.queue(frame)
        return True

    def flush(self) -> None:
        """Send what the turn has gathered; a host that knows that it is over need not wait for the loop to say so."""
        dirty = self._dirty
        if dirty:
            self._dirty = []
            for link in dirty:
                link.flush()

    # -- what links tell

    def on_open(self, link: Link) -> None:
        known = self._outgoing if link.expected else self._incoming
        old = known.get(link.name)
        known[link.name] = link
        if old is not None and old is not link:
            old.close("another connection took its place")
        self.on_connected(link.name)

    def on_frames(self, link: Link, frames: list[Frame]) -> None:
        self._receive(link.name, frames)

    def on_closed(self, link: Link) -> None:
        known = self._outgoing if link.expected else self._incoming
        if known.get(link.name) is link:
            del known[link.name]
            if not self.connected(link.name):
                self._unreachable(link.name)

    def on_overflow(self, link: Link) -> None:
        self._unreachable(link.name)

    def _made(self, expected: str) -> Link:
        link = Link(self, self._loop, expected)
        self._links.add(link)
        link.ended.add_done_callback(lambda _: self._links.discard(link))
        return link

    # -- dialling

    async def _keep(self, name: str, place: Place) -> None:
        """Keep a connection to a peer, until cancelled."""
        wait_s = BACKOFF_FIRST_S
        while True:
            try:
                link = await self._dial(name, place)
            except (OSError, TimeoutError):  # ssl.SSLError is an OSError
                self.counters.dial_failures += 1
                if not self.connected(name):
                    self._unreachable(name)
            else:
                wait_s = BACKOFF_FIRST_S
                age_s = AGE_S * (1.0 - 0.1 * self._random.random())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(age_s):
                        await asyncio.shield(link.ended)
                if not link.ended.done():
                    continue  # the new one takes its place
            await asyncio.sleep(wait_s * (0.5 + 0.5 * self._random.random()))
            wait_s = min(wait_s * 2.0, BACKOFF_MAX_S)

    async def _dial(self, name: str, place: Place) -> Link:
        secured: dict[str, Any] = {}
        if self.tls is not None:
            secured = {"ssl": self.tls.client_context(), "server_hostname": "", "ssl_handshake_timeout": HANDSHAKE_S}
        link = self._made(name)
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                await self._loop.create_connection(lambda: link, place[0], place[1], **secured)
                await asyncio.shield(link.proved)
        except BaseException:
            link.abort("could not be made")
            self._links.discard(link)
            raise
        return link

    # -- accepting

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = await self._loop.sock_accept(listener)
            except OSError as error:
                self.counters.accept_errors += 1
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    await asyncio.sleep(ACCEPT_PAUSE_S)
                else:
                    await asyncio.sleep(0)
                continue
            accepted.setblocking(False)
            if len(self._unproved) >= UNPROVED_MAX or len(self._links) >= INCOMING_MAX + len(self._wanted):
                self.counters.drop("too_many")
                accepted.close()
                continue
            task = self._loop.create_task(self._admit(accepted))
            self._unproved.add(task)
            task.add_done_callback(self._unproved.discard)

    async def _admit(self, accepted: socket.socket) -> None:
        secured: dict[str, Any] = {}
        if self.tls is not None:
            secured = {"ssl": self.tls.server_context(), "ssl_handshake_timeout": HANDSHAKE_S}
        link = self._made("")
        try:
            await self._loop.connect_accepted_socket(lambda: link, accepted, **secured)
            await asyncio.shield(link.proved)
        except OSError:  # told and counted where it happened; TLS's own here
            if self.tls is not None and not link.why:
                self.counters.drop("tls")
            link.abort("was not made")
        except BaseException:
            link.abort("the agent stops")
            accepted.close()
            raise
        finally:
            if not link.proved.done() or link.proved.exception() is not None:
                self._links.discard(link)
