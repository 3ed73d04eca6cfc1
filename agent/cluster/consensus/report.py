"""How a group stands as this agent sees it, for people and for metrics."""

from math import inf
from typing import TYPE_CHECKING, Any

from agent.core.gossip.facts import CLIENT, SEAT_ROLES

if TYPE_CHECKING:
    from agent.cluster.consensus.service import Consensus


def status(service: "Consensus") -> dict[str, Any]:
    """All that `GET /consensus` says."""
    life, config = service.life, service.config
    member = life.member
    host = member.host if member is not None else None
    return {
        "name": service.name,
        "group": config.group,
        "group_id": f"{life.group_id:x}" if life.group_id else "",
        "member": life.standing.member if config.role != "client" else 0,
        "state": state(service),
        "ready": not service.off and bool(service.leads or service.leader_name()),
        "reason": service.off or (life.why if not service.client_only and (host is None or not host.leader) else ""),
        "role": SEAT_ROLES[service.presence.own_seat().role],
        "leader": host.leader if host is not None else 0,
        "leader_name": service.name if service.leads else service.leader_name(),
        "term": host.term if host is not None else 0,
        "mode": "ordered",
        "durable": bool(config.data) and not config.memory,
        "writable": member.writable if member is not None else False,
        "commit": host.core.commit if host is not None else 0,
        "applied": host.applier.index if host is not None else 0,
        "machine_time_ms": service.machine_ms(),
        "revision": member.machine.revision if member is not None else 0,
        "fresh_s": None if service.reader.age_s() == inf else round(service.reader.age_s(), 3),
        "log_bytes": member.store.figures.log_bytes if member is not None else 0,
        "snapshot_index": member.snapshots.last if member is not None else 0,
        "snapshot_bytes": member.store.figures.snapshot_bytes if member is not None else 0,
        "under_way": service.forwarder.under_way,
        "last_change": service.steward.last_change if service.steward is not None else "",
        "groups_seen": service.presence.groups,
        "members": members(service),
        "peers": service.transport.peers(),
    }


def state(service: "Consensus") -> str:
    """off, client, founding, joining (also: not let in yet), or member."""
    if service.off:
        return "off"
    if service.config.role == "client":
        return "client"
    life = service.life
    if life.member is None:
        return "founding" if life.ballot or service.config.bootstrap or service.config.bootstrap_expect else "joining"
    host = life.member.host
    return "member" if host.me in (*host.members.voters, *host.members.learners, *host.members.outgoing) else "joining"


def members(service: "Consensus") -> list[dict[str, Any]]:
    """Who belongs to the group, and which other agents have a seat."""
    host = service.life.member.host if service.life.member is not None else None
    rows = []
    named = set()
    if host is not None:
        known = host.members
        for peer in known.peers:
            named.add(peer.name)
            seen = service.seen.get(peer.name)
            own = peer.name == service.name
            rows.append(
                {
                    "name": peer.name,
                    "id": peer.id,
                    "role": "leader" if peer.id == host.leader else "voter" if peer.id in known.voters else "learner",
                    "becomes": _becomes(peer.id, known),
                    "zone": peer.zone,
                    "region": peer.region,
                    "priority": peer.priority,
                    "alive": own or (seen is not None and seen.alive and seen.seat.member == peer.id),
                    "address": _address(*service.place) if own else _address(seen.seat.address, seen.seat.port) if seen is not None else "",
                    "durable": seen.seat.durable if seen is not None else bool(service.config.data) if own else False,
                    "match": _match(host, peer.id),
                }
            )
    for one in sorted(service.seen.values(), key=lambda one: one.name):
        if one.name not in named and one.alive:
            rows.append(
                {
                    "name": one.name,
                    "id": one.seat.member,
                    "role": "client" if one.seat.wants == CLIENT else "absent",
                    "becomes": "",
                    "zone": one.zone,
                    "region": one.region,
                    "priority": one.seat.priority,
                    "alive": True,
                    "address": _address(one.seat.address, one.seat.port),
                    "durable": one.seat.durable,
                    "match": None,
                }
            )
    return rows


def _becomes(member: int, known: Any) -> str:
    if known.target:
        return "voter" if member in known.target and member not in known.voters else "" if member in known.target else "none"
    return "none" if member in known.outgoing and member not in known.voters else ""


def _match(host: Any, member: int) -> int | None:
    """Up to where the leader knows a member's log to be as its own; None for who does not lead."""
    if member == host.me:
        return int(host.core.commit)
    progress = getattr(host.core, "progress", {}).get(member) if host.leads else None
    return int(progress.match) if progress is not None else None


def _address(host: str, port: int) -> str:
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if port else ""
