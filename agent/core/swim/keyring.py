"""The keys of a cluster and what they do: memberlist's AES-GCM, versions 0 and 1.

    sealed = version nonce(12) ciphertext tag(16)

Version 0 pads with PKCS #7 to 16 octets before sealing, version 1 does not; we send 1 and read both. Keys are 16, 24 or 32 octets
(AES-128, 192, 256). The first is the primary, which seals; all open. A rotation is: install everywhere, use everywhere, remove
everywhere; at each step every member opens what every other seals.
"""

from collections.abc import Callable, Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agent.core.swim.envelope import SEAL_BYTES
from agent.core.swim.errors import WireError

KEYS_MAX: Final = 8
"""A rotation needs two; each one more is tried on every packet that no earlier one opens."""
KEY_BYTES: Final = (16, 24, 32)
NONCE_BYTES: Final = 12


class KeyRingError(Exception):
    """A key, or what was asked of it, is not possible. The text never holds the key."""


class KeyRing:
    """Keys, the primary first. `nonce` gives 12 octets that never come twice (at random: `os.urandom`)."""

    def __init__(self, keys: Iterable[bytes], nonce: Callable[[int], bytes]) -> None:
        self._nonce = nonce
        self._keys: list[bytes] = []
        self._ciphers: list[AESGCM] = []
        for key in keys:
            self.install(key)
        if not self._keys:
            raise KeyRingError("a key ring needs a key")

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The primary first."""
        return tuple(self._keys)

    def install(self, key: bytes) -> None:
        """From now on what `key` sealed is opened. The first key is the primary."""
        if len(key) not in KEY_BYTES:
            raise KeyRingError(f"a key is 16, 24 or 32 octets, not {len(key)}")
        if key in self._keys:
            return
        if len(self._keys) == KEYS_MAX:
            raise KeyRingError(f"{KEYS_MAX} keys are installed; remove one before")
        self._keys.append(key)
        self._ciphers.append(AESGCM(key))

    def use(self, key: bytes) -> None:
        """From now on `key` seals."""
        at = self._find(key)
        self._keys.insert(0, self._keys.pop(at))
        self._ciphers.insert(0, self._ciphers.pop(at))

    def remove(self, key: bytes) -> None:
        """From now on what `key` sealed is not opened."""
        at = self._find(key)
        if at == 0:
            raise KeyRingError("the primary key cannot be removed; use another before")
        del self._keys[at], self._ciphers[at]

    def _find(self, key: bytes) -> int:
        if key not in self._keys:
            raise KeyRingError("the key is not installed")
        return self._keys.index(key)

    def seal(self, plain: bytes, associated: bytes) -> bytes:
        """`plain` sealed by the primary key, bound to `associated`."""
        nonce = self._nonce(NONCE_BYTES)
        return b"\x01" + nonce + self._ciphers[0].encrypt(nonce, plain, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """What any of the keys sealed. Raises `WireError`."""
        if len(sealed) < SEAL_BYTES or sealed[0] > 1:
            raise WireError("not_decrypted", "not an encrypted frame")
        nonce, ciphertext = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        for cipher in self._ciphers:
            try:
                plain = cipher.decrypt(nonce, ciphertext, associated)
            except InvalidTag:
                continue
            return plain if sealed[0] else unpadded(plain)
        raise WireError("not_decrypted", "no key opens the frame")


def unpadded(plain: bytes) -> bytes:
    """Without PKCS #7's padding. It is read after the tag has verified, so that it tells nothing to who does not have the key."""
    size = plain[-1] if plain else 0
    if not 1 <= size <= 16 or size > len(plain) or plain[-size:] != bytes((size,)) * size:
        raise WireError("malformed", "padding that is none")
    return plain[:-size]
