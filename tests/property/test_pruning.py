"""Pruning departed replicas: the same history in two worlds, one that prunes and one that never does, must show the same values."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.clocks import dotted
from agent.core.clocks.dotted import DottedSet
from agent.core.clocks.prune import Pruner

REPLICAS = ("a", "b", "c", "d")
OBJECT = "x"


class World:
    """Replicas of one object that exchange whole states over a network that delays, repeats, reorders and loses."""

    def __init__(self) -> None:
        self.pruned = {replica: DottedSet() for replica in REPLICAS}
        self.full = {replica: DottedSet() for replica in REPLICAS}
        self.pruners = {replica: Pruner(replica) for replica in REPLICAS}
        self.live = set(REPLICAS)
        self.states: list[tuple[str, int, DottedSet, DottedSet]] = []
        self.reports: list[tuple[str, int, dict[str, dict[str, int]]]] = []
        self.epoch = 0
        self.dropped = 0

    def write(self, replica: str, number: int, reads: bool) -> None:
        context = self.full[replica].context if reads else {}
        seen = {name: count for name, count in self.pruned[replica].context.items() if reads}
        self.full[replica] = dotted.event(self.full[replica], context, replica, number)
        self.pruned[replica] = dotted.event(self.pruned[replica], seen, replica, number)

    def send(self, replica: str) -> None:
        self.states.append((replica, self.pruners[replica].epoch, self.pruned[replica], self.full[replica]))

    def deliver(self, index: int, replica: str) -> None:
        sender, epoch, pruned, full = self.states[index % len(self.states)]
        if self.pruners[replica].accepts(sender, epoch):
            self.pruned[replica] = dotted.sync(self.pruned[replica], pruned)
            self.full[replica] = dotted.sync(self.full[replica], full)

    def depart(self, replica: str) -> None:
        self.live.discard(replica)
        self.epoch = 1 + max(pruner.epoch for pruner in self.pruners.values())
        for other in self.live:
            self.pruners[other].depart(replica, self.epoch)

    def report(self, replica: str) -> None:
        epoch, idle = self.pruners[replica].report({OBJECT: self.pruned[replica]})
        self.reports.append((replica, epoch, {name: dict(counts) for name, counts in idle.items()}))

    def prune(self, replica: str) -> None:
        pruner = self.pruners[replica]
        for sender, epoch, idle in self.reports:
            pruner.on_report(sender, epoch, idle)
        before = len(self.pruned[replica].entries)
        self.pruned[replica] = pruner.begin_prune({OBJECT: self.pruned[replica]}, self.live)[OBJECT]
        self.dropped += before - len(self.pruned[replica].entries)

    def check(self) -> None:
        for replica in sorted(self.live):
            assert self.pruned[replica].dots() == self.full[replica].dots(), replica


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from("bcd"), st.integers(0, 50)), min_size=3, max_size=60))
def test_pruning_neither_resurrects_nor_loses_once_all_have_reported(steps: list[tuple[int, str, int]]) -> None:
    """The same, from where pruning is near: reports and prunings are frequent, old messages are about."""
    world = settled()
    for number, (kind, replica, index) in enumerate(steps):
        if kind == 0:
            world.write(replica, number, True)
        elif kind < 3:
            world.send(replica)
        elif kind < 6:
            world.deliver(index, replica)
        elif kind < 8:
            world.report(replica)
        else:
            for other in sorted(world.live):
                world.report(other)
            world.prune(replica)
        world.check()


STEP = st.tuples(
    st.sampled_from(("write", "blind", "send", "send", "deliver", "deliver", "deliver", "depart", "report", "report", "prune")),
    st.sampled_from(REPLICAS),
    st.integers(0, 50),
)


@settings(max_examples=300)
@given(st.lists(STEP, min_size=5, max_size=60))
def test_pruning_neither_resurrects_nor_loses(steps: list[tuple[str, str, int]]) -> None:
    world = World()
    for number, (kind, replica, index) in enumerate(steps):
        if replica not in world.live:
            continue
        if kind in ("write", "blind"):
            world.write(replica, number, kind == "write")
        elif kind == "send":
            world.send(replica)
        elif kind == "deliver" and world.states:
            world.deliver(index, replica)
        elif kind == "depart" and len(world.live) > 2:
            world.depart(replica)
        elif kind == "report":
            world.report(replica)
        elif kind == "prune":
            world.prune(replica)
        world.check()


def settled() -> World:
    """a wrote, everyone has it and b's replacement of it, a departed."""
    world = World()
    world.write("a", 1, True)
    world.send("a")
    for replica in "bcd":
        world.deliver(0, replica)
    world.write("b", 2, True)
    world.depart("a")
    world.send("c")  # still with a's value, as of the epoch that a's departure began
    world.send("b")
    for replica in "cd":
        world.deliver(2, replica)
    return world


def test_what_is_stable_is_pruned() -> None:
    world = settled()
    for replica in "bcd":
        world.report(replica)
    world.prune("b")
    assert world.dropped == 1
    assert set(world.pruned["b"].entries) == {"b"}
    world.check()


def test_one_missing_report_prevents_it() -> None:
    world = settled()
    for replica in "bc":
        world.report(replica)
    world.prune("b")
    assert world.dropped == 0


def test_a_message_from_before_the_pruning_cannot_bring_a_value_back() -> None:
    world = settled()
    for replica in "bcd":
        world.report(replica)
    world.prune("b")
    for index in range(2):
        world.deliver(index, "b")
    assert world.pruned["b"].values == [2]


def test_values_of_the_departed_stay() -> None:
    world = World()
    world.write("a", 1, True)
    world.send("a")
    for replica in "bcd":
        world.deliver(0, replica)
    world.depart("a")
    for replica in "bcd":
        world.report(replica)
    world.prune("b")
    assert world.pruned["b"].values == [1]
