"""Which commands may be answered before they are committed, and what they touch, as the fast path wants to know (`core/raft/fast`)."""

from typing import Any, Final

from agent.core.machine.commands import CounterAdd, Put
from agent.core.machine.envelope import UNREADABLE
from agent.core.machine.registry import Registry
from agent.core.raft.fast.keys import Keys, keys_of

COMMUTING: Final = 1
"""The kind of all commands that commute on their keys: their kinds have no keys in common."""


def keys_in(registry: Registry, command: bytes) -> Keys | None:
    """What the command touches; None: perhaps everything."""
    try:
        return _keys(registry, registry.decode(command))
    except UNREADABLE:
        return None


def blind_keys_in(registry: Registry, command: bytes) -> Keys | None:
    """The same of a *blind* command, one that is answered alike whatever the state is; None for others."""
    try:
        made = registry.decode(command)
    except UNREADABLE:
        return None
    blind = not made.read if isinstance(made, CounterAdd) else isinstance(made, Put) and not made.checks
    return _keys(registry, made) if blind else None


def _keys(registry: Registry, made: Any) -> Keys | None:
    footprint = registry.footprint_of(made)
    if footprint is None:
        return None
    return keys_of(footprint, COMMUTING if registry.by_structure[type(made)].commutes(made) else 0)
