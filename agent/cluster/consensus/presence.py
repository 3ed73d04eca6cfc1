"""What an agent tells the others of its place in the group, and what it makes of what they tell."""

from typing import TYPE_CHECKING, Final

from agent.cluster.consensus.seats import Seen, groups_of, leader_of
from agent.core.gossip.facts import ABSENT, CLIENT, LEADER, LEARNER, VOTER, Seat
from agent.core.swim.messages import Place

if TYPE_CHECKING:
    from agent.cluster.consensus.service import Consensus

WANTS: Final = {"voter": VOTER, "learner": LEARNER, "client": CLIENT}
CONNECTIONS_MAX: Final = 128
"""To other agents of the group."""


class Presence:
    """Of one agent's part in a group."""

    def __init__(self, service: "Consensus") -> None:
        self._service = service
        self.leader_seat = ""
        """Who says that it leads."""
        self.groups = 0
        """How many groups of the name are there: one, or something is very wrong."""

    def look(self, seen: dict[str, Seen]) -> None:
        """Take what the others tell, connect to whom that concerns, tell our own."""
        service = self._service
        life, host = service.life, service.host()
        groups = groups_of(seen)
        if life.group_id and host is not None:
            groups.setdefault(life.group_id, []).append(service.name)
        if len(groups) > 1 and self.groups <= 1:
            service.log.error("consensus_split", groups={f"{group:x}": names for group, names in groups.items()})
            service.tell("consensus", f"{len(groups)} groups of the name {service.config.group} are there")
        self.groups = len(groups)
        group_id = life.group_id or (max(groups, key=lambda group: (len(groups[group]), group)) if groups else 0)
        self.leader_seat = leader_of(seen, group_id) if group_id else ""
        if host is not None:
            for one in seen.values():
                if one.seat.group_id == life.group_id and one.seat.member:
                    service.post.meet(one.seat.member, one.name)
        self._connect(seen, group_id)
        self.publish()

    def _connect(self, seen: dict[str, Seen], group_id: int) -> None:
        """Keep connections to the members; those that a leader has to reach come first."""
        wanted: dict[str, Place] = {}
        host = self._service.host()
        named = {peer.name for peer in host.members.peers} if host is not None else set()
        rows = [one for one in seen.values() if one.seat.port and one.alive]
        rows.sort(key=lambda one: (one.name not in named, -one.seat.role if one.seat.role != CLIENT else 1, one.name))
        for one in rows:
            of_ours = one.seat.group_id == group_id and one.seat.role in (LEARNER, VOTER, LEADER)
            if (one.name in named or (of_ours and group_id)) and len(wanted) < CONNECTIONS_MAX:
                wanted[one.name] = (one.seat.address, one.seat.port)
        self._service.transport.want(wanted)

    def own_seat(self) -> Seat:
        """What the others are told of this agent."""
        service = self._service
        life, host, config = service.life, service.host(), service.config
        role = ABSENT
        if service.client_only:
            role = CLIENT
        elif host is not None and host.me in (*host.members.voters, *host.members.outgoing):
            role = LEADER if host.leads else VOTER
        elif host is not None and host.me in host.members.learners:
            role = LEARNER
        founding = config.role == "voter" and not life.group_id
        return Seat(
            group_id=life.group_id if role in (LEARNER, VOTER, LEADER) else 0,
            member=0 if service.client_only or service.off else life.standing.member,
            address=service.place[0],
            port=service.place[1],
            role=role,
            wants=WANTS[config.role],
            term=host.term if host is not None else 0,
            priority=config.priority,
            durable=not config.memory,
            leaving=service.leaving,
            expect=(len(config.bootstrap) or config.bootstrap_expect) if founding else 0,
            ballot=life.ballot,
            promised=life.promised,
        )

    def own_seen(self) -> Seen:
        """Ourselves as the others see us."""
        zone, region = self._service.board.own_zone()
        return Seen(self._service.name, self.own_seat(), True, 0.0, zone, region)

    def publish(self) -> None:
        self._service.board.tell(self._service.config.group, self.own_seat())
