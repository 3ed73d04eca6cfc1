"""RFC 9111, RFC 9110 and their companions, rule by rule, on the wire: a real agent, an upstream that counts.

Nothing here waits for time to pass: responses come aged (Age, Date), so that they are stale when they arrive.
"""

from collections.abc import Iterator

import pytest

from tests.conformance.cache_suite.runner import missing, run_suite, tally
from tests.harness.cache_rig import Rig, answer, date
from tests.harness.upstream import Close, Received

HIT = "hit"
VALIDATED = "validated"
MISS = "miss"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    policies: dict[str, dict[str, object]] = {
        "web": {},
        "strip": {"set_cookie": "strip"},
        "pass": {"set_cookie": "pass"},
        "plain": {"heuristic": False},
        "stale": {"stale_if_error": "1h"},
        "unreachable": {"stale_if_unreachable": "2m"},
        "strict": {"stale_if_unreachable": "0s"},
        "language": {"vary_language": "select"},
    }
    with Rig(policies) as rig:
        yield rig


def outcome(rig: Rig, target: str, before: int = 1) -> str:
    """How a request was answered that the upstream had seen `before` others before."""
    seen = rig.seen[target]
    if len(seen) == before:
        return HIT
    assert len(seen) == before + 1
    last: Received = seen[-1]
    return VALIDATED if last.header("if-none-match") or last.header("if-modified-since") else MISS


def ask_twice(
    rig: Rig, lines: list[str], status: int = 200, first: list[str] | None = None, then: list[str] | None = None, host: str = "web"
) -> str:
    target = rig.script(answer(*lines, status=status))
    host += ".test"
    assert rig.get(target, *(first or []), host=host).status == status
    rig.get(target, *(then or []), host=host)
    return outcome(rig, target)


FRESHNESS = [
    ("max-age", ["Cache-Control: max-age=60"], HIT),
    ("max-age 0", ["Cache-Control: max-age=0"], MISS),
    ("max-age 0 with a validator", ["Cache-Control: max-age=0", 'ETag: "a"'], VALIDATED),
    ("max-age too large for any counter", ["Cache-Control: max-age=99999999999999999999"], HIT),
    ("max-age in quotes", ['Cache-Control: max-age="60"'], HIT),
    ("max-age in another case", ["CACHE-CONTROL: MaX-aGe=60"], HIT),
    ("max-age that is no number", ["Cache-Control: max-age=abc"], MISS),
    ("max-age that is negative", ["Cache-Control: max-age=-60"], MISS),
    ("max-age that is a fraction", ["Cache-Control: max-age=60.5"], MISS),
    ("a directive nobody knows", ["Cache-Control: foo, bar=baz, max-age=60"], HIT),
    ("max-age inside another's quotes", ['Cache-Control: foo="bar, max-age=60"'], MISS),
    ("max-age behind another's quotes", ['Cache-Control: foo="b,ar", max-age=60'], HIT),
    ("two lines of Cache-Control", ["Cache-Control: public", "Cache-Control: max-age=60"], HIT),
    ("s-maxage before max-age", ["Cache-Control: max-age=0, s-maxage=60"], HIT),
    ("s-maxage 0 before max-age", ["Cache-Control: max-age=60, s-maxage=0"], MISS),
    ("Expires", ["Expires: {+60}", "Date: {0}"], HIT),
    ("Expires that is past", ["Expires: {-60}", "Date: {0}", 'ETag: "a"'], VALIDATED),
    ("Expires of 0", ["Expires: 0", "Last-Modified: {-99999}"], VALIDATED),
    ("Expires that is no date", ["Expires: soon", "Last-Modified: {-99999}"], VALIDATED),
    ("two lines of Expires", ["Expires: {+60}", "Expires: {+60}", "Last-Modified: {-99999}"], VALIDATED),
    ("max-age before Expires", ["Cache-Control: max-age=60", "Expires: {-60}"], HIT),
    ("max-age 0 before Expires", ["Cache-Control: max-age=0", "Expires: {+60}"], MISS),
    ("nothing said", [], MISS),
    ("heuristic freshness", ["Last-Modified: {-99999}"], HIT),
    ("Last-Modified in the future", ["Last-Modified: {+999}"], VALIDATED),
    ("Age beyond the lifetime", ["Cache-Control: max-age=60", "Age: 61", 'ETag: "a"'], VALIDATED),
    ("Age within the lifetime", ["Cache-Control: max-age=60", "Age: 30"], HIT),
    ("Age that is no number", ["Cache-Control: max-age=60", "Age: old", 'ETag: "a"'], VALIDATED),
    ("Age twice", ["Cache-Control: max-age=60", "Age: 0", "Age: 0", 'ETag: "a"'], VALIDATED),
    ("Age with a list, the first counts", ["Cache-Control: max-age=60", "Age: 0, 90", 'ETag: "a"'], HIT),
    ("Age with a list, the first is too old", ["Cache-Control: max-age=60", "Age: 90, 0", 'ETag: "a"'], VALIDATED),
    ("Age with a list that says nothing twice", ["Cache-Control: max-age=60", "Age: 0, 0", 'ETag: "a"'], VALIDATED),
    ("Date so old that the lifetime is over", ["Cache-Control: max-age=60", "Date: {-90}", 'ETag: "a"'], VALIDATED),
    ("CDN-Cache-Control before Cache-Control", ["Cache-Control: no-store", "CDN-Cache-Control: max-age=60"], HIT),
    ("CDN-Cache-Control no-store", ["Cache-Control: max-age=60", "CDN-Cache-Control: no-store"], MISS),
    ("CDN-Cache-Control that does not parse", ["Cache-Control: max-age=60", "CDN-Cache-Control: &&"], HIT),
    ("Surrogate-Control is another field", ["Cache-Control: max-age=60", "Surrogate-Control: no-store"], HIT),
    ("immutable is no lifetime", ["Cache-Control: immutable"], MISS),
    ("Pragma of a response says nothing", ["Cache-Control: max-age=60", "Pragma: no-cache"], HIT),
]

STORAGE = [
    ("no-store", ["Cache-Control: no-store, max-age=60"], MISS),
    ("private", ["Cache-Control: private, max-age=60"], MISS),
    ("private and public", ["Cache-Control: public, private, max-age=60"], MISS),
    ("no-cache", ["Cache-Control: no-cache, max-age=60", 'ETag: "a"'], VALIDATED),
    ("no-cache with Last-Modified", ["Cache-Control: no-cache", "Last-Modified: {-60}"], VALIDATED),
    ("no-cache of a field", ['Cache-Control: max-age=60, no-cache="x-secret"', "X-Secret: 1"], HIT),
    ("private of a field", ['Cache-Control: max-age=60, private="x-secret"', "X-Secret: 1"], HIT),
    ("must-understand with a status that is understood", ["Cache-Control: must-understand, no-store, max-age=60"], HIT),
    ("Vary of everything", ["Cache-Control: max-age=60", "Vary: *"], MISS),
    ("Vary of everything among others", ["Cache-Control: max-age=60", "Vary: Accept, *"], MISS),
    ("Set-Cookie is refused by default", ["Cache-Control: max-age=60", "Set-Cookie: a=b"], MISS),
]


def dated(lines: list[str]) -> list[str]:
    """{+60} in a line stands for the HTTP date in 60 s."""
    done = []
    for line in lines:
        head, brace, rest = line.partition("{")
        done.append(head + date(float(rest.rstrip("}"))) if brace else line)
    return done


@pytest.mark.parametrize(("lines", "expected"), [pytest.param(*case[1:], id=case[0]) for case in FRESHNESS + STORAGE])
def test_a_second_get(rig: Rig, lines: list[str], expected: str) -> None:
    assert ask_twice(rig, dated(lines)) == expected


STATUSES = [
    (200, "", HIT),
    (203, "", HIT),
    (299, "", MISS),
    (301, "", HIT),
    (302, "", MISS),
    (302, "max-age=60", HIT),
    (302, "public", HIT),
    (307, "max-age=60", HIT),
    (308, "", HIT),
    (400, "", MISS),
    (404, "", HIT),
    (405, "", HIT),
    (410, "", HIT),
    (414, "", HIT),
    (500, "", MISS),
    (500, "max-age=60", HIT),
    (501, "", HIT),
    (503, "", MISS),
    (599, "max-age=60", HIT),
    (599, "max-age=60, must-understand", MISS),
]


@pytest.mark.parametrize(("status", "control", "expected"), STATUSES)
def test_which_status_codes_have_heuristic_freshness(rig: Rig, status: int, control: str, expected: str) -> None:
    """RFC 9110 section 15.1; all the others need explicit freshness."""
    lines = ["Last-Modified: {-99999}"] + ([f"Cache-Control: {control}"] if control else [])
    found = ask_twice(rig, dated(lines), status)
    assert found in ({MISS, VALIDATED} if expected == MISS else {HIT})


WISHES = [
    ("nothing", [], HIT),
    ("no-cache", ["Cache-Control: no-cache"], VALIDATED),
    ("Pragma alone", ["Pragma: no-cache"], VALIDATED),
    ("Pragma beside Cache-Control", ["Pragma: no-cache", "Cache-Control: max-age=600"], HIT),
    ("max-age that is kept", ["Cache-Control: max-age=600"], HIT),
    ("max-age that is exceeded", ["Cache-Control: max-age=5"], VALIDATED),
    ("max-age 0", ["Cache-Control: max-age=0"], VALIDATED),
    ("min-fresh that is kept", ["Cache-Control: min-fresh=30"], HIT),
    ("min-fresh that is not", ["Cache-Control: min-fresh=80"], VALIDATED),
    ("no-store is answered from the store", ["Cache-Control: no-store"], HIT),
    ("only-if-cached", ["Cache-Control: only-if-cached"], HIT),
]


@pytest.mark.parametrize(("wish", "expected"), [pytest.param(*case[1:], id=case[0]) for case in WISHES])
def test_what_a_request_wishes_of_a_fresh_response(rig: Rig, wish: list[str], expected: str) -> None:
    """The stored response is 20 s old and fresh for 80 s less a moment more."""
    assert ask_twice(rig, ["Cache-Control: max-age=99", "Age: 20", 'ETag: "a"'], then=wish) == expected


STALE_WISHES = [
    ("nothing", "", [], VALIDATED),
    ("max-stale without a number", "", ["Cache-Control: max-stale"], HIT),
    ("max-stale that suffices", "", ["Cache-Control: max-stale=600"], HIT),
    ("max-stale that does not", "", ["Cache-Control: max-stale=5"], VALIDATED),
    ("max-stale against must-revalidate", ", must-revalidate", ["Cache-Control: max-stale=600"], VALIDATED),
    ("max-stale against proxy-revalidate", ", proxy-revalidate", ["Cache-Control: max-stale=600"], VALIDATED),
    ("max-stale against s-maxage", ", s-maxage=50", ["Cache-Control: max-stale=600"], VALIDATED),
    ("max-stale against no-cache", ", no-cache", ["Cache-Control: max-stale=600"], VALIDATED),
]


@pytest.mark.parametrize(("control", "wish", "expected"), [pytest.param(*case[1:], id=case[0]) for case in STALE_WISHES])
def test_what_a_request_takes_of_a_stale_response(rig: Rig, control: str, wish: list[str], expected: str) -> None:
    lines = [f"Cache-Control: max-age=50{control}", "Age: 90", 'ETag: "a"']
    assert ask_twice(rig, lines, then=wish) == expected


AUTHORIZATION = [
    ("max-age=60", MISS),
    ("max-age=60, public", HIT),
    ("max-age=60, must-revalidate", HIT),
    ("s-maxage=60", HIT),
]


@pytest.mark.parametrize(("control", "expected"), AUTHORIZATION)
def test_responses_to_requests_with_authorization(rig: Rig, control: str, expected: str) -> None:
    """RFC 9111 section 3.5."""
    key = ["Authorization: Basic eDp5"]
    assert ask_twice(rig, [f"Cache-Control: {control}"], first=key, then=key) == expected


def test_a_request_that_forbids_storing_is_not_stored(rig: Rig) -> None:
    assert ask_twice(rig, ["Cache-Control: max-age=60"], first=["Cache-Control: no-store"]) == MISS


VARIANTS = [
    ("the same", "Accept-Language", "en", "en", HIT),
    ("another", "Accept-Language", "en", "de", MISS),
    ("absent both times", "Foo", None, None, HIT),
    ("absent and given", "Foo", None, "1", MISS),
    ("given and absent", "Foo", "1", None, MISS),
    ("other white space", "Foo", "1, 2", "1 ,  2", HIT),
    ("other order of what has one", "Foo", "1, 2", "2, 1", MISS),
    ("other order of languages", "Accept-Language", "en, de", "de, en", HIT),
    ("other case of codings", "Accept-Encoding", "GZIP, br", "br,gzip", HIT),
    ("other weights", "Accept-Language", "en;q=1, de;q=0.5", "en;q=0.5, de;q=1", MISS),
]


@pytest.mark.parametrize(("name", "one", "two", "expected"), [pytest.param(*case[1:], id=case[0]) for case in VARIANTS])
def test_variants(rig: Rig, name: str, one: str | None, two: str | None, expected: str) -> None:
    lines = ["Cache-Control: max-age=60", f"Vary: {name}"]
    first = [f"{name}: {one}"] if one is not None else []
    then = [f"{name}: {two}"] if two is not None else []
    assert ask_twice(rig, lines, first=first, then=then) == expected


def test_variants_stand_side_by_side(rig: Rig) -> None:
    target = rig.script(lambda request: answer("Cache-Control: max-age=60", "Vary: Foo", body=f"for {request.header('foo')}"))
    for value in ("1", "2", "1", "2"):
        assert rig.get(target, f"Foo: {value}").body == f"for {value}".encode()
    assert rig.count(target) == 2


def test_head_is_answered_from_a_stored_get_and_a_post_never(rig: Rig) -> None:
    target = rig.script(answer("Cache-Control: max-age=60"))
    rig.get(target)
    head = rig.get(target, method="HEAD")
    assert (head.status, head.header("content-length"), rig.count(target)) == (200, "5", 1)
    rig.post(target)
    assert rig.count(target) == 2


def test_a_hit_says_its_age_and_how_it_came_about(rig: Rig) -> None:
    target = rig.script(answer("Cache-Control: max-age=60", "Age: 20", "Connection: x-hop", "X-Hop: 1", "X-End: 2"))
    first = rig.get(target)
    assert first.header("cache-status") == "pilotfish; fwd=uri-miss; fwd-status=200; stored"
    second = rig.get(target)
    age = int(second.header("age") or "")
    assert 20 <= age < 40
    assert (second.header("cache-status") or "").startswith("pilotfish; hit; ttl=")
    assert (second.header("x-hop"), second.header("x-end"), second.header("content-length")) == (None, "2", "5")
    assert second.header("via") == "1.1 pilotfish"
    assert second.header("date") is not None, "RFC 9110 section 6.6.1: a recipient adds the Date that is missing"


@pytest.mark.parametrize(
    "control",
    [
        "must-revalidate",
        "must-revalidate, stale-if-error=600",
        "proxy-revalidate",
        "proxy-revalidate, stale-if-error=600",
        "no-cache",
        "no-cache, stale-if-error=600",
        "s-maxage=1",
    ],
)
def test_nothing_stale_where_it_is_forbidden(rig: Rig, control: str) -> None:
    """RFC 9111 sections 5.2.2.2, 5.2.2.4, 5.2.2.8 and 5.2.2.10: an error rather than a stale response."""
    stale = answer(f"Cache-Control: max-age=1, {control}", "Age: 90", 'ETag: "a"')
    target = rig.script(stale, answer(status=503), answer(status=500), Close)
    rig.get(target, host="stale.test")
    for status in (503, 500, 502):
        assert rig.get(target, host="stale.test").status == status


@pytest.mark.parametrize("control", ["", ", s-maxage=1, stale-if-error=600"])
def test_something_stale_where_it_is_allowed(rig: Rig, control: str) -> None:
    """RFC 5861 section 4: by configuration, or by the response itself."""
    stale = answer(f"Cache-Control: max-age=1{control}", "Age: 90", 'ETag: "a"')
    target = rig.script(stale, answer(status=503), Close, answer(status=500))
    rig.get(target, host="stale.test")
    for _ in range(3):
        reply = rig.get(target, host="stale.test")
        assert (reply.status, reply.body) == (200, b"hello")
        assert "hit; ttl=-" in (reply.header("cache-status") or "")
    assert rig.count(target) == 4


@pytest.mark.parametrize(
    ("host", "age", "wish", "expected"),
    [
        ("unreachable", 90, [], 200),
        ("web", 50, [], 200),  # a minute by default
        ("web", 90, [], 502),
        ("unreachable", 150, [], 502),
        ("strict", 2, [], 502),
        ("unreachable", 90, ["Cache-Control: no-cache"], 502),
    ],
)
def test_something_stale_while_no_answer_can_be_had(rig: Rig, host: str, age: int, wish: list[str], expected: int) -> None:
    """RFC 9111 section 4.2.4: a cache that is disconnected. What the upstream itself answers is passed on."""
    target = rig.script(answer("Cache-Control: max-age=1", f"Age: {age}", 'ETag: "a"'), answer(status=503), Close)
    rig.get(target, host=f"{host}.test")
    assert rig.get(target, host=f"{host}.test").status == 503
    reply = rig.get(target, *wish, host=f"{host}.test")
    assert reply.status == expected
    if expected == 200:
        assert "hit; ttl=-" in (reply.header("cache-status") or "")


@pytest.mark.parametrize(
    ("host", "second", "expected"),
    [
        ("language", "fr;q=0.5, de;q=1.0", HIT),
        ("language", "DE", HIT),
        ("language", "fr, de;q=0.9", MISS),
        ("language", "fr, de", MISS),
        ("language", "*", MISS),
        ("language", "de;q=x", MISS),
        ("web", "fr;q=0.5, de;q=1.0", MISS),
    ],
)
def test_a_response_in_the_preferred_language(rig: Rig, host: str, second: str, expected: str) -> None:
    target = rig.script(answer("Cache-Control: max-age=60", "Vary: Accept-Language, X-Kind", "Content-Language: de"))
    rig.get(target, "Accept-Language: en, de", "X-Kind: 1", host=f"{host}.test")
    rig.get(target, f"Accept-Language: {second}", "X-Kind: 1", host=f"{host}.test")
    assert outcome(rig, target) == expected
    rig.get(target, f"Accept-Language: {second}", "X-Kind: 2", host=f"{host}.test")
    assert outcome(rig, target, before=1 if expected == HIT else 2) == MISS, "all else must be alike"


@pytest.mark.parametrize(
    ("host", "control", "first_cookie", "second_cookie", "expected"),
    [
        ("web", "max-age=60", "a=b", "a=b", MISS),
        ("strip", "max-age=60", "a=b", None, HIT),
        ("pass", "max-age=60", "a=b", "a=b", HIT),
        ("pass", 'max-age=60, no-cache="set-cookie"', "a=b", None, HIT),
        ("pass", 'max-age=60, private="set-cookie"', "a=b", None, HIT),
    ],
)
def test_cookies(rig: Rig, host: str, control: str, first_cookie: str | None, second_cookie: str | None, expected: str) -> None:
    """Whoever brought the response has its cookie; who comes later only where the policy lets it."""
    target = rig.script(answer(f"Cache-Control: {control}", "Set-Cookie: a=b"))
    assert rig.get(target, host=f"{host}.test").header("set-cookie") == first_cookie
    assert rig.get(target, host=f"{host}.test").header("set-cookie") == second_cookie
    assert outcome(rig, target) == expected


def test_heuristics_can_be_switched_off(rig: Rig) -> None:
    assert ask_twice(rig, dated(["Last-Modified: {-99999}"]), host="plain") == VALIDATED


# -- validation


def validating(etag: str = '"a"', *after: str) -> tuple[bytes, bytes]:
    return (
        answer("Cache-Control: max-age=1", "Age: 90", f"ETag: {etag}", "X-Old: 1", "Content-Type: text/plain", "Content-Encoding: x"),
        answer("Cache-Control: max-age=60", f"ETag: {etag}", *after, body=b"", status=304).replace(b"Content-Length: 0\r\n", b""),
    )


def test_a_304_renews_the_stored_response(rig: Rig) -> None:
    """RFC 9111 sections 3.2 and 4.3.4."""
    target = rig.script(*validating('"a"', "X-New: 2", "Content-Type: text/html", "Content-Encoding: y"))
    rig.get(target)
    second = rig.get(target)
    assert (second.status, second.body) == (200, b"hello")
    assert rig.seen[target][1].header("if-none-match") == '"a"'
    assert (second.header("x-old"), second.header("x-new"), second.header("content-type")) == ("1", "2", "text/html")
    assert second.header("content-encoding") == "x", "it belongs to the stored octets"
    third = rig.get(target)
    assert (third.body, third.header("x-new"), rig.count(target)) == (b"hello", "2", 2)
    assert int(third.header("age") or "") < 60


def test_a_304_with_another_tag_is_about_the_one_that_was_asked_about(rig: Rig) -> None:
    """docs/caching.md, deviations: only one tag was sent, and it matches, says the origin. The stored one stays."""
    stale, _ = validating()
    _, other = validating('"b"', "X-New: 2")
    target = rig.script(stale, other)
    rig.get(target)
    for _ in range(2):
        reply = rig.get(target)
        assert (reply.status, reply.body, reply.header("etag"), reply.header("x-new")) == (200, b"hello", '"a"', "2")
    assert rig.count(target) == 2


def test_a_304_that_forbids_storing_makes_the_whole_be_fetched(rig: Rig) -> None:
    stale, _ = validating()
    forbids = answer("Cache-Control: no-store", 'ETag: "a"', body=b"", status=304).replace(b"Content-Length: 0\r\n", b"")
    target = rig.script(stale, forbids, answer("Cache-Control: no-store", body="new"))
    rig.get(target)
    assert rig.get(target).body == b"new"
    assert rig.seen[target][2].header("if-none-match") is None
    assert rig.get(target).body == b"new" and rig.count(target) == 4


def test_a_full_response_to_a_validation_takes_the_place_of_the_stored_one(rig: Rig) -> None:
    stale, _ = validating()
    target = rig.script(stale, answer("Cache-Control: max-age=60", 'ETag: "b"', body="new"))
    rig.get(target)
    assert rig.get(target).body == b"new"
    assert rig.get(target).body == b"new" and rig.count(target) == 2


CONDITIONS = [
    (['If-None-Match: "a"'], 304),
    (['If-None-Match: W/"a"'], 304),
    (['If-None-Match: "x", "a"'], 304),
    (["If-None-Match: *"], 304),
    (['If-None-Match: "x"'], 200),
    (["If-Modified-Since: {-3600}"], 304),
    (["If-Modified-Since: {0}"], 304),
    (["If-Modified-Since: {-7200}"], 200),
    (["If-Modified-Since: yesterday"], 200),
    (['If-None-Match: "x"', "If-Modified-Since: {0}"], 200),
    (['If-Match: "a"'], 200),
    (['If-Match: "x"'], 412),
    (["If-Unmodified-Since: {-7200}"], 412),
    (["If-Unmodified-Since: {0}"], 200),
]


@pytest.mark.parametrize(("lines", "status"), CONDITIONS)
def test_conditional_requests_are_answered_from_the_store(rig: Rig, lines: list[str], status: int) -> None:
    """RFC 9110 section 13.2.2."""
    modified = f"Last-Modified: {date(-3600)}"
    target = rig.script(answer("Cache-Control: max-age=60", 'ETag: "a"', modified, "X-More: 1"))
    rig.get(target)
    lines = [f"If-Modified-Since{modified[13:]}" if "{-3600}" in line else line for line in lines]
    reply = rig.get(target, *dated(lines))
    assert (reply.status, rig.count(target)) == (status, 1)
    if status == 304:
        assert (reply.body, reply.header("etag"), reply.header("content-length")) == (b"", '"a"', None)
        assert reply.header("cache-control") == "max-age=60" and reply.header("x-more") is None


RANGES = [
    ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
    ("bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("bytes=-2", 206, b"89", "bytes 8-9/10"),
    ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=5-999", 206, b"56789", "bytes 5-9/10"),
    ("bytes=10-", 416, b"", "bytes */10"),
    ("bytes=-0", 416, b"", "bytes */10"),
    ("bytes=5-2", 200, b"0123456789", None),
    ("bytes=0-1,4-5", 200, b"0123456789", None),
    ("lines=0-3", 200, b"0123456789", None),
    ("bytes=x-3", 200, b"0123456789", None),
]


@pytest.mark.parametrize(("wanted", "status", "body", "content_range"), RANGES)
def test_ranges_of_a_stored_response(rig: Rig, wanted: str, status: int, body: bytes, content_range: str | None) -> None:
    """RFC 9110 section 14. One range is cut out; several are answered with the whole, which is allowed."""
    target = rig.script(answer("Cache-Control: max-age=60", 'ETag: "a"', body=b"0123456789"))
    rig.get(target)
    reply = rig.get(target, f"Range: {wanted}")
    assert (reply.status, reply.body, reply.header("content-range"), rig.count(target)) == (status, body, content_range, 1)


@pytest.mark.parametrize(("guard", "status"), [('"a"', 206), ('"b"', 200), ('W/"a"', 200), ("{lm}", 206), ("{-99}", 200)])
def test_if_range(rig: Rig, guard: str, status: int) -> None:
    modified = date(-3600)
    target = rig.script(answer("Cache-Control: max-age=60", 'ETag: "a"', f"Last-Modified: {modified}", body=b"0123456789"))
    rig.get(target)
    line = f"If-Range: {modified}" if guard == "{lm}" else dated([f"If-Range: {guard}"])[0]
    assert rig.get(target, "Range: bytes=0-3", line).status == status
    assert rig.count(target) == 1


def test_a_partial_response_is_never_stored_as_the_whole(rig: Rig) -> None:
    part = answer("Cache-Control: max-age=60", "Content-Range: bytes 0-3/10", body=b"0123", status=206)
    whole = answer("Cache-Control: max-age=60", body=b"0123456789")
    target = rig.script(lambda request: part if request.header("range") else whole)
    assert rig.get(target, "Range: bytes=0-3").body == b"0123"
    assert rig.get(target).body == b"0123456789"
    assert rig.get(target, "Range: bytes=0-3").body == b"0123"
    assert rig.count(target) == 2


# -- HEAD and unsafe methods


def test_head_renews_what_it_confirms_and_makes_stale_what_it_does_not(rig: Rig) -> None:
    """RFC 9111 section 4.3.5."""
    stored = answer("Cache-Control: max-age=60", 'ETag: "a"', "Age: 10")
    same = answer("Cache-Control: max-age=600", 'ETag: "a"', "X-New: 1")
    other = answer("Cache-Control: max-age=60", 'ETag: "b"')

    def renewed(request: Received) -> bytes:
        return (same[: same.index(b"\r\n\r\n") + 4]) if request.method == "HEAD" else stored

    target = rig.script(renewed)
    rig.get(target)
    assert rig.get(target, "Cache-Control: no-cache", method="HEAD").status == 200
    hit = rig.get(target)
    assert (hit.header("x-new"), hit.header("cache-control"), hit.body, rig.count(target)) == ("1", "max-age=600", b"hello", 2)

    target = rig.script(lambda request: other[: other.index(b"\r\n\r\n") + 4] if request.method == "HEAD" else stored)
    rig.get(target)
    rig.get(target, "Cache-Control: no-cache", method="HEAD")
    rig.get(target)
    assert rig.count(target) == 3


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
@pytest.mark.parametrize(("status", "expected"), [(200, MISS), (204, MISS), (303, MISS), (404, HIT), (500, HIT)])
def test_unsafe_methods_that_succeed_invalidate(rig: Rig, method: str, status: int, expected: str) -> None:
    """RFC 9111 section 4.4; methods that nobody knows count as unsafe."""
    stored = answer("Cache-Control: max-age=60")
    changed = answer(status=status, body=b"")
    target = rig.script(lambda request: stored if request.method == "GET" else changed)
    rig.get(target)
    assert rig.post(target, method=method).status == status
    rig.get(target)
    assert outcome(rig, target, before=2) == expected


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
def test_unsafe_methods_invalidate_what_they_point_to_on_the_same_origin(rig: Rig, name: str) -> None:
    near = rig.script(answer("Cache-Control: max-age=60"))
    absolute = rig.script(answer("Cache-Control: max-age=60"))
    far = rig.script(answer("Cache-Control: max-age=60"))
    for target in (near, absolute):
        rig.get(target)
    rig.get(far, host="plain.test")
    for value in (near, f"http://web.test{absolute}", f"http://plain.test{far}"):
        assert rig.post(rig.script(answer(f"{name}: {value}", status=201))).status == 201
    for target in (near, absolute):
        rig.get(target)
        assert rig.count(target) == 2
    rig.get(far, host="plain.test")
    assert rig.count(far) == 1


def test_only_if_cached_without_anything_stored(rig: Rig) -> None:
    target = rig.script(answer("Cache-Control: max-age=60"))
    assert rig.get(target, "Cache-Control: only-if-cached").status == 504
    assert rig.count(target) == 0


# -- the public suite

UNPASSABLE = "wants a 200 with the upstream's second number from an upstream that hung up; the agent answers 502, as it must"
NOT_PASSED = {
    "stale-close-must-revalidate": UNPASSABLE,
    "stale-close-proxy-revalidate": UNPASSABLE,
    "stale-close-no-cache": UNPASSABLE,
    "stale-close-s-maxage=2": UNPASSABLE,
    "headers-store-Transfer-Encoding": "an unknown transfer coding that was not asked for: 502, strict framing",
    "conditional-lm-fresh-no-lm": "RFC 9111 section 4.3.2: without Last-Modified, Date is compared, and is later",
    "partial-store-partial-complete": "a part without a validator can be joined to nothing (RFC 9110 section 15.3.7.3)",
}
"""Required and optimal tests of the public suite that are known not to pass; docs/caching.md says more."""


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=missing())
def test_the_public_suite_passes_but_for_what_is_documented() -> None:
    report = run_suite()
    failed = {row["id"]: (row["verdict"], row["detail"]) for row in report if row["verdict"] != "pass" and row["kind"] != "check"}
    assert (tally(report, "required")[1], tally(report, "optimal")[1]) == (157, 86), "the whole suite ran"
    assert {name: why for name, why in failed.items() if name not in NOT_PASSED} == {}
    assert [name for name in NOT_PASSED if name not in failed] == [], "passes by now: take it off the list, here and in docs/caching.md"
