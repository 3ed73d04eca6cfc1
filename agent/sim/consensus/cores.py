"""The cores that the simulator runs, with timings for short schedules: three elections a simulated second are as good as one in three."""

from random import Random

from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.wire import decode, encode
from agent.core.replica.log import Recovered
from agent.sim.consensus.run import Core

RAFT_FAST = RaftConfig(
    heartbeat_s=0.04,
    election_s=0.25,
    snapshot_retry_s=0.2,
    snapshot_chunk_bytes=512,
    margin_entries=8,
    promotion_timeout_s=2.0,
    disk_slow_s=0.15,
    priority_settle_s=0.5,
    max_batch_bytes=2048,
    max_inflight=4,
)
"""Bounds are small too, so that they are reached."""


def raft(config: RaftConfig = RAFT_FAST) -> Core:
    def make(me: int, random: Random, recovered: Recovered, now: float) -> Raft:
        return Raft(me, config, random, recovered, now)

    return Core("raft", make, encode, decode)
