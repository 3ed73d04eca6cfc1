"""Purging, listing and statistics through the admin API, and the bound on memory, in a running agent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.cache_rig import Rig, answer
from tests.harness.wait import wait_until


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    policies: dict[str, dict[str, Any]] = {"web": {}, "api": {"stale_if_error": "1h"}}
    with Rig(policies, store={"size": "2MiB", "object_bytes_max": "256KiB"}) as rig:
        yield rig


@pytest.fixture(autouse=True)
def _empty(rig: Rig) -> None:
    rig.agent.post("/cache/purge", {"all": True})


def fill(rig: Rig, *paths: str, host: str = "web.test", tags: str = "") -> list[str]:
    """Store a response for each target."""
    lines = ["Cache-Control: max-age=60"] + ([tags] if tags else [])
    targets = [rig.script(answer(*lines), target=path) for path in paths]
    for target in targets:
        assert rig.get(target, host=host).status == 200
    return targets


def stored(rig: Rig, *targets: str, host: str = "web.test") -> list[bool]:
    """Whether each is answered without the upstream."""
    return [rig.get(target, "Cache-Control: only-if-cached", host=host).status == 200 for target in targets]


def purge(rig: Rig, **wish: Any) -> int:
    answered = rig.agent.post("/cache/purge", wish)
    assert answered["soft"] is wish.get("soft", False)
    count: int = answered["purged"]
    return count


def test_by_exact_url(rig: Rig) -> None:
    fill(rig, "/a", "/a?x=1", "/a/b")
    assert purge(rig, url="http://web.test/a") == 1
    assert stored(rig, "/a", "/a?x=1", "/a/b") == [False, True, True]
    assert purge(rig, url="http://WEB.test/a?x=1") == 1
    assert purge(rig, url="http://web.test/nothing") == 0
    assert stored(rig, "/a?x=1", "/a/b") == [False, True]


def test_an_url_takes_all_its_variants(rig: Rig) -> None:
    target = rig.script(answer("Cache-Control: max-age=60", "Vary: Foo"), target="/varied")
    for value in ("1", "2", "3"):
        rig.get(target, f"Foo: {value}")
    assert purge(rig, url="http://web.test/varied") == 3
    assert rig.agent.get("/cache")["entries"] == 0


def test_by_prefix(rig: Rig) -> None:
    fill(rig, "/img/1", "/img/2", "/image", "/other")
    fill(rig, "/img/3", host="api.test")
    assert purge(rig, prefix="http://web.test/img/") == 2
    assert stored(rig, "/img/1", "/img/2", "/image", "/other") == [False, False, True, True]
    assert stored(rig, "/img/3", host="api.test") == [True]


def test_by_host_and_by_service(rig: Rig) -> None:
    for wish in ({"host": "api.test"}, {"host": "API.test"}, {"service": "api"}):
        fill(rig, "/h1", "/h2")
        fill(rig, "/h3", "/h4", host="api.test")
        assert purge(rig, **wish) == 2
        assert stored(rig, "/h3", "/h4", host="api.test") == [False, False]
        assert stored(rig, "/h1", "/h2") == [True, True]


@pytest.mark.parametrize("field", ["Surrogate-Key: red green", "Cache-Tag: red, green"])
def test_by_tag(rig: Rig, field: str) -> None:
    fill(rig, "/t1", tags=field)
    fill(rig, "/t2", tags="Cache-Tag: green")
    fill(rig, "/t3")
    assert purge(rig, tag="re") == 0
    assert purge(rig, tag="red") == 1
    assert stored(rig, "/t1", "/t2", "/t3") == [False, True, True]
    assert purge(rig, tag="green") == 1
    assert stored(rig, "/t2", "/t3") == [False, True]


def test_everything(rig: Rig) -> None:
    fill(rig, "/e1", "/e2")
    fill(rig, "/e3", host="api.test")
    assert purge(rig, all=True) == 3
    cache = rig.agent.get("/cache")
    assert (cache["entries"], cache["used_bytes"]) == (0, 0)


def test_a_soft_purge_makes_stale(rig: Rig) -> None:
    """Validated before its next use, and still there for a failing upstream."""
    fresh = answer("Cache-Control: max-age=60", 'ETag: "a"')
    unchanged = b'HTTP/1.1 304 Not Modified\r\nCache-Control: max-age=60\r\nETag: "a"\r\n\r\n'
    target = rig.script(fresh, answer(status=503), unchanged, target="/soft")
    rig.get(target, host="api.test")
    rig.get(target, host="api.test")
    assert rig.count(target) == 1
    assert purge(rig, url="http://api.test/soft", soft=True) == 1
    assert rig.get(target, host="api.test").status == 200
    assert rig.seen[target][1].header("if-none-match") == '"a"'
    assert rig.get(target, host="api.test").body == b"hello"
    assert rig.get(target, host="api.test").body == b"hello"
    assert rig.count(target) == 3


WRONG: list[Any] = [
    {},
    {"url": "/a"},
    {"url": 1},
    {"tag": None},
    {"all": False},
    {"all": "yes"},
    {"host": "web.test", "tag": "a"},
    {"tag": "a", "soft": "no"},
    {"urls": "http://web.test/"},
    [],
    "all",
]


@pytest.mark.parametrize("wish", WRONG, ids=json.dumps)
def test_a_purge_that_cannot_be_read_purges_nothing(rig: Rig, wish: Any) -> None:
    fill(rig, "/w")
    status, body = rig.agent.call("/cache/purge", wish, "POST")
    assert status == 400 and json.loads(body)["error"]
    assert stored(rig, "/w") == [True]


def test_listing(rig: Rig) -> None:
    fill(rig, "/l/1", "/l/2", "/m", tags="Cache-Tag: one, two")
    fill(rig, "/l/3", host="api.test")
    stored(rig, "/l/1")

    def listed(query: str) -> set[str]:
        return {entry["target"] for entry in rig.agent.get(f"/cache?{query}")["listing"]}

    assert listed("list") == {"/l/1", "/l/2", "/l/3", "/m"}
    assert listed("host=web.test&prefix=/l/") == {"/l/1", "/l/2"}
    assert listed("service=api") == {"/l/3"}
    assert listed("prefix=/l/") == {"/l/1", "/l/2", "/l/3"}
    assert len(listed("list&limit=2")) == 2
    assert listed("limit=0") == set()
    [entry] = [entry for entry in rig.agent.get("/cache?list")["listing"] if entry["target"] == "/l/1"]
    assert (entry["service"], entry["host"], entry["status"], entry["hits"]) == ("web", "web.test", 200, 1)
    assert entry["tags"] == ["one", "two"] and 0 < entry["ttl_s"] <= 60 and entry["bytes"] > 1000
    assert "listing" not in rig.agent.get("/cache")


@pytest.mark.parametrize("limit", ["x", "-1", "1.5", "", "%C2%B2"])
def test_a_limit_that_is_no_number(rig: Rig, limit: str) -> None:
    for path in (f"/cache?limit={limit}", f"/cache?list&limit={limit}"):
        status, body = rig.agent.call(path)
        assert status == 400 and "limit" in json.loads(body)["error"]


def test_statistics_by_service_and_the_bound_on_bytes(rig: Rig) -> None:
    body = "x" * 100_000
    before = rig.agent.get("/cache")["services"]["api"]
    for number in range(60):
        rig.get(rig.script(answer("Cache-Control: max-age=60", body=body), target=f"/big/{number}"), host="api.test")
    cache = rig.agent.get("/cache")
    assert cache["used_bytes"] <= cache["size_bytes"] == 2 * 1024 * 1024
    after = cache["services"]["api"]
    assert after["inserts"] - before["inserts"] == 60
    assert after["evictions"] - before["evictions"] == 60 - after["entries"] > 30
    assert after["bytes"] == cache["used_bytes"] >= after["entries"] * 100_000
    assert rig.agent.metric("pilotfish_cache_bytes") == cache["used_bytes"]
    assert rig.agent.metric("pilotfish_cache_entries") == after["entries"]
    assert rig.agent.metric("pilotfish_cache_evictions_total", service="api") == after["evictions"]
    large = rig.script(answer("Cache-Control: max-age=60", body="x" * 300_000), target="/too-large")
    rig.get(large, host="api.test")
    assert stored(rig, large, host="api.test") == [False]


def test_what_is_stored_survives_a_reload_that_keeps_the_store(rig: Rig) -> None:
    fill(rig, "/kept")
    config = {**rig.agent.config, "why": {"recent": 10}}
    rig.agent.write(config)
    rig.agent.post("/reload")
    wait_until(lambda: rig.agent.get("/config")["why"]["recent"] == 10, "the reload")
    assert stored(rig, "/kept") == [True]
