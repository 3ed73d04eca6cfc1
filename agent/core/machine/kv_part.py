"""The key-value store's place in the registry."""

from typing import Final

from agent.core.machine.commands import Delete, DeleteRange, Put, Txn
from agent.core.machine.kv import VERSION, Store
from agent.core.machine.registry import CommandType, Footprint, PartType


def _of_put(command: Put) -> Footprint:
    # A lease's own id comes from one counter, and a given lease may end: both in the log's order only.
    return None if command.lease or command.ttl_ms else frozenset((b"kv/" + command.key,))


def _of_delete(command: Delete) -> Footprint:
    return frozenset((b"kv/" + command.key,))


KV: Final = PartType(
    "kv",
    VERSION,
    Store,
    (
        CommandType(Put, Store.on_put, keys=_of_put),
        CommandType(Delete, Store.on_delete, keys=_of_delete),
        CommandType(DeleteRange, Store.on_delete_range),
        CommandType(Txn, Store.on_txn),
    ),
)
