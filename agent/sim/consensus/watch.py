"""Whoever is told of what happens in a simulated group."""

from agent.core.replica.io import Changed, Persist
from agent.core.replica.log import Entry, Recovered, SnapshotMeta
from agent.sim.consensus.host import Host


class Watcher:
    """Does nothing of all this; the oracle and the records take what they need."""

    def started(self, host: Host, recovered: Recovered) -> None:
        """The host's process starts with what its disk said."""

    def crashed(self, host: Host, power: bool) -> None:
        """The host's process is gone, with `power` the page cache too."""

    def stepped(self, host: Host) -> None:
        """The replica has taken an input, and its effects are carried out."""

    def persisting(self, host: Host, batch: Persist) -> None:
        """Something is to be written."""

    def durable(self, host: Host, batches: list[Persist]) -> None:
        """It is on the disk, as far as the host knows."""

    def delivering(self, host: Host, entry: Entry) -> None:
        """The replica says that this entry is committed; it is about to be applied."""

    def applied(self, host: Host, entry: Entry, value: object) -> None:
        """The state machine answered this."""

    def installed(self, host: Host, meta: SnapshotMeta) -> None:
        """The state machine was replaced by another's snapshot."""

    def changed(self, host: Host, effect: Changed) -> None:
        """Role, term, leader or members are others."""
