"""Requests of plugins' own (mirrors): sent through the same forwarding, their responses dropped."""

from collections.abc import Mapping

from agent.core.http.errors import BadMessage
from agent.core.http.fields import Field
from agent.core.http.head import ResponseHead, parse_request_head
from agent.core.routing.cluster import Cluster
from agent.proxy.datapath import DataPath
from agent.proxy.forward import Forward
from agent.proxy.sink import Failure, ResponseSink


class Nobody(ResponseSink):
    """Takes a response and drops it."""

    def on_informational(self, head: ResponseHead) -> None: ...
    def on_response(self, head: ResponseHead) -> None: ...
    def on_body(self, piece: bytes) -> None: ...
    def on_flush(self) -> None: ...
    def on_end(self, trailers: list[Field]) -> None: ...
    def on_abort(self, failure: Failure) -> None: ...
    def on_failed(self, failure: Failure) -> None: ...
    def on_request_writable(self) -> None: ...
    def on_connected(self) -> None: ...
    def on_upstream_eof(self) -> None: ...


def send_aside(path: DataPath, cluster: Cluster, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
    """False where it is no legal request."""
    lines = [f"{method} {target} HTTP/1.1"]
    names = {name.lower() for name in headers}
    if "host" not in names:
        lines.append(f"Host: {service}")
    lines.extend(
        f"{name}: {value}" for name, value in headers.items() if name.lower() not in ("content-length", "transfer-encoding", "connection")
    )
    if body:
        lines.append(f"Content-Length: {len(body)}")
    try:
        wire = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        head = parse_request_head(wire)
    except (BadMessage, UnicodeEncodeError):
        return False
    target_of = path.table.services.get(service)
    if target_of is None:
        return False
    forward = Forward(path, path.policy_for(target_of.default, service), cluster, Nobody(), head, wire)
    forward.priority = 9
    if body:
        forward.write_body(body)
        forward.body_done = True
    forward.start()
    return True
