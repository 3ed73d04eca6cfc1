"""What operators want of a group, done by whoever leads, from whichever agent they ask."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from agent.cluster.consensus.host import Host
from agent.cluster.consensus.messages import Order, Ordered
from agent.cluster.consensus.seats import Seen
from agent.core.gossip.facts import VOTER
from agent.core.replica.log import Members, Peer

if TYPE_CHECKING:
    from agent.cluster.consensus.service import Consensus

WAIT_S: Final = 10.0
LEADER_S: Final = 5.0
"""For so long a leader is waited for,"""
AGAIN_S: Final = 0.2
"""and looked for so often."""
NO_LEADER: Final = "the group has no leader that this agent knows: see `pilotfish consensus status`"
CHANGED: Final = "the leader has just changed; ask again"


Answer = Callable[[str], None]
"""Hears "" or what is wrong."""


class OrderError(Exception):
    """It cannot be done; the text says why, for people."""


class Orders:
    """Of one agent."""

    Error = OrderError

    def __init__(self, service: "Consensus") -> None:
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[str]] = {}
        self._last = 0

    async def give(self, what: str, name: str) -> None:
        """Have it done. Raises OrderError, TimeoutError."""
        service = self._service
        if service.off:
            raise OrderError(f"this agent takes no part in the group: {service.off}")
        end_at = self._loop.time() + LEADER_S
        problem = await self._give(what, name)
        while problem in (NO_LEADER, CHANGED) and self._loop.time() < end_at:
            await asyncio.sleep(AGAIN_S)
            problem = await self._give(what, name)
        if problem:
            raise OrderError(problem)

    async def _give(self, what: str, name: str) -> str:
        """Once; what is wrong with it."""
        service = self._service
        future: asyncio.Future[str] = self._loop.create_future()
        self._last += 1
        ticket = self._last
        self._waiting[ticket] = future
        try:
            if service.leads:
                self._obey(what, name, lambda problem: self._told(ticket, problem))
            else:
                leader = service.leader_name()
                if not leader or not service.say(leader, Order(ticket, what, name)):
                    return NO_LEADER
            async with asyncio.timeout(WAIT_S):
                return await future
        finally:
            self._waiting.pop(ticket, None)

    async def snapshot(self) -> int:
        """Take one here, now; its index. Raises OrderError, TimeoutError."""
        member = self._service.life.member
        if member is None or member.host.broken:
            raise OrderError("this agent holds no state")
        future: asyncio.Future[tuple[str, int]] = self._loop.create_future()
        member.snapshots.take(lambda reason, index: None if future.done() else future.set_result((reason, index)))
        async with asyncio.timeout(WAIT_S * 6):
            reason, index = await future
        if reason:
            raise OrderError(f"the snapshot was not taken: {reason}")
        return index

    def take(self, name: str, message: Order | Ordered) -> None:
        """Another agent hands one on, or tells what came of ours."""
        if isinstance(message, Ordered):
            self._told(message.ticket, message.problem)
        else:
            ticket = message.ticket
            self._obey(message.what, message.name, lambda problem: self._answer(name, ticket, problem))

    def _answer(self, name: str, ticket: int, problem: str) -> None:
        self._service.say(name, Ordered(ticket, problem[:512]))

    def _told(self, ticket: int, problem: str) -> None:
        future = self._waiting.get(ticket)
        if future is not None and not future.done():
            future.set_result(problem)

    def _obey(self, what: str, name: str, answer: Answer) -> None:
        host = self._service.host()
        if host is None or not host.leads:
            answer(CHANGED)
            return
        try:
            if what == "transfer":
                host.transfer(_voter(host.members, name) if name else 0, lambda reason, index: answer(_refused(reason)))
                return
            members = _added(host, self._seen(), name) if what == "add" else _removed(host, name)
        except OrderError as error:
            answer(str(error))
            return
        host.change(members, lambda reason, index: answer(_refused(reason)))

    def _seen(self) -> dict[str, Seen]:
        return self._service.seen

    def stop(self) -> None:
        for future in self._waiting.values():
            if not future.done():
                future.set_result("the agent stops")


def _refused(reason: str) -> str:
    if reason == "pending_change":
        return "another change of the members is under way; ask again when `pilotfish consensus members` shows it done"
    return f"the leader refused: {reason}" if reason else ""


def _id(members: Members, name: str) -> int:
    found = [peer.id for peer in members.peers if peer.name == name]
    if not found:
        raise OrderError(f"{name!r} is no member of the group")
    return found[0]


def _voter(members: Members, name: str) -> int:
    member = _id(members, name)
    if member not in members.voters:
        raise OrderError(f"{name!r} is a learner; only a voter can lead")
    return member


def _removed(host: Host, name: str) -> Members:
    members = host.members
    member = _id(members, name)
    voters = tuple(voter for voter in members.voters if voter != member)
    if not voters:
        raise OrderError(f"{name!r} is the only voter; a group cannot be without one")
    return replace(
        members,
        voters=voters,
        learners=tuple(learner for learner in members.learners if learner != member),
        peers=tuple(peer for peer in members.peers if peer.id != member),
        target=(),
        learners_next=(),
    )


def _added(host: Host, seen: dict[str, Seen], name: str) -> Members:
    members = host.members
    if any(peer.name == name and peer.id in members.voters for peer in members.peers):
        raise OrderError(f"{name!r} is a voter already")
    row = seen.get(name)
    if row is None or not row.alive or not row.seat.member or row.seat.wants != VOTER:
        raise OrderError(f"{name!r} is no agent that is there and may vote (consensus.role: voter)")
    member = row.seat.member
    peers = {peer.id: peer for peer in members.peers}
    peers[member] = Peer(member, name, row.zone, row.region, row.seat.priority)
    return replace(
        members,
        voters=tuple(sorted((*members.voters, member))),
        learners=tuple(learner for learner in members.learners if learner != member),
        peers=tuple(peer for _, peer in sorted(peers.items())),
        target=(),
        learners_next=(),
    )
