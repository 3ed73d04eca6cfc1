"""What a forwarder says of a command that has no outcome: `unknown` once nobody knows what became of one of its sayings."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent.cluster.consensus.forwarder import Forwarder
from agent.cluster.consensus.messages import Commands, Told
from agent.core.machine.outcome import Outcome, encode_outcome
from tests.harness.wait import BOUND_S


class Peers:
    """The others, as a forwarder knows them."""

    def __init__(self) -> None:
        self.leader = "b"
        self.said: list[tuple[str, Any]] = []

    def host(self) -> None:
        return None

    def leader_name(self) -> str:
        return self.leader

    def say(self, name: str, message: Any) -> bool:
        self.said.append((name, message))
        return True


Act = Callable[[Forwarder, Peers, int], None]


def lost(forwarder: Forwarder, peers: Peers, ticket: int) -> None:
    forwarder.lost(peers.leader)


def refused(reason: str) -> Act:
    return lambda forwarder, peers, ticket: forwarder.take_outcomes((Told(ticket, reason),))


def nobody(forwarder: Forwarder, peers: Peers, ticket: int) -> None:
    peers.leader = ""
    refused("not_leader")(forwarder, peers, ticket)


async def ended(acts: list[Act], timeout_s: float = 0.4) -> tuple[str, Outcome | None]:
    """What a command under a session ends with when each of its sayings meets with one of these."""
    peers = Peers()
    forwarder = Forwarder(peers)
    done: asyncio.Future[tuple[str, Outcome | None]] = asyncio.get_running_loop().create_future()
    forwarder.submit(b"command", lambda reason, outcome: done.set_result((reason, outcome)), timeout_s, 7, 1)
    for number, act in enumerate(acts, start=1):
        async with asyncio.timeout(BOUND_S):
            while len(peers.said) < number and not done.done():  # noqa: ASYNC110 - a turn of the loop at a time
                await asyncio.sleep(0)
        message = peers.said[-1][1]
        assert isinstance(message, Commands)
        act(forwarder, peers, message.items[0].ticket)
    async with asyncio.timeout(BOUND_S):
        found = await done
    forwarder.stop()
    return found


@pytest.mark.parametrize(
    ("acts", "reason"),
    [
        ([nobody], "timeout"),
        ([refused("not_leader"), nobody], "timeout"),
        ([refused("read_only"), refused("too_large")], "too_large"),
        ([], "unknown"),
        ([lost], "unknown"),
        ([lost, nobody], "unknown"),
        ([lost, refused("not_leader"), nobody], "unknown"),
        ([lost, refused("too_large")], "unknown"),
        ([refused("unknown"), refused("busy")], "unknown"),
    ],
)
def test_a_refusal_does_not_undo_a_doubt(acts: list[Act], reason: str) -> None:
    assert asyncio.run(ended(acts)) == (reason, None)


def test_an_outcome_ends_every_doubt() -> None:
    outcome = Outcome("", 5, 1, True)

    def told(forwarder: Forwarder, peers: Peers, ticket: int) -> None:
        forwarder.take_outcomes((Told(ticket, "", encode_outcome(outcome)),))

    assert asyncio.run(ended([lost, refused("not_leader"), told], BOUND_S)) == ("", outcome)
