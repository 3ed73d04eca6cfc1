"""Collapsed forwarding: one flight for one key, whoever comes and goes."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.cache_rig import Rig, answer
from tests.harness.client import RawClient, Reply
from tests.harness.upstream import Answer, Close, Received
from tests.harness.wait import wait_until

BOUND_S = 20.0
HEAD = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 10\r\n\r\n"


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    policies: dict[str, dict[str, object]] = {
        "web": {},
        "few": {"waiters_max": 2},
        "brief": {"wait_timeout": "20ms"},
        "swr": {"stale_while_revalidate": "1h"},
    }
    with Rig(policies, store={"object_bytes_max": "1MiB"}) as rig:
        yield rig


class Held:
    """An upstream answer in pieces, each after the first sent when the test says so."""

    def __init__(self, *pieces: object) -> None:
        self.pieces = pieces
        self.gates = [threading.Event() for _ in pieces]

    def __call__(self, _: Received) -> Answer:
        return self._steps()

    def _steps(self) -> Iterator[object]:
        for gate, piece in zip(self.gates, self.pieces, strict=True):
            yield lambda gate=gate: gate.wait(BOUND_S)
            yield piece

    def release(self, number: int) -> None:
        """Let the first so many pieces go."""
        for gate in self.gates[:number]:
            gate.set()


def ask(client: RawClient, target: str, *lines: str, host: str = "web") -> RawClient:
    return client.send("\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}.test", *lines, "", ""]).encode())


def collapsed(rig: Rig, service: str = "web") -> float:
    return rig.agent.metric("pilotfish_cache_collapsed_total", service=service)


def requests_in_flight(rig: Rig) -> float:
    return rig.agent.metric("pilotfish_requests_in_flight", service="web")


def script_held(rig: Rig, *pieces: object, then: tuple[bytes, ...] = ()) -> tuple[str, Held]:
    held = Held(*pieces)
    return rig.script(lambda request: held(request), *then), held


def wait_for_requests(rig: Rig, target: str, count: int) -> None:
    wait_until(lambda: rig.count(target) >= count, f"{count} requests at the upstream")


def test_one_request_at_the_upstream_for_many_clients(rig: Rig) -> None:
    target, held = script_held(rig, HEAD + b"0123456789")
    before = collapsed(rig)
    clients = [rig.client() for _ in range(40)]
    for client in clients:
        ask(client, target)
    wait_until(lambda: collapsed(rig) == before + 39, "all others to wait on the first")
    held.release(1)
    replies = [client.reply() for client in clients]
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"0123456789")}
    assert rig.count(target) == 1
    assert sum("collapsed" in (reply.header("cache-status") or "") for reply in replies) == 39
    for client in clients:
        client.close()


def test_who_comes_late_reads_what_is_there_and_then_the_rest(rig: Rig) -> None:
    target, held = script_held(rig, HEAD + b"01234", b"56789")
    held.release(1)
    with rig.client() as first, rig.client() as second:
        ask(first, target).until(b"01234")
        ask(second, target).until(b"01234")
        held.release(2)
        assert first.exactly(5) == second.exactly(5) == b"56789"
    assert rig.count(target) == 1


@pytest.mark.parametrize("pieces", [0, 1])
def test_the_first_client_may_leave(rig: Rig, pieces: int) -> None:
    """Before the response has begun, and in the middle of it."""
    target, held = script_held(rig, HEAD + b"01234", b"56789")
    before = collapsed(rig)
    held.release(pieces)
    with rig.client() as second:
        with rig.client() as first:
            ask(first, target)
            wait_for_requests(rig, target, 1)
            if pieces:
                first.until(b"01234")
            ask(second, target)
            wait_until(lambda: collapsed(rig) == before + 1, "the second to join")
        held.release(2)
        assert second.reply().body == b"0123456789"
    assert rig.get(target).body == b"0123456789"
    assert rig.count(target) == 1


def test_a_fill_that_nobody_waits_for_is_still_stored(rig: Rig) -> None:
    target, held = script_held(rig, HEAD + b"01234", b"56789")
    held.release(1)
    with rig.client() as only:
        ask(only, target).until(b"01234")
    held.release(2)
    wait_until(lambda: "hit" in (rig.get(target, "Cache-Control: only-if-cached").header("cache-status") or ""), "the fill to land")
    assert rig.count(target) == 1


def test_a_slow_first_client_holds_up_nobody(rig: Rig) -> None:
    body = b"x" * 900_000
    target, held = script_held(rig, answer("Cache-Control: max-age=60", body=body))
    with rig.client() as slow, rig.client() as quick:
        ask(slow, target)
        wait_for_requests(rig, target, 1)
        ask(quick, target)
        held.release(1)
        assert quick.reply().body == body
        assert rig.get(target).body == body
        assert slow.reply().body == body
    assert rig.count(target) == 1


def test_a_failed_fill_fails_for_all_who_wait_and_is_asked_for_anew(rig: Rig) -> None:
    target, held = script_held(rig, Close, then=(HEAD + b"0123456789",))
    before = collapsed(rig)
    with rig.client() as first, rig.client() as second:
        ask(first, target)
        wait_for_requests(rig, target, 1)
        ask(second, target)
        wait_until(lambda: collapsed(rig) == before + 1, "the second to join")
        # The connection is the upstream's first or a kept one: then the request is sent again, and answered.
        rig.scripts[target] = [lambda _: Close]
        held.release(1)
        assert (first.reply().status, second.reply().status) == (502, 502)
    rig.scripts[target] = [HEAD + b"0123456789"]
    assert rig.get(target).body == b"0123456789"


@pytest.mark.parametrize("head", [HEAD, b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"])
def test_an_incomplete_response_is_cut_for_all_and_never_stored(rig: Rig, head: bytes) -> None:
    target, held = script_held(rig, head + b"01234", Close, then=(HEAD + b"0123456789",))
    held.release(1)
    with rig.client() as first, rig.client() as second:
        ask(first, target).until(b"01234")
        ask(second, target).until(b"01234")
        held.release(2)
        for client in (first, second):
            assert client.rest().strip() == b"", "no last chunk, nothing more: the end of the connection says that it is not whole"
    assert rig.get(target).body == b"0123456789"
    assert rig.count(target) == 2


def test_a_response_that_cannot_be_shared_goes_to_each_on_its_own(rig: Rig) -> None:
    """And the key is not collapsed for a while, so that nobody waits in vain."""
    held = Held(answer("Cache-Control: private", body="first"))
    target = rig.script(lambda request: held(request), answer("Cache-Control: private", body="own"))
    before = collapsed(rig)
    clients = [rig.client() for _ in range(30)]
    ask(clients[0], target)
    wait_for_requests(rig, target, 1)
    for client in clients[1:]:
        ask(client, target)
    wait_until(lambda: collapsed(rig) == before + 29, "all others to wait")
    held.release(1)
    assert [client.reply().body for client in clients] == [b"first"] + [b"own"] * 29
    assert rig.count(target) == 30

    late = Held(answer("Cache-Control: private", body="late"))
    rig.scripts[target] = [lambda request: late(request)]
    for client in clients[:3]:
        ask(client, target)
    wait_for_requests(rig, target, 33)
    late.release(1)
    assert {client.reply().body for client in clients[:3]} == {b"late"}
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("line", "script"),
    [
        ("Cache-Control: no-store", answer("Cache-Control: max-age=60")),
        ('If-None-Match: "a"', b'HTTP/1.1 304 Not Modified\r\nETag: "a"\r\n\r\n'),
    ],
)
def test_one_request_that_cannot_be_shared_does_not_stop_collapsing(rig: Rig, line: str, script: bytes) -> None:
    target = rig.script(script)
    rig.get(target, line)
    held = Held(HEAD + b"0123456789")
    rig.scripts[target] = [lambda request: held(request)]
    before = collapsed(rig)
    with rig.client() as first, rig.client() as second:
        ask(first, target)
        ask(second, target)
        wait_until(lambda: collapsed(rig) == before + 1, "one to wait on the other")
        held.release(1)
        assert first.reply().body == second.reply().body == b"0123456789"
    assert rig.count(target) == 2


def test_who_waits_for_another_variant_asks_on_its_own(rig: Rig) -> None:
    held = Held(answer("Cache-Control: max-age=60", "Vary: Foo", body="one"))
    target = rig.script(lambda request: held(request), answer("Cache-Control: max-age=60", "Vary: Foo", body="two"))
    before = collapsed(rig)
    with rig.client() as first, rig.client() as same, rig.client() as other:
        ask(first, target, "Foo: 1")
        wait_for_requests(rig, target, 1)
        ask(same, target, "Foo: 1")
        ask(other, target, "Foo: 2")
        wait_until(lambda: collapsed(rig) == before + 2, "both to wait")
        held.release(1)
        assert (first.reply().body, same.reply().body, other.reply().body) == (b"one", b"one", b"two")
    assert rig.count(target) == 2


def test_no_more_wait_than_may(rig: Rig) -> None:
    target, held = script_held(rig, HEAD + b"0123456789", then=(answer(body="own"),))
    clients = [rig.client() for _ in range(4)]
    before = collapsed(rig, "few")
    ask(clients[0], target, host="few")
    wait_for_requests(rig, target, 1)
    for client in clients[1:3]:
        ask(client, target, host="few")
    wait_until(lambda: collapsed(rig, "few") == before + 2, "two to wait")
    assert ask(clients[3], target, host="few").reply().body == b"own"
    held.release(1)
    assert [client.reply().body for client in clients[:3]] == [b"0123456789"] * 3
    for client in clients:
        client.close()


def test_nobody_waits_longer_than_configured(rig: Rig) -> None:
    target, held = script_held(rig, HEAD + b"0123456789", then=(answer(body="own"),))
    with rig.client() as first, rig.client() as second:
        ask(first, target, host="brief")
        wait_for_requests(rig, target, 1)
        assert ask(second, target, host="brief").reply().body == b"own"
        held.release(1)
        assert first.reply().body == b"0123456789"


def test_a_response_too_large_to_keep_reaches_everybody_whole(rig: Rig) -> None:
    body = bytes(range(256)) * 8192
    target = rig.script(answer("Cache-Control: max-age=60", body=body))
    chunked = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
    pieces = [b"%x\r\n%b\r\n" % (65536, body[at : at + 65536]) for at in range(0, len(body), 65536)]
    unknown, held = script_held(rig, chunked + pieces[0], b"".join(pieces[1:]) + b"0\r\n\r\n", then=(answer(body="again"),))
    assert rig.get(target).body == body
    assert rig.get(target).body == body and rig.count(target) == 2
    held.release(1)
    with ThreadPoolExecutor(3) as pool:
        before = collapsed(rig)
        replies = [pool.submit(rig.get, unknown) for _ in range(3)]
        wait_until(lambda: collapsed(rig) == before + 2, "two to join")
        held.release(2)
        assert all(reply.result().body == body for reply in replies)
    assert rig.get(unknown).body == b"again"


@pytest.mark.parametrize("how", ["POST", "url", "tag"])
def test_what_a_purge_overtook_is_neither_stored_nor_joined(rig: Rig, how: str) -> None:
    """A response may be of the time before the change that the purge was for."""
    old = Held(answer("Cache-Control: max-age=60", body="old"))
    target = rig.script(
        lambda request: answer() if request.method == "POST" else old(request), answer("Cache-Control: max-age=60", body="new")
    )
    rig.scripts[target].insert(1, lambda request: answer() if request.method == "POST" else answer("Cache-Control: max-age=60", body="new"))
    with rig.client() as first:
        ask(first, target)
        wait_for_requests(rig, target, 1)
        if how == "POST":
            assert rig.post(target).status == 200
        else:
            rig.agent.post("/cache/purge", {how: f"http://web.test{target}" if how == "url" else "anything"})
        assert rig.get(target).body == b"new"
        old.release(1)
        assert first.reply().body == b"old"
    assert rig.get(target).body == b"new"
    assert rig.count(target) == (3 if how == "POST" else 2)


def test_one_validation_in_the_background_for_many_stale_hits(rig: Rig) -> None:
    """RFC 5861 section 3."""
    stale = answer("Cache-Control: max-age=1", "Age: 30", 'ETag: "a"', body="old")
    held = Held(answer("Cache-Control: max-age=60", 'ETag: "b"', body="new"))
    target = rig.script(stale, lambda request: held(request))
    rig.get(target, host="swr.test")
    for _ in range(10):
        reply: Reply = rig.get(target, host="swr.test")
        assert (reply.status, reply.body) == (200, b"old")
    wait_for_requests(rig, target, 2)
    assert rig.seen[target][1].header("if-none-match") == '"a"'
    held.release(1)
    wait_until(lambda: rig.get(target, host="swr.test").body == b"new", "the new response")
    assert rig.count(target) == 2


def test_a_validation_that_fails_in_the_background_leaves_the_stale_response(rig: Rig) -> None:
    stale = answer("Cache-Control: max-age=1", "Age: 30", body="old")
    target = rig.script(stale, answer(status=500), answer("Cache-Control: max-age=60", body="new"))
    rig.get(target, host="swr.test")
    assert rig.get(target, host="swr.test").body == b"old"
    wait_for_requests(rig, target, 2)
    wait_until(lambda: rig.get(target, host="swr.test").body == b"new", "a later validation")
    assert rig.count(target) == 3


def test_who_waits_on_a_validation_is_served_although_the_first_left_and_the_whole_must_be_fetched(rig: Rig) -> None:
    stale = answer("Cache-Control: max-age=1", "Age: 90", 'ETag: "a"')
    held = Held(b'HTTP/1.1 304 N\r\nCache-Control: no-store\r\nETag: "a"\r\n\r\n')
    target = rig.script(stale, lambda request: held(request), answer("Cache-Control: max-age=60", body=b"new"))
    rig.get(target)
    before = collapsed(rig)
    first, second = rig.client(), rig.client()
    ask(first, target)
    wait_for_requests(rig, target, 2)
    ask(second, target)
    wait_until(lambda: collapsed(rig) == before + 1, "the second to wait on the first")
    in_flight = requests_in_flight(rig)
    first.reset()
    wait_until(lambda: requests_in_flight(rig) == in_flight - 1, "the first to be gone")
    held.release(1)
    assert second.reply().body == b"new"
    second.close()


def filling(rig: Rig) -> int:
    return int(rig.agent.get("/cache")["filling_bytes"])


def test_what_is_on_its_way_into_the_store_is_bounded_too() -> None:
    """Beyond a quarter of the store responses pass and are not kept, however many come at once; each reaches its client whole."""
    body = bytes(300_000)
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % (len(body) + 1)
    with Rig({"web": {}}, store={"size": "1MiB", "object_bytes_max": "400KiB"}) as rig:
        scripts = [script_held(rig, head + body, b"!") for _ in range(6)]
        clients = []
        for target, held in scripts:
            held.release(1)
            clients.append(ask(rig.client(), target))
            wait_for_requests(rig, target, 1)
        for client in clients:
            client.until(b"\r\n\r\n" + body)
        assert 0 < filling(rig) <= 400 * 1024 + len(body)
        for (_, held), client in zip(scripts, clients, strict=True):
            held.release(2)
            assert client.exactly(1) == b"!"
            client.close()
        wait_until(lambda: filling(rig) == 0, "all to have landed")
        assert rig.agent.get("/cache")["entries"] == 1


def test_a_body_in_too_many_pieces_passes_and_is_not_kept(rig: Rig) -> None:
    target = rig.script(HEAD.replace(b"Content-Length: 10", b"Transfer-Encoding: chunked") + b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
    assert rig.get(target).body == b"x" * 20_000
    rig.get(target)
    assert rig.count(target) == 2
    wait_until(lambda: filling(rig) == 0, "nothing to be on its way")
