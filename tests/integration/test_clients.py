"""Clients that people use, through the agent: curl, aiohttp, Node's fetch, urllib as a proxy, and WebSocket."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from tests.harness.agent import AgentProcess

BIG = 3_000_000


async def echo(request: web.Request) -> web.Response:
    body = await request.read()
    seen = {"method": request.method, "path": request.path_qs, "length": len(body), "host": request.host}
    return web.json_response(seen, headers={"X-Seen-Via": request.headers.get("Via", "")})


async def big(request: web.Request) -> web.StreamResponse:
    reply = web.StreamResponse()
    reply.enable_chunked_encoding()
    await reply.prepare(request)
    for _ in range(BIG // 10_000):
        await reply.write(b"x" * 10_000)
    await reply.write_eof()
    return reply


async def nothing(_: web.Request) -> web.Response:
    return web.Response(status=204)


async def socket(request: web.Request) -> web.WebSocketResponse:
    talk = web.WebSocketResponse(max_msg_size=0)
    await talk.prepare(request)
    async for message in talk:
        if message.type == aiohttp.WSMsgType.TEXT:
            await talk.send_str(message.data.upper())
        elif message.type == aiohttp.WSMsgType.BINARY:
            await talk.send_bytes(message.data)
    return talk


@pytest.fixture(scope="module")
def application() -> Iterator[str]:
    """An aiohttp application in a thread of its own."""
    loop = asyncio.new_event_loop()
    place: list[str] = []
    ready = threading.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=64_000_000)
        app.router.add_get("/big", big)
        app.router.add_get("/nothing", nothing)
        app.router.add_get("/socket", socket)
        app.router.add_route("*", "/{tail:.*}", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        assert runner.addresses
        place.append(f"127.0.0.1:{runner.addresses[0][1]}")
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(20)
    yield place[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)


@pytest.fixture(scope="module")
def agent(application: str) -> Iterator[AgentProcess]:
    services = {"app": {"hosts": ["*"], "endpoints": [application], "cache": {"enabled": True}}}
    with AgentProcess({"services": services}) as running:
        yield running


def url(agent: AgentProcess) -> str:
    return f"http://{agent.egress[0]}:{agent.egress[1]}"


def curl(*words: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return subprocess.run(["curl", "-sS", "--fail", *words], capture_output=True, text=True, check=True).stdout


def test_curl(agent: AgentProcess, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert json.loads(curl(url(agent) + "/a?b=1"))["path"] == "/a?b=1"
    body = tmp_path_factory.mktemp("curl") / "body"
    body.write_bytes(b"y" * BIG)
    # Past 1 MiB curl asks with Expect: 100-continue.
    assert json.loads(curl("--data-binary", f"@{body}", url(agent) + "/up"))["length"] == BIG
    assert json.loads(curl("-H", "Transfer-Encoding: chunked", "-T", str(body), url(agent) + "/up"))["length"] == BIG
    assert len(curl(url(agent) + "/big")) == BIG
    assert curl("-I", url(agent) + "/head").startswith("HTTP/1.1 200")
    assert curl(url(agent) + "/nothing") == ""
    assert "HTTP/1.1 200" in curl("-0", "-i", url(agent) + "/old")


def test_curl_with_the_agent_as_its_proxy(agent: AgentProcess, application: str) -> None:
    seen = json.loads(curl("-x", url(agent), f"http://{application}/by-proxy"))
    assert (seen["path"], seen["host"]) == ("/by-proxy", application)


def test_urllib_takes_the_proxy_from_the_environment(agent: AgentProcess, application: str) -> None:
    program = f"import urllib.request as u; print(u.urlopen('http://{application}/env').read().decode())"
    environ = {**os.environ, "HTTP_PROXY": url(agent), "http_proxy": url(agent), "NO_PROXY": "", "no_proxy": ""}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["path"] == "/env"
    with urllib.request.urlopen(url(agent) + "/plain") as reply:
        assert reply.status == 200


def test_aiohttp_keeps_connections_and_sends_a_stream(agent: AgentProcess) -> None:
    async def pieces() -> object:
        for _ in range(100):
            yield b"z" * 10_000

    async def talk() -> None:
        async with aiohttp.ClientSession(url(agent)) as session:
            for number in range(50):
                async with session.get(f"/many/{number}") as reply:
                    assert (await reply.json())["path"] == f"/many/{number}"
            async with session.post("/stream", data=pieces()) as reply:
                assert (await reply.json())["length"] == 1_000_000
            many = await asyncio.gather(*(session.get(f"/side/{number}") for number in range(40)))
            assert [reply.status for reply in many] == [200] * 40
            for reply in many:
                reply.release()

    asyncio.run(talk())


def test_a_websocket_passes_both_ways(agent: AgentProcess) -> None:
    async def talk() -> None:
        async with aiohttp.ClientSession(url(agent)) as session, session.ws_connect("/socket", max_msg_size=0) as ws:
            await ws.send_str("hello")
            assert await ws.receive_str() == "HELLO"
            await ws.send_bytes(b"\x00\xff" * 1_000_000)
            assert await ws.receive_bytes() == b"\x00\xff" * 1_000_000
            await ws.close()
            assert ws.close_code == 1000  # the other side's close frame came, not a cut connection (1006)

    asyncio.run(talk())


def test_node_fetch(agent: AgentProcess) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    program = """
    const base = process.argv[1];
    const out = [];
    for (let i = 0; i < 20; i++) out.push((await (await fetch(base + '/n/' + i)).json()).path);
    const up = await (await fetch(base + '/up', {method: 'POST', body: 'q'.repeat(500000)})).json();
    const down = (await (await fetch(base + '/big')).text()).length;
    console.log(JSON.stringify({last: out[19], up: up.length, down}));
    """
    done = subprocess.run([node, "--input-type=module", "-e", program, url(agent)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"last": "/n/19", "up": 500_000, "down": BIG}
