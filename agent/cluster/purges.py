"""Invalidations as the host gives them: numbered by the gossip core, with a context for the caller, awaited where it wishes."""

import asyncio
from collections.abc import Callable

from agent.core.gossip.face import PurgeResult
from agent.core.gossip.invalidation import decode_context, encode_context
from agent.core.gossip.io import Effect, Invalidate, Issued, PurgeAnswer

WAIT_S_MAX = 60.0


class Purges:
    """`order` gives one to the core and returns its effects; `PurgeAnswer`s come to `on_answer`. `issued` hears of each of this agent's
    own (kind, host, value, soft) after it has its number."""

    def __init__(
        self, order: Callable[[Invalidate], tuple[Effect, ...]], issued: Callable[[str, bytes, bytes, bool], None] = lambda *what: None
    ) -> None:
        self._order = order
        self._issued = issued
        self._number = 0
        self._waiting: dict[int, asyncio.Future[PurgeAnswer]] = {}

    def issue(self, kind: str, host: bytes, value: bytes, soft: bool, mark: bytes = b"") -> str:
        """The context that a later one may name. mark: it is another region's. Raises ValueError where it cannot be said."""
        self._number += 1
        context = _context(self._order(Invalidate(self._number, kind, host, value, soft, mark=mark)))
        if not mark:
            self._issued(kind, host, value, soft)
        return context

    async def issue_and_wait(self, kind: str, host: bytes, value: bytes, soft: bool, wait_s: float, after: str) -> PurgeResult:
        """How far it came within the time. Raises ValueError where it, or `after`, cannot be said."""
        context = decode_context(after) if after else ()
        self._number += 1
        number = self._number
        wait_s = min(max(wait_s, 0.001), WAIT_S_MAX)
        answered: asyncio.Future[PurgeAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            token = _context(self._order(Invalidate(number, kind, host, value, soft, wait_s, context)))
            self._issued(kind, host, value, soft)
            async with asyncio.timeout(wait_s + 5.0):
                answer = await answered
        finally:
            self._waiting.pop(number, None)
        return PurgeResult(answer.acked, answer.total, answer.missing, answer.early, token)

    def on_answer(self, answer: PurgeAnswer) -> None:
        waiting = self._waiting.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)


def _context(effects: tuple[Effect, ...]) -> str:
    return next((encode_context(effect.context) for effect in effects if isinstance(effect, Issued)), "")
