"""Taking a changed configuration while running: on SIGHUP, on a change of the file, or when the admin API is asked."""

import asyncio
import os
from collections.abc import Coroutine
from pathlib import Path
from time import time
from typing import Any

from agent.app.settings import ConfigError, compare, load
from agent.app.wiring import Agent
from agent.runtime.log import Logger

WATCH_S = 1.0


class Reloader:
    """Validates the whole file, refuses what needs a restart, then swaps at once; says how it went.

    The file is read and checked by a thread: a large one takes as long as hundreds of requests do.
    """

    def __init__(self, path: Path, agent: Agent, log: Logger) -> None:
        self.path = path
        self.agent = agent
        self.log = log
        self._mark = self._look()
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self) -> None:
        """Begin to watch the file."""
        self._keep(self._watch())

    def request(self, cause: str) -> None:
        """`reload`, for callers that do not wait for it."""
        self._keep(self.reload(cause))

    def _keep(self, work: Coroutine[Any, Any, object]) -> None:
        task: asyncio.Task[object] = self.agent.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _look(self) -> tuple[object, ...]:
        """What the file is now; a ConfigMap's swapped symlink and an editor's rename change it too."""
        try:
            status = self.path.stat()
            return (os.path.realpath(self.path), status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError:
            return ()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_S)
            mark = self._look()
            if mark and mark != self._mark:
                self._mark = mark
                await self.reload("file changed")

    async def reload(self, cause: str) -> dict[str, object]:
        """Read the file again. The result is what `/reload`, `/status` and the metrics show."""
        async with self._one_at_a_time:
            agent = self.agent
            changed: list[str] = []
            problems: list[str] = []
            try:
                settings = await asyncio.to_thread(load, self.path, os.environ)
                changed, refused = compare(agent.settings, settings)
                result = "refused" if refused else "ok" if changed else "unchanged"
                problems = [f"{path}: changing it needs a restart" for path in refused]
                if result == "ok":
                    agent.install(settings)
                    agent.collector.settle()
            except ConfigError as error:
                result = "invalid"
                problems = [str(problem) for problem in error.problems]
            except Exception as error:  # a fault of the agent's own must not end the watching
                result = "failed"
                problems = [f"{type(error).__name__}: {error}"]
            record = agent.reload
            record["counts"][result] += 1
            record["generation"] += result == "ok"
            record.update({"result": result, "at": time(), "problems": problems, "cause": cause})
            write = self.log.warning if problems else self.log.info
            write("configuration " + result, cause=cause, changed=changed, problems=problems)
            if cause == "SIGHUP" and agent.path.access_log is not None:
                agent.path.access_log.reopen()  # what log rotation sends it for
            return dict(record)
