"""The JSON of Maelstrom's messages, and its error codes."""

import json
from typing import Any, Final

TIMEOUT: Final = 0
NOT_SUPPORTED: Final = 10
TEMPORARILY_UNAVAILABLE: Final = 11
MALFORMED_REQUEST: Final = 12
ABORT: Final = 14
KEY_DOES_NOT_EXIST: Final = 20
PRECONDITION_FAILED: Final = 22
DEFINITE: Final = frozenset((1, 10, 11, 12, 14, 20, 21, 22, 30))
"""With these the operation did not happen and never will; with all others it may have, or may yet."""


class RequestError(Exception):
    """What is answered with a message of type `error`."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


def octets(value: Any) -> bytes:
    """The one JSON text of a value, as which keys and values go into the state machine: equal values have equal octets."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def value(text: bytes) -> Any:
    return json.loads(text)


def field(body: dict[str, Any], name: str, kind: type = object) -> Any:
    """A field that must be there. Raises RequestError."""
    found = body.get(name, _MISSING)
    if found is _MISSING or not isinstance(found, kind):
        what = "nothing" if found is _MISSING else repr(found)
        raise RequestError(MALFORMED_REQUEST, f"{name}: found {what}, expected {'a value' if kind is object else kind.__name__}")
    return found


_MISSING: Final = object()
