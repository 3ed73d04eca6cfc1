"""Every metric that the agent has: its type, labels and meaning. What is not here cannot be exported; `docs/metrics.md` is made of it.

Labels are bounded: services, the endpoints that exist now, code classes, outcomes, reason flags, listeners and plugins; never
paths, hosts or clients.
"""

from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"
INFO: Final = "info"

_SERVICE: Final = ("service",)
_ENDPOINT: Final = ("service", "endpoint")
_PLUGIN: Final = ("plugin",)
_GROUP: Final = ("group",)

CATALOGUE: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "pilotfish_request_duration_seconds": (
        HISTOGRAM,
        ("service", "code", "outcome"),
        "Requests by service (none: no service matched), code class (0xx: the client left before an answer) and cache outcome",
    ),
    "pilotfish_requests_in_flight": (GAUGE, _SERVICE, "Requests under way"),
    "pilotfish_responses_aborted": (COUNTER, _SERVICE, "Responses that broke off after their head"),
    "pilotfish_local_responses": (COUNTER, ("service", "flag"), "Agent-made responses by reason flag"),
    "pilotfish_retries": (COUNTER, _SERVICE, "Tries after the first"),
    "pilotfish_retries_over_budget": (COUNTER, _SERVICE, "Retries that the budget refused"),
    "pilotfish_hedges": (COUNTER, _SERVICE, "Second tries beside slow first ones"),
    "pilotfish_concurrency_limit": (GAUGE, _SERVICE, "Adaptive limit on requests in flight"),
    "pilotfish_panic": (GAUGE, _SERVICE, "1 where health is ignored for want of healthy endpoints"),
    "pilotfish_endpoint_requests": (COUNTER, _ENDPOINT, "Tries by endpoint"),
    "pilotfish_endpoint_failures": (COUNTER, _ENDPOINT, "Failed tries by endpoint"),
    "pilotfish_endpoint_ejections": (COUNTER, _ENDPOINT, "Outlier ejections"),
    "pilotfish_endpoint_healthy": (GAUGE, _ENDPOINT, "0 where active checks say that it is not"),
    "pilotfish_endpoint_usable": (GAUGE, _ENDPOINT, "1 where the endpoint may be chosen"),
    "pilotfish_endpoint_in_flight": (GAUGE, _ENDPOINT, "Tries under way"),
    "pilotfish_endpoint_ewma_seconds": (GAUGE, _ENDPOINT, "Peak-EWMA latency"),
    "pilotfish_breaker_state": (GAUGE, _ENDPOINT, "0 closed, 1 open, 2 half-open; the service's own has no endpoint"),
    "pilotfish_breaker_opened": (COUNTER, _ENDPOINT, "Times that a breaker opened; the service's own has no endpoint"),
    "pilotfish_cache_bytes": (GAUGE, (), "Bytes that stored responses take"),
    "pilotfish_cache_entries": (GAUGE, (), "Stored responses"),
    "pilotfish_cache_evictions": (COUNTER, _SERVICE, "Entries that went for want of room"),
    "pilotfish_cache_stored": (COUNTER, _SERVICE, "Responses that were stored"),
    "pilotfish_cache_stale_served": (COUNTER, _SERVICE, "Answers from the store past their freshness"),
    "pilotfish_cache_collapsed": (COUNTER, _SERVICE, "Requests that waited on another's fill"),
    "pilotfish_cache_fills": (COUNTER, _SERVICE, "Flights for the cache"),
    "pilotfish_cache_fills_failed": (COUNTER, _SERVICE, "Flights that ended without a whole response"),
    "pilotfish_cache_demoted": (COUNTER, (), "Stored responses validated again since purges may have been missed"),
    "pilotfish_mesh_endpoints": (GAUGE, _SERVICE, "Endpoints that members announce"),
    "pilotfish_mesh_endpoints_kept": (GAUGE, (), "Of them, those of members that failed, kept while no peer is alive"),
    "pilotfish_mesh_endpoints_refused": (COUNTER, (), "Announcements that no request can be sent to: no IP address, no weight"),
    "pilotfish_mesh_isolated": (GAUGE, (), "1 while no peer is alive and some have failed: decisions are local"),
    "pilotfish_mesh_announced": (GAUGE, _ENDPOINT, "1 where the local application is healthy and announced"),
    "pilotfish_mesh_advice_taken": (COUNTER, (), "Endpoints put under caution on peers' word"),
    "pilotfish_mesh_invalidations_sent": (COUNTER, ("kind",), "Invalidations told to every agent"),
    "pilotfish_mesh_invalidations_received": (COUNTER, ("kind",), "Other agents' invalidations applied here"),
    "pilotfish_mesh_invalidations_coalesced": (COUNTER, (), "Those that one that had not gone yet stood for"),
    "pilotfish_mesh_invalidations_widened": (COUNTER, (), "Soft purges of a whole service in place of more URLs than may wait"),
    "pilotfish_mesh_load_probes": (
        COUNTER,
        ("result",),
        "Members asked how busy they are, since what they had said was old: sent, answered",
    ),
    "pilotfish_mesh_hot_keys": (GAUGE, (), "Keys in the digest of what the cache has that is asked for most, which other members get"),
    "pilotfish_mesh_stale_marks": (COUNTER, (), "Times that everything older was marked stale, since invalidations were lost"),
    "pilotfish_connections": (GAUGE, ("listener",), "Open client connections"),
    "pilotfish_connections_accepted": (COUNTER, ("listener",), "Client connections so far"),
    "pilotfish_connections_refused": (COUNTER, ("listener",), "Client connections over http.connections_max"),
    "pilotfish_protocol_errors": (COUNTER, ("listener",), "What clients sent that is no HTTP/1, or came too late or too large"),
    "pilotfish_access_log_lines": (COUNTER, ("result",), "Lines written, dropped for want of room in the queue, or failed"),
    "pilotfish_log_lines_dropped": (COUNTER, (), "Lines of the agent's own log past its limit per event and second"),
    "pilotfish_loop_lag_seconds": (GAUGE, (), "How late the event loop was at its last tick"),
    "pilotfish_loop_lag_max_seconds": (GAUGE, (), "The same, the worst since the start"),
    "pilotfish_gc_pause_seconds": (COUNTER, (), "Pauses of the garbage collector, all together"),
    "pilotfish_config_generation": (GAUGE, (), "Configurations taken, with the one of the start"),
    "pilotfish_config_reloads": (
        COUNTER,
        ("result",),
        "Times it was read again: ok, unchanged, refused, invalid, failed",
    ),
    "pilotfish_config_last_reload_successful": (GAUGE, (), "0 after a refused or invalid reload"),
    "pilotfish_build": (INFO, ("version", "build"), "Version, and whether the hot modules are compiled"),
    "pilotfish_cluster_members": (GAUGE, ("state",), "Members by state, this one among them: alive, suspect, dead, left"),
    "pilotfish_cluster_wan_members": (GAUGE, ("state",), "On a gateway: gateways of all regions by state, this one among them"),
    "pilotfish_cluster_wan_packets": (COUNTER, ("direction",), "On a gateway: datagrams from and to other gateways"),
    "pilotfish_cluster_wan_bytes": (COUNTER, ("direction",), "On a gateway: bytes of datagrams and streams from and to other gateways"),
    "pilotfish_cluster_wan_invalidations": (
        COUNTER,
        ("event",),
        "On a gateway: invalidations across regions: as pilotfish_cluster_invalidations; made_up: one side had missed them",
    ),
    "pilotfish_cluster_health_score": (GAUGE, (), "Local health multiplier: 0 well, to 7; probes wait 1 + this times as long"),
    "pilotfish_cluster_probe_rtt_seconds": (GAUGE, ("quantile",), "Smoothed round trips of probes: 0.5, 0.99 and 1 of the members"),
    "pilotfish_cluster_probes": (
        COUNTER,
        ("result",),
        "Probes: sent, indirect (not answered directly in time), stream (answered by it alone), failed",
    ),
    "pilotfish_cluster_events": (COUNTER, ("kind",), "Joins, suspicions, failures and what else members went through"),
    "pilotfish_cluster_suspicions": (COUNTER, (), "Members that this one, or who told it, began to suspect"),
    "pilotfish_cluster_refutations": (COUNTER, (), "Accusations of this member that it answered"),
    "pilotfish_cluster_packets": (COUNTER, ("direction",), "Datagrams in and out"),
    "pilotfish_cluster_bytes": (COUNTER, ("direction",), "Bytes of datagrams and streams in and out"),
    "pilotfish_cluster_streams": (COUNTER, ("direction",), "Streams in and out"),
    "pilotfish_cluster_stream_failures": (COUNTER, (), "Streams to others that gave no answer"),
    "pilotfish_cluster_dropped": (COUNTER, ("reason",), "What came and was not taken, by reason"),
    "pilotfish_cluster_foreign": (COUNTER, (), "User messages of other programs, such as Serf's"),
    "pilotfish_cluster_send_errors": (COUNTER, (), "Datagrams that the kernel did not take"),
    "pilotfish_cluster_queue": (GAUGE, ("queue",), "What waits: broadcasts about members and of users, packets not yet read"),
    "pilotfish_cluster_clock_skew_seconds": (GAUGE, (), "The furthest that a peer's clock was ahead of ours in the last minute"),
    "pilotfish_cluster_clocks_refused": (COUNTER, (), "Stamps that were too far ahead to be believed"),
    "pilotfish_cluster_lost_time_seconds": (COUNTER, (), "Time that membership's timers lost to a busy or stopped process"),
    "pilotfish_cluster_throttled_share": (GAUGE, (), "Share of the last second that the cgroup was throttled"),
    "pilotfish_cluster_nodes": (GAUGE, (), "Members whose gossiped state is held"),
    "pilotfish_cluster_origins": (
        GAUGE,
        (),
        "Origins of invalidations in the vector of what has been seen; who is gone is pruned",
    ),
    "pilotfish_cluster_invalidations": (
        COUNTER,
        ("event",),
        "issued here, applied for others, duplicates, repaired after a gap, lost, pruned (origins); marked_stale: all before was",
    ),
    "pilotfish_cluster_discovery_failures": (COUNTER, ("source",), "Times that a source of members did not answer"),
    "pilotfish_cluster_faults": (COUNTER, (), "Inputs on which the cluster's code failed: each is a bug"),
    "pilotfish_consensus_role": (GAUGE, ("group", "role"), "1 for what this agent is: absent, learner, voter, leader, client"),
    "pilotfish_consensus_mode": (GAUGE, ("group", "mode"), "1 for how the group decides: ordered"),
    "pilotfish_consensus_off": (GAUGE, _GROUP, "1 where this agent takes no part, since its log or its state cannot be used"),
    "pilotfish_consensus_has_leader": (GAUGE, _GROUP, "1 where this agent knows who leads"),
    "pilotfish_consensus_groups": (GAUGE, _GROUP, "Groups of that name that are there; more than 1 must be mended"),
    "pilotfish_consensus_voters": (GAUGE, _GROUP, "Members whose word counts"),
    "pilotfish_consensus_learners": (GAUGE, _GROUP, "Members that hold the state and do not vote"),
    "pilotfish_consensus_term": (GAUGE, _GROUP, "Term; it rises with each election"),
    "pilotfish_consensus_commit_index": (GAUGE, _GROUP, "Index up to which this agent knows the log to be committed"),
    "pilotfish_consensus_applied_index": (GAUGE, _GROUP, "Index up to which its state machine has come"),
    "pilotfish_consensus_writable": (GAUGE, _GROUP, "0 while its disk takes nothing"),
    "pilotfish_consensus_under_way": (GAUGE, _GROUP, "Commands of this agent's applications without an outcome yet"),
    "pilotfish_consensus_log_bytes": (GAUGE, _GROUP, "Log on disk"),
    "pilotfish_consensus_snapshot_bytes": (GAUGE, _GROUP, "The newest snapshot"),
    "pilotfish_consensus_snapshot_index": (GAUGE, _GROUP, "Index of the newest snapshot"),
    "pilotfish_consensus_commit_seconds": (
        HISTOGRAM,
        _GROUP,
        "From the proposal to the outcome, of commands that this agent led",
    ),
    "pilotfish_consensus_fast_seconds": (
        HISTOGRAM,
        _GROUP,
        "Commands until all voters that it takes had accepted them, before they were committed",
    ),
    "pilotfish_consensus_batch_commands": (HISTOGRAM, _GROUP, "Commands proposed together"),
    "pilotfish_consensus_fsync_seconds": (HISTOGRAM, _GROUP, "Writes to the log until they are durable"),
    "pilotfish_consensus_elections": (COUNTER, _GROUP, "Times that this agent stood for election"),
    "pilotfish_consensus_applied": (COUNTER, _GROUP, "Entries applied"),
    "pilotfish_consensus_faults": (COUNTER, _GROUP, "Times that who was told an outcome failed on it: each is a bug"),
    "pilotfish_consensus_proposals": (
        COUNTER,
        ("group", "way"),
        "Commands: local (this agent led), forwarded (to the leader), fast (to all voters), served (another agent brought them)",
    ),
    "pilotfish_consensus_proposals_again": (COUNTER, _GROUP, "Commands said again, since their leader went away or refused"),
    "pilotfish_consensus_proposals_failed": (COUNTER, ("group", "reason"), "Commands of this agent's applications without an outcome"),
    "pilotfish_consensus_refused": (COUNTER, ("group", "reason"), "Commands that the replica here refused"),
    "pilotfish_consensus_reads": (COUNTER, ("group", "consistency"), "Times that the state was asked for: reads of one moment count once"),
    "pilotfish_consensus_reads_failed": (COUNTER, ("group", "reason"), "The same, without success"),
    "pilotfish_consensus_member_changes": (COUNTER, _GROUP, "Changes of the members that this agent began as leader"),
    "pilotfish_consensus_snapshots": (COUNTER, _GROUP, "Snapshots taken"),
    "pilotfish_consensus_snapshots_installed": (COUNTER, _GROUP, "Snapshots of others taken over"),
    "pilotfish_consensus_log_written_bytes": (COUNTER, _GROUP, "Bytes written to the log"),
    "pilotfish_consensus_disk_full": (COUNTER, _GROUP, "Times that the disk became full"),
    "pilotfish_consensus_peers_connected": (GAUGE, _GROUP, "Agents of the group that a connection leads to"),
    "pilotfish_consensus_peers_waiting_bytes": (GAUGE, _GROUP, "What waits to be sent to them"),
    "pilotfish_consensus_peer_bytes": (COUNTER, ("group", "direction"), "Bytes between agents of the group"),
    "pilotfish_consensus_peer_messages": (COUNTER, ("group", "direction"), "Messages between agents of the group"),
    "pilotfish_consensus_peer_messages_lost": (
        COUNTER,
        ("group", "why"),
        "Messages without a connection, or with a full queue",
    ),
    "pilotfish_consensus_peer_dial_failures": (COUNTER, _GROUP, "Connections that could not be made"),
    "pilotfish_consensus_peers_refused": (COUNTER, ("group", "reason"), "Connections ended for what the peer sent or is"),
    "pilotfish_plugin_calls": (COUNTER, _PLUGIN, "Calls of hooks"),
    "pilotfish_plugin_seconds": (COUNTER, _PLUGIN, "Time in hooks"),
    "pilotfish_plugin_faults": (COUNTER, _PLUGIN, "Hooks that raised, were slow or answered nonsense"),
    "pilotfish_plugin_enabled": (GAUGE, _PLUGIN, "0 once it is switched off"),
    "pilotfish_plugin_background_waiting": (GAUGE, _PLUGIN, "Background work that waits"),
    "pilotfish_plugin_background_dropped": (COUNTER, _PLUGIN, "Background work for which there was no room"),
    "pilotfish_plugin_events": (COUNTER, ("plugin", "event"), "What plugins count themselves"),
    "pilotfish_state_requests": (COUNTER, ("operation",), "Requests of the state API by operation"),
    "pilotfish_state_errors": (COUNTER, ("code",), "Answers of the state API that are errors, by code"),
    "pilotfish_state_connections": (GAUGE, (), "Open connections of the state API"),
    "pilotfish_state_reads": (COUNTER, (), "Reads that the state API was asked for"),
    "pilotfish_state_read_rounds": (COUNTER, (), "Times that the group was asked for them; one for all of a turn of the loop"),
    "pilotfish_state_replayed": (COUNTER, (), "Commands that came again and were answered with their first outcome"),
    "pilotfish_state_waiting": (GAUGE, (), "Requests that wait for a lock, a leadership or a barrier here, and observers"),
    "pilotfish_state_watches": (GAUGE, (), "Open watches and observers"),
    "pilotfish_state_watch_events": (COUNTER, (), "Events told to watches"),
    "pilotfish_state_watches_compacted": (COUNTER, (), "Watches that were told that what they missed is no longer kept"),
    "pilotfish_state_watches_slow": (COUNTER, (), "Watches that were cut off since their reader took nothing"),
    "pilotfish_state_revision": (GAUGE, (), "Revision of the replicated key-value store, here"),
    "pilotfish_state_keys": (GAUGE, (), "Keys"),
    "pilotfish_state_bytes": (GAUGE, (), "Bytes of keys and values"),
    "pilotfish_state_history_events": (GAUGE, (), "Events that a watch can go on over"),
    "pilotfish_state_history_bytes": (GAUGE, (), "Bytes of them"),
    "pilotfish_state_leases": (GAUGE, (), "Leases, sessions' among them"),
    "pilotfish_state_sessions": (GAUGE, (), "Sessions"),
    "pilotfish_state_idempotency_keys": (GAUGE, (), "Idempotency keys that are remembered"),
    "pilotfish_state_locks": (GAUGE, (), "Locks that are held"),
    "pilotfish_state_elections": (GAUGE, (), "Elections with a leader"),
    "pilotfish_state_counters": (GAUGE, (), "Counters"),
    "pilotfish_state_barriers": (GAUGE, (), "Barriers that somebody has entered"),
}

PROCESS: Final[dict[str, tuple[str, str]]] = {
    "process_virtual_memory_bytes": (GAUGE, "Virtual memory"),
    "process_resident_memory_bytes": (GAUGE, "Resident memory"),
    "process_start_time_seconds": (GAUGE, "Start, in seconds since 1970"),
    "process_cpu_seconds": (COUNTER, "CPU time, user and system"),
    "process_open_fds": (GAUGE, "Open file descriptors"),
    "process_max_fds": (GAUGE, "Limit on open file descriptors"),
}
"""What prometheus_client tells of the process (Linux)."""

_FAMILIES: Final[dict[str, Any]] = {COUNTER: CounterMetricFamily, GAUGE: GaugeMetricFamily, HISTOGRAM: HistogramMetricFamily}
_SUFFIXES: Final = {COUNTER: ("_total",), GAUGE: ("",), HISTOGRAM: ("_bucket", "_count", "_sum"), INFO: ("_info",)}


class Families:
    """The metrics of one scrape, under construction."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def _family(self, name: str) -> Any:
        family = self._made.get(name)
        if family is None:
            kind, labels, meaning = CATALOGUE[name]
            family = self._made[name] = _FAMILIES[kind](name, meaning, labels=labels)
        return family

    def add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """One sample of a counter or gauge."""
        self._family(name).add_metric(labels, value)

    def add_histogram(self, name: str, labels: tuple[str, ...], buckets: list[tuple[str, float]], total: float) -> None:
        """One histogram; `buckets` are cumulative, the last one's bound is +Inf."""
        self._family(name).add_metric(labels, buckets, total)

    def add_info(self, name: str, value: dict[str, str]) -> None:
        """One sample whose labels are what it says."""
        self._made[name] = InfoMetricFamily(name, CATALOGUE[name][2], value=value)

    def metrics(self) -> list[Metric]:
        """In the order of the catalogue."""
        return [self._made[name] for name in CATALOGUE if name in self._made]


def sample_names(name: str) -> list[str]:
    """The names that a metric's samples have in the text formats."""
    kind = CATALOGUE[name][0] if name in CATALOGUE else PROCESS[name][0]
    return [name + suffix for suffix in _SUFFIXES[kind]]


_HEAD: Final = """\
# Metrics

Everything that `GET /metrics` on the admin port can say, in Prometheus' text format or, where `Accept` asks for it, in OpenMetrics.
Made by `pilotfish config metrics` from `agent/admin/catalogue.py`; `make docs` writes it again.

Labels are bounded: services, the endpoints that exist now, code classes, outcomes, reason flags, listeners and plugins; never paths,
hosts or clients. Series of services and endpoints that are gone go with them. Plugins' and the access log's are there where those are.

| metric | type | labels | meaning |
|---|---|---|---|"""
_FOOT: Final = """
`outcome`: `pass` the cache was not asked, `hit` fresh from the store, `stale` from the store past its freshness, `revalidated`
confirmed by the upstream, `miss` not there, `bypass` not allowed to, `local` made by the agent. `flag`: see
[troubleshooting](troubleshooting.md).
"""


def page() -> str:
    """`docs/metrics.md`."""
    lines = [_HEAD]
    for name, (kind, labels, meaning) in CATALOGUE.items():
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| {', '.join(f'`{sample}`' for sample in sample_names(name))} | {kind} | {shown} | {meaning} |")
    for name, (kind, meaning) in PROCESS.items():
        lines.append(f"| {', '.join(f'`{sample}`' for sample in sample_names(name))} | {kind} |  | {meaning} |")
    return "\n".join([*lines, _FOOT])
