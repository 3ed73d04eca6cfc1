"""What goes into the gossip core and what comes out of it. Members are called by their names; the host knows their addresses."""

from msgspec import Struct

from agent.core.gossip.messages import Invalidation, Stream


class Wake(Struct, frozen=True, gc=False):
    """The time that `next_wake` named has come."""


class MemberUp(Struct, frozen=True, gc=False):
    """Membership: this one is there (join, refute, update)."""

    name: str


class MemberGone(Struct, frozen=True, gc=False):
    """Membership: this one left, died or was reaped."""

    name: str


class Received(Struct, frozen=True, gc=False):
    """A user message came: by broadcast, by packet or by stream, all the same."""

    payload: bytes


class PushPullIn(Struct, frozen=True, gc=False):
    """The user part of a push/pull came. join: it is the answer to our joining, so it tells what there is before we cached anything."""

    payload: bytes
    join: bool = False


class Publish(Struct, frozen=True):
    """Set (bytes) or delete (None) keys of our own. urgent: tell at once rather than at the next exchanges; for what is rare."""

    items: tuple[tuple[str, bytes | None], ...]
    urgent: bool = False


class Invalidate(Struct, frozen=True):
    """Tell everyone to drop (or, soft, to validate) what `kind`, `host` and `value` name; the host has done so here already.

    request: the host's number for it, which `Issued` and `PurgeAnswer` repeat. wait_s: answer when all have acknowledged, or after so
    long; 0 does not wait. after: the context that the caller passed. Kind `fence` names nothing:
    who acknowledges it has what `after` names.
    """

    request: int
    kind: str
    host: bytes = b""
    value: bytes = b""
    soft: bool = False
    wait_s: float = 0.0
    after: tuple[Stream, ...] = ()


class Want(Struct, frozen=True):
    """These numbers of a stream, which were taken as the past when we joined, are wanted after all."""

    origin: str
    generation: int
    sequences: tuple[int, ...]


Input = Wake | MemberUp | MemberGone | Received | PushPullIn | Publish | Invalidate | Want


class SendPacket(Struct, frozen=True, gc=False):
    """One user message in one datagram to each of these members, now."""

    to: tuple[str, ...]
    payload: bytes


class Broadcast(Struct, frozen=True, gc=False):
    """Hand it to membership's fair queue: sent to random members, so many times as is in proportion to log n. Membership forwards
    nothing: each member that this is news to broadcasts it again."""

    payload: bytes


class SendStream(Struct, frozen=True, gc=False):
    """One user message by stream to this member: too much for packets."""

    to: str
    payload: bytes


class Changed(Struct, frozen=True, gc=False):
    """A key of another node has a new value; None: it is gone."""

    node: str
    key: str
    value: bytes | None


class Forgot(Struct, frozen=True, gc=False):
    """Nothing is known of that node any more; all its keys are gone."""

    node: str


class Apply(Struct, frozen=True, gc=False):
    """Apply an invalidation that another agent issued. Comes once for each, in any order; applying one twice does no harm."""

    invalidation: Invalidation


class MarkStale(Struct, frozen=True, gc=False):
    """Invalidations are lost: whatever was requested from an upstream before `older_than` (the host's seconds, as `now`) may be wrong,
    and must be validated before its next use. hosts: what is of these alone; none: everything."""

    older_than: float
    origin: str
    reason: str
    hosts: tuple[bytes, ...] = ()


class Issued(Struct, frozen=True):
    """An invalidation of ours has its number. context: all that we have seen including it; what the caller passes on as `after`."""

    request: int
    sequence: int
    context: tuple[Stream, ...]


class PurgeAnswer(Struct, frozen=True):
    """Who has it of `total` live members, ourselves included. early: who has it but not yet all that its caller had seen."""

    request: int
    acked: int
    total: int
    missing: tuple[str, ...]
    early: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """``acked 19 of 20, missing web-7``"""
        words = f"acked {self.acked} of {self.total}"
        if self.missing:
            words += f", missing {', '.join(self.missing)}"
        if self.early:
            words += f", without what came before it {', '.join(self.early)}"
        return words


Effect = SendPacket | Broadcast | SendStream | Changed | Forgot | Apply | MarkStale | Issued | PurgeAnswer
