"""The key ring as people handle it: named by fingerprints, from a file that is read again, or live."""

import base64
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Final

from agent.cluster.config import ClusterConfig
from agent.cluster.validate import KEYS_MAX, key_octets
from agent.core.swim.keyring import KeyRing

FILE_BYTES_MAX: Final = 65_536


def fingerprint(key: bytes) -> str:
    """What names a key without giving it away."""
    return hashlib.sha256(b"pilotfish-key:" + key).hexdigest()[:12]


def read_file(path: str) -> tuple[bytes, ...]:
    """A JSON list of base64, the primary first. Raises OSError or ValueError."""
    with open(path, "rb") as file:
        content = file.read(FILE_BYTES_MAX + 1)
    if len(content) > FILE_BYTES_MAX:
        raise ValueError(f"{path}: expected at most {FILE_BYTES_MAX} octets")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: is not JSON") from None
    if not isinstance(found, list) or not found or not all(isinstance(key, str) for key in found) or len(found) > KEYS_MAX:
        raise ValueError(f"{path}: expected a list of 1 to {KEYS_MAX} keys in base64")
    return tuple(dict.fromkeys(key_octets(key) for key in found))


def write_file(path: str, keys: tuple[bytes, ...]) -> None:
    """As `read_file` wants it, by rename, readable by nobody else. Raises OSError."""
    handle, fresh = tempfile.mkstemp(dir=Path(path).parent, prefix=".keyring-")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump([base64.b64encode(key).decode() for key in keys], file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise


class Keys:
    """This agent's ring. None of it where the cluster is plain. Raises OSError or ValueError where the file cannot be used."""

    def __init__(self, config: ClusterConfig) -> None:
        self.path = config.keyring_file
        keys = read_file(self.path) if self.path else tuple(key_octets(key) for key in config.keys)
        self.ring = KeyRing(keys, os.urandom) if keys else None
        self._seen = self._look()
        self.last_error = ""

    def fingerprints(self) -> list[dict[str, object]]:
        """The primary first."""
        keys = self.ring.keys if self.ring is not None else ()
        return [{"fingerprint": fingerprint(key), "bits": len(key) * 8, "primary": index == 0} for index, key in enumerate(keys)]

    def change(self, operation: str, text: str) -> str:
        """install, use or remove; a key in base64 or, to use or remove, its fingerprint. What was done, for people.

        Raises ValueError, KeyRingError, OSError (the file; the ring is changed all the same).
        """
        ring = self.ring
        if ring is None:
            raise ValueError("this cluster is plain: it has no keys")
        known = {fingerprint(key): key for key in ring.keys}
        key = known.get(text) or key_octets(text)
        if operation == "install":
            ring.install(key)
        elif operation == "use":
            ring.use(key)
        elif operation == "remove":
            ring.remove(key)
        else:
            raise ValueError(f"found {operation!r}, expected install, use or remove")
        if self.path:
            write_file(self.path, ring.keys)
            self._seen = self._look()
        return f"{operation} {fingerprint(key)}"

    def take(self, keys: tuple[bytes, ...]) -> bool:
        """Make the ring hold exactly these, the first as primary; whether anything changed."""
        ring = self.ring
        if ring is None or not keys or ring.keys == keys:
            return False
        for old in ring.keys:
            if old not in keys and old != ring.keys[0]:
                ring.remove(old)
        if keys[0] not in ring.keys and len(ring.keys) == KEYS_MAX:
            ring.remove(ring.keys[-1])
        ring.install(keys[0])
        ring.use(keys[0])
        for old in ring.keys[1:]:
            if old not in keys:
                ring.remove(old)
        for key in reversed(keys):
            ring.install(key)
            ring.use(key)
        return True

    def refresh(self) -> bool:
        """Read the file again where it changed; whether the ring did. What cannot be used leaves it, and `last_error` says so."""
        seen = self._look()
        if not self.path or seen == self._seen or not seen:
            return False
        self._seen = seen
        try:
            keys = read_file(self.path)
        except (OSError, ValueError) as error:
            self.last_error = str(error)
            return False
        self.last_error = ""
        return self.take(keys)

    def _look(self) -> tuple[int, ...]:
        try:
            stat = os.stat(self.path) if self.path else None
        except OSError:
            return ()
        return (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) if stat is not None else ()
