"""What members of a group say to each other is proved and sealed: by certificates, by keys that are changed while it runs, or plain."""

from pathlib import Path

import pytest

from tests.harness.authority import Authority
from tests.harness.consensus import BOUND_S, Client, Group
from tests.harness.mesh import KEY, OTHER_KEY
from tests.harness.wait import wait_until

pytestmark = pytest.mark.xdist_group("consensus")


def test_by_certificate_the_peers_know_each_other_by_name_and_a_group_works(tmp_path: Path) -> None:
    authority = Authority()
    sections = {}
    for name in "abc":
        files = authority.write(tmp_path / name, f"spiffe://fish.test/agent/{name}")
        sections[name] = {
            "tls": {
                "certificate": files.certificate,
                "key": files.key,
                "authorities": files.authorities,
                "trust_domain": "fish.test",
                "paths": ["/agent"],
            }
        }
    with Group("a", "b", "c", each=lambda name: sections[name]) as group:
        leader = group.leader()
        assert Client(group, leader).put("k", "v") == 200
        other = next(name for name in "abc" if name != leader)
        assert Client(group, other).get("k") == "v"
        assert group.status(other)["peers"][leader]["identity"] == f"spiffe://fish.test/agent/{leader}"


def test_a_plain_cluster_has_a_group_as_well() -> None:
    with Group("a", "b", "c", cluster={"keys": None, "plaintext": True}) as group:
        leader = group.leader()
        assert all(Client(group, name).put(f"k{name}", name) == 200 for name in "abc")
        assert Client(group, leader).get("ka") == "a"


def test_keys_are_changed_without_a_pause() -> None:
    with Group("a", "b", "c") as group:
        leader = group.leader()
        first, second = KEY, OTHER_KEY
        agent = group.agents[leader]

        def change(op: str, key: str) -> None:
            found = agent.post("/cluster/keys", {"op": op, "key": key})
            assert found["acknowledged"] == found["of"] == 3, found

        change("install", second)
        change("use", second)
        opened = group.agents["a"].metric("pilotfish_consensus_peers_connected")
        assert opened == 2
        change("remove", first)
        # What the old key had proved is closed, and the members are connected again, by the new one.
        wait_until(lambda: all(group.agents[name].metric("pilotfish_consensus_peers_connected") == 2 for name in "abc"), "peers", BOUND_S)
        group.leader()
        assert all(Client(group, name).put(f"after-{name}", name) == 200 for name in "abc")
        assert [Client(group, "b").get(f"after-{name}") for name in "abc"] == ["a", "b", "c"]
