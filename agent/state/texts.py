"""Octets and records as JSON has them, and back."""

import base64
import binascii
from typing import Any

from agent.core.machine.records import Record


def octets_json(name: str, octets: bytes) -> dict[str, str]:
    """`{name: text}` where the octets are UTF-8, else `{name_base64: …}`."""
    try:
        return {name: octets.decode("utf-8")}
    except UnicodeDecodeError:
        return {name + "_base64": base64.b64encode(octets).decode("ascii")}


def record_json(key: bytes, record: Record, values: bool = True) -> dict[str, Any]:
    made: dict[str, Any] = octets_json("key", key)
    if values:
        made.update(octets_json("value", record.value))
    made["create_revision"] = record.create
    made["mod_revision"] = record.mod
    made["version"] = record.version
    made["lease"] = record.lease
    return made


def item_json(item: Any) -> dict[str, Any]:
    """An outcome's item: (key, value, create, mod, version, lease)."""
    key, value, create, mod, version, lease = item
    return record_json(key, Record(value, create, mod, version, lease))


def from_base64(text: str) -> bytes | None:
    """The octets, or None where it is no base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
