"""A mark that purges were missed, as requests meet it: at the shortest way, among variants, in a fill under way."""

import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import pytest

from tests.harness.client import RawClient, Reply
from tests.harness.fabric import AdminThread, configuration
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

FRESH = [("Cache-Control", "max-age=600"), ("ETag", '"1"')]


class Marked:
    """An agent in this process, so that it can be told to mark."""

    def __init__(self, folder: Path) -> None:
        self.released = threading.Event()
        self.upstream = Upstream(self._answer)
        services = {"web": {"hosts": ["web"], "endpoints": [self.upstream.address], "cache": {"enabled": True}}}
        self.admin = AdminThread(configuration(folder, services=services))

    def _answer(self, request: Received) -> object:
        if request.header("if-none-match") == '"1"':
            return response(b"", 304, FRESH, length=False)
        vary = [("Vary", "Accept-Language")] if request.target == "/varies" else []
        whole = response("whole", headers=[*FRESH, *vary])
        return [whole[:-2], lambda: self.released.wait(20.0), whole[-2:]] if request.target == "/slow" else whole

    def get(self, target: str, *lines: str) -> Reply:
        host, _, port = self.admin.agent.addresses["egress"][0].rpartition(":")
        with RawClient((host, int(port))) as client:
            return client.get(target, "web", *lines)

    def state(self, target: str, *lines: str) -> str:
        reply = self.get(target, *lines)
        assert (reply.status, reply.body) == (200, b"whole")
        return reply.header("Cache-Status") or ""

    def mark(self) -> None:
        self.admin.do(lambda: self.admin.agent.path.store.mark_stale(perf_counter()))


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[Marked]:
    rig = Marked(tmp_path)
    with rig.upstream, rig.admin:
        yield rig


@pytest.mark.parametrize(
    ("target", "lines"), [("/plain", ()), ("/varies", ("Accept-Language: en",)), ("/plain", ("Cache-Control: max-age=500",))]
)
def test_what_is_older_is_validated_once_and_fresh_again(marked: Marked, target: str, lines: tuple[str, ...]) -> None:
    marked.get(target, *lines)
    assert "; hit" in marked.state(target, *lines)
    marked.mark()
    state = marked.state(target, *lines)
    assert "fwd=stale" in state and "fwd-status=304" in state
    assert "; hit" in marked.state(target, *lines)


def test_what_came_after_the_mark_is_none_of_its_business(marked: Marked) -> None:
    marked.mark()
    marked.get("/plain")
    assert "; hit" in marked.state("/plain")


def test_a_fill_under_way_is_not_joined_any_more_and_its_response_is_validated_before_use(marked: Marked) -> None:
    answers: list[str] = []
    first = threading.Thread(target=lambda: answers.append(marked.state("/slow")))
    first.start()
    wait_until(lambda: len(marked.upstream.requests) == 1, "the fill to be under way")
    marked.mark()
    second = threading.Thread(target=lambda: answers.append(marked.state("/slow")))
    second.start()
    wait_until(lambda: len(marked.upstream.requests) == 2, "the second to ask by itself")
    marked.released.set()
    first.join(20)
    second.join(20)
    assert len(answers) == 2
