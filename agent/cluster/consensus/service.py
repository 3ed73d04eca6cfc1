"""Consensus as the rest of the agent sees it: commands, reads, the state machine, and how all of it stands.

Nothing here is needed by the data path: when it is broken, or the group has no leader, callers hear so, and requests go on.
"""

import asyncio
import time
import traceback
from collections.abc import Callable
from math import inf
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, Final

from agent.cluster.consensus import messages
from agent.cluster.consensus.asking import Asking
from agent.cluster.consensus.config import ConsensusConfig
from agent.cluster.consensus.forwarder import Done, Forwarder
from agent.cluster.consensus.host import Host
from agent.cluster.consensus.life import Life, Membership
from agent.cluster.consensus.orders import Orders
from agent.cluster.consensus.post import Post
from agent.cluster.consensus.presence import Presence
from agent.cluster.consensus.reader import Consistency, Reader
from agent.cluster.consensus.seats import Board, Seen
from agent.cluster.consensus.standing import StandingError
from agent.cluster.consensus.steward import TICK_S, Steward
from agent.core.machine.machine import Machine
from agent.core.machine.outcome import Outcome
from agent.core.machine.registry import Registry
from agent.core.raft import wire as raft_wire
from agent.core.replica.io import Changed, Storage
from agent.core.swim.messages import Place
from agent.core.wal.errors import WalCorrupt
from agent.runtime.log import Logger
from agent.runtime.peers.transport import PeerTransport
from agent.runtime.wal.folder import WalInUse

if TYPE_CHECKING:
    from agent.runtime.transport.tls import MutualTls

LOOK_S: Final = 0.25
SLOW_S: Final = 0.05
"""A write to the log that lasts so long is told to the core."""
HAND_OVER_S: Final = 3.0
"""How long an agent that stops waits until another leads, and (in memory) until it is no voter any more."""


class ConsensusError(Exception):
    """There is no outcome, or the state cannot be looked at. `reason`: see `Consensus`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Consensus:
    """One agent's part in a group. `own_place(port)`: the place that other agents are told, once it listens on that port.

    Reasons of what did not work: `busy`, `timeout` (nothing came of it), `unknown` (nobody knows what came of it), `read_only` (no disk
    takes anything), `too_large`, `invalid`, `stopped`, and `off` (this agent takes no part: `why`).
    """

    Failed = ConsensusError

    def __init__(
        self,
        config: ConsensusConfig,
        cluster: str,
        name: str,
        board: Board,
        log: Logger,
        own_place: Callable[[int], Place],
        keys: Callable[[], tuple[bytes, ...]],
        tls: "MutualTls | None" = None,
        registry: Registry | None = None,
        tell: Callable[[str, str], None] = lambda kind, text: None,
    ) -> None:
        self.config = config
        self.name = name
        self.log = log
        self.board = board
        self.life = Life(config, cluster, name, log, registry)
        self.off = ""
        """Why this agent takes no part; empty: it does, or is on its way."""
        self.tell = tell
        self._own_place = own_place
        self.place: Place = ("", 0)
        self._loop = asyncio.get_running_loop()
        self.transport = PeerTransport(
            cluster, name, self._on_frames, self._on_unreachable, log, Random(SystemRandom().getrandbits(64)), keys, tls
        )
        self.post = Post(config.group, self.transport, raft_wire.encode, raft_wire.decode)
        self.post.on_service = self._on_service
        self.forwarder = Forwarder(self)
        self.post.on_lost = self.forwarder.lost
        self.reader = Reader(self.host)
        self.asking = Asking(self)
        self.orders = Orders(self)
        self.steward: Steward | None = None
        self.client_only = config.role == "client"
        self.presence = Presence(self)
        self.leaving = False
        """It is about to stop, and says so."""
        self._seen: dict[str, Seen] = {}
        self._leader = 0
        self.watchers: list[Callable[[int], None]] = []
        """Called with the index at the end of each slice of entries that were applied, and when a snapshot took the state's place. They
        must not raise or block."""
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # -- what others need

    def host(self) -> Host | None:
        member = self.life.member
        return member.host if member is not None and not member.host.broken else None

    @property
    def machine(self) -> Machine | None:
        """The own copy of the state, to be looked at in `ready` of a read; None where there is none."""
        return self.life.member.machine if self.life.member is not None and not self.off else None

    @property
    def leads(self) -> bool:
        host = self.host()
        return host is not None and host.leads

    def machine_ms(self) -> int:
        """Machine time, as a leader's command would say it; elsewhere, that of the last one applied."""
        member = self.life.member
        if member is None:
            return 0
        return member.host.machine_ms() if member.host.leads else member.machine.time_ms

    def leader_name(self) -> str:
        """The agent that leads, as far as it is known here; empty for nobody."""
        host = self.host()
        if host is not None and host.leader:
            name = self.post.name_of(host.leader)
            if name:
                return name if name != self.name else ""
        return self.presence.leader_seat

    def submit(
        self, command: bytes, done: Done, timeout_s: float = 0.0, session: int = 0, request: int = 0, acked: int = 0, *, safe: bool = False
    ) -> None:
        """Have a command executed: `done("", outcome)` or `done(reason, None)`, never within this call. timeout_s 0: as configured.

        safe: it may be said twice (a session's commands always may)."""
        if self.off:
            self._loop.call_soon(done, "off", None)
            return
        self.forwarder.submit(command, done, timeout_s or self.config.timing.request, session, request, acked, safe=safe)

    def read(
        self, consistency: Consistency, ready: Callable[[str, int], None], timeout_s: float = 0.0, max_staleness_s: float = inf
    ) -> None:
        """`ready("", index)` when `machine` may be looked at, at once and then; or `ready(reason, 0)`. A stale one may be ready within
        this call."""
        if self.off or self.client_only:
            self._loop.call_soon(ready, "off", 0)
            return
        self.reader.read(consistency, ready, timeout_s or self.config.timing.request, max_staleness_s)

    def ask(self, question: bytes, lease: bool, answer: Callable[[str, bytes], None], timeout_s: float) -> None:
        """Have an agent that has the state answer a question, once its copy is fresh. Never answered within this call."""
        self.asking.ask(question, lease, answer, timeout_s)

    def answer_with(self, answer: Callable[[bytes], bytes]) -> None:
        """Answer other agents' questions so, from the own copy; it raises ValueError for what is no question."""
        self.asking.on_question = answer

    async def propose(
        self, command: bytes, timeout_s: float = 0.0, session: int = 0, request: int = 0, acked: int = 0, *, safe: bool = False
    ) -> Outcome:
        """`submit` for who waits. Raises ConsensusError."""
        future: asyncio.Future[Outcome] = self._loop.create_future()

        def done(reason: str, outcome: Outcome | None) -> None:
            if not future.done():
                if outcome is None:
                    future.set_exception(ConsensusError(reason))
                else:
                    future.set_result(outcome)

        self.submit(command, done, timeout_s, session, request, acked, safe=safe)
        return await future

    async def wait_read(self, consistency: Consistency = "linearizable", timeout_s: float = 0.0, max_staleness_s: float = inf) -> int:
        """`read` for who waits: the index. Nothing else must run between this and looking. Raises ConsensusError."""
        future: asyncio.Future[int] = self._loop.create_future()

        def ready(reason: str, index: int) -> None:
            if not future.done():
                if reason:
                    future.set_exception(ConsensusError(reason))
                else:
                    future.set_result(index)

        self.read(consistency, ready, timeout_s, max_staleness_s)
        return await future

    def subscribe(self, watcher: Callable[[int], None]) -> Callable[[], None]:
        """Call `watcher` with the index at the end of each slice of entries that were applied, until the result is called."""
        self.watchers.append(watcher)
        return lambda: self.watchers.remove(watcher) if watcher in self.watchers else None

    def say(self, name: str, message: messages.Message) -> bool:
        return self.post.say(name, message)

    @property
    def seen(self) -> dict[str, Seen]:
        """Other agents' seats, as of the last look."""
        return self._seen

    # -- life

    async def start(self, place: Place) -> None:
        """Listen, and begin to find the way into the group. Raises OSError where the place is taken."""
        await self.transport.start(place)
        self.place = self._own_place(self.transport.place[1])
        self._task = self._loop.create_task(self._live())
        self._timer = self._loop.call_later(TICK_S, self._tick)

    async def _live(self) -> None:
        if not self.client_only:
            await self._guarded(self.life.begin())
            self._adopt()
        while True:
            try:
                self._seen = self.board.seen(self.config.group)
                if not self.off and not self.client_only and self.life.member is None:
                    await self._guarded(self.life.look(self._seen))
                    self._adopt()
                await self._look()
            except Exception:
                self.log.error("consensus_fault", text=traceback.format_exc(limit=-5))
            await asyncio.sleep(LOOK_S)

    async def _guarded(self, work: Any) -> None:
        """What makes this agent take no part: said, counted, and nothing else of the agent's is touched."""
        try:
            await work
        except (StandingError, WalCorrupt, WalInUse, OSError) as error:
            self._switch_off(str(error))
        except Exception:
            self._switch_off(traceback.format_exc(limit=-5))

    def _switch_off(self, why: str) -> None:
        self.off = why
        self.log.error("consensus_off", text=why)
        self.tell("consensus", f"off: {why}")

    def _adopt(self) -> None:
        """A member has been made: connect it."""
        member = self.life.member
        if member is None or self.steward is not None:
            return
        host = member.host
        self.post.attach(host, self.life.group_id)
        self.post.know(host.members)
        host.on_changed = self._on_changed
        host.applier.watchers.append(self._on_applied)
        self.steward = Steward(self.config, host, member.machine, self.life.group_id, self.log, lambda text: self.tell("consensus", text))
        member.store.start(member)
        host.start()

    def _on_applied(self, index: int) -> None:
        for watcher in self.watchers:
            watcher(index)

    def _on_changed(self, changed: Changed) -> None:
        self.post.know(changed.members)
        if changed.leader != self._leader:
            self._leader = changed.leader
            name = self.post.name_of(changed.leader) or (str(changed.leader) if changed.leader else "nobody")
            self.log.info("consensus_leader", leader=name, term=changed.term, role=changed.role, why=changed.why)
            self.tell("consensus", f"{name} leads in term {changed.term}")
            self._loop.call_soon(self.forwarder.leader_changed)
        self.presence.publish()

    # -- now and then

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK_S, self._tick)
        member, steward = self.life.member, self.steward
        if member is None or steward is None or member.host.broken:
            return
        try:
            steward.tick()
            member.snapshots.look()
            slow_s = member.store.slow_s
            if slow_s > SLOW_S:
                member.host.feed(Storage(member.writable, slow_s))
        except Exception:
            member.host.fail(traceback.format_exc(limit=-5))

    async def _look(self) -> None:
        member = self.life.member
        if member is not None and not self.leaving:
            if member.host.broken and not self.off:
                self._switch_off(member.host.broken)
            elif member.host.role == "removed":
                await self._begin_again(member)
        self.presence.look(self._seen)
        self.transport.recheck()
        host = self.host()
        if self.steward is not None and host is not None:
            self.steward.look({**self._seen, self.name: self.presence.own_seen()})
        self.forwarder.leader_changed()

    async def _begin_again(self, member: Membership) -> None:
        """The group goes on without the member that this agent was: as another, it may come in again."""
        self.tell("consensus", "is no member any more, and asks to be let in as a new one")
        self.log.info("consensus_removed", member=member.host.me)
        self.post.detach()
        self.steward = None
        await member.stop()
        await self._guarded(self.life.forget())

    # -- peers

    def _on_frames(self, name: str, frames: list[Any]) -> None:
        self.post.on_frames(name, frames)

    def _on_unreachable(self, name: str) -> None:
        self.post.on_unreachable(name)

    def _on_service(self, name: str, message: messages.Message) -> None:
        if isinstance(message, messages.Commands):
            self.forwarder.take_commands(name, message.items)
        elif isinstance(message, messages.Outcomes):
            self.forwarder.take_outcomes(message.items)
        elif isinstance(message, messages.Questions | messages.Answers):
            self.asking.take(name, message)
        else:
            self.orders.take(name, message)

    # -- the end

    async def hand_over(self) -> None:
        """Let another lead, if this one does; within a bound."""
        host = self.host()
        if host is None or not host.leads or len(host.members.voters) < 2:
            return
        host.transfer(0, lambda reason, index: None)
        await self._until(lambda: not host.leads or bool(host.broken))

    async def stop(self) -> None:
        """Hand over, say goodbye, close the log."""
        await self.hand_over()
        host = self.host()
        if host is not None and self.config.memory and not self.off and len(host.members.voters) > 1:
            self.leaving = True  # what is in memory ends here: the others must not count on it
            self.presence.publish()
            await self._until(lambda: host.role == "removed" or host.me not in host.applier.members.voters)
        for timer in (self._timer,):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self.leaving = True
        self.forwarder.stop()
        self.reader.stop()
        self.asking.stop()
        self.orders.stop()
        member: Membership | None = self.life.member
        if member is not None:
            self.transport.flush()
            await member.stop()
        await self.transport.stop()

    async def _until(self, condition: Callable[[], bool]) -> None:
        end_at = time.monotonic() + HAND_OVER_S
        while not condition() and time.monotonic() < end_at:  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.02)

    def status(self) -> dict[str, Any]:
        """For people; see `report`."""
        from agent.cluster.consensus.report import status

        return status(self)
