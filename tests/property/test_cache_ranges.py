"""Ranges and parts against plain slicing."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.cache.entry import Entry
from agent.core.cache.parts import become_whole, join, joinable, part_key, piece_of_part, selected
from agent.core.cache.ranges import cut
from tests.property.cache_strategies import request

bodies = st.binary(max_size=30)
positions = st.integers(0, 40)
wishes = st.one_of(
    st.tuples(positions, positions).map(lambda pair: f"{pair[0]}-{pair[1]}"),
    positions.map(lambda first: f"{first}-"),
    positions.map(lambda count: f"-{count}"),
)


def pieces(data: st.DataObject, body: bytes) -> list[bytes]:
    """The body in pieces, some of them empty."""
    marks = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=4)))
    return [body[start:end] for start, end in zip([0, *marks], [*marks, len(body)], strict=True)]


def wanted_of(wish: str, length: int) -> tuple[int, int] | None:
    """Start and end (not with it) of what RFC 9110 section 14.1.2 says of a range; None where it is not satisfiable."""
    first, _, last = wish.partition("-")
    if not first:
        return (max(length - int(last), 0), length) if int(last) and length else None
    start = int(first)
    end = min(int(last) + 1, length) if last else length
    return (start, end) if start < length else None


@given(bodies, st.data(), positions, positions)
def test_cut_is_slicing(body: bytes, data: st.DataObject, start: int, end: int) -> None:
    assert b"".join(cut(pieces(data, body), start, end)) == body[start:end]


@given(bodies, st.data(), wishes)
def test_a_range_of_a_whole_response(body: bytes, data: st.DataObject, wish: str) -> None:
    entry = Entry(b"k", "web", b"a.test", b"/", 200, b"OK")
    entry.body, entry.length = pieces(data, body), len(body)
    status, octets, content_range = selected(entry, request(f"Range: bytes={wish}"))
    got = b"".join(octets)
    first, _, last = wish.partition("-")
    wanted = wanted_of(wish, len(body))
    if first and last and int(last) < int(first):
        assert (status, got, content_range) == (200, body, None), "not a range: the whole"
    elif wanted is None:
        assert (status, got) == (416, b"") and content_range is not None
        assert content_range.value == b"bytes */%d" % len(body)
    else:
        assert (status, got) == (206, body[wanted[0] : wanted[1]]) and content_range is not None
        assert content_range.value == b"bytes %d-%d/%d" % (wanted[0], wanted[1] - 1, len(body))


def part_of(body: bytes, first: int, last: int, etag: bytes) -> Entry:
    part = Entry(part_key(b"k"), "web", b"a.test", b"/", 206, b"Partial Content")
    part.first, part.last, part.complete = first, last, len(body)
    part.body, part.length, part.etag = [body[first : last + 1]], last + 1 - first, etag
    return part


@given(st.binary(min_size=1, max_size=30), st.data())
def test_parts_say_nothing_but_what_the_representation_says(body: bytes, data: st.DataObject) -> None:
    """Parts come in any order; what is joined of them answers a range exactly where it covers it."""
    size = len(body)
    stored: Entry | None = None
    covered: set[int] = set()
    for _ in range(data.draw(st.integers(1, 6))):
        first = data.draw(st.integers(0, size - 1))
        last = data.draw(st.integers(first, size - 1))
        etag = data.draw(st.sampled_from([b'"a"', b'"a"', b'"a"', b'"b"', b'W/"a"', b""]))
        fresh = part_of(body, first, last, etag)
        octets = set(range(first, last + 1))
        if stored is not None and joinable(stored, fresh):
            assert stored.etag == etag and etag.startswith(b'"')
            octets |= covered
            join(stored, fresh)
        elif stored is not None and stored.etag == etag == b'"a"':
            assert covered & set(range(first - 1, last + 2)) == set(), "only a gap keeps two parts of one representation apart"
        stored, covered = fresh, octets
        assert set(range(stored.first, stored.last + 1)) == covered
        assert b"".join(stored.body) == body[stored.first : stored.last + 1] and stored.length == len(covered)
        wish = data.draw(wishes)
        piece = piece_of_part(stored, request(f"Range: bytes={wish}"))
        wanted = wanted_of(wish, size)
        head, _, tail = wish.partition("-")
        malformed = bool(head and tail) and int(tail) < int(head)
        if wanted is None or malformed or not set(range(*wanted)) <= covered:
            assert piece is None
        else:
            assert piece is not None
            assert (piece[0], piece[1] + 1, b"".join(piece[2])) == (*wanted, body[wanted[0] : wanted[1]])
    assert stored is not None
    if become_whole(stored, b"k"):
        assert covered == set(range(size)) and b"".join(stored.body) == body and stored.status == 200
    else:
        assert covered != set(range(size))
