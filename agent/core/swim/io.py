"""What goes into the membership core and what comes out of it. `runtime/driver.py` and the simulator carry it out alike.

The host calls `step(now, input)` and carries the effects out in the order given; it calls `step(now, Wake())` no later than
`next_wake()` says. A stream carries one request and at most one answer (memberlist: push/pull, the fallback ping, user data).
"""

from msgspec import Struct

from agent.core.swim.messages import Message, NodeState, Place


class Wake(Struct, frozen=True, gc=False):
    """The time that `next_wake` named has come."""


class PacketIn(Struct, frozen=True, gc=False):
    """One message out of a datagram (a compound is taken apart before)."""

    source: Place
    message: Message


class StreamRequest(Struct, frozen=True, gc=False):
    """A peer opened a stream and asked; the answer is a `StreamReply` with the same number."""

    stream: int
    source: Place
    message: Message


class StreamAnswer(Struct, frozen=True, gc=False):
    """What came back on a stream that `OpenStream` opened."""

    stream: int
    message: Message


class StreamFailed(Struct, frozen=True, gc=False):
    """A stream that `OpenStream` opened gave no answer: refused, broken, malformed, or out of time."""

    stream: int
    reason: str


class Join(Struct, frozen=True, gc=False):
    """Ask the members at these places to be let in: a push/pull with each. Every one ends in a `JoinEnded`."""

    places: tuple[Place, ...]


class Leave(Struct, frozen=True, gc=False):
    """Leave gracefully: members are told, then `MemberEvent("leave")` about this member itself says that the host may stop."""


class UpdateMeta(Struct, frozen=True, gc=False):
    """This member's metadata is another from now on. Raises ValueError above `meta_bytes_max`."""

    meta: bytes


class Broadcast(Struct, frozen=True, gc=False):
    """To random members, as often as news of members is sent. It goes no further by itself: who receives it gets a `Deliver` and
    broadcasts it in turn where it concerns everybody (as in memberlist, and as Serf does with its events and intents).

    One with the same key replaces an earlier one that is still queued; no key replaces nothing.

    `foreign`: it goes out without our mark, for members of another program (see `core/swim/serf.py`). Raises ValueError for a payload
    that does not fit a packet.
    """

    payload: bytes
    key: str = ""
    foreign: bool = False


class SendUser(Struct, frozen=True, gc=False):
    """To one member, by name; unknown names are counted and dropped. `reliable`, or too large for a packet: over a stream."""

    node: str
    payload: bytes
    reliable: bool = False


Input = Wake | PacketIn | StreamRequest | StreamAnswer | StreamFailed | Join | Leave | UpdateMeta | Broadcast | SendUser


class SendPacket(Struct, frozen=True, gc=False):
    """One datagram; more than one message makes a compound. The core keeps it within the packet budget."""

    to: Place
    messages: tuple[Message, ...]


class OpenStream(Struct, frozen=True, gc=False):
    """Ask over a stream. `answered`: whether an answer is expected; without one the stream closes after the request."""

    stream: int
    to: Place
    message: Message
    answered: bool
    timeout_s: float


class StreamReply(Struct, frozen=True, gc=False):
    """Answer a `StreamRequest`, then close. None closes without an answer."""

    stream: int
    message: Message | None


class MemberEvent(Struct, frozen=True, gc=False):
    """The member list changed. kind: join, update, suspect, refute, fail, leave, reap, conflict.

    About this member itself: refute (it was accused and answered), leave (it has left), conflict (another claims its name).
    """

    kind: str
    member: NodeState
    detail: str = ""


class Deliver(Struct, frozen=True, gc=False):
    """The application's own message came. `source`: the address that it came from, not proof of who sent it."""

    source: Place
    payload: bytes


class MergeState(Struct, frozen=True, gc=False):
    """The application's part of a push/pull came from a peer. join: somebody asked to be let in; asked: it was us who asked."""

    payload: bytes
    join: bool
    asked: bool = False


class JoinEnded(Struct, frozen=True, gc=False):
    """One place of a `Join` has answered, or not: `reason` is empty for success."""

    place: Place
    reason: str = ""


Effect = SendPacket | OpenStream | StreamReply | MemberEvent | Deliver | MergeState | JoinEnded
