"""What a region's log holds of the global group. As with all commands, a structure here never changes."""

from msgspec import Struct

from agent.core.machine.commands import Count
from agent.core.replica.log import Entry, HardState, Members, SnapshotMeta


class Found(Struct, frozen=True, array_like=True, gc=False, tag="global.found", forbid_unknown_fields=True):
    """This region is the global group's member `me`. `members`: of a group that begins with this region among others; none: it is to be
    taken in. Once; later ones change nothing."""

    me: Count
    members: Members


class Keep(Struct, frozen=True, array_like=True, gc=False, tag="global.keep", forbid_unknown_fields=True):
    """What the global core wants durable, and how far it is committed. `life`: the region's term in which this was proposed; `serial`
    counts such commands in it. Each of `batches` replaces whatever stands at its indices and after. `number`: of the last `Persist`."""

    life: Count
    serial: Count
    number: Count
    hard: HardState | None
    batches: tuple[tuple[Entry, ...], ...]
    commit: Count


class Piece(Struct, frozen=True, array_like=True, gc=False, tag="global.piece", forbid_unknown_fields=True):
    """A piece of a snapshot of the global state, from another region. They come in order; offset 0 begins anew."""

    life: Count
    serial: Count
    meta: SnapshotMeta
    offset: Count
    data: bytes
    last: bool
