"""Datagrams and streams between members: the interface, the sockets behind it, and a twin in memory for tests and experiments.

What travels is octets; frames are `core/swim`'s, bounds and time limits `runtime/streams.py`'s. `tests/contract` holds both kinds to
the same behaviour.
"""

from typing import Protocol

from agent.core.swim.messages import Place


class Stream(Protocol):
    """An open stream. Whoever has it closes it."""

    async def read(self) -> bytes:
        """What has come, or b"" where the peer has ended its direction. Raises OSError where the stream broke."""

    async def write(self, data: bytes) -> None:
        """Give `data` to the network. Returns when there is room for more. Raises OSError where the stream broke."""

    def close(self) -> None:
        """Send what is written, then close. Never raises; a second time does nothing."""


class Connection(Protocol):
    """Somebody has connected and nothing has been spent on it yet. Either `open` it or `refuse` it."""

    source: Place

    async def open(self) -> Stream:
        """The stream; with mTLS after the handshake and the check of the peer's identity. Raises OSError where that fails."""

    def refuse(self) -> None:
        """Close it unheard."""


class Receiver(Protocol):
    """What a transport calls, on its loop. Neither call may raise."""

    def on_packet(self, source: Place, data: bytes) -> None: ...

    def on_connection(self, connection: Connection) -> None: ...


class Transport(Protocol):
    """Where a member is heard: packets and streams at the same place."""

    @property
    def place(self) -> Place:
        """Where this transport listens; known once it has started."""

    async def start(self, receiver: Receiver) -> None:
        """Listen. Raises OSError where the place is taken or not this machine's."""

    def send(self, to: Place, data: bytes) -> None:
        """Send one datagram, or lose it. Never raises; a failure is counted in `send_errors`."""

    async def connect(self, to: Place) -> Stream:
        """Open a stream. Raises OSError where nobody is there. The caller sets the time limit."""

    async def close(self) -> None:
        """Stop listening. Streams that are open are their users'."""

    send_errors: int
