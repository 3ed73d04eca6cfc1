"""What must hold for any octets that a Raft peer sends: no message, or one that is whole and within bounds, which a replica can take."""

from collections.abc import Callable
from random import Random
from typing import Final

from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.wire import WireError, decode, encode
from agent.core.replica import io
from agent.core.replica.log import COMMAND, Entry, HardState, Members, Peer, Recovered, SnapshotMeta

MEMBERS: Final = Members(voters=(1, 2, 3), learners=(4,), peers=tuple(Peer(one, f"n{one}") for one in (1, 2, 3, 4)))
BEGIN: Final = Recovered(
    HardState(2, 0, 3),
    SnapshotMeta(index=1, term=1, members=MEMBERS),
    tuple(Entry(2, index, COMMAND, b"x") for index in range(2, 6)),
)


def replica(leads: bool) -> tuple[Raft, float]:
    config = RaftConfig(max_batch_bytes=64)
    if not leads:
        return Raft(1, config, Random(1), BEGIN, 0.0), 0.0
    alone = Members(voters=(1,), learners=(2, 3), peers=MEMBERS.peers[:3])
    raft = Raft(1, config, Random(1), Recovered(snapshot=SnapshotMeta(index=1, term=1, members=alone)), 0.0)
    raft.step(0.0, io.Wake())
    raft.step(0.0, io.Stored(1))
    raft.step(0.0, io.Stored(2))
    assert raft.role == "leader"
    return raft, 0.0


def raft_message(data: bytes) -> None:
    """A message that is taken is the same again when it is sent on."""
    try:
        message = decode(data)
    except WireError:
        return
    assert decode(encode(message)) == message


def raft_peer(data: bytes) -> None:
    """Messages, each with an octet for its sender and two for its length, to a follower or (first octet odd) to a leader. Members that
    contradict themselves may end a replica by its own assertions, and in no other way."""
    raft, now = replica(bool(data[:1] and data[0] & 1))
    data = data[1:]
    number = 0
    while data:
        sender, length, rest = data[0] % 5 + 1, int.from_bytes(data[1:3], "big"), data[3:]
        data = rest[length:]
        try:
            message = decode(rest[:length])
        except WireError:
            continue
        try:
            for effect in raft.step(now, io.Receive(sender, message)):
                number = effect.number if isinstance(effect, io.Persist) else number
            if number:
                raft.step(now, io.Stored(number))
            now = max(now, min(raft.next_wake(), now + 1))
            raft.step(now, io.Wake())
        except AssertionError:
            return
        assert raft.commit <= raft.log.last and raft.log.stable <= raft.log.last


RAFT_TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"raft_message": raft_message, "raft_peer": raft_peer}
