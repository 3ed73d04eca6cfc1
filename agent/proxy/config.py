"""Settings of the data path as a whole: where it listens and what it does with requests that no service claims."""

from typing import Literal

from msgspec import Struct

from agent.core.routing.config import HealthCheck
from agent.core.units import Address, Positive, Share


class Listen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the agent listens. Changing any of these needs a restart."""

    egress: Address | tuple[Address, ...] | None = "127.0.0.1:15001"
    """The application's way out to services."""
    ingress: Address | tuple[Address, ...] | None = None
    """Peers' way in to the local application (`application`)."""
    transparent: Address | None = None
    """Connections redirected here by iptables or nftables; where no service claims the Host, the original destination
    decides (SO_ORIGINAL_DST)."""
    admin: Address = "127.0.0.1:15020"
    """Health, metrics, status and purging, for operators."""
    reuse_port: bool = True
    """SO_REUSEPORT, so that a new process can take over beside the old one."""
    backlog: Positive = 4096


class Egress(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to requests that no service claims."""

    unmatched: Literal["reject", "pass"] = "reject"
    """``reject`` answers 404; ``pass`` dials the authority that the request names (or the original destination)."""


class AccessLog(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One JSON line a request, written off the data path."""

    path: str = ""
    """A file, or ``-`` for standard output. Empty: no access log."""
    sample: Share = 1.0
    """Share of requests that are logged; errors (5xx or made by the agent) are always logged."""
    queue_max: Positive = 10_000
    """Lines that may wait to be written; more are dropped and counted."""


class Announcement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A service that the local application offers: the other members' agents send requests to it while it is healthy."""

    service: str
    """Name of the service as the other members' configurations have it, under `services`, with `discovered: true`."""
    address: Address
    """Where they reach it: an IP address and a port of this pod, or of this agent's ingress."""
    weight: Positive = 1
    """Its share of the requests, in proportion; at most 1,000."""
    zone: str = ""
    """`agent.zone` where empty."""
    tags: dict[str, str] = {}
    """Shown to people and to plugins; at most 16."""
    health: HealthCheck = HealthCheck()
    """How it is checked; where neither `path` nor `tcp` is set, by a connection. The first success is enough to announce it."""
