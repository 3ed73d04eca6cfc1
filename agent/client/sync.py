"""The same for programs that wait: `Sidecar`. Usable from any thread, also of a program that has a running loop (which then waits).

with Sidecar() as sidecar:
    sidecar.kv.put("greeting", "hello")
    with sidecar.lock("nightly") as held:
        ...
"""

from collections.abc import Callable, Iterator
from typing import Any

from agent.client import aio
from agent.client import claims as async_claims
from agent.client import leases as async_leases
from agent.client.portal import Portal
from agent.client.sync_kv import Kv
from agent.client.types import Consistency, Holder, LeaseInfo, Octets


class Lease:
    """A lease that is kept in the background within `with`, or from `keep_alive` on."""

    def __init__(self, portal: Portal, lease: async_leases.Lease) -> None:
        self.id = lease.id
        self.ttl_s = lease.ttl_s
        self._portal = portal
        self._lease = lease

    @property
    def is_lost(self) -> bool:
        return self._lease.lost.is_set()

    @property
    def left_s(self) -> float:
        """Until it would end, if it were not kept; 0 where it is lost."""
        return self._lease.left_s

    def wait_lost(self, timeout_s: float | None = None) -> bool:
        """Wait until it is lost, at most so long. Is it?"""
        return self._portal.run(async_leases.wait_lost(self._lease, timeout_s))

    def on_lost(self, call: Callable[[], None]) -> None:
        """Called once, on the SDK's own thread, as soon as it is lost. It must not wait for the Sidecar."""
        self._portal.run(_soon(lambda: self._lease.on_lost(call)))

    def check(self) -> None:
        """Raises LeaseLost."""
        self._portal.run(_soon(self._lease.check))

    def keep_alive(self) -> None:
        self._portal.run(_soon(self._lease.keep_alive))

    def keep_once(self) -> None:
        """Confirm it now. Raises LeaseLost where it has ended."""
        self._portal.run(self._lease.keep_once())

    def revoke(self) -> None:
        self._portal.run(self._lease.revoke())

    def __enter__(self) -> "Lease":
        self.keep_alive()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self._portal.run(self._lease.__aexit__(kind, *rest))


class Leases:
    """`sidecar.leases`."""

    def __init__(self, portal: Portal, leases: async_leases.Leases) -> None:
        self._portal = portal
        self._leases = leases

    def grant(self, ttl_s: float = 10.0, *, timeout_s: float | None = None) -> Lease:
        """A new lease. It is kept within `with`, or from `keep_alive` on."""
        return Lease(self._portal, self._portal.run(self._leases.grant(ttl_s, timeout_s=timeout_s)))

    def get(self, id: int, *, timeout_s: float | None = None) -> LeaseInfo | None:
        """None where there is none (any more)."""
        return self._portal.run(self._leases.get(id, timeout_s=timeout_s))

    def list(self, *, timeout_s: float | None = None) -> list[LeaseInfo]:
        """The first thousand."""
        return self._portal.run(self._leases.list(timeout_s=timeout_s))


class Held:
    """A lock that is held, or a leadership: see `agent.client.claims.Held`."""

    def __init__(self, portal: Portal, held: async_claims.Held) -> None:
        self.lease = Lease(portal, held.lease)
        self.name = held.name
        self.token = held.token
        self._portal = portal
        self._held = held

    @property
    def is_lost(self) -> bool:
        return self._held.lost.is_set()

    def on_lost(self, call: Callable[[], None]) -> None:
        """Called once, on the SDK's own thread, as soon as it is lost. It must not wait for the Sidecar."""
        self.lease.on_lost(call)

    def check(self) -> None:
        """Raises LockLost where it is lost. Ask before each step that relies on it."""
        self._portal.run(_soon(self._held.check))

    def release(self) -> None:
        """The next one's turn."""
        self._portal.run(self._held.release())

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self._portal.run(self._held.__aexit__(kind, *rest))


class Leadership(Held):
    def proclaim(self, value: Octets, *, timeout_s: float | None = None) -> None:
        """Change what the others see of the leader. Raises LockLost."""
        held = self._held
        assert isinstance(held, aio.Leadership)
        self._portal.run(held.proclaim(value, timeout_s=timeout_s))


class Lock:
    """`with sidecar.lock("nightly") as held`."""

    def __init__(self, portal: Portal, lock: aio.Lock) -> None:
        self.name = lock.name
        self._portal = portal
        self._lock = lock

    def acquire(self) -> Held:
        """Raises Locked where another holds it and the wait is over."""
        return Held(self._portal, self._portal.run(self._lock.acquire()))

    def holder(self, *, timeout_s: float | None = None) -> Holder | None:
        """Who holds it now; None for nobody."""
        return self._portal.run(self._lock.holder(timeout_s=timeout_s))

    def __enter__(self) -> Held:
        return Held(self._portal, self._portal.run(self._lock.__aenter__()))

    def __exit__(self, kind: object, *rest: object) -> None:
        self._portal.run(self._lock.__aexit__(kind, *rest))


class Election:
    """`with sidecar.election("indexer").campaign("10.0.0.7:80") as leadership`."""

    def __init__(self, portal: Portal, election: aio.Election) -> None:
        self.name = election.name
        self._portal = portal
        self._election = election

    def campaign(self, value: Octets = b"", *, wait_s: float | None = None) -> Leadership:
        """Stand, and lead when all before have gone. Raises Locked when the wait is over."""
        return Leadership(self._portal, self._portal.run(self._election.campaign(value, wait_s=wait_s)))

    def leader(self, *, timeout_s: float | None = None) -> Holder | None:
        """None where nobody leads."""
        return self._portal.run(self._election.leader(timeout_s=timeout_s))

    def observe(self) -> Iterator[Holder | None]:
        """Who leads, now and at each change; without an end."""
        return self._portal.iterate(self._election.observe())


class Counter:
    """See `agent.client.counters.Counter`."""

    def __init__(self, portal: Portal, counter: aio.Counter) -> None:
        self.name = counter.name
        self._portal = portal
        self._counter = counter

    def add(self, amount: int = 1, *, timeout_s: float | None = None) -> int:
        """The value after. Added once, however often it had to be sent."""
        return self._portal.run(self._counter.add(amount, timeout_s=timeout_s))

    def bump(self, amount: int = 1, *, timeout_s: float | None = None) -> None:
        """Add without asking for the value."""
        self._portal.run(self._counter.bump(amount, timeout_s=timeout_s))

    def get(
        self, *, consistency: Consistency = "linearizable", max_staleness_s: float | None = None, timeout_s: float | None = None
    ) -> int:
        """0 where there is none."""
        return self._portal.run(self._counter.get(consistency=consistency, max_staleness_s=max_staleness_s, timeout_s=timeout_s))

    def delete(self, *, timeout_s: float | None = None) -> int:
        """The last value; it is 0 from here on."""
        return self._portal.run(self._counter.delete(timeout_s=timeout_s))


class Barrier:
    """`with sidecar.barrier("step", parties=3)`: all enter together, and leave together."""

    def __init__(self, portal: Portal, barrier: aio.Barrier) -> None:
        self.name = barrier.name
        self.parties = barrier.parties
        self._portal = portal
        self._barrier = barrier

    def enter(self) -> int:
        """Wait until all are there; the number of the barrier's opening. Raises WaitOver, having gone out again."""
        return self._portal.run(self._barrier.enter())

    def leave(self) -> None:
        """Wait until all have left, or have ended."""
        self._portal.run(self._barrier.leave())

    def __enter__(self) -> "Barrier":
        self.enter()
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self._portal.run(self._barrier.__aexit__(kind, *rest))


class Cache:
    """`sidecar.cache`: see `agent.client.local.Cache`, whose arguments these are."""

    def __init__(self, portal: Portal, cache: aio.Cache) -> None:
        self._portal = portal
        self._cache = cache

    def stats(self) -> dict[str, Any]:
        return self._portal.run(self._cache.stats())

    def list(self, *, service: str = "", host: str = "", prefix: str = "", limit: int = 100) -> list[dict[str, Any]]:
        return self._portal.run(self._cache.list(service=service, host=host, prefix=prefix, limit=limit))

    def purge(
        self,
        *,
        url: str | None = None,
        prefix: str | None = None,
        host: str | None = None,
        tag: str | None = None,
        service: str | None = None,
        everything: bool = False,
        soft: bool = False,
        cluster: bool = True,
        wait_s: float | None = None,
        after: str = "",
    ) -> dict[str, Any]:
        """Remove what is under one of these, on every agent."""
        work = self._cache.purge(
            url=url,
            prefix=prefix,
            host=host,
            tag=tag,
            service=service,
            everything=everything,
            soft=soft,
            cluster=cluster,
            wait_s=wait_s,
            after=after,
        )
        return self._portal.run(work)


class Cluster:
    """`sidecar.cluster`: who else there is. Raises NotConfigured where the agent is alone."""

    def __init__(self, portal: Portal, cluster: aio.Cluster) -> None:
        self._portal = portal
        self._cluster = cluster

    def info(self) -> dict[str, Any]:
        return self._portal.run(self._cluster.info())

    def members(self) -> list[dict[str, Any]]:
        return self._portal.run(self._cluster.members())

    def health(self) -> dict[str, Any]:
        return self._portal.run(self._cluster.health())


class Sidecar:
    """The local agent; see `AsyncSidecar` for the arguments. One serves a whole process; after a fork each process makes its own."""

    def __init__(
        self,
        api: str | None = None,
        admin: str | None = None,
        *,
        timeout_s: float = aio.TIMEOUT_S,
        session_ttl_s: float = aio.SESSION_TTL_S,
        owner: str = "",
    ) -> None:
        self._async = aio.AsyncSidecar(api, admin, timeout_s=timeout_s, session_ttl_s=session_ttl_s, owner=owner)
        self._portal = Portal()
        self.kv = Kv(self._portal, self._async.kv)
        self.leases = Leases(self._portal, self._async.leases)
        self.cache = Cache(self._portal, self._async.cache)
        self.cluster = Cluster(self._portal, self._async.cluster)

    def lock(self, name: str, *, ttl_s: float = 10.0, wait_s: float | None = None) -> Lock:
        """A lock that is kept while this program lives, and passes on `ttl_s` after it died."""
        return Lock(self._portal, self._async.lock(name, ttl_s=ttl_s, wait_s=wait_s))

    def election(self, name: str, *, ttl_s: float = 10.0) -> Election:
        return Election(self._portal, self._async.election(name, ttl_s=ttl_s))

    def counter(self, name: str) -> Counter:
        return Counter(self._portal, self._async.counter(name))

    def barrier(self, name: str, parties: int, *, ttl_s: float = 10.0, wait_s: float | None = None) -> Barrier:
        """For one of `parties` programs (or threads, each with an object of its own)."""
        return Barrier(self._portal, self._async.barrier(name, parties, ttl_s=ttl_s, wait_s=wait_s))

    def status(self) -> dict[str, Any]:
        """Of the group, as the local agent knows it. Asks nobody."""
        return self._portal.run(self._async.status())

    def agent_status(self) -> dict[str, Any]:
        """Of the agent: uptime, services, how the last reload went."""
        return self._portal.run(self._async.agent_status())

    def is_ready(self) -> bool:
        """Whether the agent takes requests; False too where none answers. Does not raise."""
        return self._portal.run(self._async.is_ready())

    def close(self) -> None:
        """End the leases that are kept (with what they hold), the session, and every connection."""
        self._portal.run(self._async.close())
        self._portal.close()

    def __enter__(self) -> "Sidecar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


async def _soon(call: Callable[[], None]) -> None:
    """On the loop's thread."""
    call()
