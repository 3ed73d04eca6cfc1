"""Messages that two recipients could read in two ways, or that are not HTTP/1 at all, octet for octet (RFC 9112, RFC 9110).

Every vector that must be refused carries a second request, ``GET /smuggled``, where a lenient reader would find one. The same
vectors go through the agent, and through whatever other proxies are installed (`tests.conformance.peers`).
"""

from dataclasses import dataclass
from typing import Final

SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n"
BODY_BYTES_MAX: Final = 1_048_576
"""`http.body_bytes_max` of the agent that the vectors are sent to."""


@dataclass(frozen=True)
class Vector:
    """`raw` from a client gets `status` and the connection is closed; nothing of it reaches an upstream as a request.

    `group` is what the table of differences is divided by.
    """

    group: str
    name: str
    raw: bytes
    status: int = 400


@dataclass(frozen=True)
class ResponseVector:
    """`raw` from an upstream. `cut`: the head is sound and passed on, and the client must see that the body is not whole;
    else the client gets 502."""

    group: str
    name: str
    raw: bytes
    cut: bool = False


def request(*lines: bytes, body: bytes = b"", line: bytes = b"POST /a HTTP/1.1", host: bytes = b"Host: test\r\n") -> bytes:
    """A request with the given field lines, each without its CRLF."""
    return line + b"\r\n" + host + b"".join(each + b"\r\n" for each in lines) + b"\r\n" + body


def _lengths() -> list[Vector]:
    length = b"Content-Length: %d" % len(SMUGGLED)
    found = [
        ("Content-Length and Transfer-Encoding", [b"Content-Length: 6", b"Transfer-Encoding: chunked"], b"0\r\n\r\n" + SMUGGLED, 400),
        ("Transfer-Encoding and Content-Length", [b"Transfer-Encoding: chunked", length], b"0\r\n\r\n" + SMUGGLED, 400),
        ("two lengths that differ", [b"Content-Length: 0", length], SMUGGLED, 400),
        ("two lengths that agree", [length, length], SMUGGLED, 400),
        ("a list of lengths", [b"Content-Length: 0, %d" % len(SMUGGLED)], SMUGGLED, 400),
        ("a list of the same length", [b"Content-Length: 5, 5"], b"hello" + SMUGGLED, 400),
        ("length with a sign +", [b"Content-Length: +5"], b"hello", 400),
        ("length with a sign -", [b"Content-Length: -5"], b"hello", 400),
        ("length in hexadecimal", [b"Content-Length: 0x5"], b"hello", 400),
        ("length with a space in it", [b"Content-Length: 1 0"], b"h" + SMUGGLED, 400),
        ("length with a parameter", [b"Content-Length: 5;a"], b"hello", 400),
        ("length with an underscore", [b"Content-Length: 1_0"], b"hello" + SMUGGLED, 400),
        ("length with an exponent", [b"Content-Length: 1e1"], b"h" + SMUGGLED, 400),
        ("length with a fraction", [b"Content-Length: 5.0"], b"hello", 400),
        ("length in Arabic digits", ["Content-Length: \u0665".encode()], b"hello", 400),
        ("empty length", [b"Content-Length:"], SMUGGLED, 400),
        ("length past 2^64", [b"Content-Length: 18446744073709551621"], b"hello" + SMUGGLED, 400),
        ("length with vertical tab", [b"Content-Length: \x0b5"], b"hello", 400),
        ("length over the limit", [b"Content-Length: %d" % (BODY_BYTES_MAX + 1)], b"", 413),
    ]
    large = b"%x\r\n" % (BODY_BYTES_MAX + 1) + b"a" * (BODY_BYTES_MAX + 1)
    return [
        *(Vector("length", name, request(*lines, body=body), status) for name, lines, body, status in found),
        Vector("length", "chunk over the limit", request(b"Transfer-Encoding: chunked", line=b"POST /large HTTP/1.1", body=large), 413),
    ]


def _codings() -> list[Vector]:
    chunked = b"0\r\n\r\n" + SMUGGLED
    found = [
        ("identity", [b"Transfer-Encoding: identity"], 400),
        ("gzip alone", [b"Transfer-Encoding: gzip"], 400),
        ("gzip, chunked", [b"Transfer-Encoding: gzip, chunked"], 501),
        ("chunked, gzip", [b"Transfer-Encoding: chunked, gzip"], 400),
        ("chunked, identity", [b"Transfer-Encoding: chunked, identity"], 400),
        ("chunked twice in a list", [b"Transfer-Encoding: chunked, chunked"], 400),
        ("chunked on two lines", [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"], 400),
        ("chunked, then a line with identity", [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"], 400),
        ("identity, then a line with chunked", [b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked"], 501),
        ("empty", [b"Transfer-Encoding:"], 400),
        ("xchunked", [b"Transfer-Encoding: xchunked"], 400),
        ("chunked with a parameter", [b"Transfer-Encoding: chunked;a=b"], 400),
        ("chunked with a comma behind", [b"Transfer-Encoding: chunked,"], 400),
        ("chunked with a comma before", [b"Transfer-Encoding: ,chunked"], 400),
        ("chunked in quotes", [b'Transfer-Encoding: "chunked"'], 400),
        ("chunked behind a vertical tab", [b"Transfer-Encoding: \x0bchunked"], 400),
        ("chunked behind a non-breaking space", [b"Transfer-Encoding: \xa0chunked"], 400),
        ("chunked with NUL behind", [b"Transfer-Encoding: chunked\x00"], 400),
        ("space before the colon", [b"Content-Length: 5", b"Transfer-Encoding : chunked"], 400),
        ("tab before the colon", [b"Transfer-Encoding\t: chunked"], 400),
        ("value on a folded line", [b"Transfer-Encoding:", b" chunked"], 400),
        ("hidden behind a bare LF", [b"X: x\nTransfer-Encoding: chunked"], 400),
        ("hidden behind a bare CR", [b"X: x\rTransfer-Encoding: chunked"], 400),
    ]
    vectors = [Vector("transfer coding", name, request(*lines, body=chunked), status) for name, lines, status in found]
    old = request(b"Connection: keep-alive", b"Transfer-Encoding: chunked", line=b"POST /a HTTP/1.0", body=chunked)
    return [*vectors, Vector("transfer coding", "chunked in HTTP/1.0", old)]


def _lines() -> list[Vector]:
    found = {
        "folded line": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\r\n b\r\n\r\n",
        "folded line with tab": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\r\n\tb\r\n\r\n",
        "folded Host": b"GET /a HTTP/1.1\r\nHost:\r\n test\r\n\r\n",
        "space before the first field": b"GET /a HTTP/1.1\r\n X: a\r\nHost: test\r\n\r\n",
        "line of white space before the end": b"GET /a HTTP/1.1\r\nHost: test\r\n \r\n\r\n",
        "bare LF throughout": b"GET /a HTTP/1.1\nHost: test\n\n",
        "bare LF after the request line": b"GET /a HTTP/1.1\nHost: test\r\n\r\n",
        "bare LF after a field": b"GET /a HTTP/1.1\r\nHost: test\nX: a\r\n\r\n",
        "bare LF at the end": b"GET /a HTTP/1.1\r\nHost: test\r\n\n" + SMUGGLED,
        "bare LF in a value": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\nb\r\n\r\n",
        "bare CR throughout": b"GET /a HTTP/1.1\rHost: test\r\r",
        "bare CR in a value": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\rb\r\n\r\n",
        "bare CR in a name": b"GET /a HTTP/1.1\r\nHost: test\r\nX\rY: a\r\n\r\n",
        "bare CR before CRLF": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\r\r\n\r\n",
        "bare CR after the request line": b"GET /a HTTP/1.1\rX: a\r\nHost: test\r\n\r\n",
        "CR before the empty line": b"GET /a HTTP/1.1\r\nHost: test\r\n\r\r\n" + SMUGGLED,
        "NUL in a value": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\x00b\r\n\r\n",
        "NUL in a name": b"GET /a HTTP/1.1\r\nHost: test\r\nX\x00: a\r\n\r\n",
        "NUL in the method": b"GE\x00T /a HTTP/1.1\r\nHost: test\r\n\r\n",
        "NUL in the target": b"GET /a\x00 HTTP/1.1\r\nHost: test\r\n\r\n",
        "control character in a value": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\x01b\r\n\r\n",
        "DEL in a value": b"GET /a HTTP/1.1\r\nHost: test\r\nX: a\x7fb\r\n\r\n",
        "space before a colon": b"GET /a HTTP/1.1\r\nHost: test\r\nX : a\r\n\r\n",
        "tab before a colon": b"GET /a HTTP/1.1\r\nHost: test\r\nX\t: a\r\n\r\n",
        "no colon": b"GET /a HTTP/1.1\r\nHost: test\r\nX\r\n\r\n",
        "empty name": b"GET /a HTTP/1.1\r\nHost: test\r\n: a\r\n\r\n",
        "space in a name": b"GET /a HTTP/1.1\r\nHost: test\r\nX Y: a\r\n\r\n",
        "name that is no token": b"GET /a HTTP/1.1\r\nHost: test\r\nX(Y): a\r\n\r\n",
        "name with a high octet": b"GET /a HTTP/1.1\r\nHost: test\r\nX\xe9: a\r\n\r\n",
        "two empty lines before the request": b"\r\n\r\nGET /a HTTP/1.1\r\nHost: test\r\n\r\n",
        "bare LF before the request": b"\nGET /a HTTP/1.1\r\nHost: test\r\n\r\n",
        "space before the request": b" GET /a HTTP/1.1\r\nHost: test\r\n\r\n",
        "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(48),
    }
    return [Vector("lines", name, raw) for name, raw in found.items()]


def _request_lines() -> list[Vector]:
    found = [
        ("two spaces before the target", b"GET  /a HTTP/1.1", 400),
        ("two spaces before the version", b"GET /a  HTTP/1.1", 400),
        ("tabs for spaces", b"GET\t/a\tHTTP/1.1", 400),
        ("space in the target", b"GET /a b HTTP/1.1", 400),
        ("space behind the version", b"GET /a HTTP/1.1 ", 400),
        ("no target", b"GET HTTP/1.1", 400),
        ("empty target", b"GET  HTTP/1.1", 400),
        ("no version (HTTP/0.9)", b"GET /a", 400),
        ("no method", b" /a HTTP/1.1", 400),
        ("target without a slash", b"GET a HTTP/1.1", 400),
        ("target with a fragment", b"GET /a#b HTTP/1.1", 400),
        ("target with <", b"GET /<a> HTTP/1.1", 400),
        ("target with a high octet", b"GET /\xe9 HTTP/1.1", 400),
        ("target with a control character", b"GET /\x01 HTTP/1.1", 400),
        ("asterisk with GET", b"GET * HTTP/1.1", 400),
        ("absolute form of another scheme", b"GET ftp://test/a HTTP/1.1", 400),
        ("absolute form without authority", b"GET http:///a HTTP/1.1", 400),
        ("absolute form with user", b"GET http://user@test/a HTTP/1.1", 400),
        ("absolute form with a bad port", b"GET http://test:http/a HTTP/1.1", 400),
        ("CONNECT with a path", b"CONNECT /a HTTP/1.1", 400),
        ("CONNECT without a port", b"CONNECT test HTTP/1.1", 400),
        ("method that is no token", b"G@T /a HTTP/1.1", 400),
        ("method with a parenthesis", b"GET( /a HTTP/1.1", 400),
        ("HTTP/2.0", b"GET /a HTTP/2.0", 505),
        ("HTTP/1.2", b"GET /a HTTP/1.2", 505),
        ("HTTP/0.9", b"GET /a HTTP/0.9", 505),
        ("HTTP/3.1", b"GET /a HTTP/3.1", 505),
        ("HTTP/1.10", b"GET /a HTTP/1.10", 400),
        ("HTTP/01.1", b"GET /a HTTP/01.1", 400),
        ("HTTP/1", b"GET /a HTTP/1", 400),
        ("HTTP/1,1", b"GET /a HTTP/1,1", 400),
        ("HTTP/1.a", b"GET /a HTTP/1.a", 400),
        ("http/1.1", b"GET /a http/1.1", 400),
        ("HTTP /1.1", b"GET /a HTTP /1.1", 400),
        ("HTCPCP/1.1", b"GET /a HTCPCP/1.1", 400),
    ]
    vectors = [Vector("request line", name, request(line=line), status) for name, line, status in found]
    vectors.append(Vector("request line", "the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505))
    connect = request(b"Content-Length: %d" % len(SMUGGLED), line=b"CONNECT test:80 HTTP/1.1", body=SMUGGLED)
    vectors.append(Vector("request line", "CONNECT with a body", connect))
    return vectors


def _hosts() -> list[Vector]:
    found = [
        ("no Host", b""),
        ("two that differ", b"Host: test\r\nHost: other\r\n"),
        ("two that agree", b"Host: test\r\nHost: test\r\n"),
        ("empty", b"Host:\r\n"),
        ("space in it", b"Host: te st\r\n"),
        ("slash in it", b"Host: test/a\r\n"),
        ("user in it", b"Host: user@test\r\n"),
        ("port that is no number", b"Host: test:http\r\n"),
        ("port past 65535", b"Host: test:65536\r\n"),
        ("open bracket", b"Host: [::1\r\n"),
        ("bracket with a name", b"Host: [test]\r\n"),
        ("question mark", b"Host: test?a\r\n"),
        ("high octet", b"Host: t\xe9st\r\n"),
        ("space before the colon", b"Host : test\r\n"),
    ]
    vectors = [Vector("host", name, request(host=host, line=b"GET /a HTTP/1.1")) for name, host in found]
    bad = request(host=b"Host: te st\r\n", line=b"GET http://test/a HTTP/1.1")
    missing = request(host=b"", line=b"GET http://test/a HTTP/1.1")
    return [*vectors, Vector("host", "bad beside an absolute form", bad), Vector("host", "none beside an absolute form", missing)]


def _chunks() -> list[Vector]:
    found = [
        ("size that is no number", b"g\r\nhello\r\n0\r\n\r\n", 400),
        ("size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n", 400),
        ("size with +", b"+5\r\nhello\r\n0\r\n\r\n", 400),
        ("size with -", b"-5\r\nhello\r\n0\r\n\r\n", 400),
        ("size with an underscore", b"0_5\r\nhello\r\n0\r\n\r\n", 400),
        ("space before the size", b" 5\r\nhello\r\n0\r\n\r\n", 400),
        ("space behind the size", b"5 \r\nhello\r\n0\r\n\r\n", 400),
        ("empty size", b"\r\nhello\r\n0\r\n\r\n", 400),
        ("no size before an extension", b";a=b\r\nhello\r\n0\r\n\r\n", 400),
        ("size past 2^64", b"10000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("size of 20 zeros and a digit", b"000000000000000000005\r\nhello\r\n0\r\n\r\n", 400),
        ("bare LF behind the size", b"5\nhello\r\n0\r\n\r\n", 400),
        ("bare CR behind the size", b"5\rhello\r\n0\r\n\r\n", 400),
        ("bare LF in an extension", b"5;a\nhello\r\n0\r\n\r\n", 400),
        ("bare CR in an extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n", 400),
        ("NUL in an extension", b"5;a\x00\r\nhello\r\n0\r\n\r\n", 400),
        ("extension of 70,000 octets", b"5;" + b"a" * 70_000 + b"\r\nhello\r\n0\r\n\r\n", 400),
        ("more data than the size says", b"3\r\nhello\r\n0\r\n\r\n", 400),
        ("no CRLF behind the data", b"5\r\nhello0\r\n\r\n", 400),
        ("bare LF behind the data", b"5\r\nhello\n0\r\n\r\n", 400),
        ("bare CR behind the data", b"5\r\nhello\r0\r\n\r\n", 400),
        ("other octets for CRLF", b"5\r\nhelloXX0\r\n\r\n", 400),
        ("bare LF behind the last chunk", b"5\r\nhello\r\n0\n\n", 400),
        ("bare LF at the end of the trailers", b"0\r\nX: a\r\n\n", 400),
        ("trailer with a space before the colon", b"0\r\nX : a\r\n\r\n", 400),
        ("trailer without a colon", b"0\r\nX\r\n\r\n", 400),
        ("folded trailer", b"0\r\nX: a\r\n b\r\n\r\n", 400),
        ("NUL in a trailer", b"0\r\nX: a\x00\r\n\r\n", 400),
        ("bare CR in a trailer", b"0\r\nX: a\rb\r\n\r\n", 400),
        ("request for a trailer", b"0\r\nGET /smuggled HTTP/1.1\r\nHost: test\r\n\r\n", 400),
        ("trailers of 70,000 octets", b"0\r\n" + b"X: %b\r\n" % (b"a" * 1000) * 70 + b"\r\n", 431),
        ("one trailer of 70,000 octets", b"0\r\nX: %b\r\n\r\n" % (b"a" * 70_000), 431),
        ("1,000 trailers", b"0\r\n" + b"X: a\r\n" * 1000 + b"\r\n", 431),
    ]
    return [Vector("chunks", name, request(b"Transfer-Encoding: chunked", body=body + SMUGGLED), status) for name, body, status in found]


def _sizes() -> list[Vector]:
    return [
        Vector("sizes", "field of 100,000 octets", request(b"X: " + b"a" * 100_000, line=b"GET /a HTTP/1.1"), 431),
        Vector("sizes", "fields of 100,000 octets together", request(*[b"X: " + b"a" * 1000] * 100, line=b"GET /a HTTP/1.1"), 431),
        Vector("sizes", "2,000 fields", request(*[b"X: a"] * 2000, line=b"GET /a HTTP/1.1"), 431),
        Vector("sizes", "200 fields", request(*[b"X: a"] * 200, line=b"GET /a HTTP/1.1"), 431),
        Vector("sizes", "field of 100,000 octets that does not end", b"GET /a HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 100_000, 431),
        Vector("sizes", "target of 20,000 octets", request(line=b"GET /" + b"a" * 20_000 + b" HTTP/1.1"), 414),
        Vector("sizes", "target of 100,000 octets that does not end", b"GET /" + b"a" * 100_000, 414),
        Vector("sizes", "method of 100,000 octets that does not end", b"G" * 100_000, 414),
    ]


VECTORS: Final = [*_lengths(), *_codings(), *_lines(), *_request_lines(), *_hosts(), *_chunks(), *_sizes()]

_OK: Final = b"HTTP/1.1 200 OK\r\n"
_SECOND: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"


def _response_heads() -> list[ResponseVector]:
    def lengths(*lines: bytes, body: bytes = b"hello") -> bytes:
        return _OK + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body + _SECOND

    chunked = b"5\r\nhello\r\n0\r\n\r\n"
    found = {
        "Content-Length and Transfer-Encoding": lengths(b"Content-Length: 5", b"Transfer-Encoding: chunked", body=chunked),
        "two lengths that differ": lengths(b"Content-Length: 5", b"Content-Length: 6"),
        "two lengths that agree": lengths(b"Content-Length: 5", b"Content-Length: 5"),
        "a list of lengths": lengths(b"Content-Length: 5, 6"),
        "length with a sign": lengths(b"Content-Length: +5"),
        "negative length": lengths(b"Content-Length: -1"),
        "length in hexadecimal": lengths(b"Content-Length: 0x5"),
        "empty length": lengths(b"Content-Length:"),
        "length past 2^64": lengths(b"Content-Length: 18446744073709551621"),
        "gzip, chunked": lengths(b"Transfer-Encoding: gzip, chunked", body=chunked),
        "chunked, gzip": lengths(b"Transfer-Encoding: chunked, gzip", body=chunked),
        "identity": lengths(b"Transfer-Encoding: identity"),
        "chunked twice": lengths(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", body=chunked),
        "xchunked": lengths(b"Transfer-Encoding: xchunked", body=chunked),
        "space before the colon": lengths(b"Transfer-Encoding : chunked", body=chunked),
        "chunked behind a vertical tab": lengths(b"Transfer-Encoding: \x0bchunked", body=chunked),
        "chunked in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
        "folded line": lengths(b"X: a", b" b", b"Content-Length: 5"),
        "bare LF throughout": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
        "bare LF after a field": b"HTTP/1.1 200 OK\r\nX: a\nContent-Length: 5\r\n\r\nhello",
        "bare LF at the end": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\nhello",
        "bare CR in a value": lengths(b"X: a\rb", b"Content-Length: 5"),
        "NUL in a value": lengths(b"X: a\x00b", b"Content-Length: 5"),
        "control character in a value": lengths(b"X: a\x01b", b"Content-Length: 5"),
        "no colon": lengths(b"X", b"Content-Length: 5"),
        "empty name": lengths(b": a", b"Content-Length: 5"),
        "space in a name": lengths(b"X Y: a", b"Content-Length: 5"),
        "204 with chunks": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
        "100 with chunks": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked + _SECOND,
        "103 with a length": b"HTTP/1.1 103 Early Hints\r\nContent-Length: %d\r\n\r\n" % len(_SECOND) + _SECOND * 2,
        "103 of HTTP/1.0": b"HTTP/1.0 103 Early Hints\r\n\r\n" + _SECOND,
        "17 informational responses": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + _SECOND,
        "101 that nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello",
        "head of 100,000 octets": lengths(b"X: " + b"a" * 100_000, b"Content-Length: 5"),
        "1,000 fields": lengths(*[b"X: a"] * 1000, b"Content-Length: 5"),
    }
    return [ResponseVector("response head", name, raw) for name, raw in found.items()]


def _status_lines() -> list[ResponseVector]:
    lines = {
        "status of two digits": b"HTTP/1.1 20 OK",
        "status of four digits": b"HTTP/1.1 2000 OK",
        "status 099": b"HTTP/1.1 099 OK",
        "status 600": b"HTTP/1.1 600 OK",
        "status that is no number": b"HTTP/1.1 2xx OK",
        "negative status": b"HTTP/1.1 -200 OK",
        "two spaces": b"HTTP/1.1  200 OK",
        "tab": b"HTTP/1.1\t200 OK",
        "HTTP/2.0": b"HTTP/2.0 200 OK",
        "HTTP/1.2": b"HTTP/1.2 200 OK",
        "lower case": b"http/1.1 200 OK",
        "ICY": b"ICY 200 OK",
        "no version": b"200 OK",
        "NUL in the reason": b"HTTP/1.1 200 O\x00K",
        "bare CR in the reason": b"HTTP/1.1 200 O\rK",
        "space before it": b" HTTP/1.1 200 OK",
    }
    vectors = [ResponseVector("status line", name, line + b"\r\nContent-Length: 5\r\n\r\nhello") for name, line in lines.items()]
    return [
        *vectors,
        ResponseVector("status line", "empty line before it", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        ResponseVector("status line", "no HTTP at all", b"hello, this is another protocol\r\n\r\n"),
        ResponseVector("status line", "nothing", b""),
        ResponseVector("status line", "half a head", b"HTTP/1.1 200 OK\r\nContent-Le"),
    ]


def _response_bodies() -> list[ResponseVector]:
    head = _OK + b"Transfer-Encoding: chunked\r\n\r\n"
    chunks = {
        "chunk size that is no number": b"5\r\nhello\r\ng\r\n",
        "chunk size with 0x": b"5\r\nhello\r\n0x5\r\nhello\r\n0\r\n\r\n",
        "chunk size with -": b"5\r\nhello\r\n-5\r\nhello\r\n0\r\n\r\n",
        "chunk size past 2^64": b"5\r\nhello\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        "space behind a chunk size": b"5\r\nhello\r\n5 \r\nhello\r\n0\r\n\r\n",
        "bare LF behind a chunk size": b"5\r\nhello\r\n5\nhello\r\n0\r\n\r\n",
        "no CRLF behind a chunk": b"5\r\nhello0\r\n\r\n",
        "bare LF behind a chunk": b"5\r\nhello\n0\r\n\r\n",
        "bare LF behind the last chunk": b"5\r\nhello\r\n0\n\n",
        "folded trailer": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
        "trailer without a colon": b"5\r\nhello\r\n0\r\nX\r\n\r\n",
        "end inside a chunk": b"5\r\nhel",
        "end between chunks": b"5\r\nhello\r\n",
        "end before the trailers": b"5\r\nhello\r\n0\r\n",
    }
    vectors = [ResponseVector("response body", name, head + body, True) for name, body in chunks.items()]
    return [*vectors, ResponseVector("response body", "end before Content-Length", _OK + b"Content-Length: 10\r\n\r\nhello", True)]


RESPONSE_VECTORS: Final = [*_response_heads(), *_status_lines(), *_response_bodies()]
