"""The configuration of ``auth``."""

from typing import Literal

from msgspec import Struct

from agent.hooks import Duration, Positive, Scope

Algorithm = Literal["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


class ApiKeys(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Shared secrets, one or more for each caller."""

    header: str = "X-Api-Key"
    """Field with the key; empty: none."""
    query: str = ""
    """Query parameter with the key. It ends up in access logs and stays in the URL that the upstream gets."""
    cookie: str = ""
    keys: dict[str, str] = {}
    """Caller's name to key, or to ``sha256:`` and the hex digest of the key."""
    file: str = ""
    """More of them, one ``name:key`` a line; ``#`` begins a comment. Read again when it changes."""
    identity_header: str = ""
    """Field for the upstream with the caller's name."""


class Jwt(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """JSON Web Tokens (RFC 7519), checked with PyJWT."""

    header: str = "Authorization"
    """Field with the token; behind ``Bearer`` in Authorization, alone in any other. Empty: none."""
    query: str = ""
    """Query parameter with the token. It ends up in access logs and stays in the URL that the upstream gets."""
    cookie: str = ""
    algorithms: tuple[Algorithm, ...]
    """The only ones that are accepted, whatever a token says of itself."""
    secret: str = ""
    """For HS*: at least 32 octets."""
    secret_file: str = ""
    public_key_file: str = ""
    """A PEM public key, for RS*, PS*, ES* and EdDSA."""
    jwks_file: str = ""
    """A JSON Web Key Set (RFC 7517), a key chosen by the token's ``kid``. Like the other files read again when it changes."""
    audience: tuple[str, ...] = ()
    """One of them must be in ``aud``; empty: not checked."""
    issuer: tuple[str, ...] = ()
    """One of them must be ``iss``; empty: not checked."""
    leeway: Duration = 30.0
    """For ``exp``, ``nbf`` and ``iat``, as clocks differ."""
    require: tuple[str, ...] = ("exp",)
    """Claims that must be there."""
    identity_claim: str = "sub"
    claims_to_headers: dict[str, str] = {}
    """Claim (``a.b`` reaches into objects) to the field that the upstream gets it in. Lists are joined with commas, objects are
    JSON; what is not printable ASCII is percent-encoded."""
    token_bytes_max: Positive = 8192


class Access(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may do what: a caller who is known but fails this gets 403."""

    match: Scope = Scope()
    """Paths are compared decoded and without dot segments."""
    identities: tuple[str, ...] = ()
    """Callers that are let in; empty: any that meets `claims`."""
    claims: dict[str, tuple[str, ...]] = {}
    """Claim to values of which it must be or hold one; ``scope`` is split at spaces. A caller with an API key has no claims."""


class AuthConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Configuration of ``auth``."""

    services: tuple[str, ...] = ()
    """Services that are protected; empty: all, and what no service claims."""
    exempt: tuple[Scope, ...] = ()
    """Requests that need no credentials (a path with dot segments or encoded slashes is never exempt)."""
    api_keys: ApiKeys | None = None
    jwt: Jwt | None = None
    rules: tuple[Access, ...] = ()
    """All that match a request must be met."""
    optional: bool = False
    """Let requests without credentials through, without an identity; wrong ones are still refused."""
    strip_credentials: bool = False
    """The upstream does not get the header or cookies that carried the credentials."""
    cache: Literal["per-identity", "shared"] = "per-identity"
    """Whether callers share stored responses. RFC 9111 section 3.5 holds either way."""
    realm: str = "pilotfish"
