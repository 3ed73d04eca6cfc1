"""Reads by a leader's lease, where they are most in danger: a leader that is cut off while another is elected.

Random schedules hardly meet these few milliseconds, so the misfortunes here are arranged; the same ones do no harm to the true core.
"""

from typing import Any

from msgspec.structs import replace

from agent.core.replica.io import Changed
from agent.sim.consensus.clients import ClientsConfig
from agent.sim.consensus.cores import RAFT_FAST, raft
from agent.sim.consensus.host import Host
from agent.sim.consensus.oracle import Violation
from agent.sim.consensus.run import Core, Plan, Run
from agent.sim.consensus.watch import Watcher
from tests.sim import raft_mutants as mutants

EAGER = ClientsConfig(count=6, read_shares=(1.0, 0.0), timeout_s=0.05, lease_share=1.0, stale_share=0.0, think_s=0.02)
PLAN = Plan(seconds=0.0, spares=0, features=(), clients=EAGER)
SEEDS = range(1, 13)
CUT_S = 0.5


class CutsOffWhoLed(Watcher):
    """One follower does not hear the leader; when it stands for election, nobody hears the leader any more. Nothing is written before,
    so that its log is as good as any."""

    def __init__(self, run: Run) -> None:
        self.swarm = run.swarm
        self.writers = run.clients.clients[1::2]
        for client in self.writers:
            client.read_share = 1.0
        self.swarm.engine.run(self.swarm.engine.now + 0.1)
        leader = self.swarm.leader()
        assert leader is not None
        self.leader = leader
        self.deaf = next(host for host in self.swarm.hosts if host is not leader)
        self.done = False
        self.swarm.network.cut(leader.index, self.deaf.index)
        self.swarm.network.cut(self.deaf.index, leader.index)
        self.swarm.watch(self)

    def changed(self, host: Host, effect: Changed) -> None:
        if host is self.deaf and effect.role == "candidate" and not self.done:
            self.done = True
            cut_off(self.swarm, self.leader)
            for client in self.writers:
                client.read_share = 0.0


def cut_off(swarm: Any, host: Host) -> None:
    swarm.network.partition([[host.index], [other.index for other in swarm.hosts if other is not host]])


def begun(seed: int, core: Core, voters: int) -> Run:
    run = Run(replace(PLAN, seed=seed, voters=voters), core)
    while run.swarm.leader() is None:
        run.swarm.engine.run(run.swarm.engine.now + 0.1)
    run.swarm.engine.run(run.swarm.engine.now + 0.3)
    return run


def deaf_follower(seed: int, core: Core) -> None:
    run = begun(seed, core, 5)
    CutsOffWhoLed(run)
    run.swarm.engine.run(run.swarm.engine.now + 2 * CUT_S)
    run.go()


def apart_clocks(seed: int, core: Core) -> None:
    """The leader's clock is slow, the others' are fast, each by 20 %: a lease of as much time is half as long again."""
    run = begun(seed, core, 3)
    leader = run.swarm.leader()
    assert leader is not None
    for host in run.swarm.hosts:
        run.swarm.skew(host, 0.8 if host is leader else 1.2)
    run.swarm.engine.run(run.swarm.engine.now + 0.2)
    cut_off(run.swarm, leader)
    run.swarm.engine.run(run.swarm.engine.now + CUT_S)
    run.go()


def caught(arranged: Any, core: Core) -> list[str]:
    found = []
    for seed in SEEDS:
        try:
            arranged(seed, core)
        except Violation as violation:
            found.append(str(violation))
    return found


def test_voters_that_heard_the_leader_do_not_help_to_replace_it() -> None:
    assert caught(deaf_follower, raft()) == []


def test_voters_that_break_this_promise_are_caught() -> None:
    found = caught(deaf_follower, mutants.core(mutants.BreaksPromises))
    assert any(text.startswith("no read staler than promised") for text in found), found


def test_leases_that_allow_for_drift_are_sound_with_clocks_that_drift() -> None:
    assert caught(apart_clocks, raft(replace(RAFT_FAST, clock_drift=0.4))) == []


def test_leases_that_do_not_are_caught() -> None:
    found = caught(apart_clocks, raft(replace(RAFT_FAST, clock_drift=0.0)))
    assert any(text.startswith("no read staler than promised") for text in found), found
