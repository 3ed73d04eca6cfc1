"""Settings of the state API."""

from msgspec import Struct

from agent.core.units import Address, Duration, Positive, Size


class ApiConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP API of the replicated state, for the applications beside this agent. It has no authentication of its own: keep it on
    loopback or on a socket file."""

    listen: Address = "127.0.0.1:15030"
    """Where it listens; ``unix:/path`` for a socket file."""
    hosts: tuple[str, ...] = ()
    """Names that a request's Host may have, beside localhost and addresses: any other name is refused (421), so that a page in a browser
    cannot reach the API by a name that its owner lets point here."""
    connections_max: Positive = 4_096
    """One more is answered 503 and closed."""
    pipeline_max: Positive = 128
    """Requests of one connection that wait for their answers; more are not read until there are fewer."""
    head_bytes_max: Size = 16_384
    """Octets of a request's head; a longer one is answered 431."""
    body_bytes_max: Size = 2 * 1024 * 1024
    """Octets of a request's body; a longer one is answered 413. Values are bounded by the state machine as well."""
    head_timeout: Duration = 10.0
    """From the first octet of a request to the end of its head and body (408)."""
    keep_alive: Duration = 120.0
    """An idle connection between two requests is then closed."""
    timeout: Duration = 5.0
    """A request that names no `timeout` of its own is given up after so long; 60 s is the most that it may name."""
    watches_max: Positive = 4_096
    """Watches and observers of this agent."""
    watches_per_connection_max: Positive = 64
    """Of one WebSocket."""
    watch_buffer: Size = 1024 * 1024
    """Octets written to a watcher that it has not taken yet. Beyond it nothing is written to it; it goes on from where it was, or is told
    that what it missed is gone (`compacted`)."""
    watch_stall: Duration = 30.0
    """A watcher that takes nothing for so long is cut off."""
    heartbeat: Duration = 15.0
    """A silent watch says so often that it is there."""
