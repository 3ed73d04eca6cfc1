"""What agents tell each other, by gossip, of their places in a group, and how they are told apart."""

from typing import Final, Protocol

from msgspec import Struct

from agent.core.gossip.facts import LEADER, LEARNER, VOTER, Seat

MEMBER_ROLES: Final = (LEARNER, VOTER, LEADER)


class Seen(Struct, frozen=True):
    """An agent with a seat, as this one sees it now. alive: membership says that it is there. failed_s: how long it has been gone."""

    name: str
    seat: Seat
    alive: bool
    failed_s: float = 0.0
    zone: str = ""
    region: str = ""


class Board(Protocol):
    """Where seats are told and read: the cluster fabric (`agent.cluster.board`)."""

    def tell(self, group: str, seat: Seat) -> None:
        """What this agent says of itself from now on."""

    def seen(self, group: str) -> dict[str, Seen]:
        """Agents that are, or were, there and have told a seat; without this one."""

    def own_zone(self) -> tuple[str, str]:
        """Zone and region of this agent."""

    def state(self, name: str) -> tuple[str, float]:
        """What membership says of an agent (alive, suspect, dead, left, unknown), and for how many seconds."""


def leader_of(seen: dict[str, Seen], group_id: int) -> str:
    """Who says that it leads this group, the latest term first; empty for nobody."""
    found = [(one.seat.term, one.name) for one in seen.values() if one.alive and one.seat.role == LEADER and one.seat.group_id == group_id]
    return max(found)[1] if found else ""


def groups_of(seen: dict[str, Seen]) -> dict[int, list[str]]:
    """Groups that are there under the one name, by id, with their members' names. More than one must never be."""
    groups: dict[int, list[str]] = {}
    for one in seen.values():
        if one.seat.group_id and one.alive and one.seat.role in MEMBER_ROLES:
            groups.setdefault(one.seat.group_id, []).append(one.name)
    return groups
