"""Draws `docs/mesh-page.png`: the page of a real agent among seven others on this machine, one of which is killed.

    python docs/draw_mesh.py docs/mesh-page.png

Needs Chromium. The regions are made up: everything is on loopback, which is why they are so near to each other.
"""

import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.harness.agent import AgentProcess
from tests.harness.browser import Browser
from tests.harness.client import RawClient
from tests.harness.mesh import clustered
from tests.harness.serf import PORT, loopback_address
from tests.harness.upstream import Upstream, response
from tests.harness.wait import wait_until

PLACES = [("eu-1", "a"), ("eu-1", "a"), ("eu-1", "b"), ("eu-1", "b"), ("us-2", "a"), ("us-2", "a"), ("us-2", "b"), ("eu-1", "c")]
SERVICES = {
    name: {"hosts": [name], "discovered": True, "cache": {"enabled": True}, "health": {"tcp": True, "interval": "1s"}}
    for name in ("personas", "ledger")
}


def traffic(agent: AgentProcess, number: int, ended: threading.Event) -> None:
    """Two services, a working set that grows with the agent's number."""
    with RawClient(agent.egress) as client:
        sent = 0
        while not ended.wait(0.02):
            sent += 1
            client.get(f"/personas/{sent * 7 % (12 + 9 * number)}", "personas")
            if sent % 4 == 0:
                client.get(f"/entries/{sent * 5 % 23}", "ledger")


def main(target: str) -> int:
    kept = response("hello" * 200, headers=[("Cache-Control", "max-age=4")])
    ended = threading.Event()
    agents: list[AgentProcess] = []
    with Upstream(kept) as first, Upstream(kept) as second, Upstream(kept) as third, Browser() as browser:
        try:
            hosts = [loopback_address() for _ in PLACES]
            seeds = [f"{host}:{PORT}" for host in hosts[:2]]
            announced = {1: ("personas", first), 3: ("personas", second), 4: ("ledger", third), 7: ("personas", third)}
            for number, ((region, zone), host) in enumerate(zip(PLACES, hosts, strict=True)):
                config = clustered(f"web-{number + 1}", host, seeds, services=SERVICES)
                config["agent"].update(region=region, zone=zone)
                config["cluster"]["tags"] = {"track": "stable"}
                if number in announced:
                    service, upstream = announced[number]
                    config["announce"] = [{"service": service, "address": upstream.address}]
                agents.append(AgentProcess(config).start())
            shown, doomed = agents[0], agents[-1]
            wait_until(lambda: len(shown.get("/cluster/members")) == len(PLACES), "everybody to be there")
            for number, agent in enumerate(agents[:-1]):
                threading.Thread(target=traffic, args=(agent, number, ended), daemon=True).start()
            browser.call("Emulation.setDeviceMetricsOverride", width=1360, height=900, deviceScaleFactor=1, mobile=False)
            browser.open(f"http://{shown.admin[0]}:{shown.admin[1]}/")
            drawn = "document.querySelector('.spark polyline')?.getAttribute('points').split(' ').length ?? 0"
            wait_until(lambda: browser.evaluate(drawn) >= 5, "a line of requests", 60.0)
            doomed.kill()
            browser.shows("#members", "dead")
            wait_until(lambda: browser.evaluate(drawn) >= 12, "a longer one", 60.0)
            browser.evaluate("document.querySelectorAll('details')[1].setAttribute('open', '')")
            Path(target).write_bytes(browser.screenshot())
        finally:
            ended.set()
            for agent in agents:
                agent.__exit__(None, None, None)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
