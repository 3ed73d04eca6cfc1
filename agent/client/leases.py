"""Leases: a time to live that is kept up in the background, and what is to be known when it could not be."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from agent.client.errors import LeaseLost, NotFound, SidecarError
from agent.client.transport import CLOSE_S, Api, duration
from agent.client.types import LeaseInfo, from_json

KEEPS: Final = 3
"""Times that a lease is kept in its time to live: two may fail."""

L = TypeVar("L", bound="Lease")


class Lease:
    """A lease of this program's. `lost` is set when it has ended, or when nobody has confirmed it for its time to live: the group's time
    may have stood still meanwhile, but this program cannot know. `async with`: kept within, revoked at the end."""

    def __init__(self, api: Api, id: int, ttl_s: float, confirmed: float) -> None:
        self.id = id
        self.ttl_s = ttl_s
        self.lost = asyncio.Event()
        self.api = api
        self._confirmed = confirmed
        self._keeper: asyncio.Task[None] | None = None
        self._ended = False
        self._on_lost: list[Callable[[], None]] = []

    @property
    def left_s(self) -> float:
        """Until it would end, if it were not kept; 0 where it is lost."""
        return 0.0 if self.lost.is_set() else max(self._confirmed + self.ttl_s - time.monotonic(), 0.0)

    def on_lost(self, call: Callable[[], None]) -> None:
        """Called once, on the loop, as soon as it is lost; at once where it is."""
        if self.lost.is_set():
            call()
        else:
            self._on_lost.append(call)

    def check(self) -> None:
        """Raises LeaseLost."""
        if not self._ended and time.monotonic() >= self._confirmed + self.ttl_s:
            self.lose()
        if self.lost.is_set() or self._ended:
            raise LeaseLost(f"lease {self.id} ended: its keys are deleted and its locks are passed on", "lease_lost")

    def keep_alive(self) -> None:
        """Keep it from now on, in the background, until it is revoked or lost."""
        if self._keeper is None and not self._ended:
            self._keeper = asyncio.create_task(self._keep())
            self.api.at_close.append(self._close)

    async def keep_once(self) -> None:
        """Confirm it now. Raises LeaseLost where it has ended."""
        began = time.monotonic()
        try:
            await self.api.plain("POST", f"/v1/leases/{self.id}/keepalive", {}, max(self._confirmed + self.ttl_s - began, 0.05))
        except (LeaseLost, NotFound):
            self.lose()
            raise
        self._confirmed = began

    async def revoke(self) -> None:
        """End it: its keys are deleted, its locks pass on. Nothing happens where it has ended."""
        if self._ended:
            return
        self._stop()
        with suppress(LeaseLost, NotFound):
            await self.api.command("DELETE", f"/v1/leases/{self.id}")

    def abandon(self) -> None:
        """Keep it no longer; it ends by itself."""
        self._stop()

    async def _close(self) -> None:
        await let_go(self)

    def _stop(self) -> None:
        self._ended = True
        if self._close in self.api.at_close:
            self.api.at_close.remove(self._close)
        if self._keeper is not None and self._keeper is not asyncio.current_task():
            self._keeper.cancel()

    async def _keep(self) -> None:
        while not self.lost.is_set():
            await asyncio.sleep(min(self.ttl_s / KEEPS, self.left_s))
            # Whoever does not answer must not keep it from being known in time.
            try:
                await asyncio.wait_for(self.keep_once(), self.left_s)
            except (SidecarError, TimeoutError):
                if not self.left_s:
                    self.lose()

    def lose(self) -> None:
        """What it stood for is known to be gone."""
        if self._ended or self.lost.is_set():
            return
        self.lost.set()
        self._stop()
        for call in self._on_lost:
            call()

    async def __aenter__(self: L) -> L:
        self.keep_alive()
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        lost = self.lost.is_set()
        # Where it cannot be revoked it is kept no longer, so it ends by itself; what the body raised, or made, counts more.
        with suppress(SidecarError):
            await self.revoke()
        if lost and kind is None:
            self.check()


class Leases:
    """`sidecar.leases`."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def grant(self, ttl_s: float = 10.0, *, timeout_s: float | None = None) -> Lease:
        """A new lease. It is kept within `async with`, or from `keep_alive` on."""
        began = time.monotonic()
        fields = (await self.api.command("POST", "/v1/leases", None, {"ttl": duration(ttl_s)}, timeout_s)).json()
        return Lease(self.api, int(fields["lease"]), float(fields["ttl_s"]), began)

    async def get(self, id: int, *, timeout_s: float | None = None) -> LeaseInfo | None:
        """None where there is none (any more)."""
        try:
            fields = (await self.api.read(f"/v1/leases/{id}", None, timeout_s)).json()
        except (LeaseLost, NotFound):
            return None
        keys = tuple(from_json(key, "key") if isinstance(key, dict) else str(key).encode() for key in fields.get("keys", ()))
        return LeaseInfo(id, float(fields["ttl_s"]), float(fields["left_s"]), keys)

    async def list(self, *, timeout_s: float | None = None) -> list[LeaseInfo]:
        """The first thousand."""
        fields = (await self.api.read("/v1/leases", None, timeout_s)).json()
        return [LeaseInfo(int(row["lease"]), float(row["ttl_s"]), float(row["left_s"])) for row in fields["leases"]]


async def let_go(lease: Lease) -> None:
    """End a lease as far as that is possible in a moment; it ends by itself otherwise."""
    with suppress(SidecarError, TimeoutError):
        await asyncio.wait_for(lease.revoke(), CLOSE_S)


async def wait_lost(lease: Lease, timeout_s: float | None) -> bool:
    """Wait until it is lost, at most so long. Is it?"""
    with suppress(TimeoutError):
        await asyncio.wait_for(lease.lost.wait(), timeout_s)
    return lease.lost.is_set()
