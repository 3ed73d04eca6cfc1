"""The time limits of a request on its way to an upstream, and what a try's end in failure is called."""

from typing import Final

from agent.core.routing import endpoint as outcome
from agent.proxy import flags
from agent.proxy.attempt import Contest
from agent.proxy.sink import Failure
from agent.proxy.upstream import TUNNEL, UpstreamConnection

REQUEST: Final = "the request's time limit ran out before the upstream answered"
WAIT: Final = "the request's time limit ran out before there was a connection to send it on"
FIRST_BYTE: Final = "the upstream sent no response head in time"
ATTEMPT: Final = "the try took longer than its time limit"
IDLE: Final = "the upstream stopped in the middle of a response body"

_FLAG_OF: Final = {
    outcome.CONNECT_FAILURE: flags.UPSTREAM_UNREACHABLE,
    outcome.RESET: flags.UPSTREAM_RESET,
    outcome.TIMEOUT: flags.UPSTREAM_TIMEOUT,
    outcome.GATEWAY_ERROR: flags.UPSTREAM_PROTOCOL_ERROR,
    outcome.LOCAL: flags.OVERFLOW,
}


def flag_of(code: int) -> str:
    """The reason flag of an outcome of `agent.core.routing.endpoint`."""
    return _FLAG_OF.get(code, flags.UPSTREAM_RESET)


def late_flag(contest: Contest) -> str:
    """Whose limit it was that the request ran into."""
    return flags.DEADLINE if contest.clients_deadline else flags.UPSTREAM_TIMEOUT


def failure_of(contest: Contest, code: int, detail: str) -> Failure:
    """What the client is told of the last try's failure."""
    if code == outcome.TIMEOUT:
        return Failure(504, late_flag(contest) if detail == REQUEST else flags.UPSTREAM_TIMEOUT, detail)
    return Failure(503 if code == outcome.CONNECT_FAILURE or code == outcome.LOCAL else 502, flag_of(code), detail)


def arm_response_limit(contest: Contest, connection: UpstreamConnection, now: float) -> None:
    """The request is sent: the soonest of its limits for the response head begins to run."""
    path = contest.path
    limit = contest.deadline
    reason = REQUEST
    policy = contest.policy
    if policy.first_byte_s > 0.0 and (limit == 0.0 or now + policy.first_byte_s < limit):
        limit = now + policy.first_byte_s
        reason = FIRST_BYTE
    if policy.attempt_s > 0.0 and (limit == 0.0 or now + policy.attempt_s < limit):
        limit = now + policy.attempt_s
        reason = ATTEMPT
    if limit > 0.0:
        connection.limit_reason = reason
        path.wheel.arm(connection, limit)


def arm_idle_limit(contest: Contest, connection: UpstreamConnection, now: float) -> None:
    """The response has begun, or a tunnel is open: from here on it only must not stand still."""
    limit_s = contest.path.client_timeouts.tunnel_idle if connection.state == TUNNEL else contest.policy.idle_s
    connection.limit_reason = IDLE
    if limit_s > 0.0:
        contest.path.wheel.arm(connection, now + limit_s)
    else:
        connection.deadline = 0.0
