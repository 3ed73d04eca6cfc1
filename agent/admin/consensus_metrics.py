"""Consensus' figures at a scrape."""

from typing import Any, Final

from agent.admin.catalogue import Families
from agent.cluster.consensus.figures import BOUNDS_S, SIZES, Histogram
from agent.runtime.wal.face import SYNC_BUCKETS_S

PREFIX: Final = "pilotfish_consensus_"
ROLES: Final = ("absent", "learner", "voter", "leader", "client")


def consensus_metrics(families: Families, consensus: Any) -> None:
    """`consensus`: of `agent.cluster.consensus.service`."""
    status = consensus.status()
    group = (status["group"],)
    member = consensus.life.member
    for role in ROLES:
        families.add(PREFIX + "role", (*group, role), float(status["role"] == role))
    voters = sum(row["role"] in ("leader", "voter") for row in status["members"])
    learners = sum(row["role"] == "learner" for row in status["members"])
    for name, value in (
        ("off", float(bool(consensus.off))),
        ("has_leader", float(status["ready"])),
        ("groups", status["groups_seen"]),
        ("term", status["term"]),
        ("commit_index", status["commit"]),
        ("applied_index", status["applied"]),
        ("log_bytes", status["log_bytes"]),
        ("snapshot_bytes", status["snapshot_bytes"]),
        ("snapshot_index", status["snapshot_index"]),
        ("writable", float(status["writable"])),
        ("under_way", status["under_way"]),
        ("voters", voters),
        ("learners", learners),
    ):
        families.add(PREFIX + name, group, value)
    families.add(PREFIX + "mode", (*group, status["mode"]), 1.0)
    _service(families, group, consensus)
    _peers(families, group, consensus.transport)
    if member is not None:
        _host(families, group, member)


def _service(families: Families, group: tuple[str], consensus: Any) -> None:
    forwarder, reader = consensus.forwarder, consensus.reader
    for way, count in (
        ("local", forwarder.local),
        ("forwarded", forwarder.forwarded),
        ("fast", forwarder.fast),
        ("served", forwarder.served),
    ):
        families.add(PREFIX + "proposals", (*group, way), count)
    families.add(PREFIX + "proposals_again", group, forwarder.again)
    for reason, count in sorted(forwarder.failed_count.items()):
        families.add(PREFIX + "proposals_failed", (*group, reason), count)
    for kind, count in sorted(reader.counts.items()):
        families.add(PREFIX + "reads", (*group, kind), count)
    for reason, count in sorted(reader.failed.items()):
        families.add(PREFIX + "reads_failed", (*group, reason), count)
    if consensus.steward is not None:
        families.add(PREFIX + "member_changes", group, consensus.steward.changes)


def _host(families: Families, group: tuple[str], member: Any) -> None:
    figures, store = member.host.figures, member.store.figures
    _histogram(families, PREFIX + "commit_seconds", group, figures.commit_s, BOUNDS_S)
    _histogram(families, PREFIX + "fast_seconds", group, figures.fast_s, BOUNDS_S)
    _histogram(families, PREFIX + "batch_commands", group, figures.batch, tuple(map(float, SIZES)))
    so_far = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, SYNC_BUCKETS_S), "+Inf"), store.sync_counts, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    families.add_histogram(PREFIX + "fsync_seconds", group, buckets, store.synced_s)
    for reason, count in sorted(figures.refused.items()):
        families.add(PREFIX + "refused", (*group, reason), count)
    for name, value in (
        ("elections", figures.elections),
        ("applied", figures.applied),
        ("faults", figures.faults),
        ("snapshots", figures.snapshots),
        ("snapshots_installed", figures.snapshots_installed),
        ("log_written_bytes", store.written_bytes),
        ("disk_full", store.full),
    ):
        families.add(PREFIX + name, group, value)


def _peers(families: Families, group: tuple[str], transport: Any) -> None:
    counters = transport.counters
    peers = transport.peers()
    families.add(PREFIX + "peers_connected", group, sum(peer["connected"] for peer in peers.values()))
    families.add(PREFIX + "peers_waiting_bytes", group, sum(peer["waiting_bytes"] for peer in peers.values()))
    for direction, count in (("in", counters.bytes_in), ("out", counters.bytes_out)):
        families.add(PREFIX + "peer_bytes", (*group, direction), count)
    for direction, count in (("in", counters.frames_in), ("out", counters.frames_out)):
        families.add(PREFIX + "peer_messages", (*group, direction), count)
    for reason, count in sorted(counters.dropped.items()):
        families.add(PREFIX + "peers_refused", (*group, reason), count)
    families.add(PREFIX + "peer_messages_lost", (*group, "queue"), counters.queue_drops)
    families.add(PREFIX + "peer_messages_lost", (*group, "unreachable"), counters.unsent)
    families.add(PREFIX + "peer_dial_failures", group, counters.dial_failures)


def _histogram(families: Families, name: str, labels: tuple[str, ...], found: Histogram, bounds: tuple[float, ...]) -> None:
    so_far = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip((*map(str, bounds), "+Inf"), found.buckets, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    families.add_histogram(name, labels, buckets, found.total)
