"""``python -m tests.chaos``: one misfortune after the other for a group of real agents, and the verdict on its history.

Faults are drawn from the seed; processes keep their own time, so a run is not repeated exactly by it.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from random import Random

from tests.harness.chamber import MISSING, Chamber, Storied
from tests.harness.load import Load

CYCLE_S = 10.0
"""Of faults, then a moment without, then everything that is down is started."""
CYCLES_MAX = 6
"""Then the history is judged, and a new group begins: histories are to stay of a size that can be judged."""


class Nemesis:
    def __init__(self, group: Storied, random: Random) -> None:
        self._group = group
        self._random = random
        self._down: set[str] = set()
        self._paused: set[str] = set()

    def _some(self, most: int) -> list[str]:
        up = sorted(set(self._group.hosts) - self._down - self._paused)
        return self._random.sample(up, min(len(up), self._random.randint(1, most)))

    def strike(self) -> str:
        """One misfortune. What it was."""
        group, random = self._group, self._random
        kinds = ["kill", "kill", "pause", "pause", "kill all", "start", "resume"]
        if isinstance(group, Chamber):
            kinds += ["split", "split", "one way", "partial", "heal"]
        kind = random.choice(kinds)
        names = sorted(group.hosts)
        if kind == "kill":
            chosen = self._some(2)
            group.kill(*chosen)
            self._down |= set(chosen)
            return f"kill {' '.join(chosen)}"
        if kind == "kill all":
            chosen = self._some(len(names)) if random.random() < 0.5 else sorted(set(names) - self._down - self._paused)
            group.kill(*chosen)
            self._down |= set(chosen)
            self._start()
            return f"kill {' '.join(chosen)} at once, and start all"
        if kind == "pause":
            chosen = self._some(2)
            for name in chosen:
                group.pause(name)
            self._paused |= set(chosen)
            return f"pause {' '.join(chosen)}"
        if kind == "start":
            self._start()
        elif kind == "resume":
            self._resume()
        elif isinstance(group, Chamber):
            return self._cut(group, kind, random.sample(names, len(names)))
        return kind

    def _cut(self, group: Chamber, kind: str, names: list[str]) -> str:
        if kind == "split":
            at = self._random.randint(1, len(names) - 1)
            group.split(tuple(names[:at]), tuple(names[at:]))
            return f"split {' '.join(names[:at])} | {' '.join(names[at:])}"
        if kind == "one way":
            group.cut(*((names[0], other) for other in names[1:]))
            return f"nobody hears {names[0]}"
        if kind == "partial":
            group.cut((names[0], names[1]), (names[1], names[0]))
            return f"cut {names[0]} - {names[1]}"
        group.heal()
        return "heal"

    def _start(self) -> None:
        for name in sorted(self._down):
            self._group.start(name)
        self._down.clear()

    def _resume(self) -> None:
        for name in self._paused:
            self._group.resume(name)
        self._paused.clear()

    def end(self) -> None:
        """All is well again."""
        if isinstance(self._group, Chamber):
            self._group.heal()
        self._resume()
        self._start()


def round_of(seed: int, agents: int, until: float, folder: Path, fast: bool | None) -> bool:
    names = [chr(ord("a") + number) for number in range(agents)]
    random = Random(seed)
    kind = Storied if MISSING else Chamber
    snapshots = {"entries": random.choice((100, 1000, 100_000))}
    fast_path = random.random() < 0.5 if fast is None else fast
    print(f"  a snapshot each {snapshots['entries']} entries{', with the fast path' if fast_path else ''}", flush=True)
    consensus = {
        "voters": agents,
        "snapshots": {"entries": random.choice((100, 1000, 100_000))},
        "fast_path": random.random() < 0.5 if fast is None else fast,
    }
    print(f"  {consensus}")
    with kind(*names, consensus=consensus) as group:
        group.wait_for_voters(*names)
        nemesis = Nemesis(group, random)
        with Load(group.places, seed, clients=9) as load:
            for _ in range(CYCLES_MAX):
                end = time.monotonic() + CYCLE_S
                while time.monotonic() < end:
                    print(f"  {nemesis.strike()}", flush=True)
                    time.sleep(random.uniform(0.3, 3.0))
                nemesis.end()
                load.more(200, 60.0)
                if group.broken:
                    break
                if time.monotonic() > until:
                    break
        try:
            wrong = load.judge() + "".join(group.broken)
        except BaseException:
            wrong = "not judged"
            raise
        finally:
            load.keep(folder / f"history-{seed}")
            if wrong:
                tell(group, folder / f"agents-{seed}")
        print(f"seed {seed}: {load.answered} answers; {wrong or 'linearizable, counted once, nothing lost'}", flush=True)
        for why, count in load.why.most_common(5):
            print(f"  {count} × {why}")
        return not wrong


def tell(group: Storied, path: Path) -> None:
    """Write what each agent says of itself and has logged."""
    with path.open("w", encoding="utf-8") as file:
        for name, agent in group.agents.items():
            try:
                status: object = group.status(name)
            except (OSError, AssertionError) as error:
                status = repr(error)
            print(f"--- {name}: {json.dumps(status)}", *agent.stderr, sep="\n", file=file)
    print(f"what the agents said: {path}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--agents", type=int, default=0, help="3 or 5; default: by turns")
    parser.add_argument("--fast", action=argparse.BooleanOptionalAction, help="with the fast path; default: by lot")
    parser.add_argument("--history", type=Path, default=Path("."), help="folder for the histories (history-SEED)")
    parser.add_argument("--fast-path", action=argparse.BooleanOptionalAction, help="default: as the seed has it")
    args = parser.parse_args()
    if MISSING:
        print(f"no cuts of the network: {MISSING}")
    until = time.monotonic() + 60.0 * args.minutes
    seed, good = args.seed, True
    while time.monotonic() < until:
        print(f"seed {seed}", flush=True)
        good &= round_of(seed, args.agents or (3, 5)[seed % 2], until, args.history, args.fast_path)
        seed += 1
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
