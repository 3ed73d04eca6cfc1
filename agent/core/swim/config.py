"""Timing and bounds of membership. Presets are small differences from one default, which is for a LAN.

n is the number of live members. Every length of time is by this process's own clock.
"""

from typing import Final

from msgspec import Struct
from msgspec.structs import replace


class SwimConfig(Struct, frozen=True):
    probe_interval_s: float = 0.3
    """One member is probed each interval, every one once in n intervals. Some other member probes a dead one within about an
    interval whatever n is; the cost of a member is two packets an interval each way whatever n is."""
    probe_timeout_s: float = 0.15
    """How long a direct ping may take before others are asked to ping: above the 99.9th percentile of the round trip *and* of the
    peer's event-loop lag. The rest of the interval is for the indirect pings and the stream."""
    indirect_checks: int = 3
    """k members that are asked to ping for us. With packet loss p and independent paths, a live member is missed with about
    (1-(1-p)^2)·(1-(1-p)^4)^k; then only the stream probe stands between it and suspicion."""
    stream_probe: bool = True
    """Ask over a stream too, beside the indirect pings: a network that eats datagrams alone is not a dead member."""

    suspicion_mult: float = 3.0
    """A suspect has mult · max(1, log10 n) · probe_interval_s to refute when others confirm: 0.9 s at 10, 1.8 s at 100, 2.7 s at
    1,000. Higher: fewer false deaths, each later. memberlist has 4, and no forgiveness for lost time (`lag_forgiven`), which is
    worth more: with it 3 makes no more false deaths than 4, and 4 took up to 5 s at 100 members."""
    suspicion_max_mult: float = 6.0
    """Times that, when nobody confirms. Each independent confirmation shortens it (Lifeguard, LHA-Suspicion); mult - 2
    confirmations bring it down to the least. 1: fixed timeouts, as in SWIM."""
    awareness_max: int = 7
    """Highest local health multiplier: probe interval and timeout are stretched up to 1 + this. 0 switches it off (SWIM)."""
    nacks: bool = True
    """Members asked to ping for us say when they had no answer; when even that does not come, it is we who are not well."""
    buddy: bool = True
    """A suspect is told so first of all by whoever pings it, so that it can refute at once."""
    lag_forgiven: bool = True
    """When this process was stopped or starved (a wake-up later than it was due by `lag_min_s`), the time lost counts for none of
    its timers: answers that wait in the socket's buffer are read before anybody is blamed for not answering."""
    lag_min_s: float = 0.05
    phi_threshold: float = 0.0
    """Above 0: the direct ping's timeout follows the acks' history (phi-accrual) instead of `probe_timeout_s`; see `phi.py`."""

    gossip_interval_s: float = 0.1
    """Least time between rounds of gossip, which happen only while there is something to spread; the first is at once."""
    gossip_delay_s: float = 0.005
    """A first round waits so long for more of the same packet's news, so that they travel together."""
    gossip_nodes: int = 3
    """Members told in a round. After a first round everywhere about 1 - e^-3 = 95 % have heard; two rounds 99.7 %."""
    gossip_to_the_dead_s: float = 30.0
    """How long the dead are still told things, so that one that is not dead hears of it and refutes."""
    retransmit_mult: float = 4.0
    """A message is sent mult · ceil(log10(n + 1)) times by each member: 8 at 10 to 99, 12 at 100 to 998, 16 from 999 on."""
    push_pull_interval_s: float = 30.0
    """Whole states are exchanged with one random member. Above 32 members the interval grows with n / log n, since the state grows
    with n: 70 s at 100, 8 minutes at 1,000. It repairs what gossip missed, about one message in e^12 and more."""
    reconnect_interval_s: float = 1.0
    """While there are dead (not left) members one of them is pinged so often: parts of a healed partition find each other."""
    reap_s: float = 3600.0
    """The dead and those that left are forgotten after so long. Must exceed `gossip_to_the_dead_s`: a late rumour of a life
    that ended must still meet the record of its end."""
    leave_timeout_s: float = 2.0
    """Leaving ends when the news was sent as often as needed, or after so long."""
    stream_timeout_s: float = 10.0

    packet_bytes: int = 1350
    """Budget for the messages of a datagram: an Ethernet frame without IPv6, UDP, encryption and label."""
    meta_bytes_max: int = 512
    members_max: int = 16384
    user_queue_max: int = 4096
    """User broadcasts queued at once; beyond, the one that was sent most often is dropped."""
    relays_max: int = 1024
    """Indirect pings under way for others; beyond, they are not accepted."""


LAN: Final = SwimConfig()
"""One region, round trips below 10 ms: a death is confirmed within 5 s at 100 members."""

WAN: Final = replace(
    LAN,
    probe_interval_s=2.0,
    probe_timeout_s=1.0,
    gossip_interval_s=0.3,
    gossip_nodes=4,
    suspicion_mult=5.0,
    push_pull_interval_s=60.0,
    gossip_to_the_dead_s=60.0,
    lag_min_s=0.25,
)
"""Gateways of regions: round trips to 300 ms, loss, few members. Slower to blame, wider to tell."""

LOCAL: Final = replace(LAN, probe_interval_s=0.2, probe_timeout_s=0.1, indirect_checks=1, push_pull_interval_s=15.0)
"""One machine: no loss; what is late is starved, not lost. News is repeated as often as elsewhere all the same: repeats are for those
whom chance passes over, not only for lost packets (with memberlist's 2, one of 5 members in many clusters had to wait for a push/pull)."""

PRESETS: Final = {"lan": LAN, "wan": WAN, "local": LOCAL}


def plain(config: SwimConfig) -> SwimConfig:
    """The same without what Lifeguard adds: SWIM with suspicion, to compare with."""
    return replace(config, suspicion_max_mult=1.0, awareness_max=0, nacks=False, buddy=False, lag_forgiven=False)


def lifeguard(config: SwimConfig) -> SwimConfig:
    """The same with Lifeguard as the paper has it, without what we add: lost time is not forgiven."""
    return replace(config, lag_forgiven=False)


def validate(config: SwimConfig) -> list[str]:
    """What is wrong with it, a line each; empty when nothing is."""
    wrong = []
    for name in ("probe_interval_s", "probe_timeout_s", "gossip_interval_s", "push_pull_interval_s", "reconnect_interval_s", "reap_s"):
        found = getattr(config, name)
        if not found > 0:
            wrong.append(f"{name}: found {found}, expected more than 0")
    if config.probe_timeout_s >= config.probe_interval_s:
        wrong.append(f"probe_timeout_s: found {config.probe_timeout_s}, expected less than probe_interval_s ({config.probe_interval_s})")
    if config.reap_s <= config.gossip_to_the_dead_s:
        wrong.append(f"reap_s: found {config.reap_s}, expected more than gossip_to_the_dead_s ({config.gossip_to_the_dead_s})")
    if config.suspicion_max_mult < 1:
        wrong.append(f"suspicion_max_mult: found {config.suspicion_max_mult}, expected at least 1")
    if not 0 <= config.awareness_max <= 7:
        wrong.append(f"awareness_max: found {config.awareness_max}, expected 0 to 7")
    if config.packet_bytes < 2 * config.meta_bytes_max:
        wrong.append(f"packet_bytes: found {config.packet_bytes}, expected at least twice meta_bytes_max ({config.meta_bytes_max})")
    return wrong
