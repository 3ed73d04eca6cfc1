"""What the data path and the cluster floor tell each other. Neither imports the other: agent.app passes these between them."""

from msgspec import Struct

from agent.core.gossip.facts import Announced, Health, HotKeys, Judgements, Load


class AnnouncedEndpoint(Struct, frozen=True):
    """An endpoint, and the member that announces it. far: of another region; the member is the gateway that tells of it."""

    member: str
    fact: Announced
    far: bool = False


class Reported(Struct, frozen=True):
    """The load that a member told last, and how long ago."""

    load: Load
    age_s: float = 0.0


class LocalFacts(Struct, frozen=True):
    """All that this agent says of itself. What was there the last time and is not any more is withdrawn."""

    health: Health = Health()
    load: Load = Load()
    judgements: dict[str, Judgements] = {}
    """By service; those alone of which there is anything to say."""
    endpoints: tuple[Announced, ...] = ()
    """Of the local application; the healthy ones alone."""
    hot: HotKeys | None = None


class RegionResult(Struct, frozen=True):
    """How far an invalidation came in one region."""

    acked: int
    of: int


class PurgeResult(Struct, frozen=True):
    """How far an invalidation came: `acked` of `of` live members, ourselves included. early: who has it but lacks what its caller had
    seen before. context: for the `after` of a later one. Where there are other regions, their members count too, and are named with
    their region; regions: each that answered; unreachable: those of which nothing is known."""

    acked: int
    of: int
    missing: tuple[str, ...] = ()
    early: tuple[str, ...] = ()
    context: str = ""
    regions: dict[str, RegionResult] = {}
    unreachable: tuple[str, ...] = ()
