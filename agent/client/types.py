"""What goes in and comes out. Keys and values are octets; text is taken as UTF-8."""

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

Octets = bytes | str
Consistency = Literal["linearizable", "lease", "stale"]
"""linearizable: sees everything that was acknowledged before it was asked. lease: the same, by the leader's lease, which trusts that
clocks run alike, and without a round to the other voters. stale: what the local agent has, not older than `max_staleness_s` where that
is given."""


def octets(value: Octets) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def to_json(name: str, value: Octets) -> dict[str, str]:
    """As text where it is text, else as base64 under another name."""
    data = octets(value)
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def from_json(fields: dict[str, Any], name: str) -> bytes:
    """Empty where it is not there."""
    coded = fields.get(f"{name}_base64")
    return base64.b64decode(coded) if coded is not None else str(fields.get(name, "")).encode()


@dataclass(frozen=True, slots=True)
class Item:
    """A key and what the store knows of it. `version`: 1 when it was made, one more with each change. `lease`: 0 for none."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int = 0

    @property
    def text(self) -> str:
        """The value as text. Raises UnicodeDecodeError."""
        return self.value.decode()

    def json(self) -> Any:
        """The value as JSON. Raises ValueError."""
        return json.loads(self.value)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> "Item":
        return cls(
            from_json(fields, "key"),
            from_json(fields, "value"),
            int(fields.get("create_revision", 0)),
            int(fields.get("mod_revision", 0)),
            int(fields.get("version", 0)),
            int(fields.get("lease", 0)),
        )


@dataclass(frozen=True, slots=True)
class Written:
    """A change. `revision`: the store's, which it made; `version`: the key's. Both 0: it is committed (by the fast path), and its place
    among the others is not known yet; `get` tells them."""

    revision: int
    version: int


@dataclass(frozen=True, slots=True)
class Page:
    """Items in the order of their keys, as of `revision`. `next`: for `after`, None at the end."""

    items: tuple[Item, ...]
    revision: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """A change of a key. `kind` "delete": `item` has the key alone; `expired`: because its lease ended. Go on after `revision`."""

    kind: Literal["put", "delete"]
    item: Item
    revision: int
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, or leads. `token`: the fencing token."""

    lease: int
    owner: str
    token: int
    value: str = ""

    @classmethod
    def of(cls, fields: Any) -> "Holder | None":
        if not isinstance(fields, dict):
            return None
        value = from_json(fields, "value").decode("utf-8", "replace")
        return cls(int(fields.get("lease", 0)), str(fields.get("owner", "")), int(fields.get("token", 0)), value)


@dataclass(frozen=True, slots=True)
class LeaseInfo:
    """A lease as the group knows it, in its own time, which stands still while nobody leads."""

    id: int
    ttl_s: float
    left_s: float
    keys: tuple[bytes, ...] = ()
