"""What the API counts; the metrics are made of it."""


class ApiFigures:
    def __init__(self) -> None:
        self.connections = 0
        """Accepted, ever."""
        self.errors: dict[str, int] = {}
        """Answers that are errors, by code."""
        self.watches = 0
        """Watches and observers that are open."""
        self.events = 0
        """Events told to watches."""
        self.compacted = 0
        """Watches that were told that what they missed is gone."""
        self.slow = 0
        """Watches that were cut off because their reader took nothing."""
        self.replayed = 0
        """Commands that were answered from the table of outcomes."""
        self.own_sessions = 0
        """Sessions that the agent opened for commands without one."""
