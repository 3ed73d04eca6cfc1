import base64
import json
from urllib.parse import quote

import pytest

from agent.core.machine.config import Limits
from tests.harness.state_rig import StateRig, ask, key_path, request, state_rig


def test_a_value_is_put_and_got_as_octets_with_its_numbers_in_fields(rig: StateRig) -> None:
    value = bytes(range(256))
    put = rig.ask("PUT", "/v1/kv/a/b", value)
    assert put.status == 200 and json.loads(put.body) == {"revision": 1, "version": 1}
    assert put.header("etag") == '"1"' and put.header("pilotfish-revision") == "1"
    rig.ask("PUT", "/v1/kv/other", b"")
    got = rig.ask("GET", "/v1/kv/a/b")
    assert (got.status, got.body, got.header("content-type")) == (200, value, "application/octet-stream")
    fields = {name.lower(): text for name, text in got.fields}
    assert fields["etag"] == '"1"' and fields["pilotfish-create"] == fields["pilotfish-version"] == "1"
    assert fields["pilotfish-revision"] == "2" and "pilotfish-lease" not in fields and fields["cache-control"] == "no-store"
    head = rig.ask("HEAD", "/v1/kv/a/b")
    assert (head.status, head.body, head.header("content-length")) == (200, b"", "256")
    assert rig.json("GET", "/v1/kv/a/b", None, "Accept: application/json") == {
        "key": "a/b",
        "value_base64": base64.b64encode(value).decode(),
        "create_revision": 1,
        "mod_revision": 1,
        "version": 1,
        "lease": 0,
        "revision": 2,
    }


def test_a_key_may_have_any_octets(rig: StateRig) -> None:
    for key in (b"\x00", b"a b?c#d%", b"//", bytes(range(256)), "schlüssel".encode(), b"v1/kv/x", b"+"):
        assert rig.ask("PUT", key_path(key), b"v").status == 200
        assert rig.ask("GET", key_path(key)).body == b"v"
        assert key in rig.machine.kv.records


def test_what_is_not_there_is_404_with_the_revision(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/a", b"")
    reply = rig.ask("GET", "/v1/kv/b")
    assert reply.status == 404 and reply.header("pilotfish-revision") == "1"
    assert json.loads(reply.body)["error"] == "not_found"
    assert rig.json("DELETE", "/v1/kv/b") == {"revision": 1, "deleted": 0}
    assert rig.json("DELETE", "/v1/kv/a") == {"revision": 2, "deleted": 1}


@pytest.mark.parametrize(
    ("query", "line", "there", "absent"),
    [
        ("", 'If-Match: "2"', 200, 412),
        ("", 'If-Match: "1"', 412, 412),
        ("", "If-Match: *", 200, 412),
        ("", "If-None-Match: *", 412, 200),
        ("", 'If-None-Match: "2"', 412, 200),
        ("?if_revision=2", "", 200, 412),
        ("?if_revision=0", "", 412, 200),
        ("?if_version=2", "", 200, 412),
        ("?if_value=two", "", 200, 412),
        ("?if_value=one", "", 412, 412),
        ("?if_absent=true", "", 412, 200),
        ("?if_absent=false", "", 200, 412),
        ("?if_version=2&if_value=two", 'If-Match: "2"', 200, 412),
        ("?if_version=1&if_value=two", 'If-Match: "2"', 412, 412),
    ],
)
def test_conditions_of_a_put(rig: StateRig, query: str, line: str, there: int, absent: int) -> None:
    lines = [line] if line else []
    assert rig.ask("PUT", "/v1/kv/k" + query, b"new", *lines).status == absent
    rig.ask("DELETE", "/v1/kv/k")
    with state_rig() as other:
        other.ask("PUT", "/v1/kv/k", b"one")
        other.ask("PUT", "/v1/kv/k", b"two")
        reply = other.ask("PUT", "/v1/kv/k" + query, b"new", *lines)
        assert reply.status == there
        if there == 412:
            found = json.loads(reply.body)
            assert found["error"] == "compare_failed" and found["applied"] == "no"
            assert found["current"] == {"key": "k", "value": "two", "create_revision": 1, "mod_revision": 2, "version": 2, "lease": 0}
        assert other.ask("GET", "/v1/kv/k").body == (b"new" if there == 200 else b"two")


def test_delete_takes_conditions_too(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/k", b"one")
    assert rig.ask("DELETE", "/v1/kv/k?if_value=two").status == 412
    assert rig.ask("DELETE", "/v1/kv/k?if_value=one").status == 200


def test_compare_and_set_in_json(rig: StateRig) -> None:
    body = {"key": "k", "value": "1", "if": {"absent": True}}
    assert rig.json("POST", "/v1/cas", body) == {"revision": 1, "version": 1}
    assert rig.json("POST", "/v1/cas", body, status=412)["current"]["value"] == "1"
    coded = {"key_base64": base64.b64encode(b"k").decode(), "value_base64": "//8=", "if": {"value": "1", "version": 1, "revision": 1}}
    assert rig.json("POST", "/v1/cas", coded) == {"revision": 2, "version": 2}
    assert rig.ask("GET", "/v1/kv/k").body == b"\xff\xff"
    for wrong in (
        {"key": "k", "value": "1"},
        {"key": "k", "value": "1", "if": {}},
        {"key": "k", "if": {"absent": True}},
        {"key": "k", "value": "1", "if": {"revision": -1}},
        {"key": "k", "value": "1", "value_base64": "MQ==", "if": {"absent": True}},
        {"key": "k", "value_base64": "?", "if": {"absent": True}},
        {"key": "k", "value": "1", "if": {"absent": True}, "unknown": 1},
    ):
        assert rig.json("POST", "/v1/cas", wrong, status=400)["error"] == "bad_request"


def test_ranges_come_in_pages(rig: StateRig) -> None:
    for number in range(7):
        rig.ask("PUT", f"/v1/kv/p/{number}", b"v%d" % number)
    rig.ask("PUT", "/v1/kv/q", b"")
    keys: list[str] = []
    query = "prefix=p/&limit=3"
    pages = 0
    while True:
        page = rig.json("GET", f"/v1/kv?{query}")
        keys += [item["key"] for item in page["items"]]
        pages += 1
        assert page["revision"] == 8
        if not page["more"]:
            break
        query = f"prefix=p/&limit=3&after={quote(page['next'])}"
    assert keys == [f"p/{number}" for number in range(7)] and pages == 3
    assert rig.json("GET", "/v1/kv?start=p/5&end=q")["items"][0]["value"] == "v5"
    assert [item["key"] for item in rig.json("GET", "/v1/kv?start=p/6")["items"]] == ["p/6", "q"]
    assert "value" not in rig.json("GET", "/v1/kv?prefix=p/&keys_only=true")["items"][0]
    assert rig.json("GET", "/v1/kv?prefix=p/&count=true") == {"count": 7, "revision": 8}
    assert rig.json("DELETE", "/v1/kv?prefix=p/&limit=5") == {"deleted": 5, "more": True, "revision": 9}
    assert rig.json("DELETE", "/v1/kv?prefix=") == {"deleted": 3, "more": False, "revision": 10}
    assert rig.json("DELETE", "/v1/kv", status=400)["error"] == "bad_request"


def test_transactions(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/a", b"1")
    body = {
        "if": [{"key": "a", "value": "1"}, {"key": "b", "version": 0}, {"key": "a", "op": ">", "revision": 0}],
        "then": [
            {"put": {"key": "b", "value": "2"}},
            {"get": {"key": "b"}},
            {"get": {"key": "z"}},
            {"delete": {"key": "a"}},
            {"range": {"prefix": ""}},
        ],
        "else": [{"get": {"key": "a"}}],
    }
    item = {"key": "b", "value": "2", "create_revision": 2, "mod_revision": 2, "version": 1, "lease": 0}
    assert rig.json("POST", "/v1/txn", body) == {
        "succeeded": True,
        "revision": 2,
        "results": [
            {"put": {"version": 1}},
            {"get": item},
            {"get": None},
            {"delete": {"deleted": 1}},
            {"range": {"items": [item], "more": False}},
        ],
    }
    assert rig.json("POST", "/v1/txn", body) == {"succeeded": False, "revision": 2, "results": [{"get": None}]}
    for wrong, where in (
        ({"if": [{"key": "a"}]}, "if[0]"),
        ({"if": [{"key": "a", "value": "1", "version": 1}]}, "if[0]"),
        ({"if": [{"key": "a", "op": "~", "value": "1"}]}, "if[0].op"),
        ({"then": [{}]}, "then[0]"),
        ({"then": [{"put": {"key": "a"}}]}, "then[0].put.value"),
        ({"else": [{"get": {}}]}, "else[0].get.key"),
    ):
        assert rig.json("POST", "/v1/txn", wrong, status=400)["detail"].startswith(where)
    assert rig.json("POST", "/v1/txn", {"then": [{"put": {"key": "a", "value": "", "lease": 9}}]}, status=404)["error"] == "lease_not_found"


def test_a_time_to_live(rig: StateRig) -> None:
    assert rig.ask("PUT", "/v1/kv/k?ttl=20s", b"v").status == 200
    assert rig.ask("GET", "/v1/kv/k").header("pilotfish-lease") == "2", "1 is the agent's own session"
    rig.run(lambda: rig.service.pass_time(20))
    assert rig.ask("PUT", "/v1/kv/other", b"").status == 200
    assert rig.ask("GET", "/v1/kv/k").status == 404
    assert rig.ask("PUT", "/v1/kv/k?ttl=soon", b"v").status == 400


def test_bounds_have_their_status(rig: StateRig) -> None:
    with state_rig(Limits(keys=1, value_bytes=10)) as small:
        assert small.json("PUT", "/v1/kv/a", b"x" * 11, status=413)["error"] == "too_large"
        small.ask("PUT", "/v1/kv/a", b"")
        assert small.json("PUT", "/v1/kv/b", b"", status=507)["detail"] == "keys: at most 1"
    assert rig.json("PUT", "/v1/kv/" + "k" * 1_025, b"", status=413)["detail"] == "key of 1025 octets; at most 1024"
    assert rig.json("PUT", "/v1/kv/a", b"x" * 1_048_577, status=413)["error"] == "too_large"
    assert rig.ask("PUT", "/v1/kv/a", b"x" * 1_048_576).status == 200


def test_reads_say_how_fresh_they_must_be(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/k", b"v")
    for query in ("", "?consistency=linearizable", "?consistency=lease", "?consistency=stale", "?max_staleness=2s", "?timeout=1s"):
        assert rig.ask("GET", "/v1/kv/k" + query).body == b"v"
    rig.run(lambda: setattr(rig.service, "fresh", False))
    assert rig.json("GET", "/v1/kv/k?max_staleness=2s", status=503)["error"] == "too_stale"
    assert rig.ask("GET", "/v1/kv/k?consistency=stale").status == 200
    for query in ("consistency=strong", "max_staleness=-1", "max_staleness=2s&consistency=lease", "timeout=2m", "timeout=1&timeout=2"):
        assert rig.json("GET", "/v1/kv/k?" + query, status=400)["error"] == "bad_request"


def test_reads_that_come_together_ask_the_group_once(rig: StateRig) -> None:
    rig.ask("PUT", "/v1/kv/k", b"v")
    before = rig.run(lambda: rig.service.reads)
    with rig.client() as client:
        client.send(request("GET", "/v1/kv/k") * 50)
        assert [client.reply().body for _ in range(50)] == [b"v"] * 50
    rounds = rig.run(lambda: rig.service.reads) - before
    assert rounds <= 10, "one for each turn of the loop, and they came in a few"


@pytest.mark.parametrize(
    ("reason", "status", "code", "applied"),
    [
        ("not_leader", 503, "no_leader", "no"),
        ("busy", 429, "busy", "no"),
        ("read_only", 503, "read_only", "no"),
        ("timeout", 504, "timeout", "no"),
        ("off", 503, "stopped", "no"),
        ("unknown", 504, "timeout", "unknown"),
        ("stopped", 503, "stopped", "no"),
    ],
)
def test_why_there_is_no_outcome(rig: StateRig, reason: str, status: int, code: str, applied: str) -> None:
    with rig.client() as client:
        ask(client, "PUT", "/v1/kv/k", b"v")
        rig.run(lambda: setattr(rig.service, "refuse", reason))
        reply = ask(client, "PUT", "/v1/kv/k", b"w")
        found = json.loads(reply.body)
        assert (reply.status, found["error"], found["applied"]) == (status, code, applied)
        assert (reply.header("retry-after") is not None) is (status in (429, 503))
        reply = ask(client, "GET", "/v1/kv/k")
        assert reply.status == status and "applied" not in json.loads(reply.body)
        rig.run(lambda: setattr(rig.service, "refuse", ""))
        assert ask(client, "PUT", "/v1/kv/k", b"x").status == 200
