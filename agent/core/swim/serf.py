"""The little that a member says to Serf, so that Serf's own tools show it rightly: tags, and that it leaves.

Serf is an application above memberlist: a member's metadata are its tags, and user messages (which the codec gives as `Foreign`)
announce what members intend. A member that leaves without saying so first is "failed" to Serf, not "left".
"""

from typing import Final

import msgpack

from agent.core.swim.errors import WireError
from agent.core.swim.io import Broadcast
from agent.core.swim.schema import LIMITS, META_BYTES_MAX, UNPACK_ERRORS, pack_body

TAGS: Final = 0xFF
LEAVE: Final = 0


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
