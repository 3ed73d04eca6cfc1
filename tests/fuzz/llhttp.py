"""A second reader: llhttp (by way of httptools), which shares no code with the agent."""

from dataclasses import dataclass, field
from typing import Final

import httptools

METHODS: Final = frozenset(
    b"DELETE GET HEAD POST PUT CONNECT OPTIONS TRACE COPY LOCK MKCOL MOVE PROPFIND PROPPATCH SEARCH UNLOCK BIND REBIND UNBIND ACL "
    b"REPORT MKACTIVITY CHECKOUT MERGE M-SEARCH NOTIFY SUBSCRIBE UNSUBSCRIBE PATCH PURGE MKCALENDAR LINK UNLINK QUERY".split()
)
"""llhttp takes these and no other; the agent takes any token."""


@dataclass
class Message:
    """One message as llhttp read it."""

    target: bytes = b""
    status: int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


class _Reader:
    def __init__(self) -> None:
        self.messages: list[Message] = []

    def on_message_begin(self) -> None:
        self.messages.append(Message())

    def on_url(self, url: bytes) -> None:
        self.messages[-1].target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.messages[-1].fields.append((name.lower(), value.strip(b" \t")))

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].complete = True


class Requests(_Reader):
    """Reads a stream of requests. `feed` raises `httptools.HttpParserError` on what llhttp refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpRequestParser(self)
        self.switched = False

    def feed(self, data: bytes) -> None:
        if self.switched:
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.switched = True

    def method(self) -> bytes:
        return bytes(self.parser.get_method())

    def on_message_complete(self) -> None:
        super().on_message_complete()


class Responses(_Reader):
    """Reads a stream of responses to requests that were not HEAD or CONNECT."""

    def __init__(self) -> None:
        super().__init__()
        self.parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_headers_complete(self) -> None:
        self.messages[-1].status = self.parser.get_status_code()
