"""Errors of the message layer, split by whose fault they are."""


class BadMessage(Exception):
    """A peer's bytes are not the HTTP/1 message they claim to be.

    `status` is what a client would be answered with (an upstream's bad message becomes 502), `reason` one line for
    people: what was found and what was expected.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
