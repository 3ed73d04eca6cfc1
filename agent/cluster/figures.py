"""The cluster's counters, in one place for the metrics and the admin API."""

from typing import TYPE_CHECKING

from agent.core.swim.messages import ALIVE, DEAD, LEFT, STATE_NAMES, SUSPECT

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric


class Figures:
    """Reads them where they are kept."""

    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric
        self.marked_stale = 0
        """Times that what is older than some moment had to be validated, for invalidations that were lost."""
        self.refused = 0
        """What could not be said: facts of our own beyond a bound."""
        self.bad_frames = 0
        self.faults = 0
        """Faults of our own, outside the cores."""

    def states(self) -> dict[str, int]:
        """Members by state, ourselves among them."""
        found = {STATE_NAMES[state]: 0 for state in (ALIVE, SUSPECT, DEAD, LEFT)}
        for node in self._fabric.swim.members():
            found[STATE_NAMES[node.state]] += 1
        return found

    def round_trips(self) -> list[float]:
        """Smoothed round trips to members that are there, seconds, sorted."""
        swim = self._fabric.swim
        return sorted(rtt for node in swim.members() if node.state < DEAD and (rtt := swim.rtt_s(node.name)) > 0.0)

    def dropped(self) -> dict[str, int]:
        """Packets and streams that were not taken, by reason."""
        fabric = self._fabric
        return {
            **fabric.driver.links.dropped,
            "shed": fabric.inlet.shed,
            "bad_frame": self.bad_frames,
            "bad_ask": fabric.asks.refused,
            "unreadable": fabric.gossiper.core.unreadable + fabric.peers.unreadable,
        }

    def gossip(self) -> dict[str, float]:
        """Traffic, probes, queues, clocks."""
        fabric = self._fabric
        links, counters = fabric.driver.links, fabric.swim.counters
        queued_members, queued_users = fabric.swim.queued
        streams_in, streams_out = fabric.driver.streams.open_now
        return {
            "packets_in": links.packets_in,
            "packets_out": links.packets_out,
            "bytes_in": links.bytes_in,
            "bytes_out": links.bytes_out,
            "streams_in": links.streams_in,
            "streams_out": links.streams_out,
            "stream_failures": links.stream_failures,
            "foreign": links.foreign,
            "dropped": sum(self.dropped().values()),
            "probes": counters.probes,
            "probes_failed": counters.probes_failed,
            "suspicions": counters.suspicions,
            "refutations": counters.refutations,
            "lag_s": round(counters.lag_s, 3),
            "throttled_share": round(fabric.wellbeing.throttled_share, 3),
            "queued_members": queued_members,
            "queued_users": queued_users,
            "waiting_packets": fabric.inlet.waiting,
            "open_streams_in": streams_in,
            "open_streams_out": streams_out,
            "clock_skew_s": fabric.stamps.skew_s,
            "clocks_refused": fabric.stamps.clock.rejected,
            "origins": len(self._fabric.gossiper.core.invalidations.streams),
            "nodes": len(fabric.gossiper.core.nodes.by_name),
            "faults": links.faults + fabric.gossiper.faults + self.faults,
        }

    def invalidations(self) -> dict[str, float]:
        """Ours and others'."""
        core = self._fabric.gossiper.core.invalidations
        return {
            "issued": core.own.highest,
            "applied": core.applied,
            "duplicates": core.duplicates,
            "asked": core.repairs.asked,
            "repaired": core.repairs.repaired,
            "lost": core.repairs.lost,
            "pruned": core.departed.count,
            "marked_stale": self.marked_stale,
        }
