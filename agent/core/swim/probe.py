"""Failure detection: one member is probed each interval, directly, then through others and over a stream, then suspected.

SWIM sections 3.1 and 4.3, with Lifeguard's local health awareness, nacks and buddy notification.
"""

from math import inf
from typing import Final

from agent.core.swim.desk import NACK, RELAY, Desk
from agent.core.swim.io import SendPacket
from agent.core.swim.members import Member, place_of
from agent.core.swim.messages import SUSPECT, Ack, IndirectPing, Nack, Ping, Place, Suspect
from agent.core.swim.phi import PhiDetector
from agent.core.swim.rules import Rules

NACK_SHARE: Final = 0.8
"""Of the probe timeout, after which a member asked to ping says that it had no answer (Lifeguard): before the asker gives up."""
NACK_PROTOCOL: Final = 4
"""memberlist's protocol from which on members know nacks."""
RTT_WEIGHT: Final = 0.25


class Probe:
    """The one that is under way."""

    __slots__ = ("deadline", "end", "indirect", "member", "nacks", "nacks_due", "place", "sent_at", "seq", "stream")

    def __init__(self, member: Member, seq: int, now: float, timeout_s: float, end: float) -> None:
        self.member = member
        self.place = member.place
        self.seq = seq
        self.sent_at = now
        self.deadline = now + timeout_s
        self.end = end
        self.indirect = False
        self.stream = 0
        self.nacks_due = 0
        self.nacks = 0


class Relay:
    """A ping that we send for another member."""

    __slots__ = ("nack", "origin", "seq")

    def __init__(self, origin: Place, seq: int, nack: bool) -> None:
        self.origin = origin
        self.seq = seq
        self.nack = nack


class Prober:
    def __init__(self, desk: Desk, rules: Rules) -> None:
        self._desk = desk
        self._rules = rules
        self._probe: Probe | None = None
        self._relays: dict[int, Relay] = {}
        self.phi = PhiDetector(desk.config.phi_threshold) if desk.config.phi_threshold > 0 else None
        # Members that start together must not probe together.
        self.wake_at = desk.now + desk.uniform() * desk.config.probe_interval_s
        self._next_at = self.wake_at

    def on_wake(self) -> None:
        """`wake_at` has come: the probe under way is at an end of a stage, or it is time for the next."""
        now = self._desk.now
        probe = self._probe
        if probe is not None and probe.deadline <= now and not probe.indirect:
            self._ask_others(probe)
        # A wake-up so late that the whole probe is over ends it now, as memberlist does; lost time that is forgiven never comes here.
        if probe is not None and probe.deadline <= now:
            self._probe = None
            self._fail(probe)
        if self._next_at <= now:
            self._begin()
        probe = self._probe
        self.wake_at = self._next_at if probe is None else min(probe.deadline, self._next_at)

    def _begin(self) -> None:
        desk = self._desk
        config = desk.config
        if desk.leaving:
            self._next_at = inf
            return
        stretch = 1 + desk.awareness.level
        interval_s = config.probe_interval_s * stretch
        self._next_at = desk.now + interval_s
        assert self._probe is None
        member = desk.members.next_target()
        if member is None:
            return
        timeout_s = config.probe_timeout_s * stretch
        end = self._next_at
        if self.phi is not None:
            # The relays' way is two round trips, and a nack is NACK_SHARE of a timeout of its own.
            timeout_s = self.phi.timeout_s(config.probe_timeout_s) * stretch
            end = min(end, desk.now + timeout_s + config.probe_timeout_s * stretch)
        probe = Probe(member, desk.number(), desk.now, timeout_s, end)
        self._probe = probe
        desk.counters.probes += 1
        self._ping(member, probe.seq)

    def _ping(self, member: Member, seq: int) -> None:
        desk = self._desk
        node = member.node
        ping = Ping(seq, node.name, b"", 0, desk.name)
        if node.state == SUSPECT and desk.config.buddy:
            # First, so that its ack carries the refutation already.
            desk.post(member.place, Suspect(node.incarnation, node.name, desk.name), ping)
        else:
            desk.post(member.place, ping)

    def _ask_others(self, probe: Probe) -> None:
        """The direct ping was not answered in time."""
        desk = self._desk
        config = desk.config
        probe.indirect = True
        probe.deadline = probe.end
        desk.counters.probes_indirect += 1
        node = probe.member.node
        for peer in desk.members.some(config.indirect_checks, probe.member):
            nack = config.nacks and peer.node.versions[1] >= NACK_PROTOCOL
            probe.nacks_due += nack
            desk.post(peer.place, IndirectPing(probe.seq, node.address, node.port, node.name, nack, b"", 0, desk.name))
        if config.stream_probe:
            timeout_s = max(0.001, probe.end - desk.now)
            probe.stream = desk.open_stream(probe.place, Ping(probe.seq, node.name, b"", 0, desk.name), timeout_s=timeout_s)

    def _fail(self, probe: Probe) -> None:
        """Neither it nor anybody else has told us that it lives."""
        desk = self._desk
        desk.counters.probes_failed += 1
        missed = probe.nacks_due - probe.nacks
        if probe.nacks_due:
            # Those that we asked were silent too: more likely it is us (Lifeguard).
            desk.counters.nacks_missed += missed
            desk.awareness.apply(missed)
        else:
            desk.awareness.apply(1)
        node = probe.member.node
        self._rules.on_suspect(Suspect(node.incarnation, node.name, desk.name))

    def on_ack(self, ack: Ack) -> bool:
        """Whether somebody waited for it."""
        probe = self._probe
        if probe is not None and probe.seq == ack.seq:
            delay_s = self._desk.now - probe.sent_at
            if not probe.indirect:
                member = probe.member
                member.rtt_s += (delay_s - member.rtt_s) * (RTT_WEIGHT if member.rtt_s else 1.0)
                if self.phi is not None:
                    self.phi.note(delay_s)
            self._succeed(-1)
            return True
        relay = self._relays.pop(ack.seq, None)
        if relay is None:
            return False
        self._desk.post(relay.origin, Ack(relay.seq))
        return True

    def on_nack(self, nack: Nack) -> None:
        probe = self._probe
        if probe is not None and probe.seq == nack.seq and probe.nacks < probe.nacks_due:
            probe.nacks += 1

    def on_stream_ack(self, stream: int, ack: Ack) -> None:
        """The stream was answered. Datagrams were not, which is no reason to think well of ourselves."""
        probe = self._probe
        if probe is not None and probe.stream == stream and probe.seq == ack.seq:
            self._desk.counters.probes_stream += 1
            self._succeed(0)

    def _succeed(self, delta: int) -> None:
        self._desk.awareness.apply(delta)
        self._probe = None
        self.wake_at = self._next_at

    def on_ping(self, source: Place, ping: Ping) -> bool:
        """Answer, if it is us who is meant: another process may have had this address before."""
        desk = self._desk
        if ping.node and ping.node != desk.name:
            return False
        accusation = self._rules.accusation(ping.source_node) if ping.source_node else None
        if accusation is None:
            desk.post(source, Ack(ping.seq))
        else:
            desk.post(source, accusation, Ack(ping.seq))
        return True

    def on_indirect_ping(self, source: Place, asked: IndirectPing) -> bool:
        """Ping for another. Not beyond a bound, nor for addresses that cannot be."""
        desk = self._desk
        config = desk.config
        if len(self._relays) >= config.relays_max or len(asked.target) not in (4, 16):
            return False
        seq = desk.number()
        self._relays[seq] = Relay(source, asked.seq, asked.nack)
        desk.remind(desk.now + config.probe_timeout_s * NACK_SHARE, NACK, "", seq)
        desk.remind(desk.now + config.probe_interval_s, RELAY, "", seq)
        target = desk.members.by_name.get(asked.node)
        if target is not None and target is not desk.own and target.node.address == asked.target and target.node.port == asked.port:
            self._ping(target, seq)
        else:
            desk.post(place_of(asked.target, asked.port), Ping(seq, asked.node, b"", 0, desk.name))
        return True

    def on_nack_due(self, number: int) -> None:
        relay = self._relays.get(number)
        if relay is not None and relay.nack:
            self._desk.out.append(SendPacket(relay.origin, (Nack(relay.seq),)))

    def on_relay_due(self, number: int) -> None:
        self._relays.pop(number, None)
