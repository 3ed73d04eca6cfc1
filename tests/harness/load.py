"""Clients of a group's state, at all of its agents at once, and the history of what they were told."""

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable
from pathlib import Path
from random import Random

from agent.sim.history.counted import misapplied, miscounted
from agent.sim.history.linearizable import check
from agent.sim.history.models import Counter, Register
from agent.sim.history.operation import Operation, Recorder, dump
from agent.sim.history.report import explain
from tests.harness.store import Refused, StoreClient, Unknown
from tests.harness.wait import wait_until

KEYS = 3
OPERATIONS_A_KEY = 150
"""After so many a key is left for another, so that the histories of single keys stay short."""
COUNTERS = 2
PAUSE_S = 0.004
"""From an answer to the next request: some hundred operations a second in all."""
SETTLE_S = 30.0


class Load:
    """`places`: the agents' APIs. A context manager: it asks from beginning to end; `judge` afterwards."""

    def __init__(self, places: dict[str, tuple[str, int]], seed: int, clients: int = 6) -> None:
        self.places = places
        self.seed = seed
        self._recorder = Recorder(time.monotonic)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._process = clients
        self._count = 0
        self.answered = 0
        self.why: Tally[str] = Tally()
        """What was not answered, and how often."""
        self.errors: list[BaseException] = []
        kinds = (self._registers, self._marks, self._counters)
        self._threads = [threading.Thread(target=self._run, args=(kinds[number % 3], number), daemon=True) for number in range(clients)]

    # -- recording

    def _begin(self, process: int, name: str, key: str, *args: object) -> Operation:
        with self._lock:
            return self._recorder.begin(process, name, key, *args)

    def _ok(self, operation: Operation, output: object) -> None:
        with self._lock:
            self._recorder.ok(operation, output)
            self.answered += 1

    def _fail(self, operation: Operation) -> None:
        with self._lock:
            self._recorder.fail(operation)

    def _next_process(self) -> int:
        with self._lock:
            self._process += 1
            return self._process

    # -- what clients do

    def _run(self, kind: Callable[[Random, dict[str, StoreClient], int], None], number: int) -> None:
        clients = {name: StoreClient(place) for name, place in self.places.items()}
        try:
            kind(Random(self.seed * 1000 + number), clients, number)
        except BaseException as error:
            self.errors.append(error)
        finally:
            for client in clients.values():
                client.close()

    def _registers(self, random: Random, clients: dict[str, StoreClient], process: int) -> None:
        names = sorted(clients)
        while not self._stop.is_set():
            self._count += 1
            key = f"r/{self._count // (OPERATIONS_A_KEY * KEYS)}/{random.randrange(KEYS)}"
            kind = random.choice(("read", "read", "lease", "write", "cas"))
            old, new = (str(random.randrange(4)) for _ in range(2))
            args = {"write": (new,), "cas": (old, new)}.get(kind, ())
            client = clients[random.choice(names)]
            operation = self._begin(process, "read" if kind == "lease" else kind, key, *args)
            try:
                if kind == "write":
                    client.put(key, new)
                    self._ok(operation, None)
                elif kind == "cas":
                    self._ok(operation, client.exchange(key, old, new))
                else:
                    self._ok(operation, client.get(key, "lease" if kind == "lease" else "linearizable"))
            except (Refused, Unknown) as error:
                process = self._not_answered(operation, error, process)
            time.sleep(PAUSE_S)

    def _marks(self, random: Random, clients: dict[str, StoreClient], process: int) -> None:
        """Keys that are written once, and must be there ever after."""
        names = sorted(clients)
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"m/{process}/{number}"
            operation = self._begin(process, "mark", key)
            try:
                clients[random.choice(names)].put(key, "x")
                self._ok(operation, None)
            except (Refused, Unknown) as error:
                process = self._not_answered(operation, error, process)
            time.sleep(PAUSE_S)

    def _counters(self, random: Random, clients: dict[str, StoreClient], process: int) -> None:
        """Additions with a session: asked again, at any agent, until they are answered."""
        names = sorted(clients)
        session = wait_until(lambda: self._session(clients[random.choice(names)]), "a session", SETTLE_S)
        request = 0
        while not self._stop.is_set():
            request += 1
            name, number = f"c{random.randrange(COUNTERS)}", random.randint(1, 5)
            operation = self._begin(process, "add", name, number)
            # Until it is answered, beyond the end of the load as well; what is asked of nobody any more stays unknown.
            end = time.monotonic() + SETTLE_S
            while time.monotonic() < end:
                try:
                    self._ok(operation, clients[random.choice(names)].add(name, number, session, request))
                    break
                except (Refused, Unknown) as error:
                    self.why[str(error)[:90]] += 1
                    time.sleep(0.05)
            time.sleep(PAUSE_S)

    def _session(self, client: StoreClient) -> int:
        try:
            return client.session()
        except (Refused, Unknown):
            return 0

    def _not_answered(self, operation: Operation, error: Exception, process: int) -> int:
        """The process that goes on: another one, where the outcome is unknown."""
        self.why[str(error)[:90]] += 1
        time.sleep(0.05)
        if operation.name == "read" or isinstance(error, Refused):
            self._fail(operation)
            return process
        return self._next_process()

    # -- around it

    def more(self, count: int, bound_s: float = SETTLE_S) -> None:
        """Wait for so many more answers."""
        goal = self.answered + count
        wait_until(lambda: self.answered >= goal or self.errors, f"{count} more answers; {self.why.most_common(3)}", bound_s)
        assert not self.errors, self.errors

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.end()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(SETTLE_S + 10)

    # -- the verdict

    def judge(self) -> str:
        """Read everything at every agent, and say what of the whole history cannot be; empty when it can. The faults must be over."""
        self.end()
        assert not self.errors, self.errors
        operations = self._recorder.operations
        wrong: list[str] = []
        marks = [one for one in operations if one.name == "mark"]
        for name in sorted(self.places):
            client = StoreClient(self.places[name])
            for key in sorted({one.key for one in operations if one.key.startswith("r/")}):
                self._last(name, "read", key, lambda client=client, key=key: client.get(key))  # type: ignore[misc]
            for number in range(COUNTERS):
                total = self._last(name, "read", f"c{number}", lambda client=client, number=number: client.total(f"c{number}"))  # type: ignore[misc]
                wrong.append(miscounted([one for one in operations if one.key == f"c{number}" and one.name == "add"], int(str(total))))
            there = self._asked(lambda client=client: client.keys("m/"))  # type: ignore[misc]
            wrong.append(misapplied(there, (one.key for one in marks if one.known), (one.key for one in marks if not one.known)))  # type: ignore[arg-type]
            client.close()
        verdicts = check((one for one in operations if one.key.startswith("r/")), Register())
        verdicts += check((one for one in operations if one.key.startswith("c")), Counter())
        if not all(verdict.linearizable for verdict in verdicts):
            wrong.append(explain([verdict for verdict in verdicts if not verdict.linearizable]))
        return "\n".join(text for text in wrong if text)

    def _asked(self, ask: Callable[[], object]) -> object:
        """Until it is answered."""
        found: list[object] = []

        def answered() -> bool:
            try:
                found.append(ask())
            except (Refused, Unknown):
                return False
            return True

        wait_until(answered, "an answer when the faults are over", SETTLE_S)
        return found[0]

    def _last(self, agent: str, name: str, key: str, ask: Callable[[], object]) -> object:
        def recorded() -> object:
            operation = self._begin(f"last at {agent}", name, key)  # type: ignore[arg-type]
            try:
                output = ask()
            except (Refused, Unknown):
                self._fail(operation)
                raise
            self._ok(operation, output)
            return output

        return self._asked(recorded)

    def keep(self, path: Path) -> None:
        """Write the history, a JSON object a line."""
        path.write_text(dump(self._recorder.operations), encoding="utf-8")
