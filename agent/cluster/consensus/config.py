"""What a file says under `consensus:`. This module and `validate` are all of it that an agent without one loads."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from agent.core.units import Address, Count, Duration, Positive, Size


class ConsensusTiming(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Alike on all members: leases rest on it."""

    heartbeat: Duration = 0.1
    """A leader tells the others that it lives so often."""
    election: Duration = 0.8
    """Who hears no leader for one to two times this stands for election. At least 5 heartbeats, and far above the round trip."""
    replace_after: Duration = 60.0
    """A voter that membership says has failed for so long is replaced, where there is another agent to take its place."""
    settle: Duration = 3.0
    """Who there is must have been the same for so long before a group is founded or its voters are changed, and from one change of them
    to the next."""
    request: Duration = 5.0
    """A command or a read that has no answer after so long is given up, unless its caller says otherwise."""


class ConsensusSnapshots(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A snapshot of the state is taken after so much since the last one, whichever comes first; then the log before it can go."""

    entries: Positive = 100_000
    size: Size = 64 * 1024 * 1024
    """Of the commands since then."""


class ConsensusConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This agent's part in a group of agents that agree. Needs `cluster`, through which they find each other, and whose keys or
    certificates protect what they say. Changing it needs a restart."""

    bind: Address = "0.0.0.0:7948"
    """TCP, for other agents."""
    advertise: str = ""
    """The address that others are told, as `cluster.advertise`; where empty, the one that `cluster` tells, with this port."""
    group: Annotated[str, Meta(min_length=1, max_length=32, pattern="^[a-z0-9-]+$")] = "main"
    """The group's name. Agents of one cluster with the same name here are of one group."""
    role: Literal["voter", "learner", "client"] = "voter"
    """The most that this agent may be: one whose word counts, if it is chosen; one that holds the state; or one that asks others."""
    voters: Literal[1, 3, 5, 7] = 3
    """How many the group should have. The leader's setting counts."""
    learners: Count = 2
    """How many agents hold the state beside the voters, ready to take the place of one. The leader's setting counts."""
    priority: Annotated[int, Meta(ge=0, le=9)] = 1
    """Voters with more are preferred as leaders; with 0 never."""
    data: str = ""
    """A folder of this agent's own, on a disk that keeps what was synchronised: the log and the snapshots."""
    memory: bool = False
    """In place of `data`: nothing is kept, and after a restart the agent comes back as a new learner. What is committed survives while
    a majority of the voters does not restart together."""
    bootstrap: tuple[str, ...] = ()
    """Found the group with exactly these agents (their `agent.id`), once all are there. The same list on each of them."""
    bootstrap_expect: Annotated[int, Meta(ge=0, le=7)] = 0
    """Found the group once so many agents with this setting are there, with those whose names come first. An agent that has ever been
    of a group founds none. 0, and no `bootstrap`: never."""
    fast_path: bool = False
    """Writes without conditions (and additions that are not read) that come to a voter which does not lead are answered after one round
    trip to all voters, before they are committed, where nothing that is under way touches the same keys; without their revision. Pays
    where voters are far apart; the same on all members."""
    timing: ConsensusTiming = ConsensusTiming()
    snapshots: ConsensusSnapshots = ConsensusSnapshots()
