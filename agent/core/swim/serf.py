"""The little that a member says to Serf, so that Serf's own tools show it rightly: tags, that it leaves, and what others said.

Serf is an application above memberlist: a member's metadata are its tags, and user messages (which the codec gives as `Foreign`)
announce what members intend. A member that leaves without saying so first is "failed" to Serf, not "left". Serf sends an announcement a
few times only, twice in a cluster of three, to whom chance chooses, and counts on everybody to say it on: a member that did not would now
and then be the only one that ever heard it.
"""

from hashlib import blake2b
from typing import Final

import msgpack

from agent.core.swim.errors import WireError
from agent.core.swim.io import Broadcast
from agent.core.swim.schema import LIMITS, META_BYTES_MAX, UNPACK_ERRORS, pack_body

TAGS: Final = 0xFF
LEAVE: Final = 0
SAID_ON: Final = frozenset((LEAVE, 1, 3, 4))
"""Intents to leave and to join, user events, queries. The other kinds are for one receiver."""
SAID_ON_BYTES_MAX: Final = 600
"""Half of a packet; Serf's own events have 512 octets at most."""
HEARD_MAX: Final = 1_024
"""Messages that are recognised when they come again; each is under way for a second or two."""


def encode_tags(tags: dict[str, str]) -> bytes:
    """Tags as Serf's metadata. Raises ValueError where they are larger than metadata may be."""
    meta = bytes((TAGS,)) + pack_body(dict(sorted(tags.items())))
    if len(meta) > META_BYTES_MAX:
        raise ValueError(f"tags take {len(meta)} bytes of at most {META_BYTES_MAX}")
    return meta


def decode_tags(meta: bytes) -> dict[str, str]:
    """The tags in a member's metadata; metadata of another form are the tag "role", as Serf has it. Raises `WireError`."""
    if not meta:
        return {}
    if meta[0] != TAGS:
        return {"role": meta.decode(errors="replace")}
    try:
        tags = msgpack.unpackb(meta[1:], **{**LIMITS, "max_map_len": META_BYTES_MAX})
    except UNPACK_ERRORS as error:
        raise WireError("malformed", f"tags are not msgpack: {error or type(error).__name__}") from None
    if type(tags) is not dict or not all(type(key) is bytes and type(value) is bytes for key, value in tags.items()):
        raise WireError("out_of_bounds", "tags are not a map of text to text")
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in tags.items()}


def leave_intent(node: str, time: int) -> Broadcast:
    """Tells Serf that `node` leaves; feed it before `Leave`. `time`: Serf's Lamport time, greater than at the last intent of `node`."""
    return Broadcast(bytes((LEAVE,)) + pack_body({"LTime": time, "Node": node, "Prune": False}), "serf-intent", True)


class Relay:
    """Which of Serf's messages are to be said on: what its agents say on themselves, at first hearing."""

    def __init__(self) -> None:
        self._heard: dict[bytes, None] = {}

    def is_new(self, payload: bytes) -> bool:
        """Whether this one is to be broadcast (`foreign`)."""
        if not 0 < len(payload) <= SAID_ON_BYTES_MAX or payload[0] not in SAID_ON:
            return False
        mark = blake2b(payload, digest_size=8).digest()
        if mark in self._heard:
            return False
        self._heard[mark] = None
        if len(self._heard) > HEARD_MAX:
            del self._heard[next(iter(self._heard))]
        return True
