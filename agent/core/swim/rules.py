"""What is believed of members: alive, suspect, dead, left, and which of two rumours wins (SWIM section 4.2, memberlist's state.go).

A higher incarnation wins; of the same incarnation, dead beats suspect beats alive. Only a member itself raises its incarnation.
"""

from typing import Final

from msgspec import structs

from agent.core.swim.desk import QUIET, REAP, SUSPICION, Desk
from agent.core.swim.members import Member, place_of
from agent.core.swim.messages import ALIVE, DEAD, LEFT, SUSPECT, Alive, Dead, NodeState, Place, Suspect
from agent.core.swim.suspicion import Suspicion

INCARNATION_MAX: Final = 0xFFFFFFFF - 1
"""memberlist has 32 bits. An accusation up there could not be refuted any more, so it is not heard."""
NAME_MAX: Final = 255


def overlaps(ours: tuple[int, ...], theirs: tuple[int, ...]) -> bool:
    """Whether there is a protocol that both speak, and one of the delegate's (each: least, most, current)."""
    least, most = theirs[0], theirs[1]
    if least < 1 or most < least or theirs[4] < theirs[3]:
        return False
    return max(ours[0], least) <= min(ours[1], most) and max(ours[3], theirs[3]) <= min(ours[4], theirs[4])


class Rules:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def announce(self) -> None:
        """Tell the others of ourselves as we are now."""
        own = self._desk.own.node
        alive = Alive(own.incarnation, own.name, own.address, own.port, own.meta, own.versions)
        self._desk.spread(own.name, alive)

    def on_alive(self, alive: Alive) -> None:
        desk = self._desk
        if alive.node == desk.name:
            self._on_alive_of_self(alive)
            return
        member = desk.members.by_name.get(alive.node)
        if member is None:
            self._meet(alive)
            return
        node = member.node
        moved = alive.address != node.address or alive.port != node.port
        if moved and len(alive.address) not in (4, 16):
            desk.counters.ignored += 1
            return
        if moved and node.state < DEAD:
            # Two processes claim one name, or it restarted elsewhere before anybody noticed: the one we know keeps the name
            # (memberlist keeps it beyond death too, unless DeadNodeReclaimTime is set; we need only a later incarnation then).
            host, port = place_of(alive.address, alive.port)
            desk.tell("conflict", node, f"also claimed from {host} port {port}")
            return
        if alive.incarnation <= node.incarnation:
            return
        if not self._speaks(alive):
            return
        now = desk.now
        changed = alive.meta != node.meta or alive.versions != node.versions
        desk.members.change(
            member, NodeState(alive.node, alive.address, alive.port, alive.incarnation, ALIVE, alive.meta, alive.versions), now
        )
        member.suspicion = None
        desk.spread(alive.node, alive)
        if node.state >= DEAD:
            desk.tell("join", member.node)
        else:
            if node.state == SUSPECT:
                desk.tell("refute", member.node)
            if changed:
                desk.tell("update", member.node)

    def _meet(self, alive: Alive) -> None:
        """A member that we did not know."""
        desk = self._desk
        if not 0 < len(alive.node) <= NAME_MAX or len(desk.members.by_name) >= desk.config.members_max or not self._speaks(alive):
            desk.counters.ignored += 1
            return
        node = NodeState(alive.node, alive.address, alive.port, alive.incarnation, ALIVE, alive.meta, alive.versions)
        desk.members.add(node, desk.now)
        desk.spread(alive.node, alive)
        desk.tell("join", node)

    def _speaks(self, alive: Alive) -> bool:
        return (
            alive.incarnation <= INCARNATION_MAX
            and len(alive.address) in (4, 16)
            and len(alive.meta) <= self._desk.config.meta_bytes_max
            and overlaps(self._desk.own.node.versions, alive.versions)
        )

    def _on_alive_of_self(self, alive: Alive) -> None:
        """An echo of ourselves, of a life before a restart, or somebody else with our name."""
        desk = self._desk
        own = desk.own.node
        if desk.leaving or alive.incarnation < own.incarnation or alive.incarnation > INCARNATION_MAX:
            return
        if alive.address != own.address or alive.port != own.port:
            other = NodeState(alive.node, alive.address, alive.port, alive.incarnation, ALIVE, alive.meta, alive.versions)
            desk.tell("conflict", other, "claims our name")
            return
        if alive.incarnation == own.incarnation and alive.meta == own.meta and alive.versions == own.versions:
            return
        self._outbid(alive.incarnation)
        self.announce()

    def on_suspect(self, suspect: Suspect, asker: Place | None = None) -> None:
        """`asker`: who sent it, if a packet brought it."""
        desk = self._desk
        member = desk.members.by_name.get(suspect.node)
        if member is None:
            desk.counters.unknown_members += 1
            return
        node = member.node
        if suspect.incarnation < node.incarnation or suspect.incarnation > INCARNATION_MAX:
            return
        if member is desk.own:
            self._refute(suspect.incarnation, suspect.source)
            return
        suspicion = member.suspicion
        if suspicion is not None:
            if suspicion.confirm(suspect.source):
                desk.remind(suspicion.deadline, SUSPICION, suspect.node)
                desk.spread(suspect.node, suspect)
            return
        if node.state != ALIVE:
            if node.state == DEAD and asker is not None:
                # The news of its death is over for us, and passed by whoever came meanwhile: nobody would ever confirm.
                desk.post(asker, Dead(node.incarnation, node.name, desk.name))
            return
        suspicion = Suspicion(desk.config, desk.now, desk.members.count, suspect.source)
        member.suspicion = suspicion
        desk.remind(suspicion.deadline, SUSPICION, suspect.node)
        desk.members.set_state(member, SUSPECT, suspect.incarnation, desk.now)
        desk.counters.suspicions += 1
        desk.spread(suspect.node, suspect)
        desk.tell("suspect", member.node, suspect.source)

    def accusation(self, name: str) -> Dead | None:
        """What we would hold against a member that speaks to us, if it is dead to us or has left: it refutes if it lives. It may be
        wrongly accused, or have come back with no memory of the life that ended, which its first incarnation cannot outbid."""
        member = self._desk.members.by_name.get(name)
        if member is None or member.node.state < DEAD:
            return None
        return Dead(member.node.incarnation, name, self._desk.name)

    def on_suspicion_due(self, name: str) -> None:
        """A suspect did not refute in time."""
        desk = self._desk
        member = desk.members.by_name.get(name)
        # A confirmation makes another timer: the old one finds a deadline that is not its own, or no suspicion at all.
        if member is not None and member.suspicion is not None and member.suspicion.deadline <= desk.now:
            detail = f"{member.suspicion.confirmations} confirmations"
            self.on_dead(Dead(member.node.incarnation, name, desk.name), detail)

    def on_dead(self, dead: Dead, detail: str = "") -> None:
        desk = self._desk
        member = desk.members.by_name.get(dead.node)
        if member is None:
            desk.counters.unknown_members += 1
            return
        node = member.node
        if dead.incarnation < node.incarnation or dead.incarnation > INCARNATION_MAX or node.state >= DEAD:
            return
        if member is desk.own:
            if not desk.leaving:
                self._refute(dead.incarnation, dead.source)
            return
        member.suspicion = None
        left = dead.node == dead.source
        self._bury(member, LEFT if left else DEAD, dead.incarnation)
        desk.spread(dead.node, dead)
        desk.tell("leave" if left else "fail", member.node, detail or dead.source)

    def _bury(self, member: Member, state: int, incarnation: int) -> None:
        desk = self._desk
        desk.members.set_state(member, state, incarnation, desk.now)
        name = member.node.name
        desk.remind(desk.now + desk.config.gossip_to_the_dead_s, QUIET, name)
        desk.remind(desk.now + desk.config.reap_s, REAP, name)

    def on_quiet_due(self, name: str) -> None:
        desk = self._desk
        member = desk.members.by_name.get(name)
        if member is not None and member.changed_at + desk.config.gossip_to_the_dead_s <= desk.now:
            desk.members.drop_recent(member)

    def on_reap_due(self, name: str) -> None:
        desk = self._desk
        member = desk.members.by_name.get(name)
        # One that came back and died again has a later timer of its own.
        if member is not None and member.node.state >= DEAD and member.changed_at + desk.config.reap_s <= desk.now:
            desk.members.reap(member)
            desk.tell("reap", member.node)

    def _refute(self, incarnation: int, source: str) -> None:
        """We are accused: say that we live, as of a later incarnation; and doubt ourselves, since somebody could not reach us."""
        desk = self._desk
        desk.counters.refutations += 1
        desk.awareness.apply(1)
        self._outbid(incarnation)
        self.announce()
        desk.tell("refute", desk.own.node, source)

    def _outbid(self, incarnation: int) -> None:
        desk = self._desk
        own = desk.own
        later = max(own.node.incarnation, incarnation) + 1
        assert later > own.node.incarnation
        desk.members.change(own, structs.replace(own.node, incarnation=later), desk.now)

    def update_meta(self, meta: bytes) -> None:
        desk = self._desk
        if len(meta) > desk.config.meta_bytes_max:
            raise ValueError(f"metadata: found {len(meta)} octets, expected at most {desk.config.meta_bytes_max}")
        own = desk.own
        if meta != own.node.meta:
            desk.members.change(own, structs.replace(own.node, meta=meta, incarnation=own.node.incarnation + 1), desk.now)
            self.announce()

    def on_states(self, nodes: tuple[NodeState, ...]) -> None:
        """What a peer knows of everybody (a push/pull's half). Somebody dead to the peer is suspect to us: it may have news to tell."""
        by_name = self._desk.members.by_name
        own = self._desk.own
        for node in nodes:
            known = by_name.get(node.name)
            if known is not None and known is not own:
                # Nearly always: nothing new.
                ours = known.node
                if ours is node or (
                    ours.incarnation == node.incarnation
                    and ours.state == node.state
                    and ours.address == node.address
                    and ours.port == node.port
                ):
                    continue
            if node.state == ALIVE:
                self.on_alive(Alive(node.incarnation, node.name, node.address, node.port, node.meta, node.versions))
            elif node.state == LEFT:
                self.on_dead(Dead(node.incarnation, node.name, node.name))
            else:
                if known is None and node.state == SUSPECT:
                    # Nothing else may ever tell us of a suspect that refutes to others: meet it first.
                    self.on_alive(Alive(node.incarnation, node.name, node.address, node.port, node.meta, node.versions))
                self.on_suspect(Suspect(node.incarnation, node.name, self._desk.name))
