"""206 responses: stored, cut, joined, completed (RFC 9111 sections 3.3 and 3.4, RFC 9110 section 15.3.7.3)."""

from collections.abc import Iterator

import pytest

from tests.harness.cache_rig import Rig, answer
from tests.harness.client import Reply
from tests.harness.upstream import Answer, Close, Received, response

WHOLE = b"0123456789"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig({"web": {}, "pass": {"set_cookie": "pass"}}, store={"object_bytes_max": "64KiB"}) as rig:
        yield rig


def part(first: int, last: int, *lines: str, whole: bytes = WHOLE) -> bytes:
    more = lines or ("Cache-Control: max-age=60", 'ETag: "a"')
    return answer(f"Content-Range: bytes {first}-{last}/{len(whole)}", *more, body=whole[first : last + 1], status=206)


class Origin:
    """Honours one range and If-Range; `etag` may change."""

    def __init__(self, whole: bytes = WHOLE, etag: str = '"a"', *lines: str) -> None:
        self.whole = whole
        self.etag = etag
        self.lines = lines or ("Cache-Control: max-age=60",)

    def __call__(self, request: Received) -> Answer:
        wanted = request.header("range")
        lines = [*self.lines, f"ETag: {self.etag}"]
        if wanted is None or request.header("if-range") not in (None, self.etag):
            return answer(*lines, body=self.whole)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        size = len(self.whole)
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last), size - 1) if first and last else size - 1
        return part(start, end, *lines, whole=self.whole)


def script(rig: Rig, origin: Origin) -> str:
    return rig.script(lambda request: origin(request))


def ask(rig: Rig, target: str, wanted: str, *lines: str) -> tuple[int, bytes, str | None]:
    reply: Reply = rig.get(target, f"Range: bytes={wanted}", *lines)
    assert reply.header("content-length") == str(len(reply.body))
    return reply.status, reply.body, reply.header("content-range")


def test_a_part_answers_ranges_within_it(rig: Rig) -> None:
    target = script(rig, Origin())
    assert ask(rig, target, "2-8") == (206, b"2345678", "bytes 2-8/10")
    assert ask(rig, target, "2-8") == (206, b"2345678", "bytes 2-8/10")
    assert ask(rig, target, "3-4") == (206, b"34", "bytes 3-4/10")
    assert rig.count(target) == 1
    reply = rig.get(target, "Range: bytes=2-2")
    assert (reply.header("etag"), (reply.header("cache-status") or "")[:15]) == ('"a"', "pilotfish; hit;")
    assert rig.count(target) == 1


@pytest.mark.parametrize("beyond", ["1-3", "8-9", "8-", "-3", "0-", "9-9"])
def test_a_part_answers_nothing_beyond_it(rig: Rig, beyond: str) -> None:
    target = script(rig, Origin())
    ask(rig, target, "2-8")
    ask(rig, target, beyond)
    assert rig.count(target) == 2


def test_a_part_up_to_the_end_answers_what_asks_for_the_end(rig: Rig) -> None:
    target = script(rig, Origin())
    assert ask(rig, target, "-5") == (206, b"56789", "bytes 5-9/10")
    assert ask(rig, target, "-2") == (206, b"89", "bytes 8-9/10")
    assert ask(rig, target, "7-") == (206, b"789", "bytes 7-9/10")
    assert ask(rig, target, "7-99") == (206, b"789", "bytes 7-9/10")
    assert rig.count(target) == 1


def test_parts_that_meet_are_joined_and_become_the_whole(rig: Rig) -> None:
    target = script(rig, Origin())
    ask(rig, target, "0-3")
    ask(rig, target, "3-6")
    assert ask(rig, target, "1-5") == (206, b"12345", "bytes 1-5/10")
    assert rig.count(target) == 2
    ask(rig, target, "7-")
    reply = rig.get(target)
    assert (reply.status, reply.body, reply.header("content-range")) == (200, WHOLE, None)
    assert ask(rig, target, "-4") == (206, b"6789", "bytes 6-9/10")
    assert rig.count(target) == 3


def test_parts_with_a_gap_between_them_are_not_joined(rig: Rig) -> None:
    target = script(rig, Origin())
    ask(rig, target, "0-2")
    ask(rig, target, "6-8")
    ask(rig, target, "1-7")
    assert rig.count(target) == 3


@pytest.mark.parametrize("etag", ['"b"', 'W/"a"'])
def test_parts_of_different_representations_are_not_joined(rig: Rig, etag: str) -> None:
    """The newer one takes the place of the other; weak tags prove nothing."""
    origin = Origin(etag='W/"a"' if etag[0] == "W" else '"a"')
    target = script(rig, origin)
    ask(rig, target, "0-4")
    origin.whole, origin.etag = b"abcdefghij", etag
    ask(rig, target, "5-9")
    assert rig.get(target).body == b"abcdefghij"
    assert rig.get(target).body == b"abcdefghij"
    assert rig.count(target) == 3


@pytest.mark.parametrize(("wanted", "rest"), [("0-3", "bytes=4-"), ("-6", "bytes=0-3")])
def test_a_request_for_the_whole_fetches_only_what_is_missing(rig: Rig, wanted: str, rest: str) -> None:
    target = script(rig, Origin())
    ask(rig, target, wanted)
    reply = rig.get(target)
    assert (reply.status, reply.body, reply.header("content-range")) == (200, WHOLE, None)
    assert reply.header("content-length") == "10"
    last = rig.seen[target][1]
    assert (last.header("range"), last.header("if-range")) == (rest, '"a"')
    assert "fwd=partial; fwd-status=206; stored" in (reply.header("cache-status") or "")
    assert (rig.get(target).body, rig.count(target)) == (WHOLE, 2)


def test_a_part_of_what_has_changed_is_not_completed(rig: Rig) -> None:
    """If-Range makes it one request."""
    origin = Origin()
    target = script(rig, origin)
    ask(rig, target, "0-3")
    origin.whole, origin.etag = b"changed", '"b"'
    assert rig.get(target).body == b"changed"
    assert rig.get(target).body == b"changed"
    assert rig.count(target) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        part(4, 9, "Cache-Control: max-age=60", 'ETag: "b"'),
        part(5, 9, "Cache-Control: max-age=60", 'ETag: "a"'),
        answer("Content-Range: bytes 4-9/10", 'ETag: "a"', body=b"45678", status=206),
        answer("Content-Range: bytes 4-9/11", 'ETag: "a"', body=b"456789", status=206),
        answer('ETag: "a"', body=b"456789", status=206),
        answer("Content-Range: bytes */10", status=416),
        part(4, 9, "Cache-Control: no-store", 'ETag: "a"'),
    ],
)
def test_what_does_not_complete_a_part_makes_the_whole_be_fetched(rig: Rig, wrong: bytes) -> None:
    target = rig.script(part(0, 3), wrong, answer("Cache-Control: max-age=60", body=b"whole"))
    ask(rig, target, "0-3")
    reply = rig.get(target)
    assert (reply.status, reply.body) == (200, b"whole")
    assert rig.seen[target][2].header("range") is None and rig.seen[target][2].header("if-range") is None
    assert (rig.get(target).body, rig.count(target)) == (b"whole", 3)


def test_a_part_without_a_strong_validator_is_not_completed(rig: Rig) -> None:
    """It could never be joined to the rest, so there is no use in asking for that alone."""
    target = rig.script(part(0, 3, "Cache-Control: max-age=60"), answer("Cache-Control: max-age=60", body=WHOLE))
    ask(rig, target, "0-3")
    assert rig.get(target).body == WHOLE
    assert rig.seen[target][1].header("range") is None


@pytest.mark.parametrize(
    "refused",
    [
        part(0, 3, "Cache-Control: no-store"),
        part(0, 3, "Cache-Control: private, max-age=60"),
        part(0, 3, "Cache-Control: max-age=60", "Vary: *"),
        part(0, 3, "Cache-Control: max-age=60", "Set-Cookie: a=b"),
        answer("Cache-Control: max-age=60", "Content-Range: bytes 0-3/*", body=b"0123", status=206),
        answer("Cache-Control: max-age=60", "Content-Range: bytes 3-0/10", body=b"0123", status=206),
        answer("Cache-Control: max-age=60", "Content-Range: bytes 0-10/10", body=b"0123", status=206),
        answer("Cache-Control: max-age=60", "Content-Type: multipart/byteranges; boundary=x", body=b"--x--", status=206),
        part(0, 3, "Cache-Control: max-age=1", "Age: 90", 'ETag: "a"'),
    ],
)
def test_parts_that_are_not_stored_or_not_fresh(rig: Rig, refused: bytes) -> None:
    target = rig.script(refused)
    rig.get(target, "Range: bytes=0-3")
    rig.get(target, "Range: bytes=0-3")
    assert rig.count(target) == 2


def test_a_part_cut_short_by_the_end_of_the_connection_is_not_stored(rig: Rig) -> None:
    head = b"HTTP/1.1 206 P\r\nCache-Control: max-age=60\r\nContent-Range: bytes 0-3/10\r\n\r\n"
    target = rig.script(lambda _: iter([head + b"012", Close]))
    rig.get(target, "Range: bytes=0-3")
    rig.get(target, "Range: bytes=0-3")
    assert rig.count(target) == 2


def test_a_part_larger_than_is_kept_passes(rig: Rig) -> None:
    whole = bytes(100_000)
    target = script(rig, Origin(whole))
    for _ in range(2):
        assert len(ask(rig, target, "0-79999")[1]) == 80_000
    assert rig.count(target) == 2


@pytest.mark.parametrize(("guard", "asked"), [('"a"', 1), ('"b"', 2), ('W/"a"', 2)])
def test_if_range_on_a_stored_part(rig: Rig, guard: str, asked: int) -> None:
    target = script(rig, Origin())
    ask(rig, target, "0-3")
    rig.get(target, "Range: bytes=1-2", f"If-Range: {guard}")
    assert rig.count(target) == asked


def test_conditions_and_wishes_hold_for_parts(rig: Rig) -> None:
    target = script(rig, Origin())
    ask(rig, target, "0-3")
    assert rig.get(target, "Range: bytes=1-2", 'If-None-Match: "a"').status == 304
    assert rig.get(target, "Range: bytes=1-2", 'If-Match: "b"').status == 412
    assert rig.count(target) == 1
    ask(rig, target, "1-2", "Cache-Control: no-cache")
    assert rig.count(target) == 2


def test_parts_of_variants_stay_apart(rig: Rig) -> None:
    target = script(rig, Origin(WHOLE, '"a"', "Cache-Control: max-age=60", "Vary: X-Kind"))
    ask(rig, target, "0-3", "X-Kind: 1")
    ask(rig, target, "0-3", "X-Kind: 2")
    assert rig.count(target) == 2
    ask(rig, target, "1-2", "X-Kind: 1")
    ask(rig, target, "1-2", "X-Kind: 2")
    assert rig.count(target) == 2


def test_an_unsafe_method_and_a_purge_take_parts_too(rig: Rig) -> None:
    origin = Origin()
    target = rig.script(lambda request: response(b"") if request.method == "POST" else origin(request))
    ask(rig, target, "0-3")
    rig.post(target)
    ask(rig, target, "0-3")
    assert rig.count(target) == 3


# -- POST (RFC 9110 section 9.3.3)


@pytest.mark.parametrize(
    ("lines", "status", "expected"),
    [
        (["Cache-Control: max-age=60", "Content-Location: {own}"], 200, "stored"),
        (["Cache-Control: max-age=60", "Content-Location: http://web.test{own}"], 200, "stored"),
        (["Cache-Control: max-age=60", "Content-Location: {own}", "Vary: X-Kind"], 200, "stored"),
        (["Cache-Control: max-age=60"], 200, "not"),
        (["Cache-Control: max-age=60", "Content-Location: /other"], 200, "not"),
        (["Cache-Control: max-age=60", "Content-Location: http://plain.test{own}"], 200, "not"),
        (["Cache-Control: max-age=60", "Content-Location: {own}"], 201, "not"),
        (["Cache-Control: max-age=0", "Content-Location: {own}", 'ETag: "a"'], 200, "not"),
        (["Cache-Control: no-store, max-age=60", "Content-Location: {own}"], 200, "not"),
        (["Content-Location: {own}", "Last-Modified: Thu, 01 Jan 2015 00:00:00 GMT"], 200, "not"),
    ],
)
def test_a_post_s_response_that_says_so_answers_the_next_get(rig: Rig, lines: list[str], status: int, expected: str) -> None:
    target = rig.script()
    lines = [line.replace("{own}", target) for line in lines]
    made = answer(*lines, body=b"made", status=status)
    rig.script(lambda request: made if request.method == "POST" else answer(body=b"got"), target=target)
    assert rig.post(target).body == b"made"
    assert rig.get(target).body == (b"made" if expected == "stored" else b"got")
    assert rig.post(target).body == b"made", "a POST is never answered from the store"


def test_a_post_replaces_what_a_get_had_stored(rig: Rig) -> None:
    target = rig.script()
    made = answer("Cache-Control: max-age=60", f"Content-Location: {target}", body=b"new")
    old = answer("Cache-Control: max-age=60", body=b"old")
    rig.script(lambda request: made if request.method == "POST" else old, target=target)
    assert rig.get(target).body == b"old"
    rig.post(target)
    assert (rig.get(target).body, rig.count(target)) == (b"new", 2)
