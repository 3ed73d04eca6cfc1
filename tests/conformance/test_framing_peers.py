"""The comparison with other proxies runs for those that are installed, and its page is about these vectors."""

import re
from pathlib import Path

import pytest

from loadtest.proxies import Absent
from tests.conformance.framing_peers import NAMES, compare, faults_of, tables
from tests.conformance.framing_vectors import VECTORS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "framing.md"
SAMPLE = [vector for vector in VECTORS if len(vector.raw) < 2000][::12]


def test_the_vectors_through_what_is_installed() -> None:
    results = compare(SAMPLE)
    absent = [result.reason for result in results.values() if isinstance(result, Absent)]
    _, own = results["pilotfish"]  # type: ignore[misc]
    assert [(outcome.statuses, outcome.verdict) for outcome in own] == [([vector.status], "refused") for vector in SAMPLE]
    for result in results.values():
        if not isinstance(result, Absent):
            version, outcomes = result
            assert version
            assert len(outcomes) == len(SAMPLE)
    page = tables(SAMPLE, results)
    assert "| all (" in page
    if len(absent) == len(NAMES) - 1:
        pytest.skip(f"no other proxy is installed: {'; '.join(absent)}")


def test_the_page_is_about_these_vectors_and_pilotfish_refuses_them_all() -> None:
    page = PAGE.read_text()
    assert f"{len(VECTORS)} requests" in page
    assert f"| all ({len(VECTORS)}) | {len(VECTORS) - 1} refused, 1 rewritten |" in page  # a body that grows too large has begun to go
    named = {f"{vector.group}: {vector.name}" for vector in VECTORS}
    rows = re.findall(r"^\| ([a-z ]+: [^|]+?) \| (\S+) refused \|", page, re.MULTILINE)
    assert len(rows) > 20
    assert {name for name, _ in rows} <= named


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\nHost: a\r\n\r\n", ""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhi", ""),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhismuggled\r\n\r\n", "request line"),
        (b"GET / HTTP/1.1\nHost: a\n\n", "bare LF"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
    ],
)
def test_what_reached_an_upstream_is_judged(raw: bytes, words: str) -> None:
    faults = faults_of(raw)
    assert bool(faults) == bool(words)
    assert words in " ".join(faults)
