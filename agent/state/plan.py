"""A request's head, read once: what is asked, of what, under which conditions. Heads with the same octets share one plan."""

from math import inf
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from agent.core.http import fields as f
from agent.core.http.head import RequestHead
from agent.core.units import quantity
from agent.state.errors import ApiError, bad

TIMEOUT_S_MAX: Final = 60.0
KEY_CHARACTERS_MAX: Final = 128
PARAMETERS_MAX: Final = 64
NUMBER_MAX: Final = 9_007_199_254_740_991
CONSISTENCIES: Final = ("linearizable", "lease", "stale")

Parameters = dict[str, bytes]


class Sender:
    """What a head says beside its first line. Never changed once made."""

    __slots__ = (
        "acked",
        "conditional",
        "has_body",
        "head",
        "idempotency",
        "idempotency_ttl_ms",
        "json",
        "keep_alive",
        "request",
        "session",
    )

    def __init__(self, head: RequestHead) -> None:
        """Raises ApiError (400)."""
        self.head = head
        self.has_body = head.has_body
        self.keep_alive = head.keep_alive
        self.conditional = head.flags & f.CONDITIONAL != 0
        accept = head.get(b"accept")
        self.json = accept is not None and b"application/json" in accept
        """The client asks for JSON where octets would do."""
        self.session = self.request = self.acked = 0
        session = head.get(b"pilotfish-session")
        if session is not None:
            self.session = whole("Pilotfish-Session", session, 1)
            self.request = whole("Pilotfish-Request", head.get(b"pilotfish-request") or b"", 1)
            self.acked = whole("Pilotfish-Acked", head.get(b"pilotfish-acked") or b"0")
            if self.acked >= self.request:
                raise bad("Pilotfish-Acked", self.acked, f"less than the request's own number, {self.request}")
        self.idempotency = ""
        self.idempotency_ttl_ms = 0
        key = head.get(b"idempotency-key")
        if key is not None:
            self.idempotency = key.decode("latin-1")
            if not 1 <= len(key) <= KEY_CHARACTERS_MAX or not (key.isascii() and self.idempotency.isprintable()):
                raise bad("Idempotency-Key", self.idempotency, f"1 to {KEY_CHARACTERS_MAX} printable ASCII characters")
            ttl = (head.get(b"idempotency-ttl") or b"1h").decode("latin-1")
            self.idempotency_ttl_ms = round(duration("Idempotency-TTL", ttl, 86_400.0) * 1000)

    @property
    def unique(self) -> bool:
        """Whether another request hardly ever says the same."""
        return self.session > 0 or self.idempotency != ""


class Plan:
    """What a request asks. Never changed once made. `route`: who answers (the router's), with `name` for what the path leaves open."""

    __slots__ = ("consistency", "max_staleness_s", "method", "name", "parameters", "route", "sender", "timeout_s")

    def __init__(self, sender: Sender, method: str, route: Any, name: bytes, parameters: Parameters, timeout_s: float) -> None:
        """Raises ApiError (400)."""
        self.sender = sender
        self.method = method
        self.route = route
        self.name = name
        self.parameters = parameters
        self.timeout_s = timeout_s
        self.consistency: Any = "linearizable"
        self.max_staleness_s = inf
        if parameters:
            self._read_common(parameters)

    def _read_common(self, parameters: Parameters) -> None:
        wanted = parameters.get("consistency")
        if wanted is not None:
            if wanted.decode("latin-1") not in CONSISTENCIES:
                raise bad("consistency", wanted.decode("latin-1"), "linearizable, lease or stale")
            self.consistency = wanted.decode("latin-1")
        stale = parameters.get("max_staleness")
        if stale is not None:
            self.max_staleness_s = duration("max_staleness", stale.decode("latin-1"), 86_400.0)
            if wanted is not None and self.consistency != "stale":
                raise bad("max_staleness", stale.decode("latin-1"), "consistency=stale beside it")
            self.consistency = "stale"
        timeout = parameters.get("timeout")
        if timeout is not None:
            self.timeout_s = duration("timeout", timeout.decode("latin-1"), TIMEOUT_S_MAX)

    # -- parameters of a route

    def text(self, name: str, default: str = "") -> str:
        found = self.parameters.get(name)
        if found is None:
            return default
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError:
            raise bad(name, found, "UTF-8") from None

    def number(self, name: str, default: int, most: int = NUMBER_MAX) -> int:
        found = self.parameters.get(name)
        return default if found is None else whole(name, found, 0, most)

    def flag(self, name: str, default: bool = False) -> bool:
        found = self.parameters.get(name)
        if found is None:
            return default
        if found in (b"true", b"1", b""):
            return True
        if found in (b"false", b"0"):
            return False
        raise bad(name, found.decode("latin-1"), "true or false")

    def seconds(self, name: str, default: float, most: float) -> float:
        found = self.parameters.get(name)
        return default if found is None else duration(name, found.decode("latin-1"), most)


def whole(name: str, octets: bytes, least: int = 0, most: int = NUMBER_MAX) -> int:
    """A whole number, or ApiError (400)."""
    if octets.isdigit() and len(octets) <= 16 and least <= int(octets) <= most:
        return int(octets)
    raise bad(
        name,
        octets.decode("latin-1"),
        f"a whole number from {least} to {most}" if most < NUMBER_MAX else f"a whole number, {least} or more",
    )


def duration(name: str, value: object, most_s: float) -> float:
    """Seconds, of a number or a text with a unit, or ApiError (400)."""
    found: float | int | None = None
    if isinstance(value, str):
        found = quantity(value, "duration") if value.isascii() else None
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        found = value
    if found is None or not 0.0 <= found <= most_s:
        raise bad(name, value, f"a duration such as 1.5s or 500ms, of at most {most_s:g} s")
    return float(found)


def split_target(target: bytes) -> tuple[bytes, Parameters]:
    """The path as it stands and the decoded parameters. Raises ApiError (400)."""
    path, _, query = target.partition(b"?")
    if path[:1] != b"/":
        raise ApiError(400, "bad_request", f"target {target[:40]!r}: expected a path", "no")
    parameters: Parameters = {}
    if query:
        parts = query.split(b"&")
        if len(parts) > PARAMETERS_MAX:
            raise ApiError(400, "bad_request", f"more than {PARAMETERS_MAX} parameters", "no")
        for part in parts:
            if not part:
                continue
            name, _, value = part.partition(b"=")
            decoded = unescape(name, True).decode("latin-1")
            if decoded in parameters:
                raise bad(decoded, "it twice", "it once")
            parameters[decoded] = unescape(value, True)
    return path, parameters


def unescape(octets: bytes, plus: bool = False) -> bytes:
    """Percent-decoded; `plus`: + is a space. Raises ApiError (400) where an escape is none."""
    if plus:
        octets = octets.replace(b"+", b" ")
    if b"%" not in octets:
        return octets
    for at, piece in enumerate(octets.split(b"%")):
        if at and (len(piece) < 2 or not all(c in b"0123456789abcdefABCDEF" for c in piece[:2])):
            raise ApiError(400, "bad_request", f"{octets[:60]!r}: a percent sign that is followed by no two hexadecimal digits", "no")
    return unquote_to_bytes(octets)


def foreign(head: RequestHead) -> str:
    """The site whose page sent this, where it is another; a page may not use its reader's agent."""
    if not any(field.name in (b"origin", b"sec-fetch-site") for field in head.fields):
        return ""
    origin = head.get(b"origin")
    if origin is not None and origin.partition(b"://")[2].lower() != head.authority:
        return origin.decode("latin-1")[:100] or "unnamed"
    site = head.get(b"sec-fetch-site")
    return "unnamed" if site is not None and site not in (b"none", b"same-origin") else ""
