"""Heads and chunked bodies from a grammar that knows the language and its edges: cutting, round trips, a second reader, authorities.

The promises are those of the fuzz targets, and so are the functions that check them; here the messages are made, not mutated.
"""

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from agent.core.http.body import LAST_CHUNK, ChunkedDecoder, RequestBody, encode_chunk
from agent.core.http.errors import BadMessage
from agent.core.http.head import parse_request_head
from tests.fuzz import targets

TOKEN = st.text("abcXYZ019-_.~!#$%&'*+^`|", min_size=1, max_size=8).map(str.encode)
TEXT = st.text('abc XYZ019\t,;="()/:é', max_size=12).map(lambda text: text.strip().encode("latin-1"))
NAMES = st.one_of(
    TOKEN,
    st.sampled_from(
        b"Host host Connection Content-Length Transfer-Encoding TE Trailer Upgrade Expect Via Forwarded X-Forwarded-For Keep-Alive "
        b"Proxy-Connection traceparent tracestate X-Request-Timeout-Ms Date Set-Cookie".split()
    ),
)
VALUES = st.one_of(
    TEXT,
    st.sampled_from(
        [
            b"close",
            b"keep-alive, X-A",
            b"chunked",
            b"Chunked",
            b"gzip, chunked",
            b"0",
            b"5",
            b"05",
            b"5, 5",
            b"+5",
            b"trailers",
            b"100-continue",
        ]
    ),
)
SPACE = st.sampled_from([b"", b" ", b"  ", b"\t"])
HOSTS = st.sampled_from([b"a", b"A.b", b"a:80", b"A:0080", b"[::1]", b"[::1]:8", b"", b"a b", b"a:", b"a:99999", b"[a]", b"a@b", b"\xe9"])
PATHS = st.sampled_from([b"/", b"/a?b", b"/%41", b"*", b"", b"/a#b", b"/a b", b"//a", b"/?", b"?a"])


@st.composite
def request_heads(draw: st.DrawFn) -> bytes:
    """Nearly right, in most of its parts."""
    method = draw(st.sampled_from([b"GET", b"POST", b"OPTIONS", b"HEAD", b"CONNECT", b"get", b"M-SEARCH"]))
    absolute = draw(st.booleans())
    target = b"http://" + draw(HOSTS) + draw(PATHS) if absolute else draw(PATHS)
    if method == b"CONNECT":
        target = draw(HOSTS)
    version = draw(st.sampled_from([b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/1.2"]))
    lines = [method + b" " + target + b" " + version]
    if draw(st.integers(0, 9)):
        lines.append(b"Host:" + draw(SPACE) + draw(HOSTS))
    for name, before, value, behind in draw(st.lists(st.tuples(NAMES, SPACE, VALUES, SPACE), max_size=6)):
        lines.append(name + b":" + before + value + behind)
    return b"\r\n".join([*lines, b"", b""])


@given(request_heads())
@settings(max_examples=500)
def test_a_request_head_that_is_taken_means_the_same_to_llhttp_and_survives_being_forwarded(raw: bytes) -> None:
    targets.request_head(raw)


@given(
    choice=st.binary(min_size=1, max_size=1),
    line=st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.0 404 No", b"HTTP/1.1 204 ", b"HTTP/1.1 304 X", b"HTTP/1.1 103", b"HTTP/1.1 600 A"]),
    fields=st.lists(st.tuples(NAMES, SPACE, VALUES, SPACE), max_size=6),
)
@settings(max_examples=500)
def test_a_response_head_that_is_taken_means_the_same_to_llhttp_and_survives_being_forwarded(
    choice: bytes, line: bytes, fields: list[tuple[bytes, bytes, bytes, bytes]]
) -> None:
    lines = [name + b":" + before + value + behind for name, before, value, behind in fields]
    targets.response_head(choice + b"\r\n".join([line, *lines, b"", b""]))


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
EXTENSIONS = st.sampled_from([b"", b"", b";a", b' ;a="b"', b"\t; a=b;c"])
TRAILERS = st.lists(st.tuples(TOKEN, TEXT), max_size=3)
CUTS = st.lists(st.integers(0, 255), max_size=8).map(bytes)


@given(CHUNKS, EXTENSIONS, TRAILERS, st.binary(max_size=20), CUTS)
def test_chunks_come_apart_as_they_were_put_together_however_they_are_cut(
    chunks: list[bytes], extension: bytes, trailers: list[tuple[bytes, bytes]], behind: bytes, by: bytes
) -> None:
    raw = b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    raw += b"0" + extension + b"\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in trailers) + b"\r\n"
    decoder = ChunkedDecoder()
    body = b""
    pieces = targets.cut(raw + behind, by)
    while pieces and not decoder.done:
        body += b"".join(decoder.feed(pieces.pop(0)))
    assert decoder.done
    assert body == b"".join(chunks)
    assert [(field.name, field.value) for field in decoder.trailers] == [(name.lower(), value) for name, value in trailers]
    assert decoder.rest + b"".join(pieces) == behind


@given(CHUNKS)
def test_encoded_chunks_decode(chunks: list[bytes]) -> None:
    decoder = ChunkedDecoder()
    assert b"".join(decoder.feed(b"".join(map(encode_chunk, chunks)) + LAST_CHUNK)) == b"".join(chunks)
    assert (decoder.done, decoder.rest, decoder.trailers) == (True, b"", [])


@given(
    st.binary(max_size=12),
    st.lists(st.sampled_from([b"0", b"5", b"f", b";a", b"\r", b"\n", b"\r\n", b"hello", b":", b" ", b"\x00"]), max_size=14),
)
@settings(max_examples=500)
@example(b"\x01\x00", [b"5", b"\r\n", b"hello", b"\r\n", b"0", b"\r\n", b"\r\n"])
def test_any_chunked_octets_come_to_the_same_however_they_are_cut(by: bytes, parts: list[bytes]) -> None:
    targets.chunked(bytes([len(by) & 7]) + by[: len(by) & 7] + b"".join(parts))


@given(st.integers(0, 60), st.binary(max_size=80), CUTS)
def test_a_body_of_a_length_ends_there_however_it_is_cut(length: int, data: bytes, by: bytes) -> None:
    assume(length > 0)
    body = RequestBody(length, 0, 1000, 10)
    got = b""
    pieces = targets.cut(data, by)
    while pieces and not body.done:
        got += b"".join(body.feed(pieces.pop(0)))
    assert got == data[:length]
    assert body.done == (len(data) >= length)
    if body.done:
        assert body.rest + b"".join(pieces) == data[length:]


@given(st.lists(request_heads(), min_size=1, max_size=3), CUTS)
@settings(max_examples=60)
def test_pipelined_requests_reach_upstreams_the_same_however_they_are_cut(heads: list[bytes], by: bytes) -> None:
    targets.client(bytes([min(len(by), 7)]) + by[:7] + b"".join(heads))


@given(HOSTS, PATHS, st.sampled_from([b"GET", b"OPTIONS"]))
def test_bringing_a_target_to_its_form_is_done_once(host: bytes, path: bytes, method: bytes) -> None:
    """What was made of an absolute form is an origin form with the same authority, and stays what it is."""
    try:
        first = parse_request_head(b"%b http://%b%b HTTP/1.1\r\nHost: other\r\n\r\n" % (method, host, path))
    except BadMessage:
        return
    again = parse_request_head(b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, first.target, first.authority))
    assert (again.target, again.authority) == (first.target, first.authority)
    assert first.authority == first.authority.lower()
    shouted = parse_request_head(b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, first.target, first.authority.upper()))
    assert shouted.authority == first.authority
