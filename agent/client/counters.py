"""Counters and barriers."""

from agent.client.claims import claim
from agent.client.leases import Lease, let_go
from agent.client.transport import Api, duration, quoted
from agent.client.types import Consistency, octets

LEAVE_WAIT_S = 30.0


class Counter:
    """A 64-bit number (two's complement; it wraps), which any number of programs add to."""

    def __init__(self, api: Api, name: str) -> None:
        self.name = name
        self._api = api
        self._path = f"/v1/counters/{quoted(octets(name))}"

    async def add(self, amount: int = 1, *, timeout_s: float | None = None) -> int:
        """The value after. Added once, however often it had to be sent."""
        return int((await self._api.command("POST", self._path, None, {"add": amount}, timeout_s)).json()["value"])

    async def bump(self, amount: int = 1, *, timeout_s: float | None = None) -> None:
        """Add without asking for the value: additions in any order come to the same, so that the group may take a shorter way."""
        await self._api.command("POST", self._path, None, {"add": amount, "value": False}, timeout_s)

    async def get(
        self, *, consistency: Consistency = "linearizable", max_staleness_s: float | None = None, timeout_s: float | None = None
    ) -> int:
        """0 where there is none."""
        query = {} if consistency == "linearizable" else {"consistency": str(consistency)}
        if max_staleness_s is not None:
            query["max_staleness"] = duration(max_staleness_s)
        return int((await self._api.read(self._path, query, timeout_s)).json()["value"])

    async def delete(self, *, timeout_s: float | None = None) -> int:
        """The last value; it is 0 from here on."""
        return int((await self._api.command("DELETE", self._path, None, None, timeout_s)).json().get("value", 0))


class Barrier:
    """A double barrier: all `parties` enter together, and leave together.

    async with sidecar.barrier("step", parties=3):
        ...                                              (all three are within)
    """

    def __init__(self, api: Api, name: str, parties: int, ttl_s: float, wait_s: float | None, owner: str) -> None:
        self.name = name
        self.parties = parties
        self._api = api
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._owner = owner
        self._path = f"/v1/barriers/{quoted(octets(name))}"
        self._lease: Lease | None = None

    async def enter(self) -> int:
        """Wait until all are there; the number of the barrier's opening. Raises WaitOver, having gone out again."""

        async def attempt(lease: Lease, wait_s: float) -> int:
            body = {"lease": lease.id, "owner": self._owner, "parties": self.parties, "wait": duration(wait_s)}
            answer = await self._api.plain("POST", f"{self._path}/enter", body, again=False, waits_s=wait_s)
            return int(answer.json()["generation"])

        if self._lease is not None:
            raise RuntimeError(f"the barrier {self.name!r} is entered already")
        self._lease, generation = await claim(self._api, self._ttl_s, self._wait_s, attempt)
        return generation

    async def leave(self) -> None:
        """Wait until all have left, or have ended. Raises WaitOver; this one has left all the same."""
        lease, self._lease = self._lease, None
        if lease is None:
            raise RuntimeError(f"the barrier {self.name!r} is not entered")
        wait_s = LEAVE_WAIT_S if self._wait_s is None else self._wait_s
        try:
            body = {"lease": lease.id, "owner": self._owner, "wait": duration(wait_s)}
            await self._api.plain("POST", f"{self._path}/leave", body, waits_s=wait_s)
        finally:
            await let_go(lease)

    async def __aenter__(self) -> "Barrier":
        await self.enter()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is None:
            await self.leave()
        elif self._lease is not None:
            lease, self._lease = self._lease, None
            await let_go(lease)
