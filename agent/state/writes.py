"""Commands on their way: each under a session, so that saying it again to another leader never does it twice.

What comes without a session of the client's goes under one of the agent's own, whose requests are numbered here. The numbers under way
span less than the session's window; what would go beyond it waits until the oldest has its outcome.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Raw, Struct

from agent.core.machine.commands import Once, SessionEnd, SessionKeep, SessionOpen
from agent.core.machine.envelope import encode_command
from agent.core.machine.outcome import Outcome
from agent.state.call import Call
from agent.state.errors import ApiError, of_outcome, of_reason
from agent.state.figures import ApiFigures
from agent.state.service import Service

TTL_S: Final = 600.0
"""An agent that is not heard of for so long loses its session; far more than any request lasts."""
WINDOW: Final = 2_048
PARKED_MAX: Final = 8_192
OPEN_S: Final = 5.0

Answer = Callable[[Call, Outcome], None]
"""Answers the call from its command's outcome, which is no error; may raise ApiError."""
Heard = Callable[[str, Outcome | None], None]


class Write:
    """A command under the agent's own session."""

    __slots__ = ("deadline", "heard", "octets", "request", "session", "tried", "writes")

    def __init__(self, writes: "Writes", octets: bytes, heard: Heard, deadline: float) -> None:
        self.writes = writes
        self.octets = octets
        self.heard = heard
        self.deadline = deadline
        self.session = 0
        self.request = 0
        self.tried = False

    def done(self, reason: str, outcome: Outcome | None) -> None:
        self.writes.on_done(self, reason, outcome)


class Caller:
    """Answers a call from what became of its command."""

    __slots__ = ("answer", "call", "figures")

    def __init__(self, call: Call, answer: Answer, figures: ApiFigures) -> None:
        self.call = call
        self.answer = answer
        self.figures = figures

    def heard(self, reason: str, outcome: Outcome | None) -> None:
        call = self.call
        if outcome is not None and outcome.replayed:
            self.figures.replayed += 1
        if call.connection.gone and call.on_gone is None:
            return
        try:
            if reason or outcome is None:
                raise of_reason(reason, True)
            if outcome.error:
                raise of_outcome(outcome)
            self.answer(call, outcome)
        except ApiError as error:
            call.fail(error)


class Writes:
    def __init__(self, service: Service, figures: ApiFigures) -> None:
        self._service = service
        self._figures = figures
        self._loop = asyncio.get_running_loop()
        self._session = 0
        self._opening = False
        self._last = 0
        """The latest number given."""
        self._low = 0
        """Every request up to this one has its outcome."""
        self._done: set[int] = set()
        self._parked: deque[Write] = deque()
        self._used_at = 0.0
        self._keeping: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(self, call: Call, command: Struct, answer: Answer) -> None:
        """Answer the call when the command has its outcome. Raises ApiError."""
        plan = call.plan
        sender = plan.sender
        octets = encode_command(command)
        if sender.idempotency:
            octets = encode_command(Once(sender.idempotency, sender.idempotency_ttl_ms, Raw(octets)))
        heard = Caller(call, answer, self._figures).heard
        if sender.session:
            self._service.submit(octets, heard, plan.timeout_s, sender.session, sender.request, sender.acked)
        else:
            self.say(octets, heard, plan.timeout_s)

    def say(self, octets: bytes, heard: Heard, timeout_s: float) -> None:
        """A command under the agent's own session. `heard` is called later, once. Raises ApiError where too many wait."""
        now = self._loop.time()
        write = Write(self, octets, heard, now + timeout_s)
        if self._session and self._last - self._low < WINDOW and not self._parked:
            self._send(write, now)
            return
        if len(self._parked) >= PARKED_MAX or self._closed:
            raise of_reason("stopped" if self._closed else "busy", True)
        self._parked.append(write)
        self._open()

    def _send(self, write: Write, now: float) -> None:
        self._last += 1
        self._used_at = now
        write.request = self._last
        write.session = self._session
        self._service.submit(write.octets, write.done, write.deadline - now, self._session, self._last, self._low)

    def on_done(self, write: Write, reason: str, outcome: Outcome | None) -> None:
        if write.session == self._session:
            request = write.request
            if request == self._low + 1:
                self._low = request
                while self._done and self._low + 1 in self._done:
                    self._low += 1
                    self._done.discard(self._low)
            else:
                self._done.add(request)
        if outcome is not None and outcome.error == "session_not_found" and not write.tried:
            # The own session is gone, long unused; so this command, new as it is, was not executed under it.
            if write.session == self._session:
                self._session = 0
            write.tried = True
            if write.deadline > self._loop.time() and not self._closed:
                self._parked.append(write)
                self._open()
                return
        write.heard(reason, outcome)
        if self._parked and self._session:
            self._unpark()

    def _unpark(self) -> None:
        now = self._loop.time()
        while self._parked and self._last - self._low < WINDOW and self._session:
            write = self._parked.popleft()
            if write.deadline <= now:
                write.heard("not_leader", None)
            else:
                self._send(write, now)

    # -- the session

    def _open(self) -> None:
        if self._session or self._opening or self._closed:
            return
        self._opening = True
        octets = encode_command(SessionOpen(int(TTL_S * 1000), WINDOW))
        self._service.submit(octets, self._opened, OPEN_S, safe=True)

    def _opened(self, reason: str, outcome: Outcome | None) -> None:
        self._opening = False
        if outcome is None or outcome.error or not isinstance(outcome.value, int):
            parked, self._parked = self._parked, deque()
            for write in parked:
                # Nothing of these was ever said to anybody.
                write.heard("not_leader" if reason in ("timeout", "unknown") else reason, outcome)
            return
        self._figures.own_sessions += 1
        self._session = outcome.value
        self._last = self._low = 0
        self._done.clear()
        self._unpark()
        if self._keeping is None:
            self._keeping = self._loop.call_later(TTL_S / 5, self._keep)

    def _keep(self) -> None:
        """A session that is not used is kept alive, and told what has been heard."""
        self._keeping = self._loop.call_later(TTL_S / 5, self._keep)
        if self._session and self._loop.time() - self._used_at >= TTL_S / 5:
            session = self._session
            octets = encode_command(SessionKeep(session, self._low))

            def kept(reason: str, outcome: Outcome | None) -> None:
                if outcome is not None and outcome.error and self._session == session:
                    self._session = 0

            self._service.submit(octets, kept, OPEN_S, safe=True)

    def stop(self) -> None:
        """Give the session up, as far as that still works."""
        self._closed = True
        if self._keeping is not None:
            self._keeping.cancel()
        if self._session:
            self._service.submit(encode_command(SessionEnd(self._session)), _ignore, 1.0, safe=True)
            self._session = 0
        parked, self._parked = self._parked, deque()
        for write in parked:
            write.heard("stopped", None)


def _ignore(reason: str, outcome: Any) -> None:
    pass
