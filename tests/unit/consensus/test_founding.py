"""How a group begins, agent by agent, without a network."""

import random

import pytest
from msgspec.structs import replace

from agent.cluster.consensus.founding import PROMISE_S, Founding
from agent.core.gossip.facts import VOTER, Seat

SETTLE_S = 1.0


class Agents:
    """Candidates that see each other's seats at once, or as `hidden` (who does not see whom) says."""

    def __init__(self, names: str, bootstrap: tuple[str, ...] = (), expect: int = 0) -> None:
        self.now = 0.0
        self.parts: dict[str, Founding] = {}
        self.founded: dict[str, int] = {}
        self.ids: dict[str, int] = {}
        self.hidden: set[tuple[str, str]] = set()
        self.bootstrap = bootstrap
        self.expect = expect
        for number, name in enumerate(names, 1):
            self.ids[name] = number
            self.parts[name] = self.make(name)

    def make(self, name: str) -> Founding:
        return Founding("blue", "main", name, self.ids[name], self.bootstrap, self.expect, SETTLE_S)

    def seat(self, name: str) -> Seat:
        part = self.parts[name]
        return Seat(
            group_id=self.founded.get(name, 0),
            member=self.ids[name],
            wants=VOTER,
            expect=len(self.bootstrap) or self.expect,
            ballot=part.ballot,
            promised=part.ballot if part.promised else 0,
        )

    def seats(self, name: str) -> dict[str, Seat]:
        return {other: self.seat(other) for other in self.parts if other != name and (name, other) not in self.hidden}

    def look(self, name: str) -> str:
        part = self.parts[name]
        if name in self.founded:
            return "found"
        step = part.look(self.now, self.seats(name))
        if step == "promise":
            part.keep(part.voters, self.now)
        elif step == "found":
            self.founded[name] = part.ballot
        elif step == "withdraw":
            self.ids[name] += 100
            self.parts[name] = self.make(name)
        return step

    def run(self, seconds: float, chance: random.Random | None = None) -> None:
        for _ in range(int(seconds / 0.25)):
            names = list(self.parts)
            if chance is not None:
                chance.shuffle(names)
            for name in names:
                self.look(name)
            self.now += 0.25


def test_named_agents_found_one_group_once_all_are_there() -> None:
    agents = Agents("ab", bootstrap=("a", "b", "c"))
    agents.run(10)
    assert not agents.founded
    assert "c of `bootstrap`" in agents.parts["a"].why
    agents.ids["c"] = 3
    agents.parts["c"] = agents.make("c")
    agents.run(3)
    assert set(agents.founded) == {"a", "b", "c"} and len(set(agents.founded.values())) == 1


def test_of_more_than_expected_the_first_names_found_it_and_the_others_join() -> None:
    agents = Agents("edcba", expect=3)
    agents.run(4)
    assert set(agents.founded) == {"a", "b", "c"} and len(set(agents.founded.values())) == 1
    assert "already" in agents.parts["d"].why


def test_fewer_than_expected_wait() -> None:
    agents = Agents("ab", expect=3)
    agents.run(20)
    assert not agents.founded and "2 agents" in agents.parts["a"].why


def test_who_sees_a_group_founds_none() -> None:
    agents = Agents("abc", expect=3)
    seats = agents.seats("a")
    seats["z"] = Seat(group_id=77, member=9, wants=VOTER)
    for at in range(40):
        assert agents.parts["a"].look(at * 0.25, seats) == "wait"


def test_a_promise_whose_others_never_come_is_withdrawn_under_a_new_id() -> None:
    agents = Agents("abc", expect=3)
    agents.run(1.25)
    assert agents.parts["a"].promised
    agents.hidden = {("a", "b"), ("a", "c")}
    agents.founded.clear()
    before = agents.ids["a"]
    agents.now += PROMISE_S + 1
    assert agents.look("a") == "withdraw"
    assert agents.ids["a"] != before


@pytest.mark.parametrize("seed", range(200))
def test_whoever_sees_whom_no_two_groups_get_the_same_agent_and_names_give_only_one(seed: int) -> None:
    """Views change at random, agents lose their ids; whatever is founded shares no voter with anything else that is."""
    chance = random.Random(seed)
    named = chance.random() < 0.5
    agents = Agents("abcdef"[: 3 if named else chance.randint(3, 6)], ("a", "b", "c") if named else (), 0 if named else 3)
    voters: dict[int, tuple[tuple[str, int], ...]] = {}
    for _ in range(60):
        agents.hidden = {(one, other) for one in agents.parts for other in agents.parts if chance.random() < 0.3}
        if chance.random() < 0.1:
            agents.now += PROMISE_S
        agents.run(chance.choice((0.25, 1.0, 3.0)), chance)
        for name, ballot in agents.founded.items():
            voters[ballot] = agents.parts[name].voters
    seen: set[tuple[str, int]] = set()
    for each in voters.values():
        assert not seen & set(each)
        seen |= set(each)
    # A group works where a majority of its voters has founded it.
    works = [ballot for ballot, each in voters.items() if sum(agents.founded.get(name) == ballot for name, _ in each) * 2 > len(each)]
    assert len(works) <= (1 if named else 2)


def test_a_restarted_agent_keeps_its_promise() -> None:
    agents = Agents("abc", expect=3)
    agents.run(1.25)
    voters = agents.parts["b"].voters
    assert agents.parts["b"].promised
    agents.parts["b"] = agents.make("b")
    agents.parts["b"].keep(voters, agents.now)
    agents.founded.pop("b", None)
    agents.run(2)
    assert len(set(agents.founded.values())) == 1 and set(agents.founded) == {"a", "b", "c"}


def test_the_ballot_says_who_and_which_ids() -> None:
    one, other = Agents("abc", expect=3), Agents("abc", expect=3)
    other.ids["c"] = 30
    other.parts["c"] = other.make("c")
    for agents in (one, other):
        agents.run(0.25)
    assert one.parts["a"].ballot != other.parts["a"].ballot
    assert replace(Seat(), ballot=one.parts["a"].ballot).ballot < 2**53
