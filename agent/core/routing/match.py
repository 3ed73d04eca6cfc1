"""What a route asks of a request, made ready to be asked."""

import re
from typing import Any

from agent.core.http.head import RequestHead
from agent.core.routing.config import Match


def host_matches(pattern: str, host: str, authority: str) -> bool:
    """``*``, ``*.suffix`` (at least one label before it) or exact; the port counts only where the pattern has one."""
    if pattern == "*":
        return True
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern == host or pattern == authority


def host_of(authority: str) -> str:
    """The authority without its port."""
    if authority.startswith("["):
        return authority.partition("]")[0] + "]"
    return authority.partition(":")[0]


class Matcher:
    """All conditions of a `Match`; every one that is set must hold."""

    def __init__(self, config: Match) -> None:
        self.hosts = tuple(pattern.lower() for pattern in config.hosts)
        self.path = config.path.encode("latin-1")
        prefix = config.prefix.encode("latin-1")
        self.prefix = prefix
        self._prefix_slash = prefix if prefix.endswith(b"/") else prefix + b"/"
        self._regex: Any = re.compile(config.regex.encode("latin-1")) if config.regex else None
        self._methods = frozenset(method.encode("latin-1") for method in config.methods)
        self._headers: list[tuple[bytes, bytes, Any]] = []
        for name, value in config.headers.items():
            pattern = re.compile(value[1:].encode("latin-1")) if value.startswith("~") else None
            self._headers.append((name.lower().encode("latin-1"), value.encode("latin-1"), pattern))

    def failure(self, head: RequestHead, path: bytes) -> str:
        """Why the request does not match, or empty where it does."""
        if self._methods and head.method not in self._methods:
            return f"method {head.method.decode('latin-1')} is not one of the route's"
        if self.path and path != self.path:
            return f"path is not {self.path.decode('latin-1')}"
        if self.prefix and path != self.prefix and not path.startswith(self._prefix_slash):
            return f"path does not begin with {self.prefix.decode('latin-1')}"
        if self._regex is not None and self._regex.fullmatch(path) is None:
            return f"path does not match {self._regex.pattern.decode('latin-1')}"
        if self.hosts:
            authority = head.authority.decode("latin-1")
            host = host_of(authority)
            if not any(host_matches(pattern, host, authority) for pattern in self.hosts):
                return f"host is not one of {', '.join(self.hosts)}"
        for name, value, pattern in self._headers:
            found = head.get(name)
            if found is None:
                return f"field {name.decode('latin-1')} is absent"
            if pattern is not None:
                if pattern.fullmatch(found) is None:
                    return f"field {name.decode('latin-1')} does not match"
            elif value != b"*" and found != value:
                return f"field {name.decode('latin-1')} is not {value.decode('latin-1')}"
        return ""
