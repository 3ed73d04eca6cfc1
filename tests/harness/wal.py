"""A host for a log that is not a replica's, and what it hears."""

import asyncio
from collections.abc import Callable

from agent.core.replica.io import Persist
from agent.core.replica.log import Entry, HardState

WAIT_S = 15.0


class Heard:
    """`WalHost` that remembers."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.writable: list[bool] = []
        self.failed: list[Exception] = []
        self._changed = asyncio.Event()

    def stored(self, number: int) -> None:
        self.numbers.append(number)
        self._changed.set()

    def storage(self, writable: bool, why: str) -> None:
        self.writable.append(writable)
        self._changed.set()

    def storage_failed(self, error: Exception) -> None:
        self.failed.append(error)
        self._changed.set()

    def took(self, *_: object) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], object], what: str) -> None:
        async def wait() -> None:
            while not condition():
                self._changed.clear()
                await self._changed.wait()

        try:
            await asyncio.wait_for(wait(), WAIT_S)
        except TimeoutError:
            raise AssertionError(f"waited for {what}: {self.numbers[-3:]}, {self.writable}, {self.failed}") from None

    async def until_stored(self, number: int) -> None:
        await self.until(lambda: self.numbers and self.numbers[-1] >= number, f"{number} to be stored")


def batch(number: int, first: int, count: int = 1, octets: int = 64, term: int = 1) -> Persist:
    """`count` entries from index `first` on."""
    data = bytes((number % 251 + 1,)) * octets
    entries = tuple(Entry(term, first + at, 0, data) for at in range(count))
    return Persist(number, HardState(term, 7, first - 1), entries)
