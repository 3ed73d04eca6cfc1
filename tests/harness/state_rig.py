"""A state API over a group of one, on a loop of its own in a thread, so that tests talk to it over real sockets."""

import asyncio
import copy
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import jsonschema

from agent.core.machine.config import Limits
from agent.core.machine.machine import Machine
from agent.runtime.log import Logger
from agent.state.api import StateApi
from agent.state.config import ApiConfig
from agent.state.openapi import DOCUMENT
from tests.harness.client import RawClient, Reply
from tests.harness.state import AloneService

T = TypeVar("T")


class StateRig:
    """`run` does something on the API's loop; everything else is as from outside."""

    def __init__(self, limits: Limits | None = None, listen: str = "127.0.0.1:0", **settings: Any) -> None:
        self._limits = limits
        self._config = ApiConfig(listen=listen, **settings)
        self._started = threading.Event()
        self._stopping: asyncio.Event
        self.thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.service = AloneService(self._limits)
        self.api = StateApi(self.service, self._config, Logger("error"), "rig")
        self.asking = AloneService(through=self.service)
        self.asking_api = StateApi(self.asking, ApiConfig(listen="127.0.0.1:0"), Logger("error"), "asking")
        self._stopping = asyncio.Event()
        await self.api.start()
        await self.asking_api.start()
        self._started.set()
        await self._stopping.wait()
        await self.asking_api.stop()
        await self.api.stop()
        self.asking.stop()
        self.service.stop()

    def start(self) -> "StateRig":
        self.thread.start()
        assert self._started.wait(20)
        address = self.api.address
        host, _, port = address.rpartition(":")
        self.place: tuple[str, int] | str = address[5:] if address.startswith("unix:") else (host.strip("[]"), int(port))
        return self

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self._stopping.set)
        self.thread.join(20)
        assert not self.thread.is_alive()

    def run(self, action: Callable[[], T]) -> T:
        """Its result, once the loop has done it."""
        done = threading.Event()
        result: list[Any] = []

        def act() -> None:
            try:
                result.append(action())
            except BaseException as error:
                result.append(error)
            done.set()

        self.loop.call_soon_threadsafe(act)
        assert done.wait(20)
        if isinstance(result[0], BaseException):
            raise result[0]
        return result[0]

    @property
    def machine(self) -> Machine:
        assert self.service.machine is not None
        return self.service.machine

    def client(self) -> RawClient:
        return RawClient(self.place)

    def through_asking(self) -> "StateRig":
        """The same rig by way of an agent that has no copy of the state, and asks this one."""
        other: StateRig = copy.copy(self)
        host, _, port = self.asking_api.address.rpartition(":")
        other.place = (host, int(port))
        other.service, other.api = self.asking, self.asking_api
        return other

    def ask(self, method: str, target: str, body: bytes | str | dict[str, Any] | None = None, *lines: str) -> Reply:
        """One request on a connection of its own."""
        with self.client() as client:
            return ask(client, method, target, body, *lines)

    def json(self, method: str, target: str, body: Any = None, *lines: str, status: int = 200) -> Any:
        """The JSON of an answer that must have this status."""
        reply = self.ask(method, target, body, *lines)
        assert reply.status == status, (reply.status, reply.body)
        return json.loads(reply.body)


def request(method: str, target: str, body: bytes | str | dict[str, Any] | None = None, *lines: str) -> bytes:
    """The octets of a request."""
    head = [f"{method} {target} HTTP/1.1", "Host: localhost", *lines]
    octets = b""
    if body is not None:
        octets = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body
        head.append(f"Content-Length: {len(octets)}")
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + octets


def ask(client: RawClient, method: str, target: str, body: bytes | str | dict[str, Any] | None = None, *lines: str) -> Reply:
    """One request and its answer, which must be as the OpenAPI document says."""
    client.send(request(method, target, body, *lines))
    reply = client.reply(method)
    check(method, target, reply)
    return reply


def check(method: str, target: str, reply: Reply) -> None:
    """An answer is of a status and a shape that the document names."""
    path = target.partition("?")[0]
    template = path
    if path.startswith("/v1/kv/"):
        template = "/v1/kv/{name}"
    elif path.count("/") > 2:
        template = "/".join(["/v1", path.split("/")[2], "{name}", *path.split("/")[4:]])
    operation = DOCUMENT["paths"].get(template, {}).get(method.lower().replace("head", "get"))
    if operation is None or reply.status == 405:
        assert reply.status in (404, 405), (method, target, reply.status)
        return
    assert str(reply.status) in operation["responses"], f"{method} {template} answers {reply.status}, and the document does not say so"
    kind = reply.header("content-type") or ""
    content = operation["responses"][str(reply.status)]["content"]
    assert kind in content, f"{method} {template} answers {reply.status} with {kind}"
    if kind == "application/json" and method != "HEAD":
        schema = {**content[kind]["schema"], "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(schema).validate(json.loads(reply.body))


def key_path(key: bytes) -> str:
    return "/v1/kv/" + quote(key, safe="/")


@contextmanager
def state_rig(limits: Limits | None = None, **settings: Any) -> Iterator[StateRig]:
    rig = StateRig(limits, **settings).start()
    try:
        yield rig
    finally:
        rig.stop()
