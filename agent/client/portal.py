"""A loop on a thread of its own, for programs that have none, or that are within one and want to wait all the same."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from concurrent.futures import CancelledError
from typing import Any, Final, TypeVar

T = TypeVar("T")
END: Final = object()
CLOSE_S: Final = 5.0


class Portal:
    """Runs coroutines on the thread; the caller waits. Started with the first one. Any number of threads may call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._process = os.getpid()

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._process != os.getpid():
            raise RuntimeError("this Sidecar was made before a fork: make one in each process")
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="pilotfish-client", daemon=True)
                self._thread.start()
            return self._loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, or what it raises. An interrupt (Ctrl-C) cancels it."""
        try:
            loop = self._running()
        except RuntimeError:
            work.close()
            raise
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback of the Sidecar's own may not wait for it: hand the work to another thread")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except CancelledError:
            raise RuntimeError("the Sidecar was closed meanwhile") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """What it gives, one by one, each when it is asked for."""

        async def step() -> Any:
            return await anext(source, END)

        while (found := self.run(step())) is not END:
            yield found

    def close(self) -> None:
        """Stop the thread, and whatever still runs on it."""
        with self._starting:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._process != os.getpid():
            return
        asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(CLOSE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(CLOSE_S)
        loop.close()


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
