"""Agents tell each other what their caches have that is asked for most: right where it says yes, seldom wrong where it should say no."""

from typing import Any

from tests.harness.apps import Fleet
from tests.harness.wait import wait_until


def holders(fleet: Fleet, name: str, target: str) -> list[str]:
    found: dict[str, Any] = fleet.agents[name].get(f"/cluster/holders?service=web&url=http://web{target}")
    return found["members"]  # type: ignore[no-any-return]


def test_what_is_asked_for_much_on_one_agent_is_known_on_the_others() -> None:
    with Fleet("a", "b", "c", service={"cache": {"enabled": True}}) as fleet:
        fleet.wait_for_endpoints("a", "b", "c")
        hot = [f"/hot/{number}" for number in range(20)]
        for target in hot:
            for _ in range(4):
                fleet.ask("b", target)
        for number in range(20):
            fleet.ask("b", f"/once/{number}")
            fleet.ask("c", f"/once/{number}")
        wait_until(lambda: all(holders(fleet, name, target) == ["b"] for name in "ac" for target in hot), "b's digest everywhere", 30.0)
        assert sum(bool(holders(fleet, "a", f"/once/{number}")) for number in range(20)) <= 2
        assert holders(fleet, "b", hot[0]) == []  # itself it need not ask
        row = fleet.row("a", "b")
        assert row["hot"]["keys"] == 20 and fleet.row("a", "c")["hot"] is None
        assert fleet.agents["b"].metric("pilotfish_mesh_hot_keys") == 20
        fleet.agents["b"].kill()
        wait_until(lambda: holders(fleet, "a", hot[0]) == [], "a to leave out who is dead", 15.0)
