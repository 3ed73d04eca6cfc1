"""What is wrong with a `cluster:` section that its types allow."""

import base64
import binascii
from typing import Final

from agent.cluster.config import ClusterConfig

NAME_BYTES_MAX: Final = 64
"""The label is in every packet."""
KEY_BYTES: Final = (16, 24, 32)
KEYS_MAX: Final = 8
REGION_BYTES_MAX: Final = 64
"""Of a gateway: the region is in names, metadata and keys."""
TAGS_BYTES_MAX: Final = 256
"""Of memberlist's 512 octets of metadata; the rest is the agent's own."""
RESERVED_TAGS: Final = ("role", "region", "zone", "admin", "version", "pilotfish")


def key_octets(text: str) -> bytes:
    """The key that a base64 text is. Raises ValueError, which never holds the key."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("found text that is not base64, expected a key of 16, 24 or 32 octets in base64") from None
    if len(key) not in KEY_BYTES:
        raise ValueError(f"found {len(key)} octets, expected 16, 24 or 32 in base64")
    return key


def problems(config: ClusterConfig, member: str) -> list[tuple[str, str]]:
    """(path in the section, what was found and expected). `member`: the agent's id."""
    found = _keys(config)
    if len(config.name.encode()) > NAME_BYTES_MAX or not config.name.isprintable():
        found.append(("name", f"found {config.name[:80]!r}, expected at most {NAME_BYTES_MAX} printable octets"))
    if len(member.encode()) > 128:
        found.append(("", f"needs agent.id to be at most 128 octets, found {len(member.encode())}"))
    for index, seed in enumerate(config.seeds):
        if not _is_place(seed):
            found.append((f"seeds[{index}]", f"found {seed!r}, expected host, host:port, [v6] or [v6]:port"))
    if config.advertise and not _is_place(config.advertise):
        found.append(("advertise", f"found {config.advertise!r}, expected host, host:port, [v6] or [v6]:port"))
    if config.wan is not None:
        for index, seed in enumerate(config.wan.seeds):
            if not _is_place(seed):
                found.append((f"wan.seeds[{index}]", f"found {seed!r}, expected host, host:port, [v6] or [v6]:port"))
        if config.wan.advertise and not _is_place(config.wan.advertise):
            found.append(("wan.advertise", f"found {config.wan.advertise!r}, expected host, host:port, [v6] or [v6]:port"))
        if config.wan.bind == config.bind and not config.bind.endswith(":0"):
            found.append(("wan.bind", f"found {config.wan.bind}, which is cluster.bind's"))
    for tag in config.tags:
        if tag in RESERVED_TAGS:
            found.append((f"tags.{tag}", f"is the agent's own; so are {', '.join(RESERVED_TAGS)}"))
    size = sum(len(key.encode()) + len(value.encode()) + 6 for key, value in config.tags.items())
    if size > TAGS_BYTES_MAX:
        found.append(("tags", f"found {size} octets, expected at most {TAGS_BYTES_MAX}: they travel with every word about this member"))
    return found


def _keys(config: ClusterConfig) -> list[tuple[str, str]]:
    ways = [name for name in ("keys", "keyring_file", "plaintext") if getattr(config, name)]
    if not ways:
        return [("", "expected keys or keyring_file, or plaintext: true where anybody may listen and speak")]
    if len(ways) > 1:
        return [(ways[1], f"found beside {ways[0]}, expected one of them")]
    found = []
    for index, text in enumerate(config.keys):
        try:
            key_octets(text)
        except ValueError as error:
            found.append((f"keys[{index}]", str(error)))
    if len(config.keys) > KEYS_MAX:
        found.append(("keys", f"found {len(config.keys)}, expected at most {KEYS_MAX}"))
    if len(set(config.keys)) < len(config.keys):
        found.append(("keys", "found one of them twice"))
    return found


def _is_place(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")) or text.endswith("]"):
        host, port = text, "1"
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    return bool(host) and not any(character in host for character in "[]/ ") and port.isdecimal() and 0 < int(port) < 65536
