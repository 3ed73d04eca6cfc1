"""Anti-entropy of invalidations: asking for missing numbers, answering who asks, and the digests that show what nobody noticed."""

from typing import TYPE_CHECKING, Final

from agent.core.gossip.across import BORDER
from agent.core.gossip.chance import pick
from agent.core.gossip.messages import PACKET_BYTES, Ask, Invalidation, Invalidations, Lost, Stream, Streams
from agent.core.gossip.streams import StreamState, batches

if TYPE_CHECKING:
    from agent.core.gossip.invalidation import Invalidator

ASKED_MAX: Final = 128
"""Numbers in one question."""
ASK_NEXT_S: Final = 0.05
"""After "I do not have it", before the next one is asked."""
ANSWER_PACKETS_MAX: Final = 8


class Repairs:
    """The streams that have gaps, and whom to ask when."""

    def __init__(self, core: "Invalidator") -> None:
        self.core = core
        self.gaps: dict[tuple[str, int], StreamState] = {}
        self.asked = 0
        self.repaired = 0
        """Missing numbers that somebody sent when asked."""
        self.lost = 0
        self._digest_at = -1.0
        self._quiet = 0
        self._cursor = ""

    # -- asking

    def note(self, stream: StreamState, now: float) -> None:
        """A stream has moved: does it lack anything?"""
        key = (stream.origin, stream.generation)
        if not stream.missing:
            self.gaps.pop(key, None)
        elif key not in self.gaps:
            self.gaps[key] = stream
            stream.asks = 0
            stream.next_ask_at = now + self.core.config.gap_patience

    def next_at(self) -> float:
        return min([self._digest_at, *(stream.next_ask_at for stream in self.gaps.values())])

    def wake(self, now: float) -> None:
        for key, stream in sorted(self.gaps.items()):
            if not stream.missing:
                del self.gaps[key]
            elif now >= stream.next_ask_at:
                self._ask(stream, now)
        if now >= self._digest_at:
            self._send_digest(now)
            # Spread, so that agents started together do not speak together.
            self._digest_at = now + self.core.config.digest * (0.75 + 0.5 * self.core.chance.random())

    def _ask(self, stream: StreamState, now: float) -> None:
        core, config = self.core, self.core.config
        due = [number for number, since in sorted(stream.missing.items()) if now - since >= config.gap_patience]
        if not due:
            stream.next_ask_at = min(stream.missing.values()) + config.gap_patience
            return
        if stream.asks >= config.asks_max and BORDER not in stream.origin:
            self._lose(stream, due, "nobody answered with what is missing", now)
            return
        old = [number for number in due if now - stream.missing[number] >= config.give_up]
        if old:
            self._lose(stream, old, f"not repaired within {config.give_up:g} s", now)
        target = self._whom(stream)
        due = [number for number in due if number in stream.missing][:ASKED_MAX]
        if due and target:
            self.asked += 1
            core.send([target], Ask(core.name, stream.origin, stream.generation, tuple(due)))
        stream.asks += 1
        stream.next_ask_at = now + config.ask_again * (1.0 + 0.5 * stream.asks)

    def _whom(self, stream: StreamState) -> str:
        """Whoever spoke of it last, the origin, then anyone."""
        live = self.core.live
        wishes = (stream.hint, stream.origin) if stream.asks % 2 == 0 else (stream.origin,)
        if stream.asks < 2:
            for name in wishes:
                if name and name in live:
                    return name
        return next(iter(pick(self.core.chance, live, 1)), "")

    # -- answering

    def on_ask(self, ask: Ask) -> None:
        core = self.core
        found: list[Invalidation] = []
        lacking: list[int] = []
        for number in ask.sequences[:ASKED_MAX]:
            item = core.ring.get(ask.origin, ask.generation, number)
            if item is not None:
                found.append(item)
            else:
                lacking.append(number)
        for batch in batches(found)[:ANSWER_PACKETS_MAX]:
            core.send([ask.sender], Invalidations(batch))
        if lacking:
            final = (ask.origin, ask.generation) == (core.name, core.own.generation)
            core.send([ask.sender], Lost(ask.origin, ask.generation, tuple(lacking), final, core.shed.hosts(lacking) if final else ()))

    def on_lost(self, lost: Lost, now: float) -> None:
        stream = self.core.streams.get((lost.origin, lost.generation))
        if stream is None or not stream.missing:
            return
        if lost.final:
            self._lose(stream, list(lost.sequences), "they fell off its ring before we could ask", now, lost.hosts)
        elif BORDER not in stream.origin:  # what is of another region may not have come here yet
            stream.next_ask_at = min(stream.next_ask_at, now + ASK_NEXT_S)

    def _lose(self, stream: StreamState, sequences: list[int], why: str, now: float, hosts: tuple[bytes, ...] = ()) -> None:
        count = sum(1 for number in sequences if number in stream.missing)
        older_than = stream.give_up(sequences)
        self.note(stream, now)
        stream.asks = 0
        if count:
            self.lost += count
            self.core.given_up(stream, older_than, f"{count} invalidations of {stream.origin} are lost: {why}", now, hosts)

    # -- digests

    def positions(self) -> tuple[Stream, ...]:
        """Where all streams stand, for a push/pull."""
        return tuple(stream.position() for _, stream in sorted(self.core.streams.items()) if stream.highest)

    def _send_digest(self, now: float) -> None:
        core = self.core
        moved = [stream for stream in core.streams.values() if stream.highest and now - stream.advanced_at <= core.config.active]
        self._quiet = 0 if moved else self._quiet + 1
        if not moved and self._quiet % 10:
            return
        self._forget(now)
        streams = self._slice(now, PACKET_BYTES)
        if streams:
            core.send(pick(core.chance, core.live, 1), Streams(core.name, streams, answer=True))

    def _slice(self, now: float, budget: int) -> tuple[Stream, ...]:
        """What moved last, newest first, then a rotating slice of the others, within a packet."""
        streams = [stream for stream in self.core.streams.values() if stream.highest]
        hot = sorted(
            (stream for stream in streams if now - stream.advanced_at <= self.core.config.active),
            key=lambda stream: (-stream.advanced_at, stream.origin),
        )
        cold = sorted(
            (stream for stream in streams if now - stream.advanced_at > self.core.config.active), key=lambda stream: stream.origin
        )
        start = next((index for index, stream in enumerate(cold) if stream.origin > self._cursor), 0)
        found: list[Stream] = []
        for stream in [*hot, *cold[start:], *cold[:start]]:
            budget -= 20 + len(stream.origin.encode())
            if budget < 64:
                break
            found.append(stream.position())
            if now - stream.advanced_at > self.core.config.active:
                self._cursor = stream.origin
        return tuple(found)

    def on_streams(self, digest: Streams, now: float) -> None:
        core = self.core
        theirs = {(stream.origin, stream.generation): stream.sequence for stream in digest.streams}
        if digest.answer:
            named = [core.streams[key] for key in theirs if key in core.streams and core.streams[key].highest > theirs[key]]
            fresh = [
                stream
                for key, stream in core.streams.items()
                if key not in theirs and stream.highest and now - stream.advanced_at <= core.config.active
            ]
            answer = tuple(stream.position() for stream in (named + fresh)[: PACKET_BYTES // 50])
            if answer:
                core.send([digest.sender], Streams(core.name, answer))
        for position in digest.streams:
            core.learn(position, now, digest.sender)

    def _forget(self, now: float) -> None:
        """Streams of those that are long gone, and of which not everybody could say that it had all (`departed`)."""
        core = self.core
        for stream in list(core.streams.values()):
            over = stream.generation < core.newest.get(stream.origin, 0) or stream.origin not in core.live
            if over and stream is not core.own and now - stream.advanced_at > core.config.retain:
                core.forget(stream)
