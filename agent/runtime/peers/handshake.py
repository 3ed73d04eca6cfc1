"""How two peers prove themselves to each other, with no socket anywhere.

Where the cluster has keys: X25519 between keys of this connection alone, mixed with a key of the ring (the shape of Noise's NNpsk0).

    initiator: Hello(nonce, X25519, names of the ring's keys)
    responder: Hello(nonce, X25519, the one that is used), then a sealed empty record
    initiator: a sealed empty record

The keys of either direction are HKDF-SHA256 of the X25519 secret and the ring's key, salted with the hash of both hellos (RFC 5869). So
each record is of this connection, this direction and this place in it: AES-256-GCM with a counter as nonce, which is not sent. The
empty records are the proof: nothing is heard before one was opened. What is recorded can be opened by nobody later, the ring's keys
or not, and cannot be said again. Names of keys are hashes.

Without keys (mTLS, or a cluster that is configured to be plain) it is the two hellos alone.
"""

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agent.runtime.peers.wire import HELLO_BYTES_MAX, MAGIC, RECORD_BYTES_MAX, VERSION, Hello, PeerError, decode_hello, encode_hello

RECORDS_MAX: Final = 2**40
"""Under one key; far below what AES-GCM with unlike nonces stands. Connections are made anew long before."""


def key_name(key: bytes) -> bytes:
    """What names a key of the ring without giving it away."""
    return hashlib.sha256(b"pilotfish-peers-key:" + key).digest()[:16]


class Seal:
    """One direction of a connection."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        self._count = 0

    def _nonce(self) -> bytes:
        if self._count >= RECORDS_MAX:
            raise PeerError("worn_out", "the connection's keys have been used often enough")
        nonce = self._count.to_bytes(12, "big")
        self._count += 1
        return nonce

    def seal(self, body: bytes) -> bytes:
        return self._cipher.encrypt(self._nonce(), body, None)

    def open(self, body: bytes) -> bytes:
        """Raises PeerError."""
        try:
            return self._cipher.decrypt(self._nonce(), body, None)
        except InvalidTag:
            raise PeerError("not_decrypted", "a record that the connection's key does not open") from None


class Handshake:
    """One side's. `start` gives the first bodies to send, `take` those that answer a record; then `peer` and `done` say how it stands.

    keys: the ring's, the primary first; none: the connection is not sealed by keys.
    """

    def __init__(self, cluster: str, name: str, keys: tuple[bytes, ...], *, initiator: bool) -> None:
        self._cluster = cluster
        self._name = name
        self._keys = keys
        self._initiator = initiator
        self._private = X25519PrivateKey.generate() if keys else None
        self._own = b""
        self.peer: Hello | None = None
        self.done = False
        self.key = b""
        """The ring's key that is used."""
        self.sender: Seal | None = None
        self.receiver: Seal | None = None
        self.limit = HELLO_BYTES_MAX
        """Octets that the next record may have."""

    def start(self) -> list[bytes]:
        if not self._initiator:
            return []
        return [self._hello(tuple(key_name(key) for key in self._keys))]

    def _hello(self, names: tuple[bytes, ...]) -> bytes:
        public = self._private.public_key().public_bytes_raw() if self._private is not None else b""
        self._own = encode_hello(Hello(MAGIC, VERSION, self._cluster, self._name, os.urandom(32), public, names))
        return self._own

    def take(self, body: bytes) -> list[bytes]:
        """Raises PeerError where the peer is not one of ours."""
        if self.peer is None:
            return self._take_hello(body)
        assert self.receiver is not None, "not done without keys"
        if self.receiver.open(body):
            raise PeerError("malformed", "a proof that holds something")
        self._finish()
        if self._initiator:
            assert self.sender is not None
            return [self.sender.seal(b"")]
        return []

    def _take_hello(self, body: bytes) -> list[bytes]:
        peer = decode_hello(body)
        if peer.cluster != self._cluster:
            raise PeerError("label", f"the peer is of the cluster {peer.cluster!r}, expected {self._cluster!r}")
        if peer.name == self._name:
            raise PeerError("self", f"the peer says that it is {peer.name!r}, as we are")
        if bool(peer.keys) != bool(self._keys):
            raise PeerError("keys", "the peer has no keys, and we have" if self._keys else "the peer has keys, and we have none")
        self.key = self._choose(peer)
        answer = []
        if not self._initiator:
            answer.append(self._hello((key_name(self.key),) if self.key else ()))
        self.peer = peer
        if not self.key:
            self._finish()
            return answer
        first, second = (self._own, body) if self._initiator else (body, self._own)
        self._derive(peer, first, second)
        if not self._initiator:
            assert self.sender is not None
            answer.append(self.sender.seal(b""))
        return answer

    def _choose(self, peer: Hello) -> bytes:
        if not self._keys:
            return b""
        if self._initiator and len(peer.keys) != 1:
            raise PeerError("malformed", "an answer that names no key")
        for key in self._keys:
            if key_name(key) in peer.keys:
                return key
        raise PeerError("keys", "the peer has none of our keys")

    def _derive(self, peer: Hello, first: bytes, second: bytes) -> None:
        assert self._private is not None
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(peer.public))
        except ValueError:
            raise PeerError("malformed", "a public key that is none") from None
        salt = hashlib.sha256(len(first).to_bytes(4, "big") + first + second).digest()
        derived = HKDF(hashes.SHA256(), 64, salt, b"pilotfish-peers 1").derive(shared + self.key)
        to_responder, to_initiator = Seal(derived[:32]), Seal(derived[32:])
        self.sender, self.receiver = (to_responder, to_initiator) if self._initiator else (to_initiator, to_responder)

    def _finish(self) -> None:
        self.done = True
        self.limit = RECORD_BYTES_MAX
