"""How peers prove themselves, without sockets."""

import os

import pytest

from agent.runtime.peers.handshake import Handshake, key_name
from agent.runtime.peers.wire import MAGIC, VERSION, Hello, PeerError, encode_hello

KEY, OTHER, THIRD = bytes(range(32)), bytes(range(1, 33)), bytes(range(2, 18))


def meet(first: Handshake, second: Handshake) -> None:
    """Carry everything across until nobody says anything."""
    to_second, to_first = first.start(), second.start()
    while to_second or to_first:
        answers = [answer for body in to_second for answer in second.take(body)]
        to_second = [answer for body in to_first for answer in first.take(body)]
        to_first = answers


def pair(
    ours: tuple[bytes, ...] = (KEY,), theirs: tuple[bytes, ...] = (KEY,), clusters: tuple[str, str] = ("blue", "blue")
) -> tuple[Handshake, Handshake]:
    return Handshake(clusters[0], "a", ours, initiator=True), Handshake(clusters[1], "b", theirs, initiator=False)


def test_both_sides_prove_that_they_have_a_key_and_open_what_the_other_seals() -> None:
    first, second = pair()
    meet(first, second)
    assert first.done and second.done
    assert first.peer is not None and first.peer.name == "b" and second.peer is not None and second.peer.name == "a"
    assert first.sender and first.receiver and second.sender and second.receiver
    for word in (b"one", b"two"):
        sealed = first.sender.seal(word)
        assert word not in sealed
        assert second.receiver.open(sealed) == word
    assert first.receiver.open(second.sender.seal(b"back")) == b"back"


def test_a_record_is_not_opened_twice_nor_out_of_its_place_nor_back_at_its_sender() -> None:
    first, second = pair()
    meet(first, second)
    assert first.sender and first.receiver and second.receiver
    once, then = first.sender.seal(b"once"), first.sender.seal(b"then")
    assert second.receiver.open(once) == b"once"
    with pytest.raises(PeerError, match="does not open"):
        second.receiver.open(once)
    with pytest.raises(PeerError):
        first.receiver.open(then)


def test_what_was_recorded_of_one_connection_proves_nothing_on_another() -> None:
    first, second = pair()
    hello = first.start()[0]
    answer = second.take(hello)
    proof = [said for body in answer for said in first.take(body)]
    again = Handshake("blue", "b", (KEY,), initiator=False)
    again.take(hello)
    with pytest.raises(PeerError) as error:
        again.take(proof[0])
    assert error.value.reason == "not_decrypted"
    assert not again.done


@pytest.mark.parametrize(
    ("ours", "theirs", "used"),
    [
        ((KEY,), (KEY, OTHER), KEY),
        ((OTHER, KEY), (KEY, OTHER), KEY),
        ((KEY, OTHER), (OTHER,), OTHER),
        ((THIRD, OTHER), (OTHER, KEY), OTHER),
    ],
)
def test_during_a_rotation_a_key_that_both_have_is_used(ours: tuple[bytes, ...], theirs: tuple[bytes, ...], used: bytes) -> None:
    first, second = pair(ours, theirs)
    meet(first, second)
    assert first.done and second.done and first.key == second.key == used


@pytest.mark.parametrize(
    ("ours", "theirs", "clusters", "reason"),
    [
        ((KEY,), (OTHER,), ("blue", "blue"), "keys"),
        ((KEY,), (), ("blue", "blue"), "keys"),
        ((), (KEY,), ("blue", "blue"), "keys"),
        ((KEY,), (KEY,), ("blue", "green"), "label"),
    ],
)
def test_who_has_no_key_of_ours_or_is_of_another_cluster_is_not_heard(
    ours: tuple[bytes, ...], theirs: tuple[bytes, ...], clusters: tuple[str, str], reason: str
) -> None:
    first, second = pair(ours, theirs, clusters)
    with pytest.raises(PeerError) as error:
        meet(first, second)
    assert error.value.reason == reason
    assert not first.done and not second.done


def test_who_only_knows_the_name_of_a_key_does_not_get_through() -> None:
    """A liar that says our key's name and does not have it."""
    second = Handshake("blue", "b", (KEY,), initiator=False)
    liar = Handshake("blue", "a", (OTHER,), initiator=True)
    public = Handshake("blue", "a", (OTHER,), initiator=True)
    public.start()
    hello = Hello(MAGIC, VERSION, "blue", "a", os.urandom(32), os.urandom(32), (key_name(KEY),))
    second.take(encode_hello(hello))
    liar.start()
    with pytest.raises(PeerError):
        second.take(b"\0" * 16)
    assert not second.done


def test_without_keys_it_is_the_hellos_alone_and_nobody_talks_to_itself() -> None:
    first, second = pair((), ())
    meet(first, second)
    assert first.done and second.done and first.sender is None
    with pytest.raises(PeerError, match="as we are"):
        Handshake("blue", "a", (), initiator=False).take(Handshake("blue", "a", (), initiator=True).start()[0])


def test_another_version_is_told_as_such() -> None:
    hello = Hello(MAGIC, VERSION + 1, "blue", "a", bytes(32))
    with pytest.raises(PeerError) as error:
        Handshake("blue", "b", (), initiator=False).take(encode_hello(hello))
    assert error.value.reason == "version"
