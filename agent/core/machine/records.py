"""What the key-value store holds and tells."""

from msgspec import Struct


class Record(Struct, frozen=True, array_like=True, gc=False):
    """A key's value. Never changed: a write makes another."""

    value: bytes
    create: int
    mod: int
    version: int
    lease: int = 0


class Event(Struct, frozen=True, array_like=True, gc=False):
    """A change of one key at a revision. `record` None: it is gone; `expired`: because its lease ended."""

    revision: int
    key: bytes
    record: Record | None = None
    expired: bool = False


Item = tuple[bytes, bytes, int, int, int, int]
"""(key, value, create_revision, mod_revision, version, lease): how outcomes tell of a record."""


def item_of(key: bytes, record: Record) -> Item:
    return (key, record.value, record.create, record.mod, record.version, record.lease)
