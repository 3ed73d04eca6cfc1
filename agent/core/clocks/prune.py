"""Taking departed replicas out of dotted version vector sets, without resurrecting or losing a value.

An entry `r: (n, no values)` says "I have seen r's events 1…n, and all their values are replaced": it is what keeps those values from
coming back. It may be dropped when nobody can bring one of them back, which is so when **all** of this holds:

1. *r is gone for good*: nobody will write under that name again (a name is of one life: node and generation), and a replica that was
   declared gone and returns joins anew, with nothing of its old state.
2. *it is stable*: every live replica has reported the same `r: (n, no values)` **since** r's departure.
3. *nothing old is on its way*: a message that was sent before its sender reported may carry a value of r's. So replicas number
   epochs; a departure begins one, and so does the decision to prune; each message carries its sender's epoch, and a replica refuses
   messages of an epoch before its own (their sender sends again, as anti-entropy does anyway).

An entry that still has values stays, whoever wrote them: they are data. A client's context that still names r adds an entry without
values, which is harmless. A replica that has not pruned yet brings the entry back to one that has: harmless too, and pruned again.
"""

from collections.abc import Collection, Mapping

from agent.core.clocks.dotted import DottedSet

Idle = Mapping[str, Mapping[str, int]]
"""Object → departed replica → its event count, where the object holds none of its values any more."""


def idle_entries(objects: Mapping[str, DottedSet], gone: Collection[str]) -> dict[str, dict[str, int]]:
    """What a replica reports: the entries of departed replicas that hold nothing back but their values' return."""
    found: dict[str, dict[str, int]] = {}
    for name, clock in objects.items():
        idle = {replica: entry.count for replica, entry in clock.entries.items() if replica in gone and not entry.values}
        if idle:
            found[name] = idle
    return found


def drop(objects: Mapping[str, DottedSet], stable: Idle) -> dict[str, DottedSet]:
    """The objects without the stable entries. One that has changed since (it should not have) is left as it is."""
    pruned = dict(objects)
    for name, idle in stable.items():
        clock = objects.get(name)
        if clock is not None:
            kept = {
                replica: entry
                for replica, entry in clock.entries.items()
                if entry.values or replica not in idle or entry.count != idle[replica]
            }
            pruned[name] = DottedSet(kept)
    return pruned


class Pruner:
    """One replica's part of the agreement on what is stable. The host tags each message with `epoch` and asks `accepts` of each."""

    def __init__(self, replica: str, epoch: int = 0) -> None:
        self.replica = replica
        self.epoch = epoch
        self.gone: set[str] = set()
        self._reports: dict[str, Idle] = {}

    def accepts(self, sender: str, epoch: int) -> bool:
        """Whether a message of that epoch may be used. A newer one moves this replica up: what is older is refused from here on,
        and so is whatever a departed replica still has on its way."""
        if sender in self.gone:
            return False
        self._enter(epoch)
        return epoch == self.epoch

    def depart(self, replica: str, epoch: int) -> None:
        """A replica is gone for good; its departure began that epoch, later than any that the caller knows of."""
        self.gone.add(replica)
        self._enter(epoch)

    def report(self, objects: Mapping[str, DottedSet]) -> tuple[int, Idle]:
        """What to tell the other live replicas: the epoch and the idle entries."""
        idle = idle_entries(objects, self.gone)
        self._reports[self.replica] = idle
        return self.epoch, idle

    def on_report(self, replica: str, epoch: int, idle: Idle) -> None:
        """Another replica's report; one of an older epoch says nothing."""
        if self.accepts(replica, epoch):
            self._reports[replica] = idle

    def stable(self, live: Collection[str]) -> dict[str, dict[str, int]]:
        """What every live replica has reported in this epoch, in the same words; empty while a report is missing. The one that
        finds something may begin the next epoch with it: `begin_prune`."""
        reports = [self._reports[replica] for replica in sorted(live) if replica in self._reports]
        if not reports or len(reports) < len(live):
            return {}
        found: dict[str, dict[str, int]] = {}
        for name, idle in reports[0].items():
            same = {
                replica: count for replica, count in idle.items() if all(other.get(name, {}).get(replica) == count for other in reports)
            }
            if same:
                found[name] = same
        return found

    def begin_prune(self, objects: Mapping[str, DottedSet], live: Collection[str]) -> dict[str, DottedSet]:
        """Enter the next epoch and drop what is stable; the objects unchanged where nothing is."""
        stable = self.stable(live)
        if not stable:
            return dict(objects)
        self._enter(self.epoch + 1)
        return drop(objects, stable)

    def _enter(self, epoch: int) -> None:
        if epoch > self.epoch:
            self.epoch = epoch
            self._reports.clear()
