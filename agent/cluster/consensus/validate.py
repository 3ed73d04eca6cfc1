"""What is wrong with a `consensus:` section that its types allow."""

from typing import Final

from agent.cluster.config import ClusterConfig
from agent.cluster.consensus.config import ConsensusConfig

BOOTSTRAP_MAX: Final = 7
HEARTBEATS_LEAST: Final = 5


def problems(config: ConsensusConfig, cluster: ClusterConfig | None, member: str) -> list[tuple[str, str]]:
    """(path in the section, what was found and expected). `member`: the agent's id; empty: the host's name."""
    found = []
    if cluster is None:
        found.append(("", "is set, but `cluster` is not: agents of a group find each other through it"))
    elif config.bind == cluster.bind and not config.bind.endswith(":0"):
        found.append(("bind", f"found {config.bind}, which is cluster.bind's"))
    if config.role != "client" and not config.data and not config.memory:
        found.append(("data", "expected a folder, or memory: true where nothing may be kept"))
    if config.data and config.memory:
        found.append(("memory", "found beside data, expected one of them"))
    found.extend(_founding(config, member))
    timing = config.timing
    if timing.heartbeat <= 0:
        found.append(("timing.heartbeat", f"found {timing.heartbeat:g} s, expected more than 0"))
    elif timing.election < HEARTBEATS_LEAST * timing.heartbeat:
        expected = f"at least {HEARTBEATS_LEAST} heartbeats ({HEARTBEATS_LEAST * timing.heartbeat:g} s)"
        found.append(("timing.election", f"found {timing.election:g} s, expected {expected}"))
    if config.snapshots.size < 65_536:
        found.append(("snapshots.size", f"found {config.snapshots.size}, expected at least 64KiB"))
    return found


def _founding(config: ConsensusConfig, member: str) -> list[tuple[str, str]]:
    found = []
    if config.bootstrap and config.bootstrap_expect:
        found.append(("bootstrap_expect", "found beside bootstrap, expected one of them"))
    if config.role != "voter" and (config.bootstrap or config.bootstrap_expect):
        name = "bootstrap" if config.bootstrap else "bootstrap_expect"
        found.append((name, f"is set, but role is {config.role}: who founds a group is a voter of it"))
    if len(config.bootstrap) > BOOTSTRAP_MAX:
        found.append(("bootstrap", f"found {len(config.bootstrap)} names, expected at most {BOOTSTRAP_MAX}"))
    if len(set(config.bootstrap)) != len(config.bootstrap):
        found.append(("bootstrap", "found a name twice"))
    if config.bootstrap and member and member not in config.bootstrap:
        found.append(("bootstrap", f"expected this agent's own name, {member!r}, among them; leave it out on agents that join later"))
    return found
