"""The state API of a group of real agents."""

import json
from typing import Any

from tests.harness.client import RawClient, Reply
from tests.harness.consensus import Group
from tests.harness.state_rig import ask


def place(group: Group, name: str) -> tuple[str, int]:
    """Where the agent's state API listens."""
    found = group.agents[name].addresses["state"][0]
    host, _, port = found.rpartition(":")
    return host.strip("[]"), int(port)


def state_client(group: Group, name: str) -> RawClient:
    return RawClient(place(group, name))


def state_ask(group: Group, name: str, method: str, target: str, body: Any = None, *lines: str) -> Reply:
    """One request on a connection of its own; the answer is as documented."""
    with state_client(group, name) as client:
        return ask(client, method, target, body, *lines)


def state_json(group: Group, name: str, method: str, target: str, body: Any = None, *lines: str, status: int = 200) -> Any:
    reply = state_ask(group, name, method, target, body, *lines)
    assert reply.status == status, (name, reply.status, reply.body)
    return json.loads(reply.body)
