"""What each part of a configuration allows and the whole does not: contradictions."""

import ipaddress
import re
from typing import Any, Final

from agent.app.config import Settings
from agent.cluster.consensus.validate import problems as consensus_problems
from agent.cluster.validate import REGION_BYTES_MAX
from agent.cluster.validate import problems as cluster_problems
from agent.core.routing.config import EndpointConfig, Service
from agent.core.routing.endpoint import EndpointSpec
from agent.core.routing.table import conflicts
from agent.proxy.config import Announcement

_NAME: Final = re.compile(r"[0-9A-Za-z_](?:[0-9A-Za-z_.-]{0,252}[0-9A-Za-z_.])?")
_VIA: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?::[0-9]{1,5})?")
"""RFC 9110 section 7.6.3: a pseudonym is a token."""
ANNOUNCED_LENGTH_MAX: Final = 128
ANNOUNCED_WEIGHT_MAX: Final = 1_000
ANNOUNCED_TAGS_MAX: Final = 16
UNIX_PATH_BYTES_MAX: Final = 107
"""What fits into a sockaddr_un."""


def parse_address(text: str, port_min: int = 1) -> tuple[str, int] | None:
    """Host and port of ``host:port`` or ``[v6]:port``; path and 0 of ``unix:/path``; None for anything else."""
    if text.startswith("unix:/"):
        path = text[5:]
        return (path, 0) if len(path.encode("utf-8", "replace")) <= UNIX_PATH_BYTES_MAX and "\0" not in path else None
    host, _, port = text.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or not port_min <= int(port) < 65_536:
        return None
    if host.startswith("[") and host.endswith("]"):
        try:
            return str(ipaddress.IPv6Address(host[1:-1])), int(port)
        except ValueError:
            return None
    return (host, int(port)) if _NAME.fullmatch(host) else None


def listen_addresses(value: Any) -> list[str]:
    """A listener's addresses, whether one, several or none are configured."""
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def endpoint_specs(service: Service) -> list[EndpointSpec]:
    """The endpoints of a (valid) service as written, names not yet resolved."""
    specs = []
    for item in service.endpoints:
        config = item if isinstance(item, EndpointConfig) else EndpointConfig(address=item)
        place = parse_address(config.address)
        if place is not None:
            specs.append(EndpointSpec(place[0], place[1], config.weight, config.zone, config.region))
    return specs


def announced_specs(settings: Settings) -> list[tuple[Announcement, EndpointSpec]]:
    """What (valid) settings announce, with the address made ready."""
    found = []
    for one in settings.announce:
        place = parse_address(one.address)
        if place is not None:
            found.append((one, EndpointSpec(place[0], place[1], one.weight, one.zone)))
    return found


def contradictions(settings: Settings) -> list[tuple[str, str]]:
    """Every contradiction: (path in the file, what was found and expected)."""
    found: list[tuple[str, str]] = []
    found.extend(_listeners(settings))
    found.extend(_identity(settings))
    found.extend(_sizes(settings))
    found.extend(_loops(settings))
    for name, service in settings.services.items():
        found.extend(_endpoints(service, f"services.{name}"))
        if service.discovered and settings.cluster is None:
            found.append((f"services.{name}.discovered", "is set, but `cluster` is not: there are no members that could announce any"))
    found.extend(_announcements(settings))
    found.extend(conflicts(settings.services))
    if settings.application is not None:
        found.extend(_endpoints(settings.application, "application"))
        found.extend((path[1:], message) for path, message in conflicts({"application": settings.application}, ""))
        if settings.listen.ingress is None:
            found.append(("application", "is set, but listen.ingress is not: nothing would ever reach it"))
    elif settings.listen.ingress is not None:
        found.append(("listen.ingress", "is set, but application (where to send its requests) is not"))
    if settings.cache.object_bytes_max > settings.cache.size:
        found.append(("cache.object_bytes_max", f"found {settings.cache.object_bytes_max}, expected at most cache.size"))
    found.extend(_cluster(settings))
    found.extend(_consensus(settings))
    names: set[str] = set()
    for index, plugin in enumerate(settings.plugins):
        if plugin.name in names:
            found.append((f"plugins[{index}].name", f"{plugin.name!r} is there twice"))
        names.add(plugin.name)
    return found


def _listeners(settings: Settings) -> list[tuple[str, str]]:
    found = []
    taken: dict[str, str] = {}
    for field in ("egress", "ingress", "transparent", "admin"):
        for address in listen_addresses(getattr(settings.listen, field)):
            path = f"listen.{field}"
            if parse_address(address, 0) is None:
                found.append((path, f"found {address!r}, expected host:port, [v6]:port or unix:/path"))
            elif address in taken and not address.endswith(":0"):
                found.append((path, f"{address} is taken by {taken[address]}"))
            taken.setdefault(address, path)
    return found


def _cluster(settings: Settings) -> list[tuple[str, str]]:
    if settings.cluster is None:
        return []
    found = [(f"cluster.{path}".rstrip("."), message) for path, message in cluster_problems(settings.cluster, settings.agent.id)]
    binds = {"cluster.bind": settings.cluster.bind}
    if settings.cluster.wan is not None:
        binds["cluster.wan.bind"] = settings.cluster.wan.bind
        if not 0 < len(settings.agent.region.encode()) <= REGION_BYTES_MAX or ":" in settings.agent.region:
            text = f"needs agent.region to be 1 to {REGION_BYTES_MAX} octets without a colon, found {settings.agent.region[:80]!r}"
            found.append(("cluster.wan", text))
    for path, bind in binds.items():
        if parse_address(bind, 0) is None or bind.startswith("unix:"):
            found.append((path, f"found {bind!r}, expected host:port or [v6]:port"))
    return found


def _consensus(settings: Settings) -> list[tuple[str, str]]:
    config = settings.consensus
    if config is None:
        return []
    found = consensus_problems(config, settings.cluster, settings.agent.id)
    if parse_address(config.bind, 0) is None or config.bind.startswith("unix:"):
        found.append(("bind", f"found {config.bind!r}, expected host:port or [v6]:port"))
    if config.advertise and parse_address(config.advertise, 1) is None and parse_address(f"{config.advertise}:1") is None:
        found.append(("advertise", f"found {config.advertise!r}, expected host, host:port or [v6]:port"))
    if parse_address(config.api.listen, 0) is None:
        found.append(("api.listen", f"found {config.api.listen!r}, expected host:port, [v6]:port or unix:/path"))
    taken = {
        address for field in ("egress", "ingress", "transparent", "admin") for address in listen_addresses(getattr(settings.listen, field))
    }
    if config.api.listen in taken and not config.api.listen.endswith(":0"):
        found.append(("api.listen", f"{config.api.listen} is taken by listen"))
    return [(f"consensus.{path}".rstrip("."), message) for path, message in found]


def _identity(settings: Settings) -> list[tuple[str, str]]:
    """What is written into messages, labels and lines must not be able to break them."""
    found = []
    for field in ("id", "region", "zone"):
        value = getattr(settings.agent, field)
        if not value.isprintable() or len(value) > 253:
            found.append((f"agent.{field}", f"found {value[:60]!r}, expected at most 253 printable characters"))
    via = settings.headers.via
    if via and _VIA.fullmatch(via) is None:
        found.append(("headers.via", f"found {via[:60]!r}, expected a token such as pilotfish (RFC 9110 section 7.6.3), or nothing"))
    return found


def _loops(settings: Settings) -> list[tuple[str, str]]:
    dials_anything = settings.egress.unmatched == "pass" or settings.listen.transparent is not None
    if dials_anything and not settings.headers.via:
        why = "egress.unmatched is pass" if settings.egress.unmatched == "pass" else "listen.transparent is set"
        return [("headers.via", f"found nothing, expected a name while {why}: a request in a circle is recognised by it")]
    return []


def _sizes(settings: Settings) -> list[tuple[str, str]]:
    http = settings.http
    found = []
    for field, least in (("head_bytes_max", 256), ("target_bytes_max", 64), ("buffer_bytes_max", 1024)):
        if getattr(http, field) < least:
            found.append((f"http.{field}", f"found {getattr(http, field)}, expected at least {least}"))
    if not found and http.target_bytes_max > http.head_bytes_max:
        found.append(("http.target_bytes_max", f"found {http.target_bytes_max}, expected at most http.head_bytes_max"))
    return found


def _announcements(settings: Settings) -> list[tuple[str, str]]:
    found = []
    if settings.announce and settings.cluster is None:
        found.append(("announce", "is set, but `cluster` is not: there are no members to tell"))
    seen: set[tuple[str, int]] = set()
    for index, one in enumerate(settings.announce):
        path = f"announce[{index}]"
        if not 0 < len(one.service) <= ANNOUNCED_LENGTH_MAX:
            found.append((f"{path}.service", f"found {one.service[:60]!r}, expected 1 to {ANNOUNCED_LENGTH_MAX} characters"))
        place = parse_address(one.address)
        if place is None or place[1] == 0 or not _is_address(place[0]):
            found.append((f"{path}.address", f"found {one.address!r}, expected the IP address of this pod and a port"))
        elif (one.service, place[1]) in seen:
            found.append((path, f"port {place[1]} of {one.service} is announced twice"))
        else:
            seen.add((one.service, place[1]))
        if one.weight > ANNOUNCED_WEIGHT_MAX:
            found.append((f"{path}.weight", f"found {one.weight}, expected at most {ANNOUNCED_WEIGHT_MAX}"))
        if len(one.zone) > ANNOUNCED_LENGTH_MAX or not one.zone.isprintable():
            found.append((f"{path}.zone", f"found {one.zone[:60]!r}, expected at most {ANNOUNCED_LENGTH_MAX} printable characters"))
        if len(one.tags) > ANNOUNCED_TAGS_MAX or any(len(text) > ANNOUNCED_LENGTH_MAX for pair in one.tags.items() for text in pair):
            found.append((f"{path}.tags", f"expected at most {ANNOUNCED_TAGS_MAX}, of at most {ANNOUNCED_LENGTH_MAX} characters each"))
    return found


def _is_address(host: str) -> bool:
    """An IP address that somebody else can dial."""
    try:
        return not ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _endpoints(service: Service, path: str) -> list[tuple[str, str]]:
    found = []
    seen: set[str] = set()
    for index, item in enumerate(service.endpoints):
        address = item if isinstance(item, str) else item.address
        if parse_address(address) is None:
            found.append((f"{path}.endpoints[{index}]", f"found {address!r}, expected host:port, [v6]:port or unix:/path"))
        if address in seen:
            found.append((f"{path}.endpoints[{index}]", f"{address} is there twice; give it a weight instead"))
        seen.add(address)
    answered = all(route.respond or route.redirect or route.split for route in service.routes) and service.routes
    if not service.endpoints and not answered and not service.discovered:
        found.append(
            (f"{path}.endpoints", "found none, expected at least one (or `discovered`, or routes that all redirect, respond or split)")
        )
    return found
