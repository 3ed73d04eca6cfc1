"""Route matching against the plainest reading of what the settings say."""

import re

from hypothesis import given
from hypothesis import strategies as st

from agent.core.routing.config import Match, Route, Service
from agent.core.routing.match import Matcher
from agent.core.routing.table import RouteTable, Splitter
from tests.unit.routing.support import head_of

PATHS = st.sampled_from(["/", "/a", "/a/", "/a/b", "/ab", "/A", "/a/b/c", "/%61", "/a//b"])
HOSTS = st.sampled_from(["a.test", "b.a.test", "c.b.a.test", "test", "xa.test", "[::1]"])
VALUES = st.sampled_from(["1", "2", "", "12"])
MATCHES = st.builds(
    lambda kind, value, hosts, methods, headers: Match(**{kind: value}, hosts=hosts, methods=methods, headers=headers),
    st.sampled_from(["path", "prefix"]),
    st.sampled_from(["", "/", "/a", "/a/", "/a/b"]),
    st.sampled_from([(), ("a.test",), ("*.a.test",), ("*",), ("A.test", "test")]),
    st.sampled_from([(), ("GET",), ("POST", "PUT")]),
    st.dictionaries(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["1", "*", "~[12]+", "~"]), max_size=2),
)


def naive(match: Match, method: str, path: str, host: str, headers: dict[str, str]) -> bool:
    def host_fits(pattern: str) -> bool:
        pattern = pattern.lower()
        return pattern == "*" or (host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern)

    def value_fits(value: str | None, wanted: str) -> bool:
        if value is None:
            return False
        return wanted == "*" or (bool(re.fullmatch(wanted[1:], value)) if wanted.startswith("~") else value == wanted)

    prefix = match.prefix
    under = path == prefix or path.startswith(prefix if prefix.endswith("/") else prefix + "/")
    return (
        (not match.path or path == match.path)
        and (not prefix or under)
        and (not match.regex or bool(re.fullmatch(match.regex, path)))
        and (not match.methods or method in match.methods)
        and (not match.hosts or any(host_fits(pattern) for pattern in match.hosts))
        and all(value_fits(headers.get(name.lower()), wanted) for name, wanted in match.headers.items())
    )


REQUESTS = st.tuples(st.sampled_from(["GET", "POST"]), PATHS, HOSTS, st.dictionaries(st.sampled_from(["x-a", "x-b"]), VALUES))


@given(MATCHES, REQUESTS)
def test_a_match_is_all_its_conditions(match: Match, request: tuple[str, str, str, dict[str, str]]) -> None:
    method, path, host, headers = request
    lines = "".join(f"\n{name}: {value}" for name, value in headers.items())
    head = head_of(f"{method} {path}?q=/a HTTP/1.1\nHost: {host}{lines}")
    failure = Matcher(match).failure(head, head.path)
    assert (failure == "") == naive(match, method, path, host, headers), failure


@given(st.lists(MATCHES, max_size=4), REQUESTS)
def test_the_first_route_that_matches_wins(matches: list[Match], request: tuple[str, str, str, dict[str, str]]) -> None:
    method, path, host, headers = request
    routes = tuple(Route(name=str(number), match=match) for number, match in enumerate(matches))
    table = RouteTable({"web": Service(hosts=("*",), endpoints=("127.0.0.1:1",), routes=routes)})
    lines = "".join(f"\n{name}: {value}" for name, value in headers.items())
    head = head_of(f"{method} {path} HTTP/1.1\nHost: {host}{lines}")
    expected = next((str(index) for index, match in enumerate(matches) if naive(match, method, path, host, headers)), "web")
    target = table.match(head)
    assert target is not None and target.route == expected
    last = table.explain(head)[-1]
    assert (last["route"], last["matched"]) == (expected, True)


@given(st.lists(st.sampled_from(["*", "a.test", "*.a.test", "*.b.a.test", "*.test", "xa.test", "[::1]"]), unique=True), HOSTS)
def test_the_most_exact_host_wins(patterns: list[str], host: str) -> None:
    table = RouteTable({pattern: Service(hosts=(pattern,), endpoints=("127.0.0.1:1",)) for pattern in patterns})
    fits = [
        pattern for pattern in patterns if pattern == "*" or (host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern)
    ]
    best = max(fits, key=lambda pattern: (not pattern.startswith("*"), len(pattern)), default="")
    for authority in (host, host + ":8080"):
        found = table.service_of(authority)
        assert (found.name if found else "") == best


@given(st.lists(st.integers(0, 9), min_size=1, max_size=5).filter(any), st.integers(0, 2**32 - 1))
def test_a_split_is_by_cumulative_weight(weights: list[int], number: int) -> None:
    names = [str(index) for index in range(len(weights))]
    at = number / 2**32 * sum(weights)
    expected = next(name for index, name in enumerate(names) if at < sum(weights[: index + 1]))
    got = Splitter(names, weights).pick(number)
    assert weights[int(got)] > 0
    edge = any(abs(at - sum(weights[:index])) < 1e-6 for index in range(len(weights)))
    assert got == expected or edge


def test_a_service_without_endpoints_answers_only_what_its_routes_match() -> None:
    routes = (Route(match=Match(prefix="/a"), split=()),)
    table = RouteTable({"web": Service(hosts=("*",), routes=routes)})
    assert table.match(head_of("GET /a HTTP/1.1\nHost: x")) is not None
    assert table.match(head_of("GET /b HTTP/1.1\nHost: x")) is None
    assert table.explain(head_of("GET /b HTTP/1.1\nHost: x"))[-1]["matched"] is False
