"""What a transport between peers counts."""


class PeerCounters:
    """Of all connections of one agent since its start."""

    def __init__(self) -> None:
        self.bytes_in = 0
        self.bytes_out = 0
        self.records_in = 0
        self.writes = 0
        """Writes to sockets: all that one turn of the loop had for one peer is one."""
        self.frames_in = 0
        self.frames_out = 0
        self.opened = 0
        """Connections that were proved, either way."""
        self.dial_failures = 0
        self.accept_errors = 0
        self.queue_drops = 0
        """Frames that were thrown away since a peer took nothing."""
        self.unsent = 0
        """Frames for peers that no connection led to."""
        self.dropped: dict[str, int] = {}
        """Connections that were closed for what the peer sent or is, by reason."""

    def drop(self, reason: str) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
