"""Fields on their way through a running agent, as the upstream and the client see them (RFC 9110 section 7.6, RFC 7239)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient, Reply
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Bench:
    """An agent with one header policy before an upstream that answers as it is told."""

    def __init__(self, headers: dict[str, Any], **more: Any) -> None:
        self.upstream = Upstream(lambda _: self.answer)
        self.answer = response("ok")
        services = {"web": {"hosts": ["*"], "endpoints": [self.upstream.address], **more.pop("service", {})}}
        self.agent = AgentProcess({"services": services, "headers": headers, **more})

    def ask(self, *lines: str, host: str = "shop.test:8080", target: str = "/", version: str = "1.1") -> tuple[Received, Reply]:
        """What the upstream got and what the client got."""
        with RawClient(self.agent.egress) as client:
            head = "\r\n".join([f"GET {target} HTTP/{version}", f"Host: {host}", *lines])
            reply = client.send(head.encode("latin-1") + b"\r\n\r\n").reply()
        return self.upstream.requests[-1], reply

    def __enter__(self) -> "Bench":
        self.agent.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        try:
            self.agent.__exit__(*error)
        finally:
            self.upstream.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Bench]:
    with Bench({}) as bench:
        yield bench


pytestmark = pytest.mark.xdist_group("headers")


def test_hop_by_hop_fields_end_here_on_the_way_there(plain: Bench) -> None:
    got, _ = plain.ask(
        "Connection: keep-alive, X-Mine, x-other",
        "Proxy-Connection: keep-alive, X-Third",
        "Keep-Alive: timeout=5",
        "X-Mine: 1",
        "X-Other: 2",
        "X-Third: 3",
        "X-Kept: 4",
        "Proxy-Authorization: Basic eA==",
        "TE: gzip",
        "Trailer: X-Later",
        "Upgrade: websocket",
        "HTTP2-Settings: AAAA",
    )
    names = {name for name, _ in got.headers()}
    assert names == {"host", "x-kept", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id"}


def test_hop_by_hop_fields_end_here_on_the_way_back(plain: Bench) -> None:
    hop = [("Connection", "X-Mine, close"), ("Keep-Alive", "timeout=5"), ("Proxy-Authenticate", "Basic"), ("Proxy-Connection", "close")]
    plain.answer = response("ok", headers=[*hop, ("X-Mine", "1"), ("X-Kept", "2"), ("Upgrade", "h2c"), ("Trailer", "X-Later")])
    _, reply = plain.ask()
    assert {name.lower() for name, _ in reply.fields} == {"x-kept", "content-length", "date", "via"}


def test_connection_cannot_take_away_what_the_agent_answers_for(plain: Bench) -> None:
    """Naming another hop's fields in Connection is how they are made to vanish."""
    plain.answer = response("ok", headers=[("Connection", "Content-Length, Date, Via")])
    got, reply = plain.ask(
        "Connection: Host, X-Forwarded-For, Via, Content-Length, X-Request-Id", "X-Forwarded-For: 10.0.0.9", "Via: 1.1 edge"
    )
    assert got.header("host") == "shop.test:8080"
    assert got.header("x-forwarded-for") == "10.0.0.9, 127.0.0.1"
    assert got.header("via") == "1.1 edge, 1.1 pilotfish"
    assert (reply.header("content-length"), reply.body) == ("2", b"ok")
    assert reply.header("via") == "1.1 pilotfish"


def test_te_trailers_is_said_anew(plain: Bench) -> None:
    plain.answer = response("ok")
    got, _ = plain.ask("TE: trailers, deflate;q=0.5", "Connection: TE")
    assert (got.header("te"), got.header("connection")) == ("trailers", "TE")


def test_via_names_the_version_received_and_keeps_what_was_there(plain: Bench) -> None:
    plain.answer = b"HTTP/1.0 200 OK\r\nVia: 1.1 cdn\r\nContent-Length: 2\r\n\r\nok"
    got, reply = plain.ask("Via: 1.1 one", "Via: 2 two (comment)", version="1.0")
    assert got.header("via") == "1.1 one, 2 two (comment), 1.0 pilotfish"
    assert reply.header("via") == "1.1 cdn, 1.0 pilotfish"
    plain.answer = response("ok")


def test_host_is_first_and_the_absolute_form_wins(plain: Bench) -> None:
    got, _ = plain.ask("X-A: 1", host="Other.test", target="http://Shop.TEST:8080/a?b")
    assert got.lines[:2] == [b"GET /a?b HTTP/1.1", b"Host: shop.test:8080"]
    assert [name for name, _ in got.headers()].count("host") == 1


def test_order_case_and_repeats_of_other_fields_stay(plain: Bench) -> None:
    got, _ = plain.ask("X-B: 1", "x-a: 2", "X-B:3", "X-b: ")
    assert [line for line in got.lines if line.lower().startswith((b"x-b", b"x-a"))] == [b"X-B: 1", b"x-a: 2", b"X-B:3", b"X-b: "]


def test_forwarding_fields_are_appended_to_where_they_are_trusted(plain: Bench) -> None:
    got, _ = plain.ask("X-Forwarded-For: 10.0.0.1", "X-Forwarded-For: 10.0.0.2", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443")
    assert got.header("x-forwarded-for") == "10.0.0.1, 10.0.0.2, 127.0.0.1"
    assert got.header("x-forwarded-proto") == "https"
    assert got.header("x-forwarded-host") == "shop.test:8080"
    assert got.header("x-forwarded-port") == "443"
    assert got.header("forwarded") is None


def test_forwarding_fields_are_written_anew_where_they_are_not_trusted() -> None:
    with Bench({"trust_forwarded": False, "forwarded": "both", "via": "edge-1"}) as bench:
        spoofed = [
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil",
            "X-Forwarded-Port: 1",
            "Forwarded: for=6.6.6.6",
        ]
        got, _ = bench.ask(*spoofed)
        assert got.header("x-forwarded-for") == "127.0.0.1"
        assert got.header("x-forwarded-proto") == "http"
        assert got.header("x-forwarded-host") == "shop.test:8080"
        assert got.header("x-forwarded-port") is None
        assert got.header("forwarded") == 'for=127.0.0.1;proto=http;host="shop.test:8080"'
        assert got.header("via") == "1.1 edge-1"


def test_rfc_7239_alone() -> None:
    with Bench({"forwarded": "forwarded"}, listen={"egress": "[::1]:0"}) as bench:
        got, _ = bench.ask("Forwarded: for=10.0.0.1")
        assert got.header("forwarded") == 'for=10.0.0.1, for="[::1]";proto=http;host="shop.test:8080"'
        assert got.header("x-forwarded-for") is None


def test_all_of_it_can_be_switched_off() -> None:
    with Bench({"forwarded": "off", "via": "", "request_id": False, "server": "off"}) as bench:
        bench.answer = response("ok", headers=[("Server", "secret/1.0"), ("Via", "1.1 cdn")])
        got, reply = bench.ask("Via: 1.1 one", "X-Forwarded-For: 10.0.0.1")
        assert dict(got.headers()) == {"host": "shop.test:8080", "via": "1.1 one", "x-forwarded-for": "10.0.0.1"}
        assert {name.lower() for name, _ in reply.fields} == {"content-length", "date", "via"}


def test_a_request_id_is_kept_or_given(plain: Bench) -> None:
    got, _ = plain.ask("X-Request-Id: mine")
    assert got.header("x-request-id") == "mine"
    given = {plain.ask()[0].header("x-request-id") for _ in range(3)}
    assert len(given) == 3
    assert all(value and re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{8}", value) for value in given)


@pytest.mark.parametrize(
    ("lines", "parent", "state"),
    [
        ([f"traceparent: {TRACE}", "tracestate: a=1,b=2"], TRACE, "a=1,b=2"),
        ([f"Traceparent: {TRACE}", "tracestate: a=1", "tracestate: b=2"], TRACE, "a=1, b=2"),
        ([f"traceparent: {TRACE[:-2]}00"], f"{TRACE[:-2]}00", None),
        ([f"traceparent: cc{TRACE[2:]}-later", "tracestate: a=1"], f"cc{TRACE[2:]}-later", "a=1"),
        (["tracestate: a=1"], None, None),
        ([f"traceparent: {TRACE}-later", "tracestate: a=1"], None, None),
        ([f"traceparent: {TRACE.upper()}", "tracestate: a=1"], None, None),
        ([f"traceparent: ff{TRACE[2:]}", "tracestate: a=1"], None, None),
        (["traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01"], None, None),
        (["traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01"], None, None),
        ([f"traceparent: {TRACE}", f"traceparent: {TRACE}", "tracestate: a=1"], None, None),
        (["traceparent: ", "tracestate: a=1"], None, None),
    ],
)
def test_a_good_trace_goes_on_with_its_state_and_a_bad_one_does_not(
    plain: Bench, lines: list[str], parent: str | None, state: str | None
) -> None:
    got, _ = plain.ask(*lines)
    assert (got.header("traceparent"), got.header("tracestate")) == (parent, state)


def test_a_sampled_request_begins_a_trace_unless_it_has_one() -> None:
    with Bench({"trace_sample": 1}) as bench:
        made = set()
        for lines in ([], ["tracestate: a=1"], ["traceparent: nonsense", "tracestate: a=1"], [f"traceparent: {TRACE}-x"]):
            got, _ = bench.ask(*lines)
            parent = got.header("traceparent")
            assert parent is not None
            assert re.fullmatch("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-01", parent)
            assert got.header("tracestate") is None
            made.add(parent)
        assert len(made) == 4
        got, _ = bench.ask(f"traceparent: {TRACE}", "tracestate: a=1")
        assert (got.header("traceparent"), got.header("tracestate")) == (TRACE, "a=1")


def test_a_share_of_requests_is_sampled() -> None:
    with Bench({"trace_sample": "50%"}) as bench:
        with RawClient(bench.agent.egress) as client:
            for _ in range(400):
                client.get("/")
        share = sum(request.header("traceparent") is not None for request in bench.upstream.requests) / 400
        assert 0.35 < share < 0.65  # six standard deviations


def test_a_request_that_goes_in_circles_is_stopped() -> None:
    with Bench({}, service={"endpoints": ["127.0.0.1:1"]}) as bench:
        services = {"web": {"hosts": ["*"], "endpoints": [f"127.0.0.1:{bench.agent.egress[1]}"]}}
        bench.agent.write({**bench.agent.config, "services": services})
        wait_until(lambda: bench.agent.metric("pilotfish_config_generation") == 2, "the circle is closed")
        with RawClient(bench.agent.egress) as client:
            reply = client.get("/", "loop.test")
        assert (reply.status, reply.header("x-pilotfish-reason")) == (508, "LP")
        assert bench.agent.metric("pilotfish_local_responses_total", flag="LP") == 1


def test_rules_of_service_and_route_change_both_ways() -> None:
    routes = [{"match": {"prefix": "/a"}, "request_headers": {"set": {"X-Set": "route"}}, "response_headers": {"add": {"X-Out": "2"}}}]
    service = {
        "request_headers": {"set": {"X-Set": "service"}, "add": {"X-Add": "1"}, "remove": ["X-Gone"]},
        "response_headers": {"remove": ["X-Secret"], "add": {"X-Out": "1"}},
        "routes": routes,
    }
    with Bench({}, service=service) as bench:
        bench.answer = response("ok", headers=[("X-Secret", "1")])
        got, reply = bench.ask("X-Set: client", "X-Add: 0", "X-Gone: 1", target="/a")
        assert (got.header("x-set"), got.header("x-add"), got.header("x-gone")) == ("route", "0, 1", None)
        assert (reply.header("x-out"), reply.header("x-secret")) == ("1, 2", None)
