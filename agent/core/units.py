"""The units that configuration is written in, as types.

A struct field of one of these types is read from YAML either as a plain number (seconds, bytes) or as text with a unit
(``250ms``, ``64MiB``); `agent.app.settings` does the reading, and everything past it sees plain numbers.
"""

import re
import types
import typing
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

Duration = Annotated[float, Meta(ge=0, extra={"unit": "duration"})]
"""Seconds. Written as ``1.5``, ``250ms``, ``10s``, ``5m``, ``2h`` or ``1d``."""

Size = Annotated[int, Meta(ge=0, extra={"unit": "size"})]
"""Bytes. Written as ``65536``, ``64KiB``, ``1MiB``, ``2GiB`` or with the decimal ``kB``, ``MB``, ``GB``."""

Share = Annotated[float, Meta(ge=0, le=1, extra={"unit": "share"})]
"""A share between 0 and 1. Written as ``0.2`` or ``20%``."""

Count = Annotated[int, Meta(ge=0)]
"""A whole number of things, 0 or more."""

Positive = Annotated[int, Meta(ge=1)]
"""A whole number of things, 1 or more."""

Address = Annotated[str, Meta(extra={"unit": "address"})]
"""Where to listen or dial: ``host:port``, ``[v6]:port`` or ``unix:/path``."""

_FACTORS: Final[dict[str, dict[str, float]]] = {
    "duration": {"": 1, "us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600, "d": 86_400},
    "size": {"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 1024, "mib": 1024**2, "gib": 1024**3},
    "share": {"": 1, "%": 0.01},
}
_NUMBER: Final = re.compile(r"(-?[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([A-Za-z%]*)")


def quantity(text: str, unit: str) -> float | int | None:
    """The number that a text with a unit means; None where it is no such quantity. unit: of a type's ``extra`` above."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or unit not in _FACTORS:
        return None
    factor = _FACTORS[unit].get(match.group(2).lower())
    if factor is None:
        return None
    value = float(match.group(1)) * factor
    return round(value) if unit == "size" else round(value, 9)


def with_numbers(value: Any, kind: Any) -> Any:
    """The value with quantities that are written with a unit (``64KiB``, ``10s``, ``20%``) made numbers, where the type says
    that they are of that unit."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        unit = next(((meta.extra or {}).get("unit", "") for meta in kind.__metadata__ if isinstance(meta, Meta)), "")
        number = quantity(value, unit) if unit and isinstance(value, str) else None
        return with_numbers(value, typing.get_args(kind)[0]) if number is None else number
    if isinstance(kind, type) and issubclass(kind, Struct) and isinstance(value, dict):
        hints = typing.get_type_hints(kind, include_extras=True)
        return {key: with_numbers(item, hints.get(key)) for key, item in value.items()}
    if isinstance(value, list) and origin in (tuple, list, set, frozenset):
        return [with_numbers(item, typing.get_args(kind)[0]) for item in value]
    if isinstance(value, dict) and origin is dict:
        return {key: with_numbers(item, typing.get_args(kind)[1]) for key, item in value.items()}
    for option in typing.get_args(kind) if origin is typing.Union or origin is types.UnionType else ():
        read = with_numbers(value, option)
        if read is not value and read != value:
            return read
    return value
