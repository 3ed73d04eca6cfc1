"""What must hold for any octets that a member of a Byzantine group sends: no message, or one within bounds that no replica falls over."""

from collections.abc import Callable
from typing import Final

from agent.core.pbft import messages as m
from agent.core.pbft.config import PbftConfig
from agent.core.pbft.core import Pbft
from agent.core.pbft.wire import WireError, decode, encode
from agent.core.replica import io
from agent.core.replica.log import Members, Peer, Recovered, SnapshotMeta
from agent.sim.byzantine.keys import Keys

MEMBERS: Final = Members(voters=(1, 2, 3, 4), peers=tuple(Peer(one, f"n{one}") for one in (1, 2, 3, 4)))
KEYS: Final = Keys(1)
CONFIG: Final = PbftConfig(checkpoint_interval=2, window=4)


def replica(me: int, *, trusting: bool = False) -> Pbft:
    """`trusting`: every signature is right, so that octets get further. Members that lie beyond f may then end a replica."""
    verify = (lambda member, data, sig: True) if trusting else KEYS.verify
    core = Pbft(me, CONFIG, MEMBERS, Recovered(snapshot=SnapshotMeta(members=MEMBERS)), KEYS.signer(me), verify)
    core.step(0.0, io.Wake())
    core.step(0.0, io.Stored(1))
    return core


def pbft_message(data: bytes) -> None:
    """A message that is taken is the same again when it is sent on."""
    try:
        message = decode(data)
    except WireError:
        return
    assert decode(encode(message)) == message


def pbft_peer(data: bytes) -> None:
    """Messages, each with an octet for its sender and two for its length, to a backup or (first octet odd) to a primary. Liars cannot
    sign for others, and whatever they say nothing is committed by it, no table grows past its bound and the replica goes on."""
    core = replica(1 if data[:1] and data[0] & 1 else 2)
    data = data[1:]
    now, number = 0.0, 1
    while data:
        sender, length, rest = data[0] % 5 + 1, int.from_bytes(data[1:3], "big"), data[3:]
        data = rest[length:]
        try:
            message = decode(rest[:length])
        except WireError:
            continue
        number, now = play(core, sender, message, number, now)
        board = core.board
        assert core.commit == 0
        assert len(board.slots) <= CONFIG.window and len(board.pending) <= 4 * CONFIG.pending_max
        assert len(board.checkpoints) <= 4 * 4 and len(core.views.changes) <= 4 and len(board.wants) <= CONFIG.window


def play(core: Pbft, sender: int, message: m.Message, number: int, now: float) -> tuple[int, float]:
    for effect in core.step(now, io.Receive(sender, message)):
        number = effect.number if isinstance(effect, io.Persist) else number
    core.step(now, io.Stored(number))
    now = max(now, min(core.next_wake(), now + 1))
    core.step(now, io.Wake())
    return number, now


PBFT_TARGETS: Final[dict[str, Callable[[bytes], None]]] = {"pbft_message": pbft_message, "pbft_peer": pbft_peer}
