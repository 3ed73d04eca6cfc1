"""What the policies are chosen for: hit ratios on public traces and under scans, ghosts, and work that does not grow."""

import os
import random
from array import array
from pathlib import Path

import pytest

from agent.app.cache_sim import belady, read_trace, replay
from agent.core.cache.eviction import NAMES
from agent.core.cache.eviction.base import GHOST_SLOTS_MIN, Ghosts
from tests.harness.agent import ROOT

DATA = Path(os.environ.get("CACHE_TRACES") or ROOT.parent / "shared" / "data")
TOLERANCE = 0.3

TRACES = [
    ("corda-vaultservice.gz", 0, 512, 33.33),
    pytest.param("arc-oltp.gz", 0, 1_000, 40.84, marks=pytest.mark.slow),
    pytest.param("scarab-recs.trace.xz", 200_000, 5_000, None, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "limit", "size", "published"), TRACES)
def test_the_default_on_public_traces(name: str, limit: int, size: int, published: float | None) -> None:
    """docs/caching.md has the whole table. Where a beginning of a trace is all that is run, LRU is what to beat."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path.name} is not in {DATA.name}/ (CACHE_TRACES names the folder)")
    keys = read_trace(path, limit=limit)
    ratio = replay("s3fifo", keys, size) * 100
    assert ratio >= (published - TOLERANCE if published is not None else replay("lru", keys, size) * 100)


@pytest.mark.parametrize("policy", ["s3fifo", "wtinylfu"])
def test_a_scan_does_not_empty_the_cache(policy: str) -> None:
    rng = random.Random(1)
    keys = []
    scan = 1_000_000
    for _ in range(40):
        keys += [int(rng.paretovariate(0.9)) % 2_000 for _ in range(1_000)]
        keys += range(scan, scan + 500)
        scan += 500

    trace = array("q", keys)
    best = belady(trace, 200)
    assert replay("lru", trace, 200) < replay(policy, trace, 200) <= best
    assert replay(policy, trace, 200) > 0.9 * best


@pytest.mark.parametrize("policy", NAMES)
def test_nothing_beats_hindsight(policy: str) -> None:

    rng = random.Random(2)
    trace = array("q", [rng.randrange(60) for _ in range(3_000)])
    for size in (1, 7, 30, 60):
        assert replay(policy, trace, size) <= belady(trace, size) + 1e-12
    assert replay(policy, trace, 60) == pytest.approx((3_000 - 60) / 3_000), "room for all: only first requests miss"


def test_ghosts_remember_the_latest_and_no_others() -> None:
    rng = random.Random(3)
    ghosts = Ghosts()
    order = [rng.getrandbits(61) - (1 << 60) for _ in range(4_000)]
    for ident in order:
        ghosts.add(ident, 1_000)
    assert 900 <= len(ghosts) <= 1_000
    assert not any(ghosts.take(ident) for ident in order[:3_000])
    remembered = [ident for ident in order[3_001:] if ghosts.take(ident)]
    assert len(remembered) > 900, "a full bucket forgets a little early, not much"
    assert not any(ghosts.take(ident) for ident in remembered), "taken once"


def test_a_ghost_that_comes_again_is_one_ghost() -> None:
    ghosts = Ghosts()
    for _ in range(10):
        ghosts.add(7, GHOST_SLOTS_MIN)
    assert len(ghosts) == 1
    assert ghosts.take(7) and not ghosts.take(7)
