"""The bundled plugins in a running agent: what clients, upstreams and the cache see of them."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

SECRET = "0123456789abcdef0123456789abcdef"
ANN, BOB = ("ann-key-0123456789", "bob-key-0123456789")


def echo(request: Received) -> bytes:
    """Tells who asked, and may be stored by anyone."""
    who = request.header("x-user") or "nobody"
    return response(f"{who} {len(request.body)}", headers=[("Cache-Control", "public, max-age=60")])


def web(upstream: Upstream, **more: Any) -> dict[str, Any]:
    return {"hosts": ["*"], "endpoints": [upstream.address], "cache": {"enabled": True}, **more}


def auth(**config: Any) -> dict[str, Any]:
    keys = {"keys": {"ann": ANN, "bob": BOB}, "identity_header": "X-User"}
    return {"name": "auth", "required": True, "config": {"api_keys": keys, **config}}


@contextmanager
def running(*plugins: dict[str, Any]) -> Iterator[tuple[Upstream, AgentProcess]]:
    with Upstream(echo) as upstream, AgentProcess({"services": {"web": web(upstream)}, "plugins": list(plugins)}) as agent:
        yield upstream, agent


def test_auth_protects_stored_responses_and_keeps_callers_apart() -> None:
    with running(auth()) as (upstream, agent), RawClient(agent.egress) as client:
        assert client.get("/", "test", f"X-Api-Key: {ANN}").body == b"ann 0"
        hit = client.get("/", "test", f"X-Api-Key: {ANN}", "X-User: bob")
        assert hit.body == b"ann 0" and "hit" in (hit.header("cache-status") or "")
        nobody = client.get("/")
        assert (nobody.status, nobody.header("www-authenticate")) == (401, 'ApiKey realm="pilotfish"')
        assert json.loads(nobody.body)["detail"] == "credentials are needed" and nobody.header("cache-status") is None
        assert client.get("/", "test", "X-Api-Key: wrong-key-0123456789").status == 401
        other = client.get("/", "test", f"X-Api-Key: {BOB}", "X-User: ann", "x_user: ann")
        assert other.body == b"bob 0" and "hit" not in (other.header("cache-status") or "")
        assert [seen.header("x-user") for seen in upstream.requests] == ["ann", "bob"]
        assert all(seen.header("x_user") is None for seen in upstream.requests)
        assert agent.metric("pilotfish_plugin_events_total", plugin="auth", event="refused_401") == 2
        assert agent.metric("pilotfish_local_responses_total", flag="PL") == 2


def test_a_client_cannot_name_the_identity_header_hop_by_hop() -> None:
    with running(auth()) as (_, agent), RawClient(agent.egress) as client:
        reply = client.get("/", "test", f"X-Api-Key: {ANN}", "Connection: X-User, keep-alive")
        assert reply.body == b"ann 0"


def test_callers_who_ask_at_once_do_not_wait_for_each_others_responses() -> None:
    release = threading.Event()

    def slow(request: Received) -> Any:
        return [release.wait, echo(request)]

    with (
        Upstream(slow) as upstream,
        AgentProcess({"services": {"web": web(upstream)}, "plugins": [auth()]}) as agent,
        RawClient(agent.egress) as ann,
        RawClient(agent.egress) as too,
        RawClient(agent.egress) as bob,
    ):
        for client, key in ((ann, ANN), (too, ANN), (bob, BOB)):
            client.send(f"GET / HTTP/1.1\r\nHost: test\r\nX-Api-Key: {key}\r\n\r\n".encode())
        wait_until(lambda: len(upstream.requests) == 2, "one request of each caller")
        wait_until(lambda: agent.metric("pilotfish_cache_collapsed_total", service="web") == 1, "the same caller to wait")
        release.set()
        assert [client.reply().body for client in (ann, too, bob)] == [b"ann 0", b"ann 0", b"bob 0"]
        assert len(upstream.requests) == 2


def test_vary_on_an_identity_header_keeps_callers_apart_even_where_they_share() -> None:
    def by_user(request: Received) -> bytes:
        return response(request.header("x-user") or "", headers=[("Cache-Control", "max-age=60"), ("Vary", "X-User")])

    with Upstream(by_user) as upstream:
        plugins = [auth(cache="shared")]
        with AgentProcess({"services": {"web": web(upstream)}, "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            for key, name in ((ANN, b"ann"), (BOB, b"bob"), (ANN, b"ann"), (BOB, b"bob")):
                assert client.get("/", "test", f"X-Api-Key: {key}", "X-User: forged").body == name
            assert len(upstream.requests) == 2


def test_jwt_claims_reach_the_upstream_and_rules_say_403() -> None:
    token = {"algorithms": ["HS256"], "secret": SECRET, "claims_to_headers": {"sub": "X-User"}}
    rules = [{"match": {"paths": ["/admin*"]}, "claims": {"roles": ["boss"]}}]
    plugins = [{"name": "auth", "config": {"jwt": token, "rules": rules, "strip_credentials": True}}]

    def bearer(**claims: Any) -> str:
        return "Authorization: Bearer " + jwt.encode({"exp": 4_000_000_000, **claims}, SECRET, "HS256")

    with running(*plugins) as (upstream, agent), RawClient(agent.egress) as client:
        assert client.get("/", "test", bearer(sub="ann")).body == b"ann 0"
        assert client.get("/admin", "test", bearer(sub="ann")).status == 403
        assert client.get("/admin", "test", bearer(sub="bob", roles=["boss"])).body == b"bob 0"
        challenge = client.get("/admin", "test", "Authorization: Bearer x.y.z").header("www-authenticate") or ""
        assert challenge.startswith('Bearer realm="pilotfish", error="invalid_token"')
        assert [seen.header("authorization") for seen in upstream.requests] == [None, None]
        assert SECRET not in agent.call("/config")[1].decode()


def test_canary_by_header_and_apart_in_the_cache() -> None:
    headers = [("Cache-Control", "max-age=60")]
    with Upstream(response("old", headers=headers)) as old, Upstream(response("new", headers=headers)) as new:
        services = {"web": web(old), "next": {"hosts": ["next.test"], "endpoints": [new.address], "cache": {"enabled": True}}}
        plugins = [{"name": "canary", "config": {"canaries": [{"to": "next", "match": {"services": ["web"]}, "header": "X-Canary"}]}}]
        with AgentProcess({"services": services, "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            for _ in range(2):
                assert client.get("/").body == b"old"
                assert client.get("/", "test", "X-Canary: always").body == b"new"
            assert (len(old.requests), len(new.requests)) == (1, 1)
            assert agent.metric("pilotfish_request_duration_seconds_count", service="next") == 2


def test_mirror_copies_bodies_that_come_in_pieces_and_never_waits() -> None:
    silent = threading.Event()

    def shadow(request: Received) -> Any:
        return [silent.wait, response()]

    with Upstream(echo) as upstream, Upstream(shadow) as copies:
        services = {"web": web(upstream), "shadow": {"hosts": ["shadow.test"], "endpoints": [copies.address]}}
        plugins = [{"name": "mirror", "config": {"mirrors": [{"to": "shadow", "body_bytes_max": 8, "remove_headers": ["X-Secret"]}]}}]
        with AgentProcess({"services": services, "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            head = b"POST /a?b=c HTTP/1.1\r\nHost: test\r\nX-Secret: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.send(head)
            wait_until(lambda: upstream.connections, "the request's head to be on its way")
            client.send(b"3\r\nabc\r\n").send(b"4\r\ndefg\r\n0\r\n\r\n")
            assert client.reply().body.startswith(b"nobody")  # the copy is not answered at all
            seen = wait_until(lambda: copies.requests, "the copy")[0]
            assert (seen.method, seen.target, seen.body) == ("POST", "/a?b=c", b"abcdefg")
            assert (seen.header("host"), seen.header("x-pilotfish-mirror"), seen.header("x-secret")) == ("test", "test-1", None)
            client.send(head + b"9\r\nabcdefghi\r\n0\r\n\r\n")
            assert client.reply().body.startswith(b"nobody")
            assert client.get("/").status == 200
            wait_until(lambda: len(copies.requests) == 2, "the second copy")
            assert copies.requests[1].method == "GET"
            assert agent.metric("pilotfish_plugin_events_total", plugin="mirror", event="too_large") == 1
            assert agent.metric("pilotfish_plugin_events_total", plugin="mirror", event="sent") == 2
            silent.set()


def test_mirrors_under_way_are_bounded_and_the_rest_is_dropped_and_counted() -> None:
    with Upstream(echo) as upstream, Upstream(lambda _: None) as copies:
        shadow = {"hosts": ["shadow.test"], "endpoints": [copies.address], "limits": {"requests_max": 3}, "concurrency": {"enabled": False}}
        plugins = [{"name": "mirror", "config": {"mirrors": [{"to": "shadow"}]}}]
        services = {"web": web(upstream), "shadow": shadow}
        with AgentProcess({"services": services, "plugins": plugins}) as agent, RawClient(agent.egress) as client:
            for number in range(300):
                assert client.get(f"/{number}").status == 200
            sent = agent.metric("pilotfish_plugin_events_total", plugin="mirror", event="sent")
            dropped = agent.metric("pilotfish_plugin_events_total", plugin="mirror", event="dropped")
            assert sent + dropped == 300
            assert len(copies.requests) <= 3


@pytest.mark.parametrize(("target", "limit"), [("/", 10), ("/big", 1024)])
def test_body_limit_by_length_and_while_streaming(target: str, limit: int) -> None:
    plugins = [{"name": "body_limit", "config": {"limits": [{"match": {"paths": ["/big*"]}, "bytes": "1KiB"}, {"bytes": 10}]}}]
    with Upstream(echo) as upstream, AgentProcess({"services": {"web": web(upstream)}, "plugins": plugins}) as agent:

        def post(size: int, framing: str, *later: bytes) -> int:
            with RawClient(agent.egress) as client:
                mark = f"X-Case: {size} {framing}"
                client.send(f"POST {target} HTTP/1.1\r\nHost: test\r\n{mark}\r\n{framing}\r\n\r\n".encode() + later[0])
                for piece in later[1:]:
                    wait_until(lambda: any(mark.encode() in bytes(raw) for raw in upstream.raw), "the head to reach the upstream")
                    client.send(piece)
                reply = client.reply()
                if reply.status == 413:
                    assert (reply.header("x-pilotfish-reason"), reply.header("connection")) == ("BL", "close")
                return reply.status

        for size, status in ((limit, 200), (limit + 1, 413)):
            assert post(size, f"Content-Length: {size}", b"x" * (size if status == 200 else 0)) == status
            first, rest = b"5\r\nabcde\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (size - 5, b"x" * (size - 5))
            assert post(size, "Transfer-Encoding: chunked", first + rest) == status
            assert post(size, "Transfer-Encoding:  chunked", first, rest) == status
        whole = [seen for seen in upstream.requests if seen.header("content-length") or seen.body.endswith(b"0\r\n\r\n")]
        assert len(whole) == 3  # what was too large never reached it whole
