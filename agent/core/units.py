"""The units that configuration is written in, as types.

A struct field of one of these types is read from YAML either as a plain number (seconds, bytes) or as text with a unit
(``250ms``, ``64MiB``); `agent.app.settings` does the reading, and everything past it sees plain numbers.
"""

from typing import Annotated

from msgspec import Meta

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
