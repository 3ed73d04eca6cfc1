"""Settings of the HTTP message layer: sizes, times and the headers that the agent adds."""

from typing import Literal

from msgspec import Struct

from agent.core.units import Count, Duration, Positive, Share, Size


class HttpLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds on what one client or upstream can make the agent hold."""

    connections_max: Positive = 20_000
    """Client connections a listener keeps open; one more is answered 503 and closed."""
    head_bytes_max: Size = 32_768
    """Bytes of a message head, from its first line to the empty one; a longer one is answered 431."""
    header_count_max: Positive = 128
    """Field lines in a head; more are answered 431."""
    target_bytes_max: Size = 16_384
    """Bytes of a request target; a longer one is answered 414."""
    body_bytes_max: Size = 0
    """Bytes of a request body; a longer one is answered 413. 0 means no bound (bodies stream and are not held)."""
    buffer_bytes_max: Size = 65_536
    """Bytes the agent holds a direction and connection before it stops reading from the faster side."""


class ClientTimeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the agent waits for a client."""

    head: Duration = 10.0
    """From the first byte of a request to the end of its head (408)."""
    body_idle: Duration = 30.0
    """Between two reads of a request body (408), and between two writes that a client accepts (closed)."""
    keep_alive: Duration = 75.0
    """An idle connection between two requests; it is then closed without a message."""
    tunnel_idle: Duration = 3600.0
    """A tunnel (CONNECT, Upgrade) over which nothing moved."""


class HeaderPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the agent adds to messages that pass through it (RFC 9110 section 7.6, RFC 7239)."""

    via: str = "pilotfish"
    """Pseudonym in ``Via``; also what a loop is recognised by when it equals the agent's id."""
    forwarded: Literal["x-forwarded", "forwarded", "both", "off"] = "x-forwarded"
    """Which of ``X-Forwarded-For/-Proto/-Host`` and RFC 7239 ``Forwarded`` an upstream gets."""
    trust_forwarded: bool = True
    """Whether a client's own forwarding fields are kept and appended to (a sidecar's client is its application), or
    dropped and written anew."""
    request_id: bool = True
    """Whether a request without ``X-Request-Id`` gets one on its way to the upstream."""
    trace_sample: Share = 0.0
    """Share of requests without ``traceparent`` that get a new, sampled one (W3C Trace Context). A good one is always passed on, with
    its ``tracestate``; a malformed one counts as none and goes no further, nor does a ``tracestate`` without a good one."""
    server: Literal["pass", "off"] = "pass"
    """Whether an upstream's ``Server`` field reaches the client."""


class Drain(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an agent leaves."""

    delay: Duration = 0.0
    """Between ``/readyz`` turning 503 and the listeners closing, for load balancers to notice."""
    timeout: Duration = 30.0
    """How long requests in flight may go on after the listeners closed."""
    idle: Duration = 1.0
    """How long a connection without a request may still bring one after the listeners closed: a client that sends just when its
    connection is closed cannot know whether its request was taken."""


class WhyConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The explanation of single requests."""

    header: bool = False
    """Whether a request header ``X-Pilotfish-Why: 1`` is answered with the chain of decisions in place of the response."""
    recent: Count = 1024
    """How many of the latest requests ``GET /why?id=`` can explain. 0 keeps none."""
