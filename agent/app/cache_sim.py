"""``pilotfish cache-sim``: key traces through the agent's own eviction policies, beside the best that hindsight could do."""

import argparse
import gzip
import heapq
import json
import lzma
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.core.cache.eviction import NAMES, Node, make_policy


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("trace", type=Path, help="a key trace; .gz and .xz are unpacked on the way")
    parser.add_argument("--size", default="1000,5000,10000", help="cache sizes in entries, separated by commas")
    parser.add_argument("--policy", default=",".join(NAMES), help="policies, separated by commas")
    parser.add_argument("--limit", type=int, default=0, help="read only so many requests")
    parser.add_argument(
        "--format",
        choices=("auto", "arc", "int64", "text"),
        default="auto",
        help="arc: 'start count ...' blocks; int64: big-endian keys; text: a key a line",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of a table")


def read_trace(path: Path, kind: str = "auto", limit: int = 0) -> "array[int]":
    """The keys of a trace in order. Raises OSError or ValueError with what was found and expected."""
    if kind == "auto":
        name = path.name
        kind = "arc" if name.startswith("arc-") else "text" if ".txt" in name or ".csv" in name else "int64"
    opener: Any = gzip.open if path.suffix == ".gz" else lzma.open if path.suffix == ".xz" else open
    with opener(path, "rb") as file:
        data: bytes = file.read()
    keys: array[int] = array("q")
    if kind == "int64":
        if len(data) % 8:
            raise ValueError(f"{path}: {len(data)} bytes, expected a multiple of 8 (big-endian int64 keys)")
        keys.frombytes(data)
        if sys.byteorder == "little":
            keys.byteswap()
        return keys[:limit] if limit else keys
    for key in _arc_keys(path, data) if kind == "arc" else _text_keys(data):
        keys.append(key)
        if limit and len(keys) >= limit:
            break
    return keys


def _arc_keys(path: Path, data: bytes) -> Iterator[int]:
    for number, line in enumerate(data.splitlines(), 1):
        words = line.split()
        if len(words) < 2:
            raise ValueError(f"{path}:{number}: found {line[:40]!r}, expected 'start count ignored sequence'")
        start = int(words[0])
        yield from range(start, start + int(words[1]))


def _text_keys(data: bytes) -> Iterator[int]:
    known: dict[bytes, int] = {}
    for line in data.splitlines():
        if line:
            yield known.setdefault(line, len(known))


def replay(policy_name: str, keys: "array[int]", size: int) -> float:
    """Share of the requests that a cache of `size` entries under the policy would have answered."""
    policy = make_policy(policy_name, size)
    resident: dict[int, Node] = {}
    hits = 0
    for key in keys:
        node = resident.get(key)
        if node is not None:
            hits += 1
            policy.hit(node)
        else:
            node = Node(key, 1)
            resident[key] = node
            for gone in policy.insert(node):
                del resident[gone.ident]
    return hits / len(keys)


def belady(keys: "array[int]", size: int) -> float:
    """Belady's optimum: evict what is needed furthest in the future (and do not admit what is needed later than all)."""
    count = len(keys)
    never = count + 1
    next_use = array("q", bytes(8 * count))
    last: dict[int, int] = {}
    for index in range(count - 1, -1, -1):
        key = keys[index]
        next_use[index] = last.get(key, never)
        last[key] = index
    resident: dict[int, int] = {}
    furthest: list[tuple[int, int]] = []
    hits = 0
    for index in range(count):
        key = keys[index]
        due = next_use[index]
        if key in resident:
            hits += 1
        elif len(resident) >= size:
            while furthest:
                when, candidate = furthest[0]
                if resident.get(candidate) == -when:
                    break
                heapq.heappop(furthest)
            if furthest and -furthest[0][0] <= due:
                continue
            del resident[furthest[0][1]]
            heapq.heappop(furthest)
        resident[key] = due
        heapq.heappush(furthest, (-due, key))
    return hits / count


def run(args: argparse.Namespace) -> int:
    try:
        sizes = [int(word) for word in args.size.split(",")]
        names = [word.strip() for word in args.policy.split(",")]
        for name in names:
            make_policy(name, 1)
        keys = read_trace(args.trace, args.format, args.limit)
    except (OSError, ValueError, lzma.LZMAError) as error:
        print(f"pilotfish cache-sim: {error}", file=sys.stderr)
        return 2
    if not keys:
        print(f"pilotfish cache-sim: {args.trace}: no requests in the trace", file=sys.stderr)
        return 2
    rows = []
    for size in sizes:
        best = belady(keys, size)
        ratios = {}
        cost_us = {}
        for name in names:
            started = time.perf_counter()
            ratios[name] = replay(name, keys, size)
            cost_us[name] = (time.perf_counter() - started) / len(keys) * 1e6
        rows.append({"entries": size, "belady": best, "hit_ratio": ratios, "us_per_request": cost_us})
    report = {"trace": args.trace.name, "requests": len(keys), "distinct": len(set(keys)), "rows": rows}
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        _print_table(report, names)
    return 0


def _print_table(report: dict[str, Any], names: list[str]) -> None:
    print(f"{report['trace']}: {report['requests']:,} requests for {report['distinct']:,} keys; hit % (share of Belady, us a request)")
    print(f"{'entries':>9} " + " ".join(f"{name:>24}" for name in names) + f" {'belady':>8}")
    for row in report["rows"]:
        cells = []
        for name in names:
            ratio = row["hit_ratio"][name]
            share = ratio / row["belady"] if row["belady"] else 1.0
            cells.append(f"{ratio * 100:8.2f} ({share:4.0%}, {row['us_per_request'][name]:5.2f})")
        print(f"{row['entries']:>9,} " + " ".join(f"{cell:>24}" for cell in cells) + f" {row['belady'] * 100:8.2f}")
