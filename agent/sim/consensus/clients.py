"""Simulated clients: each asks one thing after the other, through any node, until it is answered; what they saw is a history."""

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

from msgspec import Struct

from agent.core.machine.outcome import Outcome
from agent.sim.consensus import machine
from agent.sim.consensus.host import Answer, Host, Reply
from agent.sim.consensus.machine import Command, Query
from agent.sim.consensus.service import LEASE, LINEARIZABLE, STALE
from agent.sim.engine import Engine
from agent.sim.history.operation import Operation, Recorder

LOCAL_S = 0.0001
"""From a client to the node beside it and back, each."""
CLOCKS = 1.06
"""A bound of staleness is measured by a clock that may be slow by so much."""


class ClientsConfig(Struct, frozen=True):
    count: int = 3
    keys: int = 2
    counters: int = 1
    think_s: float = 0.015
    """Mean pause between an answer and the next question."""
    timeout_s: float = 0.3
    """Then the same is asked again, of another node."""
    give_up_s: float = 6.0
    """Then it is unknown for ever what became of it, and the client goes on as another."""
    read_shares: tuple[float, ...] = (0.1, 0.4, 0.95)
    """Of what each client asks, in turn. One who hardly writes stays with a node that is cut off, where others notice and leave."""
    lease_share: float = 0.5
    """Of the reads: by the leader's lease."""
    stale_share: float = 0.2
    staleness_s: float = 0.5
    session_ttl_ms: int = 60_000


class Service(Protocol):
    def propose(self, host: Host, command: Command, reply: Reply) -> None: ...

    def read(self, host: Host, query: Query, consistency: str, reply: Reply, staleness_s: float) -> None: ...


class Asked(Protocol):
    """What clients ask: a group, or several."""

    engine: Engine
    hosts: list[Host]

    @property
    def service(self) -> Service: ...

    def later(self, host: Host, seconds: float, call: Callable[..., None], *args: Any) -> None: ...


class Judge(Protocol):
    """Whoever keeps what was promised to clients."""

    def acked(self, index: int) -> None: ...

    def read_at(self, host: Host, index: int, since: float) -> None: ...


class Client:
    """`process`: another for each of its lives (after an operation that nobody knows the end of). `session` 0: none is open yet."""

    __slots__ = ("attempt", "home", "operation", "process", "read_share", "request", "session")

    def __init__(self, process: int, home: int, read_share: float) -> None:
        self.process = process
        self.session = 0
        self.request = 0
        self.home = home
        self.read_share = read_share
        self.attempt = 0
        self.operation: Operation | None = None


class Clients:
    """`latencies`: (time of the answer, seconds from the question on) of every command that was answered."""

    def __init__(self, swarm: Asked, oracle: Judge, config: ClientsConfig, random: Random) -> None:
        self.swarm = swarm
        self.oracle = oracle
        self.config = config
        self.random = random
        self.recorder = Recorder(lambda: swarm.engine.now)
        self.stopped = False
        self.processes = config.count
        self.values = 0
        self.stale_reads = 0
        self.latencies: list[tuple[float, float]] = []
        self.clients = [Client(i, i % len(swarm.hosts), config.read_shares[i % len(config.read_shares)]) for i in range(config.count)]
        for client in self.clients:
            swarm.engine.after(random.random() * config.think_s, self._next, client)

    def stop(self) -> None:
        """No new questions; those that wait go on."""
        self.stopped = True

    def _next(self, client: Client) -> None:
        if self.stopped:
            return
        config, random = self.config, self.random
        client.attempt += 1
        if not client.session:
            # Not part of the history: that one is opened twice does no harm.
            client.operation = Operation(client.process, "open", "", ())
            self._write(client, machine.open_session(config.session_ttl_ms))
        elif random.random() < client.read_share:
            self._begin_read(client)
        else:
            self._begin_write(client)
        self.swarm.engine.after(config.give_up_s, self._give_up, client, client.operation)

    # -- commands

    def _begin_write(self, client: Client) -> None:
        random, begin = self.random, self.recorder.begin
        self.values += 1
        key, value = f"k{random.randrange(self.config.keys)}", f"v{self.values}"
        kind = random.random()
        if kind < 0.3 and self.config.counters:
            key, number = f"c{random.randrange(self.config.counters)}", 1 + random.randrange(5)
            client.operation = begin(client.process, "add", key, number)
            data = machine.add(key, number)
        elif kind < 0.5:
            old = f"v{random.randrange(max(1, self.values - 12), self.values)}" if self.values > 1 else None
            client.operation = begin(client.process, "cas", key, old, value)
            data = machine.exchange(key, old, value)
        else:
            client.operation = begin(client.process, "write", key, value)
            data = machine.put(key, value)
        client.request += 1
        self._write(client, data)

    def _write(self, client: Client, data: bytes) -> None:
        command = Command(client.session, client.request, max(0, client.request - 1), data)
        self._try_write(client, command, client.attempt, self._pick(client))

    def _try_write(self, client: Client, command: Command, attempt: int, host: Host) -> None:
        """Once more, if this attempt is still the one that matters."""
        if client.attempt != attempt:
            return
        client.attempt = attempt = attempt + 1
        engine, swarm = self.swarm.engine, self.swarm
        operation = client.operation

        def reply(answer: Answer) -> None:
            swarm.later(host, LOCAL_S, self._wrote, client, operation, command, attempt, answer)

        swarm.later(host, LOCAL_S, swarm.service.propose, host, command, reply)
        engine.after(self.config.timeout_s, self._try_write, client, command, attempt, self._another(client))

    def _wrote(self, client: Client, operation: Operation, command: Command, attempt: int, answer: Answer) -> None:
        if client.operation is not operation:
            return
        if answer.status != "ok":
            self.swarm.engine.after(self.config.timeout_s * 0.2, self._try_write, client, command, attempt, self._another(client))
            return
        outcome = answer.value
        assert isinstance(outcome, Outcome)
        self.oracle.acked(answer.index)
        if outcome.error == "session_not_found":
            # It ended before: what this is the outcome of may have been executed in its time, or not.
            self._give_up(client, operation)
            return
        output = machine.told(operation.name, outcome)
        if operation.name == "open":
            assert isinstance(output, int)
            client.session = output
        else:
            self.recorder.ok(operation, output)
        now = self.swarm.engine.now
        self.latencies.append((now, now - operation.start))
        self._done(client)

    # -- reads

    def _begin_read(self, client: Client) -> None:
        random, config = self.random, self.config
        names = [f"k{i}" for i in range(config.keys)] + [f"c{i}" for i in range(config.counters)]
        key = names[random.randrange(len(names))]
        kind = random.random()
        consistency = STALE if kind < config.stale_share else LEASE if random.random() < config.lease_share else LINEARIZABLE
        client.operation = Operation(client.process, "read", key, (), start=self.swarm.engine.now)
        if consistency != STALE:
            client.operation = self.recorder.begin(client.process, "read", key)
        self._try_read(client, Query(key, key[0] == "c"), consistency, client.attempt, self._pick(client))

    def _try_read(self, client: Client, query: Query, consistency: str, attempt: int, host: Host) -> None:
        if client.attempt != attempt:
            return
        client.attempt = attempt = attempt + 1
        swarm, operation = self.swarm, client.operation
        assert operation is not None

        def reply(answer: Answer) -> None:
            if answer.status == "ok" and consistency == STALE:
                self.oracle.read_at(host, answer.index, operation.start - self.config.staleness_s * CLOCKS)
            swarm.later(host, LOCAL_S, self._has_read, client, operation, query, consistency, attempt, host, answer)

        swarm.later(host, LOCAL_S, swarm.service.read, host, query, consistency, reply, self.config.staleness_s)
        swarm.engine.after(self.config.timeout_s, self._try_read, client, query, consistency, attempt, self._another(client))

    def _has_read(
        self, client: Client, operation: Operation, query: Query, consistency: str, attempt: int, host: Host, answer: Answer
    ) -> None:
        if client.operation is not operation:
            return
        if answer.status != "ok":
            pause_s = self.config.timeout_s * 0.2
            self.swarm.engine.after(pause_s, self._try_read, client, query, consistency, attempt, self._another(client))
            return
        if consistency == STALE:
            self.stale_reads += 1
        else:
            self.oracle.read_at(host, answer.index, operation.start)
            self.oracle.acked(answer.index)
            self.recorder.ok(operation, answer.value)
        self._done(client)

    # -- both

    def _pick(self, client: Client) -> Host:
        hosts = self.swarm.hosts
        return hosts[client.home] if self.random.random() < 0.7 else hosts[self.random.randrange(len(hosts))]

    def _another(self, client: Client) -> Host:
        hosts = self.swarm.hosts
        client.home = self.random.randrange(len(hosts))
        return hosts[client.home]

    def _done(self, client: Client) -> None:
        client.attempt += 1
        client.operation = None
        think_s = self.config.think_s * (1.1 - client.read_share)
        self.swarm.engine.after(self.random.expovariate(1.0 / think_s), self._next, client)

    def _give_up(self, client: Client, operation: Operation) -> None:
        if client.operation is operation:
            self.processes += 1
            client.process, client.session, client.request = self.processes, 0, 0
            self._done(client)

    def waiting(self) -> int:
        """Clients that have no answer yet."""
        return sum(client.operation is not None for client in self.clients)
