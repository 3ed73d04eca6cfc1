"""Between regions, seeded: every invalidation comes everywhere, whatever becomes of gateways and of the links between them."""

import pytest

from agent.core.gossip.across import BORDER, inside, outside, region_of, renamed
from agent.core.gossip.core import GossipConfig
from agent.core.gossip.invalidation import FENCE, InvalidationConfig
from agent.core.gossip.io import Invalidate
from agent.core.gossip.messages import Stream
from tests.sim.regions_net import Regions


def purge(net: Regions, name: str, count: int = 1) -> None:
    for number in range(count):
        net.issue(name, Invalidate(number, "tag", value=b"t%d" % number))


def has_all(net: Regions, region: str, origin: str, numbers: range, generation: int = 1) -> bool:
    """Whether every member there has applied these of an origin of another region."""
    known = outside(origin, origin.partition("-")[0])
    hosts = [host for host in net.members() if host.name.startswith(region + "-")]
    return bool(hosts) and all((known, generation, number) in host.applied for host in hosts for number in numbers)


@pytest.mark.parametrize(("gateways", "loss"), [(1, 0.0), (2, 0.0), (2, 0.1)])
def test_what_one_region_issues_comes_to_all_once(gateways: int, loss: float) -> None:
    net = Regions(3, 8, gateways, seed=5, loss=loss)
    net.run(1.5)
    for name in ("r0-web-0", "r0-web-7", "r2-web-3"):
        purge(net, name, 3)
    assert net.run(10.0, lambda: all(has_all(net, region, f"r0-web-{number}", range(1, 4)) for region in ("r1", "r2") for number in (0, 7)))
    assert net.run(10.0, lambda: has_all(net, "r0", "r2-web-3", range(1, 4)) and has_all(net, "r1", "r2-web-3", range(1, 4)))
    net.run(5.0)
    # `Host` holds each to be applied once. Nothing comes back to where it is from.
    assert not [key for host in net.members() for key in host.applied if region_of(key[0]) == host.name.partition("-")[0]]
    assert not any(host.stale for host in net.members())


def test_a_region_that_had_no_gateway_makes_up_for_what_was_issued_on_both_sides() -> None:
    net = Regions(2, 6, 1, seed=3)
    net.run(1.5)
    purge(net, "r0-web-4")
    purge(net, "r1-web-4")
    assert net.run(5.0, lambda: has_all(net, "r1", "r0-web-4", range(1, 2)) and has_all(net, "r0", "r1-web-4", range(1, 2)))
    net.stop_gateway("r1-web-0")
    net.run(5.0)
    purge(net, "r0-web-4", 3)
    purge(net, "r1-web-4", 3)
    purge(net, "r1-web-5", 2)  # of which nobody elsewhere has ever heard
    net.run(60.0)
    assert not has_all(net, "r1", "r0-web-4", range(2, 3))
    net.start_gateway("r1-web-0", 2)
    assert net.run(15.0, lambda: has_all(net, "r1", "r0-web-4", range(2, 5)))
    assert net.run(15.0, lambda: has_all(net, "r0", "r1-web-4", range(2, 5)) and has_all(net, "r0", "r1-web-5", range(1, 3)))
    assert not any(host.stale for host in net.members() if host.name != "r1-web-0")
    assert net.bridges["r1-web-0"].made_up >= 8


def test_a_cut_between_regions_is_made_up_for_when_it_heals() -> None:
    net = Regions(3, 5, 2, seed=4)
    net.run(1.5)
    net.links = lambda source, to: "r1" in (source, to)
    purge(net, "r0-web-3", 4)
    purge(net, "r1-web-3", 4)
    net.run(40.0)
    assert has_all(net, "r2", "r0-web-3", range(1, 5)) and not has_all(net, "r1", "r0-web-3", range(1, 2))
    net.links = lambda source, to: False
    assert net.run(30.0, lambda: has_all(net, "r1", "r0-web-3", range(1, 5)) and has_all(net, "r0", "r1-web-3", range(1, 5)))


def test_what_nobody_has_any_more_is_marked_stale_by_every_member_of_the_other_region() -> None:
    """Rings of four: while there is no gateway more is issued than any ring holds."""
    config = GossipConfig(invalidation=InvalidationConfig(ring_entries=4))
    net = Regions(2, 5, 1, seed=6, config=config)
    net.run(1.5)
    net.stop_gateway("r0-web-0")
    net.run(2.0)
    purge(net, "r0-web-2", 12)
    last = net.now
    net.run(10.0)
    net.start_gateway("r0-web-0", 2)
    origin = f"r0{BORDER}r0-web-2"

    def covered() -> bool:
        return all(
            any(stale.origin == origin and stale.older_than >= last for stale in host.stale)
            for host in net.members()
            if host.name.startswith("r1-")
        )

    assert net.run(60.0, covered)
    assert has_all(net, "r1", "r0-web-2", range(9, 13))


def test_a_fence_elsewhere_is_acknowledged_once_the_purge_is_there() -> None:
    net = Regions(2, 6, 1, seed=7)
    net.run(1.5)
    net.links = lambda source, to: True
    purge(net, "r0-web-3")
    net.run(0.5)
    asked = net.hosts["r1-web-0"]
    after = renamed((Stream("r0-web-3", 1, 1),), "r0", out=True)
    asked.give(Invalidate(99, FENCE, wait_s=20.0, after=after))
    net.run(5.0)
    assert not asked.answers
    net.links = lambda source, to: False
    assert net.run(12.0, lambda: bool(asked.answers))
    assert asked.answers[0].text == "acked 6 of 6"
    assert has_all(net, "r1", "r0-web-3", range(1, 2))


def test_names_of_origins_go_out_and_come_home_again() -> None:
    assert inside(outside("web-1", "eu"), "eu") == "web-1"
    assert outside(outside("web-1", "eu"), "us") == outside("web-1", "eu") == inside(outside("web-1", "eu"), "us")
    assert (region_of("web-1"), region_of(outside("web-1", "eu"))) == ("", "eu")
    assert outside("web-1", "") == "web-1" == inside("web-1", "")
