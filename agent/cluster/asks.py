"""Questions to other members and their answers, over membership's user messages: round trips, orders to the key ring, other regions.

A question and its answer are sealed as everything is. They may be replayed within what the replay window lets through, so a question
that is older than its time limit is not answered. What is not answered is asked again; who was asked twice acts once.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from agent.core.clocks.hybrid import physical_ms
from agent.core.gossip.messages import UNREADABLE

WAITING_MAX: Final = 256
AGE_MAX_MS: Final = 30_000
"""How old or how far ahead a question's stamp may be."""
NAMED_MAX: Final = 64
AGAIN_S: Final = 0.4
"""After so long without an answer a question is sent again, then after twice that, and so on."""
HEARD_MAX: Final = 256
"""Questions of which the answer is remembered."""
ACTING_MAX: Final = 64
"""Questions that are being worked on."""


class Ask(Struct, frozen=True, array_like=True):
    """what: echo, keys, or what `act` knows. stamp: the asker's hybrid clock."""

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


Acting = Coroutine[Any, Any, tuple[str, ...]]
_encode = msgspec.msgpack.encode
_ask = msgspec.msgpack.Decoder(Ask)
_answer = msgspec.msgpack.Decoder(Answer)


class Waiting:
    """One question that was put to several."""

    def __init__(self, names: Iterable[str], enough: int, done: "asyncio.Future[None]") -> None:
        self.left = set(names)
        self.enough = enough
        self.answers: dict[str, Answer] = {}
        self.done = done


class Asks:
    """`send(name, is_answer, octets)` is how they travel; `act(what, arguments)` answers (values, now or later) or raises ValueError or
    OSError."""

    def __init__(
        self, name: str, send: Callable[[str, bool, bytes], None], act: Callable[[str, tuple[str, ...]], tuple[str, ...] | Acting]
    ) -> None:
        self._name = name
        self._send = send
        self._act = act
        self._number = 0
        self._waiting: dict[int, Waiting] = {}
        self._heard: dict[tuple[str, int, int], bytes] = {}
        """Asker, number and stamp → the answer, empty while there is none yet."""
        self._acting: set[asyncio.Task[None]] = set()
        self.refused = 0
        """Questions and answers that were malformed, too old, or of nobody."""

    async def ask(
        self, names: Iterable[str], stamp: int, what: str, arguments: tuple[str, ...], wait_s: float, enough: int = 0
    ) -> dict[str, Answer]:
        """Who has answered within the time. enough: so many answers will do; 0 waits for all."""
        names = tuple(names)
        if not names:
            return {}
        if len(self._waiting) >= WAITING_MAX:
            raise RuntimeError(f"{WAITING_MAX} questions wait already")
        self._number += 1
        number = self._number
        waiting = self._waiting[number] = Waiting(names, enough or len(names), asyncio.get_running_loop().create_future())
        octets = _encode(Ask(number, self._name, stamp, what, arguments))
        again_s = AGAIN_S
        try:
            async with asyncio.timeout(wait_s):
                while not waiting.done.done():
                    for name in sorted(waiting.left):
                        self._send(name, False, octets)
                    await asyncio.wait((waiting.done,), timeout=again_s)
                    again_s *= 2.0
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
        key = (ask.asker, ask.number, ask.stamp)
        before = self._heard.get(key)
        if before is not None:
            if before:
                self._send(ask.asker, True, before)
            return
        self._heard[key] = b""
        if len(self._heard) > HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        try:
            values = self._act(ask.what, ask.arguments)
        except (ValueError, OSError) as error:
            self._answer(ask, (), str(error))
            return
        if isinstance(values, tuple):
            self._answer(ask, values)
        elif len(self._acting) < ACTING_MAX:
            task = asyncio.ensure_future(self._act_on(ask, values))
            self._acting.add(task)
            task.add_done_callback(self._acting.discard)
        else:
            values.close()
            self._answer(ask, (), f"{ACTING_MAX} questions are being worked on")

    async def _act_on(self, ask: Ask, acting: Acting) -> None:
        try:
            self._answer(ask, await acting)
        except (ValueError, OSError, RuntimeError, LookupError) as error:
            self._answer(ask, (), str(error) or type(error).__name__)

    def _answer(self, ask: Ask, values: tuple[str, ...], error: str = "") -> None:
        octets = _encode(Answer(ask.number, self._name, error[:512], values[:NAMED_MAX]))
        key = (ask.asker, ask.number, ask.stamp)
        if key in self._heard:
            self._heard[key] = octets
        self._send(ask.asker, True, octets)

    def stop(self) -> None:
        """What is being worked on is given up."""
        for task in self._acting:
            task.cancel()

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
        if len(waiting.answers) >= waiting.enough and not waiting.done.done():
            waiting.done.set_result(None)
