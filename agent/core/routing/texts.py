"""Texts of a service's configuration that become octets of a message, or are compared with them: each must be able to be one.

A space in a rewritten path, a line break in a redirect or a reference to a group that a regular expression does not have would
otherwise be found by a request, not by whoever wrote it.
"""

import re
from collections.abc import Iterator
from typing import Final

from agent.core.routing.config import HeaderRules, Match, Redirect, Rewrite, Route, Service

_TARGET: Final = (re.compile(r"[!\"$-;=?-~]*"), "visible ASCII without # < >")
_AUTHORITY: Final = (re.compile(r"(?:(?:[0-9A-Za-z._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)?"), "host or host:port")
_TOKEN: Final = (re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"), "a token (RFC 9110 section 5.6.2)")
_OPTIONAL_TOKEN: Final = (re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]*"), "a field name, or nothing")
_VALUE: Final = (re.compile(r"[^\x00-\x08\x0a-\x1f\x7f\u0100-\U0010ffff]*"), "a field value: no control characters, nothing past U+00FF")
_HOST_PATTERN: Final = (re.compile(r"\*|(?:\*\.)?(?:[0-9A-Za-z._~-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?"), "*, an exact host or *.suffix")
_SCHEME: Final = (re.compile(r"(?:[A-Za-z][0-9A-Za-z+.-]*)?"), "a scheme such as https")

Rule = tuple[re.Pattern[str], str]
Text = tuple[str, str, Rule]
"""Path in the file, the text, what it must be."""


def text_conflicts(service: Service, path: str) -> list[tuple[str, str]]:
    """Texts that cannot be what they are for: (path in the file, what was found and expected)."""
    found = [(at, f"found {text[:60]!r}, expected {rule[1]}") for at, text, rule in _texts(service, path) if not rule[0].fullmatch(text)]
    for index, route in enumerate(service.routes):
        found.extend(_regexes(route, f"{path}.routes[{index}]"))
        if route.respond is not None and not 200 <= route.respond.status <= 599:
            found.append((f"{path}.routes[{index}].respond.status", f"found {route.respond.status}, expected 200 to 599"))
    return found


def _texts(service: Service, path: str) -> Iterator[Text]:
    for index, host in enumerate(service.hosts):
        yield f"{path}.hosts[{index}]", host, _HOST_PATTERN
    yield f"{path}.health.path", service.health.path, _TARGET
    yield f"{path}.health.host", service.health.host, _AUTHORITY
    yield f"{path}.concurrency.priority_header", service.concurrency.priority_header, _OPTIONAL_TOKEN
    yield from _named(f"{path}.balance.hash_on", service.balance.hash_on)
    yield from _common(service, path)
    for index, route in enumerate(service.routes):
        at = f"{path}.routes[{index}]"
        yield from _common(route, at)
        yield from _match(route.match, f"{at}.match")
        yield from _rewrite(route.rewrite or Rewrite(), f"{at}.rewrite")
        yield from _redirect(route.redirect or Redirect(), f"{at}.redirect")
        if route.respond is not None:
            yield f"{at}.respond.content_type", route.respond.content_type, _VALUE


def _common(owner: Service | Route, path: str) -> Iterator[Text]:
    for index, limit in enumerate(owner.rate_limits):
        yield from _named(f"{path}.rate_limits[{index}].key", limit.key)
    if owner.fault is not None:
        yield f"{path}.fault.header", owner.fault.header, _OPTIONAL_TOKEN
    for rules, called in ((owner.request_headers, "request_headers"), (owner.response_headers, "response_headers")):
        for name in (rules or HeaderRules()).remove:
            yield f"{path}.{called}.remove", name, _TOKEN


def _named(path: str, text: str) -> Iterator[Text]:
    """``header:NAME`` or ``cookie:NAME``."""
    kind, colon, name = text.partition(":")
    if colon and kind in ("header", "cookie"):
        yield path, name, _TOKEN


def _match(match: Match, path: str) -> Iterator[Text]:
    for index, host in enumerate(match.hosts):
        yield f"{path}.hosts[{index}]", host, _HOST_PATTERN
    yield f"{path}.path", match.path, _TARGET
    yield f"{path}.prefix", match.prefix, _TARGET
    for method in match.methods:
        yield f"{path}.methods", method, _TOKEN
    for name, value in match.headers.items():
        yield f"{path}.headers", name, _TOKEN
        if not value.startswith("~"):
            yield f"{path}.headers.{name}", value, _VALUE


def _rewrite(rewrite: Rewrite, path: str) -> Iterator[Text]:
    yield f"{path}.prefix", rewrite.prefix, _TARGET
    yield f"{path}.host", rewrite.host, _AUTHORITY
    yield f"{path}.substitution", rewrite.substitution.replace("\\", ""), _TARGET


def _redirect(redirect: Redirect, path: str) -> Iterator[Text]:
    yield f"{path}.host", redirect.host, _AUTHORITY
    yield f"{path}.path", redirect.path, _TARGET
    yield f"{path}.scheme", redirect.scheme, _SCHEME


def _regexes(route: Route, path: str) -> Iterator[tuple[str, str]]:
    texts = [(f"{path}.match.regex", route.match.regex)]
    texts += [(f"{path}.match.headers.{name}", value[1:]) for name, value in route.match.headers.items() if value.startswith("~")]
    rewrite = route.rewrite or Rewrite()
    for where, text in [*texts, (f"{path}.rewrite.regex", rewrite.regex)]:
        try:
            re.compile(text.encode("latin-1"))
        except (re.error, UnicodeEncodeError, OverflowError, RecursionError) as error:
            yield where, f"found {text[:60]!r}, expected a regular expression: {error}"
    try:
        re.compile(rewrite.regex.encode("latin-1")).sub(rewrite.substitution.encode("latin-1"), b"")
    except (re.error, IndexError) as error:
        if "group" in str(error) or "escape" in str(error):
            yield (
                f"{path}.rewrite.substitution",
                f"found {rewrite.substitution[:60]!r}, expected references to groups of the regex: {error}",
            )
    except (UnicodeEncodeError, OverflowError, RecursionError):
        return
