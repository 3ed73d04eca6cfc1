"""Server-sent events mean the same however they are cut."""

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from agent.client.watch import server_sent

TEXT = (
    b": hello\n\nevent: open\ndata: {}\n\nevent: put\ndata: one\ndata: two\n\n"
    b"id: 7\r\nevent: delete\r\ndata: \xc3\xa4:x\r\n\r\nid: 8\nretry: 5\n\n:\n\ndata:  spaced\n\ndata: unfinished\n"
)
EVENTS = [("open", "", "{}"), ("put", "", "one\ntwo"), ("delete", "7", "ä:x"), ("message", "", " spaced")]


class Response:
    """Its body comes in these pieces."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.content = self
        self._pieces = pieces

    async def iter_any(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


@given(st.lists(st.integers(0, len(TEXT)), max_size=20))
def test_any_cuts(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(TEXT)]
    pieces = [TEXT[start:end] for start, end in pairwise(edges)]

    async def read() -> list[Any]:
        return [event async for event in server_sent(Response(pieces))]  # type: ignore[arg-type]

    assert asyncio.run(read()) == EVENTS
