"""A simulated machine with one replica on it: what it holds, and what of it a crash takes away."""

from collections import deque
from collections.abc import Callable
from math import inf

from msgspec import Struct

from agent.core.machine.machine import Machine
from agent.core.replica.io import Input, Persist, Replica
from agent.core.replica.log import Members, SnapshotMeta
from agent.sim.consensus.store import Store


class Answer(Struct, frozen=True, gc=False):
    """What a node says to a client. `status`: ok, or why not (nothing is known of what becomes of the command then).

    `index`: of a write, where it stands in the log; of a read, up to where the state machine had applied.
    """

    status: str
    value: object = None
    index: int = 0


Reply = Callable[[Answer], None]


class Waiting(Struct, frozen=True):
    """Somebody who waits for the end of a command or of a read."""

    reply: Reply
    asked: float = 0.0
    """On the host's own clock."""
    query: object = None


class Host:
    """`life` counts its starts: what was begun in an earlier one has no effect."""

    __slots__ = (
        "applied",
        "applied_members",
        "applied_term",
        "clock_offset",
        "clock_rate",
        "core",
        "disk_factor",
        "epoch",
        "fresh_since",
        "gathered",
        "inbox",
        "index",
        "inputs",
        "last_now",
        "last_snapshot",
        "lead_since",
        "lead_time_ms",
        "life",
        "machine",
        "members",
        "members_before",
        "name",
        "paused",
        "peer",
        "places",
        "queue",
        "role",
        "snapshotting",
        "stepping",
        "store",
        "term",
        "ticket",
        "tickets",
        "unapplied_reads",
        "up",
        "wake_at",
        "writable",
        "writing",
        "writing_since",
    )

    def __init__(self, index: int, store: Store) -> None:
        self.index = index
        self.name = f"node-{index}"
        self.store = store
        self.life = 0
        self.peer = 0
        """The id of this life of its log."""
        self.clock_offset = 0.0
        self.clock_rate = 1.0
        self.disk_factor = 1.0
        """How many times as long as it should its disk takes."""
        self.writable = True
        self.up = False
        self.clear()

    def clear(self) -> None:
        """Forget what was only in memory."""
        self.core: Replica | None = None
        self.machine: Machine | None = None
        self.members = Members()
        self.members_before = Members()
        self.lead_since = 0.0
        """When the machine's time was `lead_time_ms`: what a leader stamps commands with goes on from there, by the own clock."""
        self.lead_time_ms = 0
        self.role = "follower"
        self.term = 0
        self.paused = False
        self.applied = 0
        self.applied_term = 0
        self.applied_members = Members()
        self.epoch = 0
        self.last_snapshot = 0
        self.snapshotting = False
        self.stepping = False
        self.inputs: deque[Input] = deque()
        self.inbox: deque[tuple[Callable[..., None], tuple[object, ...]]] = deque()
        """What happened while the process was stopped."""
        self.queue: list[Persist | SnapshotMeta] = []
        """Given to the disk's writer, who is still busy with others."""
        self.writing = False
        self.writing_since = 0.0
        self.ticket = 0
        self.tickets: dict[int, Waiting] = {}
        self.places: dict[int, tuple[int, Waiting]] = {}
        """Commands of waiting clients by their index in the log, each with its term."""
        self.gathered: list[tuple[int, bytes]] = []
        self.unapplied_reads: list[tuple[int, Waiting]] = []
        self.fresh_since = -inf
        self.wake_at = inf
        self.last_now = -inf
        """What the replica was told last of the time."""

    def next_ticket(self, waiting: Waiting) -> int:
        self.ticket += 1
        self.tickets[self.ticket] = waiting
        return self.ticket

    def machine_time(self, now: float) -> int:
        """Milliseconds for a command that comes now."""
        return self.lead_time_ms + int((now - self.lead_since) * 1000.0)

    def stand_on(self, meta: SnapshotMeta) -> None:
        """The state machine is as this snapshot says."""
        self.applied = self.last_snapshot = meta.index
        self.applied_term = meta.term
        self.applied_members = meta.members
        self.epoch = meta.epoch
