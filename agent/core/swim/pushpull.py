"""Anti-entropy: whole states exchanged over streams, with a random member now and then, and with those that a member joins by."""

from collections.abc import Callable
from math import inf, log2
from typing import Final

from agent.core.swim.desk import Desk
from agent.core.swim.io import JoinEnded, MergeState, StreamReply
from agent.core.swim.messages import Error, Message, Place, PushPull
from agent.core.swim.rules import Rules

SCALE_FROM: Final = 32
"""Members from which on the interval grows (as memberlist's pushPullScaleThreshold)."""
JOINS_MAX: Final = 256


class Exchange:
    def __init__(self, desk: Desk, rules: Rules, app_state: Callable[[bool], bytes]) -> None:
        self._desk = desk
        self._rules = rules
        self._app_state = app_state
        self._joins: dict[int, Place] = {}
        self._syncs: dict[int, Place] = {}
        self.wake_at = desk.now + desk.uniform() * desk.config.push_pull_interval_s

    def interval_s(self) -> float:
        """Time between exchanges that this member begins, by the cluster's size: so that its share of the traffic grows with
        log n only, for a state grows with n (memberlist's interval grows with log n, and its traffic nearly with n)."""
        count = self._desk.members.count
        times = 1.0 if count <= SCALE_FROM else (count / SCALE_FROM) / (log2(count) / log2(SCALE_FROM))
        return self._desk.config.push_pull_interval_s * times

    def spread_start(self) -> None:
        """Many members are known from the start: the first exchange has the same share of the interval that it had for few."""
        now = self._desk.now
        self.wake_at = now + (self.wake_at - now) * self.interval_s() / self._desk.config.push_pull_interval_s

    def on_wake(self) -> None:
        desk = self._desk
        if desk.leaving:
            self.wake_at = inf
            return
        self.wake_at = desk.now + self.interval_s()
        for member in desk.members.some(1, None):
            self.sync(member.place)

    def sync(self, place: Place) -> None:
        """Exchange states with the member there, one exchange at a time with the same."""
        if place not in self._syncs.values() and len(self._syncs) < JOINS_MAX:
            self._syncs[self._desk.open_stream(place, self._ours(False))] = place

    def join(self, places: tuple[Place, ...]) -> None:
        for place in places:
            if len(self._joins) >= JOINS_MAX:
                self._desk.out.append(JoinEnded(place, "too many joins at once"))
            else:
                self._joins[self._desk.open_stream(place, self._ours(True))] = place

    def _ours(self, join: bool) -> PushPull:
        return PushPull(self._desk.members.view(), join, self._app_state(join))

    def on_request(self, stream: int, theirs: PushPull) -> None:
        """Answer with what we knew before, then take in what they know."""
        self._desk.out.append(StreamReply(stream, self._ours(theirs.join)))
        self._merge(theirs, asked=False)

    def on_answer(self, stream: int, message: Message) -> bool:
        """Whether it was an exchange of ours."""
        place = self._joins.pop(stream, None)
        if place is None and self._syncs.pop(stream, None) is None:
            return False
        if isinstance(message, PushPull):
            self._merge(message, asked=True)
        if place is not None:
            reason = "" if isinstance(message, PushPull) else message.text if isinstance(message, Error) else "not a push/pull"
            self._desk.out.append(JoinEnded(place, reason))
        return True

    def on_failure(self, stream: int, reason: str) -> bool:
        place = self._joins.pop(stream, None)
        if place is not None:
            self._desk.out.append(JoinEnded(place, reason or "failed"))
            return True
        return self._syncs.pop(stream, None) is not None

    def _merge(self, theirs: PushPull, *, asked: bool) -> None:
        self._rules.on_states(theirs.nodes)
        if theirs.user:
            self._desk.out.append(MergeState(theirs.user, theirs.join, asked))
