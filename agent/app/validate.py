"""What each part of a configuration allows and the whole does not: contradictions."""

from typing import Any

from agent.app.config import Settings
from agent.core.routing.config import EndpointConfig, Service
from agent.core.routing.endpoint import EndpointSpec
from agent.core.routing.table import conflicts


def parse_address(text: str) -> tuple[str, int] | None:
    """Host and port of ``host:port`` or ``[v6]:port``; path and 0 of ``unix:/path``; None for anything else."""
    if text.startswith("unix:"):
        return (text[5:], 0) if len(text) > 5 else None
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65_536:
        return None
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        return None
    return host.strip("[]"), int(port)


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
            specs.append(EndpointSpec(place[0], place[1], config.weight, config.zone))
    return specs


def contradictions(settings: Settings) -> list[tuple[str, str]]:
    """Every contradiction: (path in the file, what was found and expected)."""
    found: list[tuple[str, str]] = []
    found.extend(_listeners(settings))
    for name, service in settings.services.items():
        found.extend(_endpoints(service, f"services.{name}"))
    found.extend(conflicts(settings.services))
    if settings.application is not None:
        found.extend(_endpoints(settings.application, "application"))
        if settings.listen.ingress is None:
            found.append(("application", "is set, but listen.ingress is not: nothing would ever reach it"))
    elif settings.listen.ingress is not None:
        found.append(("listen.ingress", "is set, but application (where to send its requests) is not"))
    if settings.cache.object_bytes_max > settings.cache.size:
        found.append(("cache.object_bytes_max", f"found {settings.cache.object_bytes_max}, expected at most cache.size"))
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
            if parse_address(address) is None and not address.endswith(":0"):
                found.append((path, f"found {address!r}, expected host:port, [v6]:port or unix:/path"))
            elif address in taken and not address.endswith(":0"):
                found.append((path, f"{address} is taken by {taken[address]}"))
            taken.setdefault(address, path)
    return found


def _endpoints(service: Service, path: str) -> list[tuple[str, str]]:
    found = []
    for index, item in enumerate(service.endpoints):
        address = item if isinstance(item, str) else item.address
        if parse_address(address) is None:
            found.append((f"{path}.endpoints[{index}]", f"found {address!r}, expected host:port, [v6]:port or unix:/path"))
    answered = all(route.respond or route.redirect or route.split for route in service.routes) and service.routes
    if not service.endpoints and not answered:
        found.append((f"{path}.endpoints", "found none, expected at least one"))
    return found
