"""Connections between peers on real sockets: plain, by keys, by certificate."""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from agent.runtime.log import Logger
from agent.runtime.peers import link as links
from agent.runtime.peers.transport import PeerTransport, no_keys
from agent.runtime.peers.wire import Frame
from agent.runtime.transport.tls import MutualTls
from tests.harness.authority import Authority

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))


class Peer:
    """A transport and what it has heard."""

    def __init__(self, name: str, keys: list[bytes] | None = None, tls: MutualTls | None = None, cluster: str = "blue") -> None:
        self.heard: list[tuple[str, Frame]] = []
        self.unreachable: list[str] = []
        self.keys = keys
        self.transport = PeerTransport(
            cluster,
            name,
            lambda peer, frames: self.heard.extend((peer, frame) for frame in frames),
            self.unreachable.append,
            Logger("error"),
            random.Random(name),
            (lambda: tuple(self.keys or ())) if keys is not None else no_keys,
            tls,
        )

    async def start(self, port: int = 0) -> "Peer":
        await self.transport.start(("127.0.0.1", port))
        return self

    def want(self, *others: "Peer") -> None:
        self.transport.want({other.transport.name: other.transport.place for other in others})

    def send(self, to: str, payload: bytes) -> bool:
        return self.transport.send(to, Frame("main", 0, 1, 2, payload))

    def payloads(self) -> list[bytes]:
        return [frame.payload for _, frame in self.heard]


async def until(condition: Callable[[], Any], what: str) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is other code's
            await asyncio.sleep(0.005)
    assert condition(), what


def run(work: Callable[[], Awaitable[None]]) -> None:
    uvloop.run(_closed(work))


_peers: list[Peer] = []


async def _closed(work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    finally:
        for peer in _peers:
            await peer.transport.stop()
        _peers.clear()


async def started(*arguments: Any, **named: Any) -> Peer:
    peer = await Peer(*arguments, **named).start()
    _peers.append(peer)
    return peer


def security(kind: str, tmp_path: Path) -> list[dict[str, Any]]:
    if kind == "tls":
        authority = Authority()
        return [
            {"tls": MutualTls(authority.write(tmp_path / name, f"spiffe://blue/agent/{name}"), "blue", ("/agent",))} for name in ("a", "b")
        ]
    return [{"keys": [KEY]}, {"keys": [KEY, OTHER]}] if kind == "keys" else [{}, {}]


@pytest.mark.parametrize("kind", ["plain", "keys", "tls"])
def test_frames_go_both_ways_and_one_turn_is_one_write(kind: str, tmp_path: Path) -> None:
    async def work() -> None:
        ours, theirs = security(kind, tmp_path)
        a, b = await started("a", **ours), await started("b", **theirs)
        a.want(b)
        await until(lambda: a.transport.connected("b") and b.transport.connected("a"), "a connection")
        before = a.transport.counters.writes
        for number in range(50):
            assert a.send("b", b"%d" % number)
        await until(lambda: len(b.heard) == 50, "all of them")
        assert a.transport.counters.writes == before + 1
        assert b.payloads() == [b"%d" % number for number in range(50)]
        assert {peer for peer, _ in b.heard} == {"a"}
        assert b.send("a", b"back")  # on the connection that came
        await until(lambda: a.payloads() == [b"back"], "the answer")
        if kind == "tls":
            assert a.transport.peers()["b"]["identity"] == "spiffe://blue/agent/b"

    run(work)


@pytest.mark.parametrize("kind", ["plain", "keys", "tls"])
def test_large_messages_arrive_whole(kind: str, tmp_path: Path) -> None:
    async def work() -> None:
        ours, theirs = security(kind, tmp_path)
        a, b = await started("a", **ours), await started("b", **theirs)
        a.want(b)
        await until(lambda: a.transport.connected("b"), "a connection")
        sizes = [3_000_000, 5, 700_000, 0, 262_144]
        for size in sizes:
            a.send("b", bytes(size))
        await until(lambda: len(b.heard) == len(sizes), "all of them")
        assert [len(payload) for payload in b.payloads()] == sizes

    run(work)


def test_a_peer_that_comes_back_is_found_again_and_what_was_for_it_meanwhile_is_told_as_lost() -> None:
    async def work() -> None:
        a, b = await started("a", [KEY]), await started("b", [KEY])
        place = b.transport.place
        a.want(b)
        await until(lambda: a.transport.connected("b"), "a connection")
        await b.transport.stop()
        await until(lambda: not a.transport.connected("b"), "the end of it")
        assert "b" in a.unreachable
        assert not a.send("b", b"lost")
        again = Peer("b", [KEY])
        await again.start(place[1])
        _peers.append(again)
        await until(lambda: a.transport.connected("b"), "a new connection")
        a.send("b", b"heard")
        await until(lambda: again.payloads() == [b"heard"], "the message")

    run(work)


def test_when_a_key_is_removed_what_it_proved_ends_and_with_the_new_one_it_goes_on() -> None:
    async def work() -> None:
        a, b = await started("a", [KEY]), await started("b", [KEY])
        a.want(b)
        await until(lambda: a.transport.connected("b") and b.transport.connected("a"), "a connection")
        a.keys = b.keys = [OTHER, KEY]
        for peer in (a, b):
            peer.transport.recheck()
        assert a.transport.connected("b")
        a.keys = b.keys = [OTHER]
        opened = a.transport.counters.opened
        for peer in (a, b):
            peer.transport.recheck()
        await until(lambda: a.transport.counters.opened > opened and a.transport.connected("b"), "a new connection")
        a.send("b", b"still")
        await until(lambda: b.payloads() == [b"still"], "the message")

    run(work)


@pytest.mark.parametrize(
    ("theirs", "reason"),
    [({"keys": [OTHER]}, "keys"), ({}, "keys"), ({"keys": [KEY], "cluster": "green"}, "label")],
)
def test_who_is_not_of_the_cluster_is_refused_and_counted(theirs: dict[str, Any], reason: str) -> None:
    async def work() -> None:
        a, b = await started("a", [KEY]), await started("b", **theirs)
        b.want(a)
        await until(lambda: a.transport.counters.dropped.get(reason), "the refusal")
        assert not a.transport.connected("b") and not b.transport.connected("a")

    run(work)


def test_a_certificate_of_nobody_whom_we_know_is_refused(tmp_path: Path) -> None:
    async def work() -> None:
        ours, theirs = security("tls", tmp_path)
        stranger = MutualTls(Authority("another").write(tmp_path / "c", "spiffe://blue/agent/c"), "blue")
        a, c = await started("a", **ours), await started("c", tls=stranger)
        other = MutualTls(ours["tls"].files, "blue", ("/other",))
        b = await started("b", tls=other)
        c.want(a)
        b.want(a)
        await until(lambda: c.transport.counters.dial_failures and b.transport.counters.dropped.get("tls"), "both refusals")
        assert not a.transport.connected("c")
        assert theirs

    run(work)


def test_a_place_where_another_peer_answers_is_not_taken_for_the_one_that_was_wanted() -> None:
    async def work() -> None:
        a, b = await started("a", [KEY]), await started("b", [KEY])
        a.transport.want({"c": b.transport.place})
        await until(lambda: a.transport.counters.dropped.get("name"), "the refusal")
        assert not a.transport.connected("c")

    run(work)


def test_what_is_no_handshake_and_what_comes_after_one_and_is_no_frame_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "HANDSHAKE_S", 0.2)

    async def work() -> None:
        a = await started("a", [KEY])
        loop = asyncio.get_running_loop()
        rng = random.Random(7)
        for index in range(40):
            data = rng.randbytes(rng.randrange(1, 200))
            if index % 2:
                data = struct.pack(">I", len(data)) + data
            with socket.create_connection(a.transport.place) as sock:
                sock.setblocking(False)
                await loop.sock_sendall(sock, data)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(loop.sock_recv(sock, 100), 5) == b""
        dropped = a.transport.counters.dropped
        assert sum(dropped.values()) == 40, dropped
        assert set(dropped) <= {"malformed", "too_large", "handshake_timeout"}, dropped
        b = await started("b", [KEY])
        b.want(a)
        await until(lambda: b.transport.connected("a") and a.transport.connected("b"), "a connection")
        link = b.transport._outgoing["a"]
        link._write(struct.pack(">I", 20) + bytes(20))
        await until(lambda: a.transport.counters.dropped.get("not_decrypted"), "the refusal")

    run(work)


def test_a_peer_that_does_not_read_costs_a_bounded_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "QUEUE_BYTES_MAX", 1_000_000)

    async def work() -> None:
        a, b = await started("a"), await started("b")
        a.want(b)
        await until(lambda: a.transport.connected("b") and b.transport.connected("a"), "a connection")
        b.transport._incoming["a"]._transport.pause_reading()
        for _ in range(600):
            a.send("b", bytes(50_000))
            await asyncio.sleep(0)
        assert a.transport.counters.queue_drops > 0
        assert "b" in a.unreachable
        assert a.transport._outgoing["b"].waiting_bytes < 1_000_000 + 50_000 + 2 * links.WRITE_HIGH_BYTES
        b.transport._incoming["a"]._transport.resume_reading()
        await until(lambda: a.transport._outgoing["b"].waiting_bytes == 0, "what was left")
        a.send("b", b"again")
        await until(lambda: b.payloads()[-1:] == [b"again"], "the next message")

    run(work)


def test_a_transport_stops_while_a_connection_is_being_made_that_never_will_be(tmp_path: Path) -> None:
    async def work() -> None:
        ours, _ = security("tls", tmp_path)
        a = await started("a", **ours)
        deaf = socket.create_server(("127.0.0.1", 0))
        with deaf, socket.create_connection(a.transport.place) as silent:
            a.transport.want({"b": deaf.getsockname()[:2]})
            accepted = await asyncio.to_thread(deaf.accept)
            await until(lambda: a.transport._unproved, "the one that says nothing")
            await asyncio.wait_for(a.transport.stop(), 10)
            assert silent.fileno() >= 0
            accepted[0].close()
        _peers.remove(a)

    run(work)
