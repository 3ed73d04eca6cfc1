"""What an entry costs the process.

That is what CPython takes for it (objects, headers, index places, the ghost it will leave), not only the body. The constants
are sums of what `sys.getsizeof` says of the parts; tests/unit/cache/test_memory.py holds the whole count to what a process
really grows by.
"""

import sys
from typing import Final

from agent.core.cache.entry import Entry

INDEX_BYTES: Final = 400
"""Places in the dictionaries by key and by URL (on average half full), the slot and its dictionary, the places of a ghost."""
STRINGS_BYTES: Final = 2 * 36
"""Key and target beyond their octets; host and reason are shared with other entries."""
BOXES_BYTES: Final = 284
"""Floats and integers of an entry that are objects where it is not compiled."""
OWN_FIELD_BYTES: Final = 64 + 2 * 41 + 12
"""A field that this entry alone holds, beyond the octets of its line and of its value."""
SHARED_FIELD_BYTES: Final = 24
"""One that other entries hold as well, through the memo of lines: its place in the list, and a little of the line itself."""
SHARED_REFERENCES: Final = 6
"""The memo, the response's head, this entry and this function hold a field; more than these, and another entry does too."""
PIECE_BYTES: Final = 48
WIRE_BYTES: Final = 250
"""What `Entry.wire` has beyond the stored fields and the body: Via, Age, Cache-Status, Content-Length."""
WIRE_BODY_MAX: Final = 4096
"""Bodies up to this size are kept a second time, joined to their head (`Entry.wire`), so that a hit is one write of one object."""
TAG_BYTES: Final = 36 + 260
"""A tag that no other entry has, its index place and dictionary; one that many share costs less."""
VARIANT_BYTES: Final = 36 + 60
INTERPRETED: Final = not hasattr(Entry, "__mypyc_attrs__")


def cost_bytes(entry: Entry) -> int:
    """What an entry costs the process."""
    size = sys.getsizeof(entry) + INDEX_BYTES + STRINGS_BYTES
    if INTERPRETED:
        size += BOXES_BYTES
    size += len(entry.key) + len(entry.target)
    lines = 0
    for field in entry.fields:
        line = len(field.line)
        lines += line + 2
        if sys.getrefcount(field) > SHARED_REFERENCES:
            size += SHARED_FIELD_BYTES
        else:
            size += OWN_FIELD_BYTES + line + len(field.value)
    for tag in entry.tags:
        size += TAG_BYTES + len(tag)
    if entry.vary:
        size += VARIANT_BYTES + len(entry.variant)
    size += lines + WIRE_BYTES
    size += entry.length + PIECE_BYTES * len(entry.body)
    if entry.length <= WIRE_BODY_MAX:
        size += entry.length
    return size
