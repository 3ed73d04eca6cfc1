"""Hybrid logical clock (Kulkarni, Demirbas, Madappa, Avva, Leone: Logical Physical Clocks, 2014).

A stamp is one integer: 48 bits of milliseconds since 1970, 16 bits of counter. It is close to the wall's time, it orders what caused
before what was caused, and it is never handed out twice by one clock, however the wall's time jumps.
"""

from typing import Final

COUNTER_BITS: Final = 16
COUNTER_MAX: Final = (1 << COUNTER_BITS) - 1
STAMP_BYTES: Final = 8
STAMP_MAX: Final = (1 << 64) - 1
SKEW_MAX_MS: Final = 500
"""How far ahead of our wall clock a peer's stamp may be. NTP keeps a LAN within some 10 ms; CockroachDB allows 500 ms too."""


class ClockTooFarAheadError(ValueError):
    """A peer's stamp is further ahead of our wall clock than the bound: its clock is wrong, or ours is."""

    def __init__(self, source: str, ahead_ms: int, skew_max_ms: int) -> None:
        super().__init__(
            f"the clock of {source or 'a peer'} is {ahead_ms} ms ahead of ours, more than the {skew_max_ms} ms allowed: "
            "check the time synchronisation (NTP) of both hosts"
        )
        self.source = source
        self.ahead_ms = ahead_ms


def physical_ms(stamp: int) -> int:
    """The part of a stamp that is near the wall's time: milliseconds since 1970."""
    return stamp >> COUNTER_BITS


def counter(stamp: int) -> int:
    """The part of a stamp that orders what happened within one millisecond."""
    return stamp & COUNTER_MAX


def make(milliseconds: int, count: int = 0) -> int:
    """The stamp of a time and a counter."""
    return (milliseconds << COUNTER_BITS) | count


def encode(stamp: int) -> bytes:
    """Eight octets that sort as the stamps do."""
    return stamp.to_bytes(STAMP_BYTES, "big")


def decode(octets: bytes) -> int:
    """The stamp that `encode` wrote. ValueError: not eight octets."""
    if len(octets) != STAMP_BYTES:
        raise ValueError(f"a stamp has {STAMP_BYTES} octets, not {len(octets)}")
    return int.from_bytes(octets, "big")


class HybridClock:
    """One agent's clock. wall_ms: the wall's time in milliseconds since 1970, at each call.

    A counter that is full carries into the milliseconds, so that order never depends on how many events a millisecond holds.
    """

    def __init__(self, skew_max_ms: int = SKEW_MAX_MS) -> None:
        self.skew_max_ms = skew_max_ms
        self.last = 0
        """The newest stamp that was handed out or seen."""
        self.rejected = 0
        """Stamps refused for being too far ahead."""
        self.skew_seen_ms = 0
        """The furthest ahead that an accepted stamp has been."""

    def tick(self, wall_ms: int) -> int:
        """A stamp for an event here or a message to be sent: greater than every stamp before."""
        self.last = max(self.last + 1, make(wall_ms))
        return self.last

    def receive(self, stamp: int, wall_ms: int, source: str = "") -> int:
        """A stamp for the arrival of a message: greater than the message's and than every stamp before.

        ClockTooFarAheadError leaves the clock as it was: one wrong clock must not drag a cluster's along.
        """
        ahead_ms = physical_ms(stamp) - wall_ms
        if ahead_ms > self.skew_max_ms:
            self.rejected += 1
            raise ClockTooFarAheadError(source, ahead_ms, self.skew_max_ms)
        self.skew_seen_ms = max(self.skew_seen_ms, ahead_ms)
        self.last = max(self.last + 1, stamp + 1, make(wall_ms))
        return self.last

    def ahead_ms(self, wall_ms: int) -> int:
        """How far our stamps are ahead of our wall clock; more than the skew bound means that the wall clock jumped back, and
        that peers refuse our stamps until it has caught up."""
        return max(physical_ms(self.last) - wall_ms, 0)
