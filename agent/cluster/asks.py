"""Questions to other members and their answers, over membership's user messages: round trips, and orders to the key ring.

A question and its answer are sealed as everything is. They may be replayed within what the replay window lets through, so a question
that is older than its time limit is not answered.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from agent.core.clocks.hybrid import physical_ms
from agent.core.gossip.messages import UNREADABLE

WAITING_MAX: Final = 256
AGE_MAX_MS: Final = 30_000
"""How old or how far ahead a question's stamp may be."""
NAMED_MAX: Final = 16


class Ask(Struct, frozen=True, array_like=True):
    """what: echo or keys. stamp: the asker's hybrid clock."""

    number: int
    asker: Annotated[str, Meta(max_length=255)]
    stamp: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    what: Annotated[str, Meta(max_length=32)]
    arguments: Annotated[tuple[str, ...], Meta(max_length=4)] = ()


class Answer(Struct, frozen=True, array_like=True):
    """error: empty for success."""

    number: int
    sender: Annotated[str, Meta(max_length=255)]
    error: Annotated[str, Meta(max_length=512)] = ""
    values: Annotated[tuple[str, ...], Meta(max_length=NAMED_MAX)] = ()


_encode = msgspec.msgpack.encode
_ask = msgspec.msgpack.Decoder(Ask)
_answer = msgspec.msgpack.Decoder(Answer)


class Waiting:
    """One question that was put to several."""

    def __init__(self, names: Iterable[str], done: "asyncio.Future[None]") -> None:
        self.left = set(names)
        self.answers: dict[str, Answer] = {}
        self.done = done


class Asks:
    """`send(name, is_answer, octets)` is how they travel; `act(what, arguments)` answers (values) or raises ValueError or OSError."""

    def __init__(self, name: str, send: Callable[[str, bool, bytes], None], act: Callable[[str, tuple[str, ...]], tuple[str, ...]]) -> None:
        self._name = name
        self._send = send
        self._act = act
        self._number = 0
        self._waiting: dict[int, Waiting] = {}
        self.refused = 0
        """Questions and answers that were malformed, too old, or of nobody."""

    async def ask(self, names: Iterable[str], stamp: int, what: str, arguments: tuple[str, ...], wait_s: float) -> dict[str, Answer]:
        """Who has answered within the time."""
        names = tuple(names)
        if not names:
            return {}
        if len(self._waiting) >= WAITING_MAX:
            raise RuntimeError(f"{WAITING_MAX} questions wait already")
        self._number += 1
        number = self._number
        waiting = self._waiting[number] = Waiting(names, asyncio.get_running_loop().create_future())
        try:
            octets = _encode(Ask(number, self._name, stamp, what, arguments))
            for name in names:
                self._send(name, False, octets)
            async with asyncio.timeout(wait_s):
                await waiting.done
        except TimeoutError:
            pass
        finally:
            del self._waiting[number]
        return waiting.answers

    def on_ask(self, octets: bytes, wall_ms: int) -> None:
        try:
            ask = _ask.decode(octets)
        except UNREADABLE:
            self.refused += 1
            return
        if abs(physical_ms(ask.stamp) - wall_ms) > AGE_MAX_MS:
            self.refused += 1
            return
        try:
            answer = Answer(ask.number, self._name, "", self._act(ask.what, ask.arguments)[:NAMED_MAX])
        except (ValueError, OSError) as error:
            answer = Answer(ask.number, self._name, str(error)[:512])
        self._send(ask.asker, True, _encode(answer))

    def on_answer(self, octets: bytes) -> None:
        try:
            answer = _answer.decode(octets)
        except UNREADABLE:
            self.refused += 1
            return
        waiting = self._waiting.get(answer.number)
        if waiting is None or answer.sender not in waiting.left:
            self.refused += 1
            return
        waiting.left.discard(answer.sender)
        waiting.answers[answer.sender] = answer
        if not waiting.left and not waiting.done.done():
            waiting.done.set_result(None)
