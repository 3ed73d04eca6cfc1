"""API keys: kept as keyed digests, compared in constant time."""

import hashlib
import hmac
import os
from pathlib import Path

from plugins.auth.config import ApiKeys

_DIGEST = "sha256:"


class KeyRing:
    """Who holds which key. Raises ValueError where the configuration or its file is not usable."""

    def __init__(self, config: ApiKeys) -> None:
        self.config = config
        self._pepper = os.urandom(32)
        self._names: dict[bytes, str] = {}
        self._absent = os.urandom(32)
        self.load()

    def load(self) -> None:
        """Read the file again; on an error all stays as it was."""
        names: dict[bytes, str] = {}
        for name, key in self.config.keys.items():
            self._add(names, name, key, f"api_keys.keys.{name}")
        if self.config.file:
            try:
                lines = Path(self.config.file).read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"api_keys.file: cannot be read: {error}") from error
            for number, line in enumerate(lines, 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    name, _, key = line.strip().partition(":")
                    self._add(names, name.strip(), key.strip(), f"api_keys.file: line {number}")
        if not names:
            raise ValueError("api_keys: found no keys, expected some in keys or file")
        self._names = names

    def _add(self, names: dict[bytes, str], name: str, key: str, at: str) -> None:
        if not name or not key:
            raise ValueError(f"{at}: found an empty name or key")
        if key.startswith(_DIGEST):
            try:
                digest = bytes.fromhex(key[len(_DIGEST) :])
            except ValueError:
                digest = b""
            if len(digest) != 32:
                raise ValueError(f"{at}: found a digest that is not 64 hexadecimal digits")
        else:
            if len(key) < 16:
                raise ValueError(f"{at}: found a key of {len(key)} characters, expected at least 16")
            digest = hashlib.sha256(key.encode("utf-8")).digest()
        marked = self._marked(digest)
        if names.get(marked, name) != name:
            raise ValueError(f"{at}: the same key is {names[marked]}'s")
        names[marked] = name

    def _marked(self, digest: bytes) -> bytes:
        """Under a key of this process's own, so that no caller can aim at a table slot, and timing tells nothing of the digest."""
        return hmac.digest(self._pepper, digest, "sha256")

    def holder(self, key: str) -> str | None:
        """Whose key it is; None where it is nobody's. The time taken does not depend on how near it is to one."""
        marked = self._marked(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest())
        name = self._names.get(marked)
        known = marked if name is not None else self._absent
        return name if hmac.compare_digest(known, marked) else None
