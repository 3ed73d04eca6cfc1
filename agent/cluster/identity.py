"""Who this member is to the others: its metadata, within memberlist's 512 octets and in Serf's form, and its address."""

import socket
from functools import lru_cache
from sys import intern
from typing import Final

from msgspec import Struct

from agent import __version__
from agent.core.swim.errors import WireError
from agent.core.swim.messages import Place
from agent.core.swim.serf import decode_tags, encode_tags
from agent.runtime.discovery import parse_place

GOSSIP_VERSION: Final = "1"
"""Of what we say in user data. Members that say no such number (Serf's, for one) are not talked to beyond membership."""
WILDCARDS: Final = ("0.0.0.0", "::")
ANYWHERE: Final = "192.0.2.1"
"""No packet goes there (RFC 5737): the kernel is asked from which address one would."""


class Profile(Struct, frozen=True):
    """What a member says of itself."""

    region: str = ""
    zone: str = ""
    roles: tuple[str, ...] = ()
    admin: str = ""
    """Address of its admin API."""
    version: str = ""
    gossip: str = ""
    """Version of our own gossip; empty for a member of another program."""
    tags: dict[str, str] = {}


def own_profile(region: str, zone: str, admin: str, tags: dict[str, str]) -> Profile:
    return Profile(region[:64], zone[:64], ("pilotfish",), admin[:64], __version__, GOSSIP_VERSION, tags)


def encode_profile(profile: Profile) -> bytes:
    """As a member's metadata. Raises ValueError where that is too much."""
    own = {
        "role": ",".join(profile.roles),
        "region": profile.region,
        "zone": profile.zone,
        "admin": profile.admin,
        "version": profile.version,
        "pilotfish": profile.gossip,
    }
    return encode_tags({**profile.tags, **{key: value for key, value in own.items() if value}})


@lru_cache(maxsize=4096)
def decode_profile(meta: bytes) -> Profile:
    """What a member says of itself; of what is not in our form, nothing."""
    try:
        tags = {intern(key): intern(value) for key, value in decode_tags(meta).items()}  # most of it is the same for all
    except WireError:
        return Profile()
    roles = tuple(role for role in tags.pop("role", "").split(",") if role)
    known = {name: tags.pop(name, "") for name in ("region", "zone", "admin", "version")}
    return Profile(roles=roles, gossip=tags.pop("pilotfish", ""), tags=tags, **known)


def address_octets(host: str) -> bytes:
    """4 or 16 octets. Raises OSError for what is no address."""
    return socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)


def advertised(advertise: str, bound: Place, towards: str = "") -> Place:
    """The place that others are told: as configured, or where we are bound, or the address that packets to `towards` would bear.

    Raises OSError where a name does not resolve or there is no way.
    """
    if advertise:
        host, port = parse_place(advertise, bound[1])
        return _resolved(host), port
    if bound[0] not in WILDCARDS:
        return bound
    family = socket.AF_INET6 if bound[0] == "::" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards or ("2001:db8::1" if family == socket.AF_INET6 else ANYWHERE), 9))
            return str(probe.getsockname()[0]), bound[1]
        except OSError:
            return ("::1" if family == socket.AF_INET6 else "127.0.0.1"), bound[1]


def _resolved(host: str) -> str:
    return str(socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)[0][4][0])
