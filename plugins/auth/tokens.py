"""JSON Web Tokens: which key, which algorithm, which claims."""

import hashlib
import json
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any, Final

import jwt

from plugins.auth.config import Jwt

REMEMBERED_MAX: Final = 1024
"""Tokens whose signature has been verified; their times are looked at at each request."""
_FAMILIES: Final = {
    "oct": ("HS256", "HS384", "HS512"),
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
SECRET_BYTES_MIN: Final = 32
"""RFC 7518 section 3.2: a key of the hash's size or larger."""


class TokenError(Exception):
    """A token that is not accepted; the text is for the caller (RFC 6750 section 3.1)."""


class Key:
    """A key and what it may verify."""

    def __init__(self, key: Any, algorithms: tuple[str, ...], kid: str | None) -> None:
        self.key = key
        self.algorithms = algorithms
        self.kid = kid


class TokenChecker:
    """Verifies tokens. Raises ValueError where the configuration or its files are not usable."""

    def __init__(self, config: Jwt) -> None:
        self.config = config
        self.now = time.time
        self._keys: list[Key] = []
        self._remembered: OrderedDict[bytes, dict[str, Any]] = OrderedDict()
        self.load()

    def load(self) -> None:
        """Read the files again; on an error all stays as it was."""
        config = self.config
        keys: list[Key] = []
        if config.secret:
            keys.append(_secret(config.secret.encode("utf-8"), "jwt.secret"))
        if config.secret_file:
            keys.append(_secret(_read(config.secret_file, "jwt.secret_file").strip(), "jwt.secret_file"))
        if config.public_key_file:
            keys.append(_public_key(_read(config.public_key_file, "jwt.public_key_file")))
        if config.jwks_file:
            keys.extend(_key_set(_read(config.jwks_file, "jwt.jwks_file")))
        for algorithm in config.algorithms:
            if not any(algorithm in key.algorithms for key in keys):
                raise ValueError(f"jwt.algorithms: found {algorithm}, but no key for it")
        if not config.algorithms:
            raise ValueError("jwt.algorithms: found none, expected at least one")
        self._keys = keys
        self._remembered.clear()

    def claims(self, token: str) -> dict[str, Any]:
        """The claims of a token that holds now. Raises TokenError."""
        if len(token) > self.config.token_bytes_max:
            raise TokenError("the token is too long")
        mark = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._remembered.get(mark)
        if known is not None:
            self._remembered.move_to_end(mark)
            self._check_times(known)
            return known
        claims = self._verified(token)
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        self._remembered[mark] = claims
        return claims

    def _check_times(self, claims: dict[str, Any]) -> None:
        now, leeway = self.now(), self.config.leeway
        if "exp" in claims and now >= int(claims["exp"]) + leeway:
            raise TokenError("the token has expired")
        if "nbf" in claims and now < int(claims["nbf"]) - leeway:
            raise TokenError("the token is not valid yet")

    def _verified(self, token: str) -> dict[str, Any]:
        config = self.config
        try:
            header = jwt.get_unverified_header(token)
        except Exception as error:
            raise TokenError("the token is not a JWT") from error
        algorithm = header.get("alg")
        if algorithm not in config.algorithms:
            raise TokenError("the token's algorithm is not accepted")
        kid = header.get("kid")
        usable = [key for key in self._keys if algorithm in key.algorithms and (key.kid is None or kid is None or key.kid == kid)]
        if not usable:
            raise TokenError("the token's key is not known")
        options: Any = {
            "require": list(config.require),
            "verify_aud": bool(config.audience),
            "verify_exp": False,  # times are looked at below, and at each later request
            "verify_nbf": False,
        }
        for index, key in enumerate(usable):
            try:
                claims: dict[str, Any] = jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    audience=list(config.audience) or None,
                    issuer=list(config.issuer) or None,
                    options=options,
                    leeway=config.leeway,
                )
            except jwt.InvalidSignatureError as error:
                if index + 1 == len(usable):
                    raise TokenError("the token's signature is wrong") from error
                continue
            except jwt.MissingRequiredClaimError as error:
                raise TokenError(f"the token has no {error.claim}") from error
            except jwt.InvalidAudienceError as error:
                raise TokenError("the token is for another audience") from error
            except jwt.InvalidIssuerError as error:
                raise TokenError("the token is from another issuer") from error
            except Exception as error:
                raise TokenError("the token is not valid") from error
            try:
                self._check_times(claims)
            except (TypeError, ValueError, OverflowError) as error:
                raise TokenError("the token's times are not numbers") from error
            return claims
        raise TokenError("the token's signature is wrong")


def _read(path: str, at: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{at}: cannot be read: {error}") from error


def _secret(secret: bytes, at: str) -> Key:
    if len(secret) < SECRET_BYTES_MIN:
        raise ValueError(f"{at}: found {len(secret)} octets, expected at least {SECRET_BYTES_MIN}")
    if b"-----BEGIN" in secret:
        raise ValueError(f"{at}: found a PEM key, which belongs in jwt.public_key_file")
    return Key(secret, _FAMILIES["oct"], None)


def _public_key(pem: bytes) -> Key:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except Exception as error:
        raise ValueError("jwt.public_key_file: found no PEM public key") from error
    family = "RSA" if isinstance(key, rsa.RSAPublicKey) else "EC" if isinstance(key, ec.EllipticCurvePublicKey) else "OKP"
    return Key(key, _FAMILIES[family], None)


def _key_set(text: bytes) -> list[Key]:
    try:
        found = jwt.PyJWKSet.from_dict(json.loads(text)).keys
    except Exception as error:
        raise ValueError(f"jwt.jwks_file: found no usable JSON Web Key Set: {error}") from error
    keys = []
    for key in found:
        if key.public_key_use in (None, "sig"):
            family = _FAMILIES.get(str(key.key_type), ())
            stated = key._jwk_data.get("alg")
            keys.append(Key(key.key, tuple(name for name in family if stated in (None, name)), key.key_id))
    return keys
