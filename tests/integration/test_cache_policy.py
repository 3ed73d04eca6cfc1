"""What a service's or route's cache policy changes: lifetimes, windows, keys."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.cache_rig import Rig, answer
from tests.harness.client import RawClient
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    policies: dict[str, dict[str, Any]] = {
        "web": {},
        "off": {"enabled": False},
        "negative": {"negative_ttl": "1m"},
        "default": {"ttl_default": "1m"},
        "override": {"ttl": [{"status": [200], "ttl": "1m"}, {"status": [301], "ttl": "0s"}]},
        "swr": {"stale_while_revalidate": "1h"},
        "sorted": {"key_query": "sorted"},
        "ignore": {"key_query": "ignore"},
        "header": {"key_headers": ["X-Tenant"]},
        "tags": {"tag_headers": ["X-Topic"]},
    }
    with Rig(policies) as rig:
        yield rig


def times_asked(rig: Rig, host: str, *lines: str, status: int = 200) -> int:
    """How often the upstream is asked for two requests."""
    target = rig.script(answer(*lines, status=status))
    for _ in range(2):
        assert rig.get(target, host=f"{host}.test").status == status
    return rig.count(target)


@pytest.mark.parametrize(
    ("host", "lines", "status", "expected"),
    [
        ("off", ["Cache-Control: max-age=60"], 200, 2),
        ("negative", [], 404, 1),
        ("negative", [], 410, 1),
        ("negative", ["Cache-Control: no-store"], 404, 2),
        ("negative", ["Cache-Control: max-age=0"], 404, 2),
        ("negative", [], 200, 2),
        ("negative", [], 403, 2),
        ("negative", [], 500, 2),
        ("web", [], 404, 2),
        ("default", [], 200, 1),
        ("default", [], 404, 1),
        ("default", [], 403, 2),
        ("default", ["Cache-Control: max-age=0"], 200, 2),
        ("override", ["Cache-Control: max-age=0"], 200, 1),
        ("override", [], 200, 1),
        ("override", ["Cache-Control: no-store"], 200, 2),
        ("override", ["Cache-Control: private"], 200, 2),
        ("override", ["Cache-Control: max-age=60", 'ETag: "a"'], 301, 2),
        ("override", ["Cache-Control: max-age=60"], 404, 1),
    ],
)
def test_lifetimes(rig: Rig, host: str, lines: list[str], status: int, expected: int) -> None:
    assert times_asked(rig, host, *lines, status=status) == expected


def test_a_service_without_a_cache_says_nothing_of_one(rig: Rig) -> None:
    target = rig.script(answer("Cache-Control: max-age=60"))
    assert rig.get(target, host="off.test").header("cache-status") is None


@pytest.mark.parametrize(
    ("host", "first", "then", "expected"),
    [
        ("web", "?b=1&a=2", "?a=2&b=1", 2),
        ("sorted", "?b=1&a=2", "?a=2&b=1", 1),
        ("sorted", "?a=1", "?a=2", 2),
        ("ignore", "?a=1", "?a=2", 1),
        ("ignore", "?a=1", "", 1),
    ],
)
def test_how_the_query_is_part_of_the_key(rig: Rig, host: str, first: str, then: str, expected: int) -> None:
    path = rig.script(answer("Cache-Control: max-age=60"))
    asked = 0
    for query in (first, then):
        rig.script(answer("Cache-Control: max-age=60"), target=path + query)
        assert rig.get(path + query, host=f"{host}.test").status == 200
        asked += rig.count(path + query)
    assert asked == expected


@pytest.mark.parametrize("host", ["sorted", "ignore"])
def test_an_unsafe_method_finds_the_response_under_a_shaped_key(rig: Rig, host: str) -> None:
    path = rig.script(answer("Cache-Control: max-age=60"))
    one = rig.script(answer("Cache-Control: max-age=60"), target=path + "?a=1&b=2")
    two = rig.script(answer(), target=path + "?b=2&a=1")
    rig.get(one, host=f"{host}.test")
    rig.post(two, host=f"{host}.test")
    rig.get(one, host=f"{host}.test")
    assert rig.count(one) == 2


def test_fields_that_are_part_of_the_key(rig: Rig) -> None:
    target = rig.script(lambda request: answer("Cache-Control: max-age=60", body=request.header("x-tenant") or "none"))
    for tenant in ("a", "b", "a", "b"):
        assert rig.get(target, f"X-Tenant: {tenant}", host="header.test").body == tenant.encode()
    assert rig.get(target, host="header.test").body == b"none"
    assert rig.count(target) == 3


def test_tags_from_fields_of_ones_own_choice(rig: Rig) -> None:
    target = rig.script(answer("Cache-Control: max-age=60", "X-Topic: sea fish", "Cache-Tag: other"))
    rig.get(target, host="tags.test")
    assert rig.agent.post("/cache/purge", {"tag": "other"})["purged"] == 0
    assert rig.agent.post("/cache/purge", {"tag": "fish"})["purged"] == 1


def test_a_configured_window_of_staleness_while_it_is_validated(rig: Rig) -> None:
    stale = answer("Cache-Control: max-age=1", "Age: 30", body="old")
    target = rig.script(stale, answer("Cache-Control: max-age=60", body="new"))
    rig.get(target, host="swr.test")
    reply = rig.get(target, host="swr.test")
    assert reply.body == b"old" and "ttl=-" in (reply.header("cache-status") or "")
    wait_until(lambda: rig.get(target, host="swr.test").body == b"new", "the validation in the background")
    assert rig.count(target) == 2
    assert rig.agent.metric("pilotfish_request_duration_seconds_count", service="swr", outcome="stale") >= 1


def test_a_window_of_the_response_s_own(rig: Rig) -> None:
    for control, expected in (("stale-while-revalidate=600", b"old"), ("s-maxage=1, stale-while-revalidate=600", b"old"), ("", b"new")):
        stale = answer(f"Cache-Control: max-age=1, {control}", "Age: 30", 'ETag: "a"', body="old")
        target = rig.script(stale, answer("Cache-Control: max-age=60", body="new"))
        rig.get(target)
        assert rig.get(target).body == expected


def test_routes_of_one_service_have_policies_and_keys_of_their_own() -> None:
    """Two routes that differ in a header match do not share responses, although the URL is the same."""

    def handler(request: Received) -> bytes:
        return response(f"{request.target} {request.header('x-version')}", headers=[("Cache-Control", "max-age=60")])

    with Upstream(handler) as upstream:
        web = {
            "hosts": ["*"],
            "endpoints": [upstream.address],
            "cache": {"enabled": True},
            "routes": [
                {"match": {"headers": {"X-Version": "2"}}, "rewrite": {"regex": "^/", "substitution": "/v2/"}},
                {"match": {"prefix": "/live"}, "cache": {"enabled": False}},
            ],
        }
        with AgentProcess({"services": {"web": web}}) as agent, RawClient(agent.egress) as client:
            bodies = [client.get("/a", "test", *lines).body for lines in ([], ["X-Version: 2"], [], ["X-Version: 2"])]
            assert bodies[0] == bodies[2] == b"/a None"
            assert bodies[1] == bodies[3] != bodies[0]
            assert len(upstream.requests) == 2
            for _ in range(2):
                client.get("/live/x")
            assert len(upstream.requests) == 4
            assert client.get("/a", "test", "X-Version: 2", "Cache-Control: no-cache", method="HEAD").status == 200
            assert client.get("/a", "test", "X-Version: 2").body == bodies[1]
            client.send(b"POST /a HTTP/1.1\r\nHost: test\r\nX-Version: 2\r\nContent-Length: 0\r\n\r\n")
            assert client.reply("POST").status == 200
            seen = len(upstream.requests)
            client.get("/a")
            client.get("/a", "test", "X-Version: 2")
            assert len(upstream.requests) == seen + 2
