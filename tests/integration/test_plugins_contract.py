"""Every hook of the contract in a running agent: when it is asked, what it sees, and what its answer does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Answer, Close, Received, Upstream, response
from tests.harness.wait import wait_until

HEAD = """
from agent.hooks import *
class Probe(Plugin):
    def start(self, context):
        self.context = context
"""


def plugin(directory: Path, body: str, name: str = "probe", **settings: Any) -> dict[str, Any]:
    """A plugin's configuration; its file has `body` as the methods of its class."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    (directory / f"{name}.py").write_text(HEAD + lines, encoding="utf-8")
    return {"name": name, "path": str(directory / f"{name}.py"), **settings}


def logged(agent: AgentProcess, name: str) -> dict[str, Any]:
    """The latest line of that event, once there is one."""
    line = wait_until(lambda: agent.event(name), f"the line {name!r}")
    assert line is not None
    return line


def web(upstream: Upstream, **more: Any) -> dict[str, Any]:
    return {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}, **more}


def stored(body: str = "ok", *headers: tuple[str, str]) -> bytes:
    return response(body, headers=[("Cache-Control", "max-age=60"), *headers])


def test_on_request_answers_before_the_cache_and_the_upstream(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    if request.query("as") == "teapot":
        return Answer(418, {"X-From": request.client, "Content-Type": "text/plain"}, b"short and stout", "tea")
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            for _ in range(2):
                reply = client.get("/?as=teapot")
                assert (reply.status, reply.body, reply.header("x-from")) == (418, b"short and stout", "127.0.0.1")
                assert client.get("/?as=teapot", method="HEAD").header("content-length") == "15"
            assert not upstream.requests
            assert client.get("/").body == b"ok"
            assert agent.metric("pilotfish_local_responses_total", service="web", flag="PL") == 4


def test_on_request_changes_headers_in_order_and_the_next_plugin_sees_them(tmp_path: Path) -> None:
    first = """
def on_request(self, request):
    return RequestChanges(set_headers={"X-A": "first", "X-B": "first", "X-C": "first"}, remove_headers=("x-gone",))
"""
    second = """
def on_request(self, request):
    assert request.header("x-a") == "first" and request.header("X-Gone") is None
    return RequestChanges(set_headers={"X-B": "second", "X-Gone": "back"}, remove_headers=("X-C",))
"""
    with Upstream(stored()) as upstream:
        plugins = [plugin(tmp_path, first, "one", required=True), plugin(tmp_path, second, "two", required=True)]
        with AgentProcess({"services": {"web": web(upstream)}, "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: test\r\nX-A: client\r\nX-Gone: 1\r\nContent-Length: 2\r\n\r\nhi")
            assert client.reply().status == 200
            (seen,) = upstream.requests
            names = ("x-a", "x-b", "x-c", "x-gone", "host", "content-length")
            assert [seen.header(name) for name in names] == ["first", "second", None, "back", "test", "2"]
            assert seen.body == b"hi"


def test_on_request_chooses_the_service_and_the_cache_key(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    return RequestChanges(service=request.header("x-to") or "", cache_key=request.header("x-tenant") or "")
"""

    def tagged(request: Received) -> bytes:
        tag = '"head"' if request.method == "HEAD" else '"get"'
        whole = stored("one", ("ETag", tag))
        return whole.removesuffix(b"one") if request.method == "HEAD" else whole

    with Upstream(tagged) as one, Upstream(stored("two")) as two:
        services = {"web": web(one), "other": web(two, hosts=["other.test"])}
        with AgentProcess({"services": services, "plugins": [plugin(tmp_path, body)]}) as agent, RawClient(agent.egress) as client:
            for outcome in ("miss", "hit"):
                assert outcome in (client.get("/", "test", "X-To: other").header("cache-status") or "")
                assert client.get("/").body == b"one"
                for tenant in ("a", "b"):
                    reply = client.get("/", "test", f"X-Tenant: {tenant}")
                    assert outcome in (reply.header("cache-status") or "") and reply.body == b"one"
            assert (len(one.requests), len(two.requests)) == (3, 1)
            with_tenant = client.get("/", "test", "X-Tenant: a", "Cache-Control: no-cache", method="HEAD")
            assert with_tenant.header("etag") == '"head"'  # says that the response of this key has changed, and of no other
            for tenant, outcome in (("a", "stale"), ("b", "hit"), ("", "hit")):
                assert outcome in (client.get("/", "test", f"X-Tenant: {tenant}").header("cache-status") or ""), tenant
            purged = agent.post("/cache/purge", {"url": "http://test/"})
            assert purged["purged"] == 4  # whatever plugins added to the keys


def test_on_request_sees_the_request_and_its_route(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    seen = [request.method, request.authority, request.target, request.path, request.service, request.route, request.listener,
            request.content_length, request.header("X-Two"), request.cookie("b"), request.query("q"), request.client]
    self.context.log("seen", request=seen)
"""
    with Upstream(stored()) as upstream:
        routes = [{"name": "api", "match": {"prefix": "/api"}}]
        config: dict[str, Any] = {"services": {"web": web(upstream, hosts=["web.test"])}, "plugins": [plugin(tmp_path, body)]}
        config["services"]["web"]["routes"] = routes
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            client.send(
                b"PUT http://WEB.test/api/%41?q=%C3%A9&q=2 HTTP/1.1\r\nHost: web.test\r\nX-Two: 1\r\nx-two: 2\r\n"
                b"Cookie: a=1; b=2\r\nContent-Length: 2\r\n\r\nhi"
            )
            assert client.reply().status == 200
            seen = logged(agent, "seen")["request"]
            assert seen == [
                "PUT",
                "web.test",
                "/api/%41?q=%C3%A9&q=2",
                "/api/%41",
                "web",
                seen[5],
                "egress",
                2,
                "1, 2",
                "2",
                "é",
                "127.0.0.1",
            ]
            assert "api" in seen[5]
            assert client.get("/", "nobody.test").status == 404
            wait_until(lambda: logged(agent, "seen")["request"][4] == "", "the second request to be logged")


def test_on_route_is_asked_after_on_request_and_only_if_nothing_has_chosen(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    if request.header("x-answer"): return Answer(200)
    if request.header("x-to"): return RequestChanges(service=request.header("x-to"))
def on_route(self, request):
    self.context.count("asked")
    return "other" if request.path == "/other" else None
"""
    with Upstream(stored("one")) as one, Upstream(stored("two")) as two:
        services = {"web": web(one), "other": web(two, hosts=["other.test"])}
        with AgentProcess({"services": services, "plugins": [plugin(tmp_path, body)]}) as agent, RawClient(agent.egress) as client:
            assert client.get("/other").body == b"two"
            assert client.get("/").body == b"one"
            assert client.get("/other", "test", "X-To: web").body == b"one"
            assert client.get("/other", "test", "X-Answer: 1").body == b""
            assert agent.metric("pilotfish_plugin_events_total", event="asked") == 2


def test_on_response_sees_and_changes_what_comes_from_upstream_and_store(tmp_path: Path) -> None:
    body = """
def on_response(self, request, response):
    seen = f"{response.status} {response.cached} {response.header('x-kept')} {request.path}"
    return ResponseChanges(set_headers={"X-Seen": seen, "X-Kept": "no"}, remove_headers=("X-Internal",))
"""

    def handler(request: Received) -> bytes:
        headers = [("X-Kept", "yes"), ("X-Internal", "1"), ("ETag", '"a"')]
        return stored("hello", *headers) if request.method == "GET" else response("posted", 201, headers)

    with Upstream(handler) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            seen = []
            for lines in ((), (), ('If-None-Match: "a"',), ("Range: bytes=0-1",)):
                reply = client.get("/a", "test", *lines)
                seen.append((reply.status, reply.header("x-seen")))
                assert reply.header("x-internal") is None and reply.header("x-kept") == "no"
            assert seen == [(200, "200 False yes /a"), (200, "200 True yes /a"), (304, "304 True yes /a"), (206, "200 True yes /a")]
            client.send(b"POST /b HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
            assert client.reply("POST").header("x-seen") == "201 False yes /b"
            assert client.get("/", "test", "Cache-Control: only-if-cached").header("x-seen") is None  # the agent's own
            assert len(upstream.requests) == 2


def test_on_upstream_result_is_told_of_every_try(tmp_path: Path) -> None:
    body = """
def on_upstream_result(self, result):
    assert result.latency_s >= 0.0
    self.context.log("result", service=result.service, outcome=result.outcome, attempt=result.attempt, endpoint=result.endpoint)
"""
    answers: Iterator[Answer] = iter([Close, response("sorry", 503), stored("third")])
    with Upstream(lambda _: next(answers)) as upstream:
        service = web(upstream, retries={"attempts": 3, "backoff_base": "1ms"}, outlier={"enabled": False}, breaker={"enabled": False})
        with AgentProcess({"services": {"web": service}, "plugins": [plugin(tmp_path, body)]}) as agent, RawClient(agent.egress) as client:
            assert client.get("/").body == b"third"
            wait_until(lambda: len([e for e in agent.events if e["event"] == "result"]) == 3, "three lines")
            lines = [event for event in agent.events if event["event"] == "result"]
            assert [(line["attempt"], line["outcome"]) for line in lines] == [(1, "reset"), (2, "gateway-error"), (3, "ok")]
            assert {(line["service"], line["endpoint"], line["plugin"]) for line in lines} == {("web", upstream.address, "probe")}


def test_on_cache_store_keeps_a_response_out(tmp_path: Path) -> None:
    body = """
def on_cache_store(self, store):
    self.context.log("store", seen=[store.service, store.host, store.target, store.status, store.ttl_s])
    return not store.target.startswith("/private")
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            for target in ("/private", "/private", "/public", "/public"):
                assert client.get(target).body == b"ok"
            assert [seen.target for seen in upstream.requests] == ["/private", "/private", "/public"]
            assert logged(agent, "store")["seen"] == ["web", "test", "/public", 200, 60.0]


def test_on_request_body_gets_whole_bodies_of_the_size_asked_for(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    return RequestChanges(copy_body_bytes=4) if request.path == "/copy" else None
def on_request_body(self, request, body):
    self.context.log("body", body=repr(body), path=request.path)
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            client.get("/copy")
            for size, target in ((4, "/copy"), (5, "/copy"), (4, "/other")):
                client.send(f"PUT {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode() + b"x" * size)
                assert client.reply("PUT").status == 200
            wait_until(lambda: len([e for e in agent.events if e["event"] == "body"]) == 3, "three bodies")
            assert [event["body"] for event in agent.events if event["event"] == "body"] == ["b''", "b'xxxx'", "None"]


def test_the_life_of_a_plugin(tmp_path: Path) -> None:
    body = f"""
def on_tick(self, now):
    if not hasattr(self, "last"):
        self.context.log("ticked", id=self.context.agent_id)
    assert now > getattr(self, "last", 0)
    self.last = now
async def write(self, name):
    open({str(tmp_path)!r} + "/" + name, "w").write("done")
def on_request(self, request):
    assert self.context.background(self.write, "behind")
def stop(self):
    self.context.background(self.write, "stopped")
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            started = agent.event("plugin started")
            assert started is not None and started["hooks"] == ["on_request", "on_tick"]
            assert client.get("/").status == 200
            wait_until((tmp_path / "behind").exists, "background work")
            assert logged(agent, "ticked")["id"] == "test-1"
            assert agent.get("/plugins")[0]["background"] == {"waiting": 0, "done": 1, "dropped": 0}
        assert (tmp_path / "stopped").exists()  # what stop() left behind was still done


def test_a_plugin_sends_requests_of_its_own(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    if request.path == "/go":
        assert self.context.send("web", "PURGE", "/told?x=1", {"X-A": "1", "Connection": "x-a", "Content-Length": "9"}, b"body")
        assert not self.context.send("web", "GET / HTTP/1.1\\r\\nX: y", "/", {}, b"")
        assert not self.context.send("nowhere", "GET", "/", {}, b"")
        assert not self.context.send("web", "GET", "/with space", {}, b"")
        assert not self.context.send("web", "GET", "/", {"X": "a\\r\\nb: c"}, b"")
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body, required=True)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            assert client.get("/go").status == 200
            wait_until(lambda: len(upstream.requests) == 2, "both requests")
            seen = next(request for request in upstream.requests if request.method == "PURGE")
            assert (seen.target, seen.body, seen.header("x-a"), seen.header("host")) == ("/told?x=1", b"body", "1", "web")
            assert agent.metric("pilotfish_plugin_events_total", event="send_refused") == 4


def test_why_names_what_plugins_did(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    return Answer(403, reason="not today") if request.path == "/no" else RequestChanges(set_headers={"X-A": "1"})
"""
    with Upstream(stored()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)], "why": {"header": True}}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            told = json.loads(client.get("/no", "test", "X-Pilotfish-Why: 1").body)
            assert told["status"] == 403 and told["detail"] == "not today"
            (step,) = [step for step in told["steps"] if step["step"] == "plugin"]
            assert (step["plugin"], step["did"]) == ("probe", "answered 403: not today")
            told = json.loads(client.get("/yes", "test", "X-Pilotfish-Why: 1").body)
            assert [step["did"] for step in told["steps"] if step["step"] == "plugin"] == ["changed the request"]


def test_a_change_of_plugins_needs_a_restart_and_a_reload_says_so(tmp_path: Path) -> None:
    body = "def on_request(self, request): return RequestChanges(set_headers={'X-A': 'first'})"
    with Upstream(response()) as upstream:
        config = {"services": {"web": web(upstream)}, "plugins": [plugin(tmp_path, body)]}
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            agent.write({**agent.config, "plugins": []})
            status, answer = agent.call("/reload", {}, "POST")
            assert status == 409 and "plugins: changing it needs a restart" in json.loads(answer)["problems"]
            assert client.get("/").status == 200 and upstream.requests[0].header("x-a") == "first"


def test_hooks_are_asked_for_connect_and_for_what_comes_in_through_ingress(tmp_path: Path) -> None:
    body = """
def on_request(self, request):
    if request.method == "CONNECT" or request.header("x-local"):
        return Answer(403, {"X-Seen": f"{request.method} {request.target} {request.listener} {request.service or None}"})
"""
    with Upstream(response("local")) as upstream:
        config = {
            "services": {},
            "application": {"endpoints": [upstream.address]},
            "listen": {"ingress": "127.0.0.1:0"},
            "plugins": [plugin(tmp_path, body)],
        }
        with AgentProcess(config) as agent, RawClient(agent.egress) as client:
            client.send(b"CONNECT far.test:443 HTTP/1.1\r\nHost: far.test:443\r\n\r\n")
            assert client.reply("CONNECT").header("x-seen") == "CONNECT far.test:443 egress None"
            host, _, port = agent.addresses["ingress"][0].rpartition(":")
            with RawClient((host, int(port))) as peer:
                assert peer.get("/a", "me", "X-Local: 1").header("x-seen") == "GET /a ingress application"
                assert peer.get("/a", "me").body == b"local"
