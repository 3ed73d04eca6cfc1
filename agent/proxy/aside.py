"""Requests of plugins' own (mirrors): sent through the same forwarding, their responses dropped."""

from collections.abc import Mapping
from typing import Final

from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field, make_field
from agent.core.http.forwarding import request_prefix
from agent.core.http.head import ResponseHead, parse_request_head
from agent.proxy.datapath import DataPath
from agent.proxy.forward import Forward
from agent.proxy.sink import Failure, ResponseSink

ASIDES_MAX: Final = 256
"""Requests of plugins that may be under way at once."""
ASIDE_BYTES_MAX: Final = 16_777_216
"""Octets of their bodies, all together."""
PRIORITY: Final = 9
"""They are the first to be shed."""
_NOT_COPIED: Final = frozenset({"connection", "content-length", "transfer-encoding", "upgrade", "expect", "te", "http2-settings"})


class Asides:
    """Sends plugins' requests and forgets them, a bounded number at once."""

    def __init__(self, path: DataPath) -> None:
        self.path = path
        self.under_way = 0
        self.bytes = 0

    def send(self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
        """False where it cannot be taken: too many are under way, no such service, or no legal request."""
        path = self.path
        known = path.table.services.get(service)
        if known is None or self.under_way >= ASIDES_MAX or self.bytes + len(body) > ASIDE_BYTES_MAX or method == "CONNECT":
            return False
        try:
            lines = [f"{method} {target} HTTP/1.1".encode("latin-1")]
            if b"\r" in lines[0]:
                return False
            for name, value in headers.items():
                if name.lower() not in _NOT_COPIED:
                    lines.append(make_field(name.encode("latin-1"), value.encode("latin-1")).line)
            if not any(name.lower() == "host" for name in headers):
                lines.append(b"Host: " + service.encode("latin-1"))
            if body:
                lines.append(b"Content-Length: %d" % len(body))
            head = parse_request_head(b"\r\n".join(lines) + b"\r\n\r\n")
        except (BadMessage, UnicodeEncodeError):
            return False
        wire = request_prefix(head, path.headers, head.target, head.authority, b"", None, [], False) + b"\r\n"
        sink = Aside(self, len(body))
        policy = path.policy_for(known.default, service)
        forward = Forward(path, policy, policy.cluster, sink, head, wire)
        forward.priority = PRIORITY
        self.under_way += 1
        self.bytes += len(body)
        if body:
            forward.write_body(body)
        forward.body_done = True
        forward.start()
        return True


class Aside(ResponseSink):
    """Takes a response and drops it."""

    def __init__(self, owner: Asides, size: int) -> None:
        self.owner = owner
        self.size = size

    def _over(self) -> None:
        self.owner.under_way -= 1
        self.owner.bytes -= self.size

    def on_informational(self, head: ResponseHead) -> None:
        """Dropped."""

    def on_response(self, head: ResponseHead) -> None:
        """Dropped."""

    def on_body(self, piece: bytes) -> None:
        """Dropped."""

    def on_flush(self) -> None:
        """Nothing is held."""

    def on_end(self, trailers: list[Field]) -> None:
        self._over()

    def on_abort(self, failure: Failure) -> None:
        self._over()

    def on_failed(self, failure: Failure) -> None:
        self._over()

    def on_request_writable(self) -> None:
        """The body is with the forwarding already."""

    def on_connected(self) -> None:
        """Never a tunnel."""

    def on_upstream_eof(self) -> None:
        """Never a tunnel."""
