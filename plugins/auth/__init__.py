"""Lets in who shows an API key or a JSON Web Token, says to the upstream who it is, and keeps callers' stored responses apart.

Hooks run before the cache is asked, so that a stored response is as well protected as the upstream.
"""

import hashlib
import json
import posixpath
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from agent.hooks import REQUEST_RESERVED, Answer, Context, Plugin, RequestChanges, RequestView, Scope, any_path
from plugins.auth.config import Access, AuthConfig
from plugins.auth.keys import KeyRing
from plugins.auth.tokens import TokenChecker, TokenError

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VISIBLE = "".join(chr(code) for code in range(33, 127) if chr(code) != "%")
_PASSING = ("exp", "iat", "nbf", "jti")


class Caller:
    """Who it is, by what."""

    def __init__(self, identity: str, claims: dict[str, Any] | None) -> None:
        self.identity = identity
        self.claims = claims


class Auth(Plugin):
    """The plugin."""

    Config = AuthConfig

    def __init__(self, config: AuthConfig) -> None:
        super().__init__(config)
        self.ring = KeyRing(config.api_keys) if config.api_keys is not None else None
        self.checker = TokenChecker(config.jwt) if config.jwt is not None else None
        if self.ring is None and self.checker is None:
            raise ValueError("found neither api_keys nor jwt, expected at least one of them")
        self.own_headers = _own_headers(config)
        self._plain_names = frozenset(name.replace("_", "-") for name in self.own_headers)
        self._files = [file for file in _files(config) if file]
        self._mark = self._look()
        self._context: Context | None = None

    def start(self, context: Context) -> None:
        self._context = context

    def on_request(self, request: RequestView) -> Answer | RequestChanges | None:
        config = self.config
        if config.services and request.service not in config.services:
            return None
        # Whoever comes, the identity that the upstream is told of is never of the client's own making: not under another
        # spelling either, as CGI and WSGI make one variable of X_User and X-User.
        removed = [name for name, _ in request.headers() if name.replace("_", "-") in self._plain_names]
        if any(_exempt(scope, request) for scope in config.exempt):
            return RequestChanges(remove_headers=tuple(removed)) if removed else None
        try:
            caller = self._caller(request)
        except TokenError as error:
            return self._refuse(401, str(error), 'error="invalid_token"')
        if caller is None:
            if not config.optional:
                return self._refuse(401, "credentials are needed", "")
            if not any(_concerns(rule, request) for rule in config.rules):
                return RequestChanges(remove_headers=tuple(removed), cache_key="anonymous" if config.cache == "per-identity" else "")
            return self._refuse(401, "credentials are needed", "")
        if not all(_allows(rule, caller) for rule in config.rules if _concerns(rule, request)):
            return self._refuse(403, f"{caller.identity} may not do this", 'error="insufficient_scope"')
        return self._admit(request, caller, removed)

    def _admit(self, request: RequestView, caller: Caller, removed: list[str]) -> RequestChanges:
        config = self.config
        headers: dict[str, str] = {}
        if caller.claims is not None:
            for claim, name in config.jwt.claims_to_headers.items():
                value = _claim(caller.claims, claim)
                if value is not None:
                    headers[name] = _as_text(value)
        elif config.api_keys.identity_header:
            headers[config.api_keys.identity_header] = _as_text(caller.identity)
        if config.strip_credentials:
            removed += _stripped(config, request, headers)
        key = _cache_key(caller) if config.cache == "per-identity" else ""
        return RequestChanges(set_headers=headers, remove_headers=tuple(removed), cache_key=key)

    def _caller(self, request: RequestView) -> Caller | None:
        """Who shows credentials; None where there are none. Raises TokenError on wrong ones."""
        config = self.config
        if self.checker is not None:
            token = _shown(request, config.jwt)
            if token is not None:
                claims = self.checker.claims(token)
                identity = _claim(claims, config.jwt.identity_claim)
                if identity is None or identity == "":
                    raise TokenError(f"the token has no {config.jwt.identity_claim}")
                return Caller(_as_text(identity), claims)
        if self.ring is not None:
            key = _shown(request, config.api_keys)
            if key is not None:
                name = self.ring.holder(key)
                if name is None:
                    raise TokenError("the API key is not known")
                return Caller(name, None)
        return None

    def _refuse(self, status: int, why: str, error: str) -> Answer:
        challenges = []
        realm = f'realm="{_quotable(self.config.realm)}"'
        if self.checker is not None:
            challenges.append(f"Bearer {realm}" + (f', {error}, error_description="{_quotable(why)}"' if error else ""))
        if self.ring is not None:
            challenges.append(f"ApiKey {realm}")
        if self._context is not None:
            self._context.count(f"refused_{status}")
        title = "Unauthorized" if status == 401 else "Forbidden"
        body = json.dumps({"title": title, "status": status, "detail": why}).encode("ascii") + b"\n"
        headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", "WWW-Authenticate": ", ".join(challenges)}
        return Answer(status, headers, body, why)

    def on_tick(self, now: float) -> None:
        """Read the files of keys again when one has changed; a bad one leaves the keys as they were."""
        mark = self._look()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            for part in (self.ring, self.checker):
                if part is not None:
                    part.load()
        except ValueError as error:
            self._say("keys not read again", error=str(error))
        else:
            self._say("keys read again")

    def _say(self, event: str, **details: str) -> None:
        if self._context is not None:
            self._context.count(event.replace(" ", "_"))
            self._context.log(event, **details)

    def _look(self) -> list[tuple[int, int, int]]:
        marks = []
        for file in self._files:
            try:
                status = Path(file).stat()
                marks.append((status.st_ino, status.st_mtime_ns, status.st_size))
            except OSError:
                marks.append((0, 0, 0))
        return marks


def _files(config: AuthConfig) -> list[str]:
    files = [config.api_keys.file] if config.api_keys is not None else []
    if config.jwt is not None:
        files += [config.jwt.secret_file, config.jwt.public_key_file, config.jwt.jwks_file]
    return files


def _own_headers(config: AuthConfig) -> frozenset[str]:
    """The fields that only this plugin writes, lower-case. Raises ValueError on one that cannot be."""
    names = [(config.api_keys.identity_header, "api_keys.identity_header")] if config.api_keys is not None else []
    if config.jwt is not None:
        names += [(name, f"jwt.claims_to_headers.{claim}") for claim, name in config.jwt.claims_to_headers.items()]
    for name, at in names:
        if name and (_TOKEN.fullmatch(name) is None or name.lower() in REQUEST_RESERVED):
            raise ValueError(f"{at}: found {name!r}, expected the name of a header that is free to set")
    return frozenset(name.lower() for name, _ in names if name)


def _shown(request: RequestView, places: Any) -> str | None:
    """The credential in the first of the configured places that has one."""
    if places.header:
        value = request.header(places.header)
        if value is not None and places.header.lower() == "authorization":
            scheme, _, rest = value.partition(" ")
            value = rest.strip() if scheme.lower() == "bearer" else None
        if value is not None:
            return value
    if places.cookie and (value := request.cookie(places.cookie)) is not None:
        return value
    return request.query(places.query) if places.query else None


def _stripped(config: AuthConfig, request: RequestView, headers: dict[str, str]) -> list[str]:
    removed = []
    cookies = set()
    for places in (config.jwt, config.api_keys):
        if places is not None:
            removed += [places.header] if places.header else []
            cookies.add(places.cookie)
    line = "; ".join(value for name, value in request.headers() if name == "cookie")
    if line and cookies - {""}:
        pairs = [pair.strip() for pair in line.split(";")]
        kept = "; ".join(pair for pair in pairs if pair.partition("=")[0] not in cookies)
        if kept:
            headers["Cookie"] = kept
        else:
            removed.append("Cookie")
    return removed


def _paths(request: RequestView) -> tuple[str, str]:
    """The path as it came, and as a lenient server may read it: decoded, without dot segments and doubled slashes."""
    path = request.path
    if "%" not in path and "//" not in path and "/." not in path and "\\" not in path:
        return path, path
    plain = unquote(path).replace("\\", "/")
    resolved = posixpath.normpath(re.sub(r"/+", "/", plain))
    return path, resolved + "/" if plain.endswith("/") and resolved != "/" else resolved


def _exempt(scope: Scope, request: RequestView) -> bool:
    if not scope.matches(request):
        return False
    path, resolved = _paths(request)
    return path == resolved or not scope.paths


def _concerns(rule: Access, request: RequestView) -> bool:
    match = rule.match
    if (match.services and request.service not in match.services) or (match.methods and request.method not in match.methods):
        return False
    return not match.paths or any(any_path(match.paths, path) for path in set(_paths(request)))


def _allows(rule: Access, caller: Caller) -> bool:
    if rule.identities and caller.identity not in rule.identities:
        return False
    for claim, wanted in rule.claims.items():
        value = _claim(caller.claims or {}, claim)
        held = value.split() if claim == "scope" and isinstance(value, str) else value if isinstance(value, list) else [value]
        if not any(_as_text(item) in wanted for item in held if item is not None):
            return False
    return True


def _claim(claims: dict[str, Any], name: str) -> Any:
    """A claim by its name, or by a path with dots (a name with dots in it comes first)."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _as_text(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    clean = text.isascii() and text.isprintable() and "%" not in text and text == text.strip()
    return text if clean else quote(text, safe=_VISIBLE)


def _cache_key(caller: Caller) -> str:
    """Same for one caller's requests, also under a renewed token; different where any claim is that an upstream could act on."""
    if caller.claims is None:
        return "key:" + caller.identity
    lasting = {name: value for name, value in caller.claims.items() if name not in _PASSING}
    return "jwt:" + hashlib.sha256(json.dumps(lasting, sort_keys=True).encode("utf-8")).hexdigest()


def _quotable(text: str) -> str:
    return text.replace("\\", " ").replace('"', "'")
