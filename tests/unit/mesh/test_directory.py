"""Whose endpoints are used, as members come, leave, fail, and as it may be we who are cut off."""

from agent.core.routing.directory import Directory
from agent.core.routing.endpoint import EndpointSpec

KEEP_S = 300.0


def rows(*members: str) -> dict[str, list[tuple[str, EndpointSpec]]]:
    return {"web": [(member, EndpointSpec("10.0.0.1", 80 + ord(member[-1]), 1, "", "", f"member {member}")) for member in members]}


def used(directory: Directory) -> set[str]:
    return {spec.origin.removeprefix("member ") for spec in directory.endpoints().get("web", [])}


def directory_of(*members: str) -> Directory:
    directory = Directory(KEEP_S)
    directory.update(rows(*members), dict.fromkeys(members, "alive"), 0.0)
    return directory


def test_a_member_that_fails_or_leaves_while_others_live_is_out_at_once() -> None:
    directory = directory_of("a", "b", "c")
    directory.update(rows("b", "c"), {"a": "dead", "b": "alive", "c": "alive"}, 1.0)
    assert used(directory) == {"b", "c"}
    directory.update(rows("c"), {"a": "dead", "b": "left", "c": "alive"}, 2.0)
    assert used(directory) == {"c"}


def test_the_last_one_that_fails_brings_back_all_that_failed_before_it() -> None:
    directory = directory_of("a", "b", "c")
    directory.update(rows("b", "c"), {"a": "dead", "b": "alive", "c": "alive"}, 1.0)
    directory.update(rows("c"), {"a": "dead", "b": "dead", "c": "suspect"}, 20.0)
    assert used(directory) == {"c"} and not directory.isolated
    directory.update(rows(), {"a": "dead", "b": "dead", "c": "dead"}, 30.0)
    assert used(directory) == {"a", "b", "c"} and directory.isolated and directory.kept == 3
    directory.look({"a": "dead", "b": "dead", "c": "dead"}, 1.0 + KEEP_S)
    assert used(directory) == {"b", "c"}
    directory.look({}, 30.0 + KEEP_S)  # reaped meanwhile
    assert used(directory) == set()


def test_those_that_left_or_withdrew_are_not_brought_back() -> None:
    directory = directory_of("a", "b", "c")
    directory.update(rows("b", "c"), {"a": "alive", "b": "alive", "c": "alive"}, 1.0)  # withdrawn
    directory.update(rows("c"), {"a": "alive", "b": "left", "c": "alive"}, 2.0)
    directory.update(rows(), {"a": "dead", "b": "left", "c": "dead"}, 3.0)
    assert used(directory) == {"c"}


def test_when_a_peer_is_back_only_what_is_announced_counts() -> None:
    directory = directory_of("a", "b")
    directory.update(rows(), {"a": "dead", "b": "dead"}, 1.0)
    assert used(directory) == {"a", "b"}
    directory.update(rows("a"), {"a": "alive", "b": "dead"}, 2.0)
    assert used(directory) == {"a"} and not directory.isolated


def test_an_address_that_two_members_announce_is_there_once() -> None:
    directory = Directory(KEEP_S)
    spec = EndpointSpec("10.0.0.1", 80)
    directory.update({"web": [("b", spec), ("a", spec)]}, {}, 0.0)
    assert len(directory.endpoints()["web"]) == 1


def test_nobody_there_yet_is_no_isolation() -> None:
    directory = Directory(KEEP_S)
    directory.look({}, 0.0)
    assert not directory.isolated
