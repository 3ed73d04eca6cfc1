"""The host: views that cannot be changed, hooks that cost nothing where there are none, faults that are forgiven, bounded work."""

import asyncio
import sys
from collections import Counter
from collections.abc import Coroutine
from types import FrameType
from typing import Any

import msgspec
import pytest

from agent import hooks
from agent.app.config import Settings
from agent.app.wiring import Agent
from agent.core.http.head import parse_response_head
from agent.hooks import CacheStoreView, Plugin, RequestView, ResponseView, UpstreamResult
from agent.proxy.plugin_record import BACKGROUND_MAX, EVENTS_MAX, FORGIVEN_AFTER, WORKERS, Backlog, Loaded
from agent.proxy.plugins import PluginHost
from agent.runtime.log import Logger
from tests.unit.plugins.support import view


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


# -- views


@pytest.mark.parametrize(
    "seen",
    [
        view("/a"),
        ResponseView(parse_response_head(b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\n", b"GET").fields, 200, False),
        UpstreamResult("web", "127.0.0.1:1", "ok", 0.1, 1),
        CacheStoreView("web", "test", "/", 200, 60.0),
        hooks.Answer(200),
        hooks.RequestChanges(),
        hooks.ResponseChanges(),
    ],
    ids=lambda seen: type(seen).__name__,
)
def test_views_cannot_be_changed(seen: msgspec.Struct) -> None:
    for name in (*seen.__struct_fields__, "anything", "header", "method"):
        with pytest.raises(AttributeError):
            setattr(seen, name, "other")
    for name in seen.__struct_fields__:
        with pytest.raises(AttributeError):
            delattr(seen, name)


def test_what_views_hand_out_is_a_copy() -> None:
    request = view("/a", "X-A: 1")
    request.headers().clear()
    assert request.headers() == [("host", "test"), ("x-a", "1")]
    response = ResponseView(parse_response_head(b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\n\r\n", b"GET").fields, 200, False)
    response.headers().clear()
    assert response.header("x-A") == "1, 2" and response.header("x-b") is None and len(response.headers()) == 2


def test_what_a_request_view_reads() -> None:
    request = view("/p?a=1&a=2&b=&c%20d=%2F", "Cookie: x=1; y=2=3", "Cookie: z=4")
    assert [request.query(name) for name in ("a", "b", "c d", "d")] == ["1", "", "/", None]
    assert [request.cookie(name) for name in ("x", "y", "z", "w")] == ["1", "2=3", "4", None]
    assert request.content_length == 0 and view("/", "Transfer-Encoding: chunked", method="POST").content_length == -1


# -- cost


def calls_of_plugin_code(plugins: list[dict[str, Any]], requests: int) -> Counter[str]:
    """How often each function of the plugins' machinery is called while an agent in this process answers so many requests."""
    found: Counter[str] = Counter()
    files = [
        module.__file__ for module in (hooks, *(sys.modules[f"agent.proxy.{name}"] for name in ("plugins", "changes", "plugin_record")))
    ]

    def profile(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and frame.f_code.co_filename in files:
            found[frame.f_code.co_name] += 1

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nok")

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        service = {"hosts": ["*"], "endpoints": [f"127.0.0.1:{port}"], "cache": {"enabled": True}}
        listen = {"egress": "127.0.0.1:0", "admin": "127.0.0.1:0"}
        agent = Agent(msgspec.convert({"listen": listen, "services": {"web": service}, "plugins": plugins}, Settings), Logger("error"))
        await agent.start()
        host, _, place = agent.addresses["egress"][0].rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(place))
        sys.setprofile(profile)
        try:
            for number in range(requests):
                writer.write(b"GET /%d HTTP/1.1\r\nHost: test\r\n\r\n" % (number // 2))
                head = await reader.readuntil(b"\r\n\r\n")
                assert b" 200 " in head and await reader.readexactly(2) == b"ok"
        finally:
            sys.setprofile(None)
        writer.close()
        await agent.drain()
        await agent.stop()
        server.close()

    run(main())
    return found


def test_without_plugins_nothing_of_theirs_is_called() -> None:
    assert calls_of_plugin_code([], 20) == Counter()


def test_with_a_plugin_only_its_own_hooks_are_called() -> None:
    plugins = [{"name": "body_limit", "config": {"limits": [{"bytes": 5}]}}]
    found = calls_of_plugin_code(plugins, 20)
    assert found["decide"] == found["call"] == 20
    assert not {"on_response", "upstream_result", "may_store", "_route", "copy_of_body", "changed_head"} & set(found)


class Half(Plugin):
    """Fails when it is told to."""

    def on_request(self, request: RequestView) -> None:
        if request.header("x-bad"):
            raise ValueError("bad")

    def on_tick(self, now: float) -> None:
        """Nothing."""


def host_of(*plugins: Plugin, faults_max: int = 3, required: bool = False) -> tuple[PluginHost, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    host = PluginHost(lambda event, **details: events.append({"event": event, **details}))
    host.loaded = [Loaded(f"p{number}", plugin, required, 1.0, faults_max) for number, plugin in enumerate(plugins)]
    host._sort()
    return host, events


def test_only_overridden_hooks_are_registered_and_none_once_switched_off() -> None:
    host, _ = host_of(Half(None), Plugin(None))
    assert [len(host.request_hooks), len(host.tick_hooks)] == [1, 1]
    assert not (host.response_hooks or host.route_hooks or host.upstream_hooks or host.store_hooks)
    for _ in range(3):
        host.fault(host.loaded[0], "test")
    assert not (host.request_hooks or host.tick_hooks)


# -- faults


def ask(host: PluginHost, bad: bool) -> None:
    host.decide(view("/", *(["X-Bad: 1"] if bad else []))._head, b"127.0.0.1", "web", "", "egress", None)


def test_rare_faults_are_forgiven_and_frequent_ones_are_not() -> None:
    host, events = host_of(Half(None))
    for _ in range(20):
        ask(host, True)
        for _ in range(FORGIVEN_AFTER):
            ask(host, False)
    (entry,) = host.loaded
    assert entry.enabled and entry.faults == 20
    assert [event["faults"] for event in events] == [1, 2, 4, 8, 16]  # said, but not each time
    for number in range(40):
        ask(host, number % 10 == 0)
    assert not entry.enabled and events[-1]["event"] == "plugin switched off"


def test_a_fault_says_where_it_happened() -> None:
    host, events = host_of(Half(None))
    ask(host, True)
    assert "on_request: ValueError('bad') at " in events[0]["fault"] and "test_host.py" in events[0]["fault"]


def test_own_counters_are_bounded() -> None:
    (entry,) = host_of(Half(None))[0].loaded
    for number in range(1000):
        entry.count(f"event-{number}", 1)
    assert len(entry.events) == EVENTS_MAX + 1 and sum(entry.events.values()) == 1000


# -- background work


def test_background_work_is_bounded_and_a_failure_is_a_fault() -> None:
    async def main() -> None:
        host, _ = host_of(Half(None), faults_max=1000)
        (entry,) = host.loaded
        gate = asyncio.Event()
        running = 0

        async def wait() -> None:
            nonlocal running
            running += 1
            await gate.wait()

        async def fail() -> None:
            raise RuntimeError("late")

        assert all(host.enqueue(entry, wait, ()) for _ in range(BACKGROUND_MAX))
        assert not host.enqueue(entry, wait, ()) and entry.background_dropped == 1
        await asyncio.sleep(0)
        assert running == WORKERS and host.enqueue(entry, fail, ())
        gate.set()
        assert entry.backlog is not None
        await entry.backlog.finish(60.0)
        assert (running, entry.background_done, entry.faults, len(entry.backlog)) == (BACKGROUND_MAX, BACKGROUND_MAX, 1, 0)
        assert "late" in entry.last_fault

    run(main())


def test_one_plugins_work_does_not_take_anothers_room() -> None:
    async def main() -> None:
        host, _ = host_of(Half(None), Half(None))
        first, second = host.loaded
        done = asyncio.Event()

        async def never() -> None:
            await asyncio.Event().wait()

        async def once() -> None:
            done.set()

        while host.enqueue(first, never, ()):
            pass
        assert host.enqueue(second, once, ())
        await done.wait()
        await _finish(first, second)

    run(main())


async def _finish(*entries: Loaded) -> None:
    for entry in entries:
        if entry.backlog is not None:
            await entry.backlog.finish(0.0)


def test_work_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.proxy.plugin_record.BACKGROUND_S", 0.0)

    async def main() -> None:
        faults: list[str] = []
        backlog = Backlog(Loaded("p", Half(None), False, 1.0, 3), lambda entry, what: faults.append(what))

        async def hang() -> None:
            await asyncio.Event().wait()

        assert backlog.put(hang, ())
        await backlog.finish(60.0)
        assert faults == ["background work failed: TimeoutError()"]

    run(main())


def test_stopping_cancels_what_does_not_end() -> None:
    async def main() -> None:
        entry = Loaded("p", Half(None), False, 1.0, 3)
        backlog = Backlog(entry, lambda entry, what: None)

        async def hang() -> None:
            await asyncio.Event().wait()

        for _ in range(5):
            assert backlog.put(hang, ())
        await asyncio.sleep(0)
        await backlog.finish(0.0)
        assert len(asyncio.all_tasks()) == 1 and entry.background_dropped == 3

    run(main())
