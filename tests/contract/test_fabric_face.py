"""What the data path relies on of the cluster floor, on a fabric of one and of two members: the real one, and the stand-in."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from agent.cluster.config import ClusterConfig
from agent.cluster.fabric import Fabric
from agent.core.gossip.face import LocalFacts, Reported
from agent.core.gossip.facts import Announced, EndpointState, Judgements, Load
from agent.runtime.log import Logger
from tests.harness.fabric_pair import FakeNet
from tests.harness.mesh import KEY
from tests.harness.serf import PORT, loopback_address

WAIT_S = 15.0
Make = Callable[[str, list[str]], Any]


class Real:
    """Fabrics on loopback addresses."""

    def __init__(self) -> None:
        self.hosts = {name: loopback_address() for name in "ab"}

    def make(self, name: str) -> Fabric:
        host, seed = self.hosts[name], self.hosts["a"]
        config = ClusterConfig(bind=f"{host}:{PORT}", preset="local", seeds=(f"{seed}:{PORT}",), keys=(KEY,))
        return Fabric(config, name, "eu", "a", Logger("error", "json"))


@asynccontextmanager
async def pair(net: Any, prepare: Callable[[Any, str], None] = lambda fabric, name: None) -> AsyncIterator[tuple[Any, Any]]:
    async with AsyncExitStack() as stack:
        fabrics = []
        for name in "ab":
            fabric = net.make(name)
            prepare(fabric, name)
            await fabric.start()
            stack.push_async_callback(fabric.stop)
            fabrics.append(fabric)
        await until(lambda: all(len([row for row in fabric.members() if row.state == "alive"]) == 2 for fabric in fabrics))
        yield fabrics[0], fabrics[1]


async def until(true: Callable[[], Any]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture(params=[Real, FakeNet])
def net(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_members_have_a_name_and_a_state_and_we_are_among_them(net: Any) -> None:
    async def run() -> None:
        async with pair(net) as (a, b):
            assert a.running and {row.name for row in a.members()} == {"a", "b"}
            row = next(row for row in b.members() if row.name == "a")
            assert (row.region, row.zone) == ("eu", "a") and not row.rtt_ms < 0.0
        assert not a.running

    asyncio.run(run())


def test_endpoints_are_told_when_they_come_and_when_they_go(net: Any) -> None:
    told: list[dict[str, Any]] = []
    facts = {"b": LocalFacts(endpoints=(Announced("web", "10.0.0.1", 80),))}

    def prepare(fabric: Any, name: str) -> None:
        fabric.facts = lambda: facts.get(name, LocalFacts())
        if name == "a":
            fabric.on_endpoints = told.append

    async def run() -> None:
        async with pair(net, prepare) as (_, b):
            await until(lambda: told and told[-1].get("web"))
            (one,) = told[-1]["web"]
            assert (one.member, one.fact.address, one.fact.port) == ("b", "10.0.0.1", 80)
            del facts["b"]
            b.publish()
            await until(lambda: not told[-1].get("web"))
            facts["b"] = LocalFacts(endpoints=(Announced("web", "10.0.0.2", 80),))
            b.publish()
            await until(lambda: told[-1].get("web"))
            await b.stop()
            await until(lambda: not told[-1].get("web"))

    asyncio.run(run())


def test_loads_and_judgements_of_live_peers_are_told_again_and_again(net: Any) -> None:
    loads: list[dict[str, Reported]] = []
    judged: list[dict[str, dict[str, Judgements]]] = []
    said = LocalFacts(load=Load(cpu=0.9, in_flight=7), judgements={"web": Judgements({"10.0.0.1:80": EndpointState(1)})})

    def prepare(fabric: Any, name: str) -> None:
        if name == "b":
            fabric.facts = lambda: said
        else:
            fabric.on_loads, fabric.on_judgements = loads.append, judged.append

    async def run() -> None:
        async with pair(net, prepare) as (a, _):
            await until(lambda: loads and loads[-1].get("b") and loads[-1]["b"].load.cpu > 0.7)
            await until(lambda: judged and judged[-1].get("b"))
            assert judged[-1]["b"]["web"].endpoints["10.0.0.1:80"].breaker == 1
            count = len(loads)
            await until(lambda: len(loads) > count and loads[-1].get("b"))
            assert (await a.ask_load("b", 5.0)).in_flight == 7
            with pytest.raises(TimeoutError):
                await a.ask_load("nobody", 0.05)

    asyncio.run(run())


def test_an_invalidation_reaches_the_other_once_and_is_acknowledged(net: Any) -> None:
    seen: list[Any] = []

    def prepare(fabric: Any, name: str) -> None:
        if name == "b":
            fabric.on_invalidation = seen.append

    async def run() -> None:
        async with pair(net, prepare) as (a, b):
            context = a.invalidate("url", b"h", b"/x", False)
            await until(lambda: seen)
            assert (seen[0].kind, seen[0].host, seen[0].value, seen[0].soft, seen[0].origin) == ("url", b"h", b"/x", False, "a")
            result = await b.invalidate_and_wait("tag", b"", b"t", True, 10.0, context)
            assert (result.acked, result.of, result.missing, result.early) == (2, 2, (), ())
            assert len(seen) == 1 and result.context
            with pytest.raises(ValueError, match="context"):
                await a.invalidate_and_wait("all", b"", b"", True, 1.0, "?")
            with pytest.raises(ValueError, match="octets"):
                a.invalidate("tag", b"", b"t" * 5000, True)

    asyncio.run(run())


def test_alone_there_is_nobody_to_wait_for(net: Any) -> None:
    async def run() -> None:
        fabric = net.make("a")
        await fabric.start()
        try:
            result = await fabric.invalidate_and_wait("all", b"", b"", False, 10.0)
            assert (result.acked, result.of) == (1, 1)
        finally:
            await fabric.stop()

    asyncio.run(run())
