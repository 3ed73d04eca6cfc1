"""The one error of the wire: what a peer, or somebody else, sent is not what it should be."""

from typing import Final

REASONS: Final = (
    "truncated",
    "malformed",
    "unsupported",
    "out_of_bounds",
    "too_large",
    "checksum",
    "label",
    "not_encrypted",
    "not_decrypted",
    "replayed",
)
"""truncated: ends too early. malformed: not msgpack, LZW or a frame. unsupported: a type of frame that has no place there.
out_of_bounds: a field is missing, of another type, or beyond its bound. too_large: a size, count or expansion beyond its bound.
label: of another cluster. not_encrypted: plain where keys are set, or encrypted where none is. not_decrypted: no key fits.
replayed: it came before."""


class WireError(Exception):
    """Octets that are not taken. `reason` is one of `REASONS` (metrics are labelled with it); the text is for people."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.text = text
