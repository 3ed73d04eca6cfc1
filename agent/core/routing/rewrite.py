"""Targets and hosts as the upstream is to see them; redirects."""

import re
from typing import Any

from agent.core.http.head import RequestHead
from agent.core.routing.config import Redirect, Rewrite


class Rewriter:
    """A `Rewrite` made ready; `matched_prefix` is the route's own."""

    def __init__(self, config: Rewrite, matched_prefix: str) -> None:
        self._from = matched_prefix.encode("latin-1")
        self._prefix = config.prefix.encode("latin-1")
        self._regex: Any = re.compile(config.regex.encode("latin-1")) if config.regex else None
        self._substitution = config.substitution.encode("latin-1")
        self._host = config.host.lower().encode("latin-1")

    def apply(self, target: bytes, authority: bytes) -> tuple[bytes, bytes]:
        """The new target and authority. The query is kept."""
        path, mark, query = target.partition(b"?")
        if self._prefix and path.startswith(self._from):
            rest = path[len(self._from) :]
            path = self._prefix.rstrip(b"/") + rest if rest.startswith(b"/") else self._prefix + rest
        if self._regex is not None:
            path = self._regex.sub(self._substitution, path, count=1)
        if not path.startswith(b"/"):
            path = b"/" + path
        return path + mark + query, self._host or authority


def redirect_location(config: Redirect, head: RequestHead) -> bytes:
    """The Location of a redirect: what it does not set is as the request has it."""
    path, mark, query = head.target.partition(b"?")
    if config.path:
        path = config.path.encode("latin-1")
    host = config.host.encode("latin-1") or head.authority
    scheme = config.scheme.encode("latin-1") or b"http"
    return scheme + b"://" + host + path + mark + query
