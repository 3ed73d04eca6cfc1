"""Tags that an origin gives its responses, to purge them by."""

import re
from typing import Final

TAGS_MAX: Final = 64
_WORDS = re.compile(rb"[^\s]+")


def tags_of(name: str, value: bytes) -> list[bytes]:
    """The tags in one field: ``Cache-Tag`` splits at commas, any other at white space."""
    if name.lower() == "cache-tag":
        words = [word.strip() for word in value.split(b",")]
    else:
        words = _WORDS.findall(value)
    return [word for word in words if word][:TAGS_MAX]
