"""Twenty agents on one machine: endpoints, a killed pod, one that leaves, purges that wait, under light traffic."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.harness.apps import Fleet, Traffic

NAMES = tuple(f"web-{number:02}" for number in range(20))
APPS = NAMES[:5]
CLIENTS = NAMES[8:12]


class Large(Fleet):
    def __enter__(self) -> "Large":
        try:
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(self.start, self.hosts))
        except BaseException:
            self.__exit__(AssertionError, None, None)
            raise
        return self


@pytest.mark.slow
def test_twenty_agents() -> None:
    with Large(*NAMES, alone=NAMES[5:], service={"cache": {"enabled": True}}, cluster={"preset": "lan"}) as fleet:
        fleet.wait_for_endpoints(*APPS, limit_s=60.0)
        fleet.wait_for(list(NAMES), 60.0, **dict.fromkeys(NAMES, "alive"))
        with Traffic(fleet, *CLIENTS, pause_s=0.05) as traffic:
            answer = fleet.agents[NAMES[7]].post("/cache/purge", {"service": "web", "wait": "10s"})
            assert (answer["acked"], answer["of"], answer["missing"]) == (20, 20, [])
            fleet.kill_pod(APPS[0])
            fleet.agents[APPS[1]].stop()
            fleet.wait_for_endpoints(*APPS[2:], limit_s=60.0)
            fleet.wait_for(list(fleet.running), 60.0, **{APPS[0]: "dead", APPS[1]: "left"})
            answer = fleet.agents[NAMES[7]].post("/cache/purge", {"all": True, "wait": "10s"})
            assert (answer["acked"], answer["of"], answer["missing"]) == (18, 18, [])
            traffic.more(10)
        assert not traffic.failures
