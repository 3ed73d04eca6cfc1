"""The small parts of the cluster floor, each by itself."""

import asyncio
import base64
import json
import os
import stat
from pathlib import Path

import pytest

from agent.cluster.asks import AGE_MAX_MS, Asks
from agent.cluster.config import ClusterConfig
from agent.cluster.events import Events
from agent.cluster.frame import GOSSIP, Stamps
from agent.cluster.identity import advertised, decode_profile, encode_profile, own_profile
from agent.cluster.inlet import WAITING_MAX, Inlet
from agent.cluster.keys import Keys, fingerprint
from agent.cluster.peers import Endpoints, Peers
from agent.cluster.publisher import HOT_S, Publisher
from agent.cluster.wellbeing import Crowd, Wellbeing
from agent.core.clocks.hybrid import make
from agent.core.gossip.face import LocalFacts, Reported
from agent.core.gossip.facts import Announced, HotKeys, Judgements, Load, encode
from agent.core.gossip.io import Publish
from agent.core.swim.keyring import KeyRingError
from agent.core.swim.messages import Place
from agent.runtime.garbage import give_back
from agent.runtime.throttle import Throttle, stat_path
from agent.runtime.transport.memory import MemoryNetwork, MemoryTransport
from tests.contract.transports import run, until

KEYS = [bytes([number]) * 32 for number in range(4)]
TEXTS = [base64.b64encode(key).decode() for key in KEYS]


# -- who we are


def test_metadata_say_what_was_meant_and_fit() -> None:
    profile = own_profile("eu" * 80, "z" * 80, "10.0.0.1:15020", {"team": "blue", "x": "y" * 200})
    meta = encode_profile(profile)
    assert len(meta) <= 512
    read = decode_profile(meta)
    assert (read.region, read.zone, read.roles, read.admin, read.tags) == (
        ("eu" * 80)[:64],
        "z" * 64,
        ("pilotfish",),
        "10.0.0.1:15020",
        {"team": "blue", "x": "y" * 200},
    )
    assert read.gossip
    assert decode_profile(b"\xff\xc1").gossip == decode_profile(b"web").gossip == ""


def test_the_address_that_others_are_told() -> None:
    assert advertised("", ("127.0.0.9", 7)) == ("127.0.0.9", 7)
    assert advertised("192.0.2.7", ("0.0.0.0", 7)) == ("192.0.2.7", 7)
    assert advertised("192.0.2.7:9", ("0.0.0.0", 7)) == ("192.0.2.7", 9)
    assert advertised("", ("0.0.0.0", 7), "127.0.0.1") == ("127.0.0.1", 7)


# -- clocks


def test_a_clock_too_far_ahead_is_refused_and_what_it_stamped_is_heard() -> None:
    wall = [1_000_000]
    ours, theirs = Stamps(lambda: wall[0]), Stamps(lambda: wall[0] + 60_000)
    assert ours.open(theirs.close(GOSSIP, b"word"), "web-7") == (GOSSIP, b"word")
    assert (ours.clock.rejected, ours.skew_s) == (1, 60.0)
    assert "web-7" in ours.last_error and ours.now() < make(1_000_001)
    for _ in range(60):
        ours.next_second()
    assert ours.skew_s == 0.0
    with pytest.raises(ValueError, match="early"):
        ours.open(b"\0short", "web-7")


# -- the inlet


class Slow:
    """A receiver that takes so long for a packet."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.got: list[bytes] = []

    def on_packet(self, source: Place, data: bytes) -> None:
        end = asyncio.get_running_loop().time() + self.seconds
        self.got.append(data)
        while asyncio.get_running_loop().time() < end:
            pass

    def on_connection(self, connection: object) -> None:
        raise AssertionError


def test_a_storm_takes_a_share_of_the_loop_and_no_peer_takes_all_of_the_queue() -> None:
    async def work() -> None:
        inlet = Inlet(MemoryTransport(MemoryNetwork(), ("10.0.0.1", 1)))
        await inlet.listen()
        receiver = Slow(0.0005)
        await inlet.start(receiver)  # type: ignore[arg-type]
        bad, good = ("10.0.0.66", 1), ("10.0.0.2", 1)
        for number in range(3 * WAITING_MAX):
            inlet.on_packet(bad, b"%d" % number)
        assert len(receiver.got) < 200, "the rest waits"
        assert inlet.waiting <= WAITING_MAX // 4
        shed = inlet.shed
        assert shed > WAITING_MAX
        inlet.on_packet(good, b"good")
        assert inlet.shed == shed
        turns = 0

        def other() -> None:
            nonlocal turns
            turns += 1
            loop.call_soon(other)

        loop = asyncio.get_running_loop()
        other()
        await until(lambda: b"good" in receiver.got, "the good peer to be heard")
        assert turns > len(receiver.got) / 10, "others had their turns in between"
        assert receiver.got[: len(receiver.got) - 1] == sorted(receiver.got[:-1], key=int), "in order"
        await inlet.close()

    run(work)


# -- keys


def test_a_key_ring_is_changed_live_and_kept_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(json.dumps(TEXTS[:1]))
    keys = Keys(ClusterConfig(keyring_file=str(path)))
    assert keys.ring is not None
    keys.change("install", TEXTS[1])
    keys.change("use", fingerprint(KEYS[1]))
    with pytest.raises(KeyRingError):
        keys.change("remove", TEXTS[1])
    keys.change("remove", TEXTS[0])
    assert keys.ring.keys == (KEYS[1],)
    assert json.loads(path.read_text()) == [TEXTS[1]]
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not keys.refresh(), "our own writing is no news"
    with pytest.raises(ValueError, match="octets") as caught:
        keys.change("install", "c2hvcnQ=")
    assert "c2hvcnQ" not in str(caught.value)


def test_a_key_file_is_read_again_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keyring.json"
    path.write_text(json.dumps(TEXTS[:2]))
    keys = Keys(ClusterConfig(keyring_file=str(path)))
    assert keys.ring is not None
    path.write_text("[")
    assert not keys.refresh()
    assert keys.last_error and keys.ring.keys == (KEYS[0], KEYS[1])
    path.write_text(json.dumps([TEXTS[2], TEXTS[1], TEXTS[3]]))
    assert keys.refresh()
    assert keys.ring.keys == (KEYS[2], KEYS[1], KEYS[3])
    path.unlink()
    assert not keys.refresh()
    assert keys.ring.keys == (KEYS[2], KEYS[1], KEYS[3])


def test_a_whole_ring_is_replaced_by_another_whole_one() -> None:
    old = [bytes([number]) * 16 for number in range(8)]
    new = tuple(bytes([number]) * 16 for number in range(100, 108))
    keys = Keys(ClusterConfig(keys=tuple(base64.b64encode(key).decode() for key in old)))
    assert keys.ring is not None and keys.take(new)
    assert keys.ring.keys == new
    assert not keys.take(new)


# -- peers


def announced(service: str, port: int, **more: object) -> bytes:
    return encode(Announced(service, "10.0.0.1", port, **more))  # type: ignore[arg-type]


def test_endpoints_are_those_of_live_members_and_go_at_once() -> None:
    told: list[Endpoints] = []
    later: list[object] = []
    peers = Peers(told.append, later.append)
    peers.changed("a", "endpoint:web:9000", announced("web", 9000))
    assert not told, "a is not known to be there"
    profile = own_profile("", "", "", {})
    peers.up("a", profile)
    peers.up("b", profile)
    peers.changed("b", "endpoint:web:9000", announced("web", 9000))
    peers.changed("b", "endpoint:api:9001", announced("api", 9001))
    assert not told and len(later) == 1, "what comes together is told together"
    later.pop()()  # type: ignore[operator]
    assert {service: [each.member for each in found] for service, found in told.pop().items()} == {"web": ["a", "b"], "api": ["b"]}
    peers.gone("b")
    assert {service: [each.member for each in found] for service, found in told.pop().items()} == {"web": ["a"]}
    assert not later, "not a moment later"
    peers.changed("a", "endpoint:web:9000", announced("web", 9000, weight=5))
    assert told.pop()["web"][0].fact.weight == 5
    peers.changed("a", "endpoint:web:9000", None)
    assert told.pop() == {}
    peers.gone("a")
    assert not told


def test_what_peers_say_that_does_not_fit_is_counted_and_not_used() -> None:
    peers = Peers(lambda endpoints: None, lambda what: None)
    peers.up("a", own_profile("", "", "", {}))
    peers.changed("a", "load", b"\xc1")
    peers.changed("a", "load:of a newer agent", b"\xc1")
    peers.changed("a", "something else", b"\xc1")
    assert (peers.unreadable, peers.loads(0.0)) == (2, {})
    peers.changed("a", "load", encode(Load(cpu=0.5)), 3.0)
    peers.changed("a", "judge:web", encode(Judgements()))
    assert peers.loads(5.0)["a"] == Reported(Load(cpu=0.5), 2.0) and peers.judgements() == {"a": {"web": Judgements()}}
    peers.gone("a")
    assert (peers.loads(9.0), peers.judgements()) == ({}, {})


# -- what we say


def test_only_what_changed_is_said_and_what_is_gone_is_withdrawn() -> None:
    said: list[Publish] = []
    publisher = Publisher(said.append, pytest.fail)
    web = Announced("web", "10.0.0.1", 9000)
    facts = LocalFacts(judgements={"api": Judgements()}, endpoints=(web,))
    publisher.tell(facts, 0.0, 3)
    assert [(order.urgent, [key for key, _ in order.items]) for order in said] == [(True, ["health", "judge:api", "endpoint:web:9000"])]
    said.clear()
    publisher.tell(facts, 1.0, 3)
    assert not said
    publisher.tell(LocalFacts(load=Load(cpu=0.9)), 2.0, 3)
    assert [(order.urgent, order.items[0][0]) for order in said] == [(True, "judge:api"), (False, "load")]
    assert said[0].items == (("judge:api", None), ("endpoint:web:9000", None))
    said.clear()
    for second in range(60):
        publisher.tell(LocalFacts(load=Load(cpu=0.9), hot=HotKeys(bytes([second]), 7)), 3.0 + second, 3)
    assert len(said) == 60 / HOT_S, "a filter of hot keys is large"


def test_what_cannot_be_said_does_not_silence_the_rest() -> None:
    said: list[str] = []
    refused: list[str] = []

    def publish(order: Publish) -> None:
        if any(key.startswith("judge") for key, _ in order.items):
            raise ValueError("too large")
        said.extend(key for key, _ in order.items)

    Publisher(publish, refused.append).tell(LocalFacts(judgements={"x": Judgements()}, endpoints=(Announced("web", "h", 1),)), 0.0, 1)
    assert (said, refused) == (["health", "endpoint:web:1"], ["too large"])


# -- how we are


def test_lost_time_and_throttling_make_us_doubt_ourselves(tmp_path: Path) -> None:
    path = tmp_path / "cpu.stat"
    path.write_text("usage_usec 5\nnr_throttled 1\nthrottled_usec 1000000\n")
    wellbeing = Wellbeing(Throttle(str(path)))
    assert wellbeing.look(10.0, 0.0) == 0, "what was before we began does not count"
    path.write_text("usage_usec 5\nnr_throttled 9\nthrottled_usec 1500000\n")
    assert wellbeing.look(11.0, 0.0) == 4
    assert [wellbeing.look(12.0 + second, 0.0) for second in range(5)] == [3, 2, 1, 0, 0]
    assert wellbeing.look(17.0, 5.0) == 7
    path.unlink()
    assert wellbeing.look(18.0, 5.0) == 6


def test_the_cgroup_s_file_is_found_in_both_versions(tmp_path: Path) -> None:
    mine = tmp_path / "cgroup"
    for text, place in (("0::/kubepods/pod1\n", "kubepods/pod1"), ("3:cpu,cpuacct:/docker/7\n1:memory:/x\n", "cpu,cpuacct/docker/7")):
        mine.write_text(text)
        (tmp_path / place).mkdir(parents=True)
        found = tmp_path / place / "cpu.stat"
        found.write_text("nr_throttled 3\nthrottled_time 2000000000\n")
        assert stat_path(str(mine), str(tmp_path)) == str(found)
    throttle = Throttle(str(found))
    throttle.read(1.0)
    assert throttle.throttled_s == 2.0
    assert stat_path(str(tmp_path / "none"), str(tmp_path)) == ""


# -- questions, events


def test_questions_are_answered_by_those_asked_and_old_ones_by_nobody() -> None:
    async def work() -> None:
        wall = 10_000_000
        asks: dict[str, Asks] = {}
        sent: list[bytes] = []

        def send(to: str, is_answer: bool, octets: bytes) -> None:
            if is_answer:
                asks[to].on_answer(octets)
                asks[to].on_answer(octets)  # replayed
            else:
                sent.append(octets)
                if to != "silent":
                    asks[to].on_ask(octets, wall)

        def act(what: str, arguments: tuple[str, ...]) -> tuple[str, ...]:
            if what == "no":
                raise ValueError("cannot be done")
            return arguments

        asks.update((name, Asks(name, send, act)) for name in "abc")
        answers = await asks["a"].ask(["b", "c", "silent"], make(wall), "echo", ("x",), 0.05)
        assert {name: answer.values for name, answer in answers.items()} == {"b": ("x",), "c": ("x",)}
        assert (await asks["a"].ask(["b"], make(wall), "no", (), 0.05))["b"].error == "cannot be done"
        assert await asks["a"].ask(["b"], make(wall - AGE_MAX_MS - 1), "echo", (), 0.05) == {}
        assert asks["b"].refused == 1
        for octets in (b"\xc1", b"\x95\x01\xa1\x80\x00\xa0\x90"):  # no msgpack; a name that is no UTF-8
            asks["b"].on_ask(octets, wall)
            asks["b"].on_answer(octets)
        assert asks["b"].refused == 5

    run(work)


def test_a_watcher_that_fails_is_counted_and_the_others_hear() -> None:
    faults: list[None] = []
    events = Events(lambda: faults.append(None))
    heard: list[str] = []
    events.subscribe(lambda event: 1 / 0)  # type: ignore[arg-type, return-value]
    end = events.subscribe(lambda event: heard.append(event["member"]))
    events.tell("join", "a")
    end()
    end()
    events.tell("join", "b")
    assert (heard, len(faults), events.counts) == (["a"], 2, {"join": 2})


def test_memory_is_given_back_once_after_a_crowd_has_come_and_been_told_of() -> None:
    given: list[int] = []
    crowd = Crowd(lambda: bool(given.append(1)))
    for members, queued in ((1, 0), (300, 250), (300, 10), (300, 0), (300, 0), (350, 0), (250, 0), (349, 0)):
        crowd.look(members, queued)
    assert len(given) == 1
    crowd.look(350, 0)
    assert len(given) == 2
    assert give_back() in (True, False)
