"""Who talks to whom on the data path, as plain base classes: nothing here decides anything.

A response travels upstream connection -> `Try` -> `ResponseSink` (an exchange with one client, or a fill of the cache).
"""

from typing import Final

from agent.core.http.fields import Field
from agent.core.http.head import ResponseHead

COPY_MAX: Final = 16_384
"""A head and what comes with it are joined into one write up to this size: one buffer is written at once, several take the
transport's long way. Larger pieces are written as they are."""


class Failure:
    """Why no response could be had, in the words that a client, a log line and an explanation need."""

    __slots__ = ("detail", "flag", "retry_after_s", "status")

    def __init__(self, status: int, flag: str, detail: str, retry_after_s: float = 0.0) -> None:
        self.status = status
        """What the client is answered with, unless the cache has something better."""
        self.flag = flag
        """A short upper-case code for the access log and metrics; the list is in docs/operations.md."""
        self.detail = detail
        self.retry_after_s = retry_after_s


class ResponseSink:
    """Where a response goes. Called in the order: informational*, (response, body*, end) or (response, body*, abort), or
    failed alone."""

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx other than 101."""
        raise NotImplementedError

    def on_response(self, head: ResponseHead) -> None:
        """The final head."""
        raise NotImplementedError

    def on_body(self, piece: bytes) -> None:
        """Some octets of the body, unframed."""
        raise NotImplementedError

    def on_flush(self) -> None:
        """No more of the response is at hand just now: send what is held."""
        raise NotImplementedError

    def on_end(self, trailers: list[Field]) -> None:
        """The response is complete."""
        raise NotImplementedError

    def on_abort(self, failure: Failure) -> None:
        """The response broke off after its head."""
        raise NotImplementedError

    def on_failed(self, failure: Failure) -> None:
        """There will be no response."""
        raise NotImplementedError

    def on_request_writable(self) -> None:
        """The upstream takes request body again after `Forward.write_body` returned False."""
        raise NotImplementedError

    def on_connected(self) -> None:
        """A tunnel (CONNECT) to the upstream is open."""
        raise NotImplementedError

    def on_upstream_eof(self) -> None:
        """In a tunnel: the upstream will send no more."""
        raise NotImplementedError
