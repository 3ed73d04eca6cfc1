"""What the property tests of the cache make their examples of."""

from agent.core.cache.config import CachePolicy
from agent.core.cache.entry import Entry
from agent.core.cache.storage import decide_storage, make_entry
from agent.core.http.head import RequestHead, ResponseHead, parse_request_head, parse_response_head

POLICY = CachePolicy(enabled=True)


def request(*lines: str, method: str = "GET", target: str = "/", host: str = "a.test") -> RequestHead:
    return parse_request_head("\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1"))


def response(*lines: str, status: int = 200) -> ResponseHead:
    return parse_response_head("\r\n".join([f"HTTP/1.1 {status} X", *lines, "", ""]).encode("latin-1"), b"GET")


def stored(
    ask: RequestHead, answer: ResponseHead, requested_at: float, received_at: float, policy: CachePolicy = POLICY, body: bytes = b""
) -> Entry | None:
    """The entry that the response becomes, or None where it is not stored."""
    decision = decide_storage(ask, answer, policy, received_at)
    if not decision.store:
        return None
    entry = make_entry(b"web " + ask.authority + ask.target, "web", ask, answer, policy, requested_at, received_at, decision)
    entry.body = [body]
    entry.length = len(body)
    return entry
