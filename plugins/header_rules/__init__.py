"""Sets and removes header fields of requests and responses by rule, with values made of the request.

Routes have fixed header rules of their own (`services.*.routes[].request_headers`); this plugin is for rules that reach across
services, that depend on other fields, or whose values are put together for each request.
"""

import re

from msgspec import Struct

from agent.hooks import REQUEST_RESERVED, RESPONSE_RESERVED, Plugin, RequestChanges, RequestView, ResponseChanges, ResponseView, Scope

_HOLE = re.compile(r"\{([^{}]*)\}")
_PLAIN = ("client", "method", "authority", "path", "service", "route", "listener")


class Edit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to one head."""

    set: dict[str, str] = {}
    """Fields to put in the place of any of the same name. In a value ``{client}``, ``{method}``, ``{authority}``, ``{path}``,
    ``{service}``, ``{route}``, ``{listener}``, ``{header:NAME}`` and ``{cookie:NAME}`` stand for what the request has; where a
    named header or cookie is absent the field is not set."""
    remove: tuple[str, ...] = ()


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Edits for the requests that match."""

    match: Scope = Scope()
    when: dict[str, str] = {}
    """Request fields that must be there with this value; ``*`` is any value, ``!`` means that the field must be absent."""
    request: Edit = Edit()
    """What the upstream (and the cache's Vary) sees."""
    response: Edit = Edit()
    """What the client sees; what is stored stays as it came."""
    statuses: tuple[int, ...] = ()
    """Responses to edit, by status; empty: all."""


class HeaderRulesConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of ``header_rules``."""

    rules: tuple[Rule, ...]
    """All that match are applied, in order; a later one wins."""


class HeaderRules(Plugin):
    """The plugin."""

    Config = HeaderRulesConfig

    def __init__(self, config: HeaderRulesConfig) -> None:
        super().__init__(config)
        for index, rule in enumerate(config.rules):
            _check(rule.request, REQUEST_RESERVED, f"rules[{index}].request")
            _check(rule.response, RESPONSE_RESERVED, f"rules[{index}].response")
        self.on_requests = tuple(rule for rule in config.rules if rule.request.set or rule.request.remove)
        self.on_responses = tuple(rule for rule in config.rules if rule.response.set or rule.response.remove)

    def on_request(self, request: RequestView) -> RequestChanges | None:
        found = [rule.request for rule in self.on_requests if _applies(rule, request)]
        return RequestChanges(*_merged(found, request)) if found else None

    def on_response(self, request: RequestView, response: ResponseView) -> ResponseChanges | None:
        found = [
            rule.response
            for rule in self.on_responses
            if (not rule.statuses or response.status in rule.statuses) and _applies(rule, request)
        ]
        return ResponseChanges(*_merged(found, request)) if found else None


def _applies(rule: Rule, request: RequestView) -> bool:
    if not rule.match.matches(request):
        return False
    for name, wanted in rule.when.items():
        value = request.header(name)
        if (value is not None) if wanted == "!" else (value is None or wanted not in ("*", value)):
            return False
    return True


def _merged(edits: list[Edit], request: RequestView) -> tuple[dict[str, str], tuple[str, ...]]:
    headers: dict[str, str] = {}
    removed: set[str] = set()
    for edit in edits:
        for name in edit.remove:
            headers.pop(name.lower(), None)
            removed.add(name.lower())
        for name, template in edit.set.items():
            value = _filled(template, request)
            if value is not None:
                headers[name.lower()] = value
    return headers, tuple(sorted(removed))


def _filled(template: str, request: RequestView) -> str | None:
    if "{" not in template:
        return template
    pieces = []
    end = 0
    for hole in _HOLE.finditer(template):
        kind, _, name = hole.group(1).partition(":")
        value = request.header(name) if kind == "header" else request.cookie(name) if kind == "cookie" else getattr(request, kind)
        if value is None:
            return None
        pieces += [template[end : hole.start()], value]
        end = hole.end()
    return "".join([*pieces, template[end:]])


def _check(edit: Edit, reserved: frozenset[str], at: str) -> None:
    """Raises ValueError where a name or template is not usable."""
    for name, template in edit.set.items():
        if name.lower() in reserved:
            raise ValueError(f"{at}.set: found {name}, which is the agent's own to write")
        if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", template):
            raise ValueError(f"{at}.set: found {name!r} with {template!r}, which make no header field")
        for hole in _HOLE.findall(template):
            kind, colon, rest = hole.partition(":")
            if not ((kind in _PLAIN and not colon) or (kind in ("header", "cookie") and rest)):
                known = ", ".join(f"{{{word}}}" for word in _PLAIN)
                raise ValueError(f"{at}.set: found {{{hole}}} in {name}, expected {known}, {{header:NAME}} or {{cookie:NAME}}")
    for name in edit.remove:
        if name.lower() in reserved:
            raise ValueError(f"{at}.remove: found {name}, which is the agent's own to write")
