"""What a file says under `cluster:`. This module and `validate` are all of the cluster that an agent without one loads."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from agent.core.units import Address, Duration

Port = Annotated[int, Meta(ge=1, le=65535)]


class ClusterTls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """mTLS for streams between members; packets have the keys. The files are read again when they change."""

    certificate: str
    """PEM file: our certificate, with one SPIFFE ID, and the chain behind it."""
    key: str
    """PEM file."""
    authorities: str
    """PEM file: whose certificates we believe."""
    trust_domain: str
    """Of the peers' SPIFFE IDs."""
    paths: tuple[str, ...] = ()
    """Whom we talk to in the trust domain, as paths or what they begin with; none is everybody."""


class ClusterDiscovery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where members may be, beside `seeds`. Every source is asked again and again."""

    dns: tuple[str, ...] = ()
    """Names whose every A and AAAA is a member, such as a headless service's."""
    srv: tuple[str, ...] = ()
    """Names of SRV records, such as `_pilotfish._tcp.example`."""
    file: str = ""
    """A file with a place a line, read again when it changes."""
    mdns: bool = False
    """Members of the same cluster name on the link (IPv4)."""
    port: Port = 7946
    """Of members that a source names without one."""


class ClusterWan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Makes this agent a gateway: it also talks to the gateways of other regions, for its region, under the same keys and certificates."""

    bind: Address = "0.0.0.0:7947"
    """UDP and TCP."""
    advertise: str = ""
    """The address that other regions' gateways are told, as `cluster.advertise`."""
    seeds: tuple[str, ...] = ()
    """`host:port` of some gateways, of any region."""
    preset: Literal["lan", "wan", "local"] = "wan"
    """Timing."""


class ClusterConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Membership and gossip with other agents. Changing anything but `keys`, `tags` and `keep_endpoints` needs a restart."""

    bind: Address = "0.0.0.0:7946"
    """UDP and TCP."""
    advertise: str = ""
    """The address, `host` or `host:port`, that others are told; where empty, `bind`'s, or the one that this host reaches its seeds from."""
    name: str = ""
    """Name of the cluster. Who has another is not heard."""
    preset: Literal["lan", "wan", "local"] = "lan"
    """Timing: one region, several, or one machine."""
    seeds: tuple[str, ...] = ()
    """`host:port` of some members, in any order, this agent's own among them or not; they are asked to let us in until they do."""
    discovery: ClusterDiscovery = ClusterDiscovery()
    keys: tuple[str, ...] = ()
    """Base64 of 16, 24 or 32 octets each. The first seals, all open."""
    keyring_file: str = ""
    """In place of `keys`: a file with a JSON list of them, as Serf has it, read again when it changes."""
    plaintext: bool = False
    """Without keys: whoever reaches the port can read and say anything."""
    tags: dict[str, str] = {}
    """What others see of this member besides its region, zone and versions."""
    tls: ClusterTls | None = None
    wan: ClusterWan | None = None
    """Makes this agent a gateway between its region and others."""
    keep_endpoints: Duration = 300.0
    """Endpoints of members that failed are kept so long while no peer at all is alive."""
