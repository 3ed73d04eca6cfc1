"""Invalidations as the host gives them: numbered by the gossip core, with a context for the caller, awaited where it wishes."""

import asyncio
from collections.abc import Callable
from typing import Final

from agent.core.gossip.face import PurgeResult
from agent.core.gossip.io import Effect, Invalidate, Issued, PurgeAnswer
from agent.core.gossip.messages import Stream

WAIT_S_MAX: Final = 60.0


class Purges:
    """`order` gives one to the core and returns its effects; `PurgeAnswer`s come to `on_answer`. `issued` hears of each of this agent's
    own (number, kind, host, value, soft) after it has its number; `context` makes of positions what a caller carries."""

    def __init__(
        self,
        order: Callable[[Invalidate], tuple[Effect, ...]],
        issued: Callable[[int, str, bytes, bytes, bool], None],
        context: Callable[[tuple[Stream, ...]], str],
    ) -> None:
        self._order = order
        self._issued = issued
        self._context = context
        self._number = 0
        self._waiting: dict[int, asyncio.Future[PurgeAnswer]] = {}

    def issue(self, kind: str, host: bytes, value: bytes, soft: bool) -> str:
        """The context that a later one may name. Raises ValueError where it cannot be said."""
        self._number += 1
        return self._context(self._do(Invalidate(self._number, kind, host, value, soft)).context)

    async def issue_and_wait(
        self,
        kind: str,
        host: bytes,
        value: bytes,
        soft: bool,
        wait_s: float,
        after: tuple[Stream, ...],
        on_number: Callable[[int], None] = lambda number: None,
    ) -> PurgeResult:
        """How far it came within the time, in this region. on_number: told its number at once. Raises ValueError where it
        cannot be said."""
        self._number += 1
        number = self._number
        wait_s = min(max(wait_s, 0.001), WAIT_S_MAX)
        answered: asyncio.Future[PurgeAnswer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answered
        try:
            issued = self._do(Invalidate(number, kind, host, value, soft, wait_s, after))
            on_number(issued.sequence)
            async with asyncio.timeout(wait_s + 5.0):
                answer = await answered
        finally:
            self._waiting.pop(number, None)
        return PurgeResult(answer.acked, answer.total, answer.missing, answer.early, self._context(issued.context))

    def on_answer(self, answer: PurgeAnswer) -> None:
        waiting = self._waiting.get(answer.request)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _do(self, order: Invalidate) -> Issued:
        issued = next(effect for effect in self._order(order) if isinstance(effect, Issued))
        self._issued(issued.sequence, order.kind, order.host, order.value, order.soft)
        return issued
