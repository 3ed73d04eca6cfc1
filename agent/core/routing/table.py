"""Which service and route a request belongs to.

Hosts first: exact, then the longest ``*.suffix``, then ``*``. Then the service's routes in the order they are written; a
service without a matching route is its own route. Paths are compared as they came: nothing is decoded or normalised, so
that what is matched is what the upstream gets.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from agent.core.cache.config import CachePolicy
from agent.core.http.edits import HeaderEdits
from agent.core.http.errors import BadMessage
from agent.core.http.head import RequestHead
from agent.core.routing.config import HeaderRules, Hedge, Redirect, Retries, Route, Service, Timeouts
from agent.core.routing.fault import FaultRule
from agent.core.routing.match import Matcher, host_of
from agent.core.routing.ratelimit import Limiter
from agent.core.routing.rewrite import Rewriter, redirect_location
from agent.core.routing.texts import text_conflicts

Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""Status, fields and body of a response that needs no upstream."""


class Splitter:
    """Chooses among services by weight."""

    def __init__(self, services: list[str], weights: list[int]) -> None:
        self._services = services
        total = sum(weights)
        self._bounds: list[int] = []
        so_far = 0
        for weight in weights[:-1]:
            so_far += weight
            self._bounds.append((so_far << 32) // total)

    def pick(self, random_u32: int) -> str:
        return self._services[bisect_right(self._bounds, random_u32)]


class RouteTarget:
    """One route of a service, with everything about it made ready."""

    def __init__(self, name: str, route_name: str, service: Service, route: Route | None, limits: list[Limiter]) -> None:
        self.service = name
        self.route = route_name
        self.key_space = ""
        """What the cache key gets besides the service: a route chosen by header fields does not share its URLs' responses with
        the routes that others get."""
        self.timeouts: Timeouts = (route.timeouts if route else None) or service.timeouts
        self.retries: Retries = (route.retries if route else None) or service.retries
        self.cache: CachePolicy = (route.cache if route else None) or service.cache
        self.hedge: Hedge = service.hedge
        fault = (route.fault if route else None) or service.fault
        self.fault = FaultRule(fault) if fault is not None else None
        self.limits = list(limits)
        """The service's, whose buckets all of its routes share, and then the route's own."""
        self.request_edits = _edits(service.request_headers)
        self.response_edits = _edits(service.response_headers)
        self.rewrite: Rewriter | None = None
        self.redirect: Redirect | None = None
        self.direct: Answer | None = None
        self.split: Splitter | None = None
        self.destinations: list[str] = [name]
        """The services that its requests may go to."""
        if route is None:
            return
        if route.split:
            self.destinations = [split.service for split in route.split]
        self.limits.extend(Limiter(limit) for limit in route.rate_limits)
        self.request_edits = _both(self.request_edits, _edits(route.request_headers))
        self.response_edits = _both(self.response_edits, _edits(route.response_headers))
        if route.rewrite is not None:
            self.rewrite = Rewriter(route.rewrite, route.match.prefix)
        self.redirect = route.redirect
        if route.respond is not None:
            answer = route.respond
            content_type = answer.content_type.encode("latin-1")
            self.direct = (answer.status, [(b"Content-Type", content_type)], answer.body.encode("utf-8"))
        if route.split:
            self.split = Splitter([part.service for part in route.split], [part.weight for part in route.split])

    def pick_service(self, random_u32: int) -> str:
        """The service that a request goes to: the route's own, or one by the split's weights."""
        return self.split.pick(random_u32) if self.split is not None else self.service

    def redirect_response(self, head: RequestHead) -> Answer:
        """The redirect's status, fields and body."""
        redirect = self.redirect
        assert redirect is not None
        return redirect.status, [(b"Location", redirect_location(redirect, head))], b""


def _edits(rules: HeaderRules | None) -> HeaderEdits | None:
    return HeaderEdits(rules.set, rules.add, rules.remove) if rules is not None else None


def _both(first: HeaderEdits | None, second: HeaderEdits | None) -> HeaderEdits | None:
    return first.then(second) if first is not None else second


class ServiceRoutes:
    """The routes of one service in order, and the service itself as the last."""

    def __init__(self, name: str, service: Service) -> None:
        self.name = name
        self.service = service
        limits = [Limiter(limit) for limit in service.rate_limits]
        self.default = RouteTarget(name, name, service, None, limits)
        self.routes_only = bool(service.routes) and not service.endpoints and not service.discovered
        self.routes: list[tuple[Matcher, RouteTarget]] = []
        for index, route in enumerate(service.routes):
            target = RouteTarget(name, route.name or f"{name}#{index}", service, route, limits)
            if route.match.headers:
                target.key_space = f"#{index}"
            self.routes.append((Matcher(route.match), target))

    def match(self, head: RequestHead) -> RouteTarget | None:
        """None where no route matches and the service has nowhere of its own to send the request."""
        if self.routes:
            path = head.path
            for matcher, target in self.routes:
                if not matcher.failure(head, path):
                    return target
            if self.routes_only:
                return None
        return self.default


class RouteTable:
    """All services of a listener, compiled once for a configuration.

    before: the table that this one stands in for, whose services are taken over where nothing about them changed, so that a
    reload does not fill their rate limits' buckets.
    """

    def __init__(self, services: Mapping[str, Service], before: "RouteTable | None" = None) -> None:
        self.services: dict[str, ServiceRoutes] = {}
        self._exact: dict[str, ServiceRoutes] = {}
        self._suffix: dict[str, ServiceRoutes] = {}
        self._any: ServiceRoutes | None = None
        self.by_fields = any(route.match.headers for service in services.values() for route in service.routes)
        """Whether any route looks at header fields."""
        self.shaped: list[tuple[str, CachePolicy]] = []
        """What keys of stored responses begin with where they do not hold the whole target, and their policy."""
        for name, service in services.items():
            known = before.services.get(name) if before is not None else None
            routes = known if known is not None and known.service == service else ServiceRoutes(name, service)
            self.services[name] = routes
            for target in [routes.default, *(target for _, target in routes.routes)]:
                if target.cache.key_query != "whole":
                    self.shaped.extend((one + target.key_space, target.cache) for one in target.destinations)
            for pattern in service.hosts:
                self._claim(pattern.lower(), routes)

    def _claim(self, pattern: str, routes: ServiceRoutes) -> None:
        if pattern == "*":
            self._any = routes
        elif pattern.startswith("*."):
            self._suffix[pattern[2:]] = routes
        else:
            self._exact[pattern] = routes

    def match(self, head: RequestHead) -> RouteTarget | None:
        """The route of a request; None where no service claims its host."""
        routes = self.service_of(head.authority.decode("latin-1"))
        return routes.match(head) if routes is not None else None

    def service_of(self, authority: str) -> ServiceRoutes | None:
        """The service that claims an authority (lower-case)."""
        found = self._exact.get(authority)
        if found is not None:
            return found
        host = host_of(authority)
        found = self._exact.get(host)
        if found is not None:
            return found
        if self._suffix:
            rest = host
            while True:
                _, dot, rest = rest.partition(".")
                if not dot:
                    break
                found = self._suffix.get(rest)
                if found is not None:
                    return found
        return self._any

    def explain(self, head: RequestHead) -> list[dict[str, Any]]:
        """What was compared, in order, and why each route did or did not match."""
        authority = head.authority.decode("latin-1")
        routes = self.service_of(authority)
        if routes is None:
            claims = sorted([*self._exact, *(f"*.{suffix}" for suffix in self._suffix)])
            return [{"step": "host", "host": authority, "matched": False, "claims": claims[:50]}]
        steps: list[dict[str, Any]] = [{"step": "host", "host": authority, "matched": True, "service": routes.name}]
        for matcher, target in routes.routes:
            failure = matcher.failure(head, head.path)
            steps.append({"step": "route", "route": target.route, "matched": not failure, "why_not": failure})
            if not failure:
                return steps
        why_not = f"{routes.name} has no endpoints of its own" if routes.routes_only else ""
        steps.append({"step": "route", "route": routes.default.route, "matched": not why_not, "why_not": why_not})
        return steps


_UNTOUCHABLE = frozenset({"content-length", "transfer-encoding", "connection", "host", "upgrade"})


def conflicts(services: Mapping[str, Service], at: str = "services") -> list[tuple[str, str]]:
    """What contradicts itself in the routing of these services: (path in the file, what was found and expected)."""
    found: list[tuple[str, str]] = []
    claimed: dict[str, str] = {}
    for name, service in services.items():
        path = f"{at}.{name}"
        for index, pattern in enumerate(service.hosts):
            lowered = pattern.lower()
            if lowered in claimed and claimed[lowered] != name:
                found.append((f"{path}.hosts[{index}]", f"{pattern!r} is claimed by service {claimed[lowered]!r} too"))
            claimed.setdefault(lowered, name)
        if service.balance.policy in ("ring_hash", "maglev"):
            kind = service.balance.hash_on.partition(":")[0]
            if kind not in ("header", "cookie", "path", "client"):
                found.append(
                    (
                        f"{path}.balance.hash_on",
                        f"found {service.balance.hash_on!r}, expected header:NAME, cookie:NAME, path or client",
                    )
                )
        found.extend(text_conflicts(service, path))
        found.extend(_limit_conflicts(service.rate_limits, path))
        for rules, called in ((service.request_headers, "request_headers"), (service.response_headers, "response_headers")):
            found.extend(_edit_conflicts(rules, f"{path}.{called}"))
        for index, route in enumerate(service.routes):
            found.extend(_route_conflicts(route, f"{path}.routes[{index}]", services))
    return found


def _limit_conflicts(limits: Any, path: str) -> list[tuple[str, str]]:
    found = []
    for index, limit in enumerate(limits):
        if limit.key and limit.key.partition(":")[0] not in ("header", "client", "path"):
            found.append((f"{path}.rate_limits[{index}].key", f"found {limit.key!r}, expected header:NAME, client or path"))
        if limit.per <= 0:
            found.append((f"{path}.rate_limits[{index}].per", "found 0, expected a duration above 0"))
    return found


def _edit_conflicts(rules: HeaderRules | None, path: str) -> list[tuple[str, str]]:
    if rules is None:
        return []
    found: list[tuple[str, str]] = []
    for part, pairs in (("set", rules.set), ("add", rules.add)):
        for name, value in pairs.items():
            try:
                HeaderEdits({name: value}, {}, ())
            except (BadMessage, UnicodeEncodeError) as error:
                found.append((f"{path}.{part}.{name}", f"found {value!r}, expected a legal field: {error}"))
    for name in [*rules.set, *rules.add, *rules.remove]:
        if name.lower() in _UNTOUCHABLE:
            found.append((f"{path}.{name}", "framing and routing fields are the agent's own; use rewrite.host for Host"))
    return found


def _route_conflicts(route: Route, path: str, services: Mapping[str, Service]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    match = route.match
    kinds = [kind for kind in ("path", "prefix", "regex") if getattr(match, kind)]
    if len(kinds) > 1:
        found.append((f"{path}.match", f"found {' and '.join(kinds)}, expected one of path, prefix and regex"))
    for kind in ("path", "prefix"):
        value = getattr(match, kind)
        if value and not value.startswith("/"):
            found.append((f"{path}.match.{kind}", f"found {value!r}, expected it to begin with /"))
    if route.rewrite is not None and route.rewrite.prefix and not match.prefix:
        found.append((f"{path}.rewrite.prefix", "found without match.prefix, which it takes the place of"))
    ends = [kind for kind in ("redirect", "respond", "split") if getattr(route, kind)]
    if len(ends) > 1:
        found.append((path, f"found {' and '.join(ends)}, expected at most one of redirect, respond and split"))
    for index, part in enumerate(route.split):
        if part.service not in services:
            known = ", ".join(sorted(services))
            found.append((f"{path}.split[{index}].service", f"found {part.service!r}, expected one of {known}"))
        elif not services[part.service].endpoints:
            found.append((f"{path}.split[{index}].service", f"found {part.service!r}, which has no endpoints of its own"))
    if route.split and not sum(part.weight for part in route.split):
        found.append((f"{path}.split", "all weights are 0"))
    found.extend(_limit_conflicts(route.rate_limits, path))
    for rules, called in ((route.request_headers, "request_headers"), (route.response_headers, "response_headers")):
        found.extend(_edit_conflicts(rules, f"{path}.{called}"))
    return found
