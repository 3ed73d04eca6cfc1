"""Version vectors and dotted version vector sets against what they stand for: sets of events."""

from hypothesis import given
from hypothesis import strategies as st

from agent.core.clocks import dotted, vector
from agent.core.clocks.dotted import DottedSet

REPLICAS = ("a", "b", "c")
VECTORS = st.dictionaries(st.sampled_from(REPLICAS), st.integers(1, 4))
Dot = tuple[str, int]


def events(clock: vector.Vector) -> set[Dot]:
    return {(replica, number) for replica, count in clock.items() for number in range(1, count + 1)}


@given(VECTORS, VECTORS)
def test_vectors_compare_and_merge_as_their_sets_of_events(a: dict[str, int], b: dict[str, int]) -> None:
    assert vector.descends(a, b) == (events(a) >= events(b))
    assert events(vector.merge(a, b)) == events(a) | events(b)
    assert events(vector.meet([a, b])) == events(a) & events(b)
    relation = vector.compare(a, b)
    assert (relation == vector.CONCURRENT) == (not events(a) >= events(b) and not events(b) >= events(a))
    assert (relation == vector.EQUAL) == (events(a) == events(b))
    assert (relation == vector.AFTER) == (events(a) > events(b))
    assert events(vector.increment(a, "a")) > events(a)


class Model:
    """One replica of the object: the events that it has seen, and the values that nothing which it has seen replaced."""

    def __init__(self) -> None:
        self.seen: set[Dot] = set()
        self.holds: dict[Dot, str] = {}

    def write(self, replica: str, read: set[Dot], value: str) -> None:
        # A context is a prefix of each replica's events, and reading implies having seen.
        self.seen |= read
        self.holds = {dot: held for dot, held in self.holds.items() if dot not in read}
        dot = (replica, 1 + max((number for name, number in self.seen if name == replica), default=0))
        self.seen.add(dot)
        self.holds[dot] = value

    def erase(self, read: set[Dot]) -> None:
        self.seen |= read
        self.holds = {dot: held for dot, held in self.holds.items() if dot not in read}

    def sync(self, other: "Model") -> None:
        holds = {}
        for dot in self.holds.keys() | other.holds.keys():
            if (dot in self.holds or dot not in self.seen) and (dot in other.holds or dot not in other.seen):
                holds[dot] = self.holds.get(dot) or other.holds[dot]
        self.seen = self.seen | other.seen
        self.holds = holds


class Pair:
    def __init__(self) -> None:
        self.real = {replica: DottedSet() for replica in REPLICAS}
        self.model = {replica: Model() for replica in REPLICAS}
        self.contexts: list[dict[str, int]] = [{}]

    def run(self, data: st.DataObject) -> None:
        for number in range(data.draw(st.integers(1, 25))):
            replica = data.draw(st.sampled_from(REPLICAS))
            kind = data.draw(st.sampled_from(("write", "write", "erase", "sync", "read")))
            if kind == "read":
                self.contexts.append(self.real[replica].context)
            elif kind == "sync":
                other = data.draw(st.sampled_from(REPLICAS))
                self.real[replica] = dotted.sync(self.real[replica], self.real[other])
                self.model[replica].sync(self.model[other])
            else:
                context = data.draw(st.sampled_from(self.contexts))
                if context.get(replica, 0) > self.real[replica].entries.get(replica, dotted.Entry(0)).count:
                    continue
                if kind == "write":
                    self.real[replica] = dotted.event(self.real[replica], context, replica, f"v{number}")
                    self.model[replica].write(replica, events(context), f"v{number}")
                else:
                    self.real[replica] = dotted.erase(self.real[replica], context)
                    self.model[replica].erase(events(context))
            self.check(replica)

    def check(self, replica: str) -> None:
        real, model = self.real[replica], self.model[replica]
        assert real.dots() == model.holds
        assert events(real.context) == model.seen


@given(st.data())
def test_a_dotted_set_holds_what_the_sets_of_events_say(data: st.DataObject) -> None:
    Pair().run(data)


@given(st.data())
def test_sync_is_commutative_associative_idempotent_and_descent_is_its_order(data: st.DataObject) -> None:
    pair = Pair()
    pair.run(data)
    a, b, c = (pair.real[replica] for replica in REPLICAS)
    assert dotted.sync(a, b) == dotted.sync(b, a)
    assert dotted.sync(a, dotted.sync(b, c)) == dotted.sync(dotted.sync(a, b), c)
    assert dotted.sync(a, a) == a
    both = dotted.sync(a, b)
    assert dotted.descends(both, a) and dotted.descends(both, b)
    assert not dotted.concurrent(both, a)
    model_a, model_b = pair.model["a"], pair.model["b"]
    expected = model_a.seen >= model_b.seen and not any(dot in model_b.seen and dot not in model_b.holds for dot in model_a.holds)
    assert dotted.descends(a, b) == expected


def test_two_who_read_the_same_write_two_values_and_one_who_read_both_replaces_both() -> None:
    start = dotted.event(DottedSet(), {}, "a", "old")
    context = start.context
    both = dotted.event(dotted.event(start, context, "a", "mine"), context, "a", "yours")
    assert sorted(both.values) == ["mine", "yours"]
    assert dotted.event(both, both.context, "b", "merged").values == ["merged"]
