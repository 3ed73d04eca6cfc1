"""Watches over a WebSocket (RFC 6455): many on one connection, begun and cancelled by messages. Framing is wsproto's."""

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final

import msgspec

from agent.core.http.head import RequestHead
from agent.core.machine.machine import Machine
from agent.core.machine.records import Event
from agent.runtime.wheel import Alarm
from agent.state.bodies import SocketBody, WatchBody, octets
from agent.state.call import Call
from agent.state.errors import ApiError, bad, of_reason
from agent.state.hub import Watch
from agent.state.kv import counted
from agent.state.texts import from_base64
from agent.state.told import event_json
from agent.state.txn import range_of
from agent.state.wire import to_json

if TYPE_CHECKING:
    from agent.state.api import StateApi

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 section 1.3."""
MESSAGE_BYTES_MAX: Final = 65_536
_MESSAGES: Final = msgspec.json.Decoder(SocketBody)

Query = tuple[bytes, bytes, int, bool]
"""From which key, to before which, after which revision (-1: from now on), with values."""


def wants_websocket(head: RequestHead) -> bool:
    return head.upgrade.lower() == b"websocket"


class Socket:
    """first: the watch that the request itself asked for (id 0)."""

    def __init__(self, api: "StateApi", call: Call, first: Query | None) -> None:
        """Raises ApiError where the request is no good handshake."""
        self.alarm = Alarm(self.on_deadline)
        from wsproto.connection import Connection, ConnectionType

        head = call.plan.sender.head
        key = head.get(b"sec-websocket-key") or b""
        if call.plan.method != "GET" or head.get(b"sec-websocket-version") != b"13" or len(from_base64(key.decode("latin-1")) or b"") != 16:
            raise ApiError(400, "bad_request", "no WebSocket handshake of version 13 (RFC 6455 section 4.2.1)")
        self._accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        self.api = api
        self.call = call
        self.transport: Any = None
        self.over = False
        self.watches: dict[int, Watch] = {}
        self._first = first
        self._connection: Any = Connection(ConnectionType.SERVER)
        self._message: list[str] = []
        self._message_size = 0
        self._stalled = False

    @property
    def ready(self) -> bool:
        return not self.over and not self._stalled

    # -- Stream

    def begin(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=self.api.config.watch_buffer)
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %b\r\n\r\n"
            % self._accept
        )
        self._next_beat()
        if self._first is not None:
            self._open(0, self._first)

    def on_data(self, data: bytes) -> None:
        from wsproto.utilities import RemoteProtocolError

        if self.over:
            return
        try:
            self._connection.receive_data(data)
            for event in self._connection.events():
                self._on_event(event)
                if self.over:
                    return
        except RemoteProtocolError as error:
            self._close(1002, str(error)[:100])

    def _on_event(self, event: Any) -> None:
        from wsproto import events

        if isinstance(event, events.TextMessage):
            self._message.append(event.data)
            self._message_size += len(event.data)
            if self._message_size > MESSAGE_BYTES_MAX:
                self._close(1009, "message too big")
            elif event.message_finished:
                text = "".join(self._message)
                self._message.clear()
                self._message_size = 0
                self._on_message(text)
        elif isinstance(event, events.Ping):
            self.transport.write(self._connection.send(event.response()))
        elif isinstance(event, events.CloseConnection):
            self.transport.write(self._connection.send(event.response()))
            self._finish()
        elif isinstance(event, events.BytesMessage):
            self._close(1003, "messages are JSON text")

    def _on_message(self, text: str) -> None:
        try:
            body = _MESSAGES.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            self._say({"closed": {"error": "bad_request", "detail": f"message: {error}"}})
            return
        if body.cancel is not None:
            watch = self.watches.pop(body.cancel.id, None)
            if watch is not None:
                self._drop(watch)
            self._say({"id": body.cancel.id, "closed": {"error": "cancelled", "detail": "as was asked"}})
        if body.watch is not None:
            try:
                self._open(body.watch.id, self._query(body.watch))
            except ApiError as error:
                self._refuse(body.watch.id, error)

    def _query(self, body: WatchBody) -> Query:
        after = counted("after", body.after) if body.after is not None else -1
        if body.key is not None or body.key_base64 is not None:
            key = octets("key", body.key, body.key_base64)
            return key, key + b"\0", after, body.values
        start, end = range_of("watch", body)
        return start, end, after, body.values

    def _refuse(self, id: int, error: ApiError) -> None:
        self._say({"id": id, "closed": {"error": error.code, "detail": error.detail}})

    # -- watches

    def _open(self, id: int, query: Query) -> None:
        most = self.api.config.watches_per_connection_max
        if id in self.watches:
            raise bad("id", id, "one that is not in use")
        if len(self.watches) >= most or self.api.hub.full:
            self._refuse(id, ApiError(503, "busy", f"there are {len(self.watches)} watches on this connection; at most {most}"))
            return
        start, end, after, values = query
        watch = Watch(self, id, start, end, after, values)
        self.watches[id] = watch
        self.api.figures.watches += 1

        def ready(reason: str, index: int) -> None:
            if self.watches.get(id) is not watch:
                return
            machine: Machine | None = self.api.service.machine
            if reason or machine is None:
                del self.watches[id]
                self._drop(watch)
                self._refuse(id, of_reason(reason or "stopped", False))
                return
            if watch.cursor < 0:
                watch.cursor = machine.revision
            self._say({"id": id, "open": {"revision": machine.revision}})
            self.api.hub.add(watch)

        plan = self.call.plan
        self.api.service.read(plan.consistency, ready, plan.timeout_s, plan.max_staleness_s)

    def _drop(self, watch: Watch) -> None:
        self.api.hub.drop(watch)
        self.api.figures.watches -= 1

    def tell(self, watch: Watch, events: list[Event]) -> None:
        told = [event_json(event, watch.values, True) for event in events]
        self._say({"id": watch.id, "events": told, "revision": events[-1].revision})

    def compacted(self, watch: Watch, oldest: int, revision: int) -> None:
        if self.watches.pop(watch.id, None) is not None:
            self.api.figures.watches -= 1
        self._say({"id": watch.id, "compacted": {"oldest": oldest, "revision": revision}})

    # -- Stream, further

    def on_writable(self, writable: bool) -> None:
        self._stalled = not writable
        if self.over:
            return
        if not writable:
            self.api.wheel.arm(self.alarm, self.api.loop.time() + self.api.config.watch_stall)
            return
        self._next_beat()
        for watch in list(self.watches.values()):
            self.api.hub.resume(watch)

    def on_gone(self) -> None:
        self._end()
        self.api.wheel.release(self.alarm)

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.api.wheel.drop(self.alarm)
            for watch in self.watches.values():
                self._drop(watch)
            self.watches.clear()

    def on_deadline(self, now: float) -> None:
        if self.over or self._stalled:
            self.api.figures.slow += not self.over
            self.transport.abort()
            return
        revision = self.api.hub.position
        for id in list(self.watches):
            self._say({"id": id, "progress": {"revision": revision}})
        if not self.watches:
            self._next_beat()

    def end(self) -> None:
        """The agent stops."""
        for id in list(self.watches):
            self._say({"id": id, "closed": {"error": "stopped", "detail": "the agent stops; go on at another, or later"}})
        self._close(1001, "the agent stops")

    def _say(self, document: Any) -> None:
        from wsproto.events import TextMessage

        if not self.over:
            self.transport.write(self._connection.send(TextMessage(data=to_json(document).decode("utf-8"))))
            self._next_beat()

    def _close(self, code: int, reason: str) -> None:
        from wsproto.events import CloseConnection

        if not self.over:
            self.transport.write(self._connection.send(CloseConnection(code=code, reason=reason)))
            self._finish()

    def _finish(self) -> None:
        if not self.over:
            self._end()
            self.transport.close()
            self.api.wheel.arm(self.alarm, self.api.loop.time() + self.api.config.watch_stall)

    def _next_beat(self) -> None:
        if not self._stalled:
            self.api.wheel.arm(self.alarm, self.api.loop.time() + self.api.config.heartbeat)
