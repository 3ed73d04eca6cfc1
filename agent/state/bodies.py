"""Bodies of requests, as JSON. Octets stand as text, or as `<name>_base64`."""

from msgspec import UNSET, Struct, UnsetType

from agent.core.machine import commands as c
from agent.state.errors import bad
from agent.state.texts import from_base64

Duration = str | float | None
Text = str | None


class Body(Struct, kw_only=True, forbid_unknown_fields=True):
    pass


def octets(name: str, text: str | None, coded: str | None, default: bytes | None = None) -> bytes:
    """The octets that a body gives in one of the two ways. Raises ApiError (400)."""
    if text is not None and coded is not None:
        raise bad(name, "both", f"either {name} or {name}_base64")
    if text is not None:
        return text.encode("utf-8")
    if coded is not None:
        found = from_base64(coded)
        if found is None:
            raise bad(f"{name}_base64", coded, "base64")
        return found
    if default is None:
        raise bad(name, None, f"{name} or {name}_base64")
    return default


class SessionBody(Body):
    ttl: Duration = None
    window: int = 128


class LeaseBody(Body):
    ttl: Duration = None


class HoldBody(Body):
    """Of locks and elections."""

    lease: int = 0
    ttl: Duration = None
    owner: str = ""
    token: int = 0
    wait: Duration = None
    value: Text = None
    value_base64: Text = None


class BarrierBody(Body):
    lease: int = 0
    ttl: Duration = None
    owner: str = ""
    parties: int = 0
    wait: Duration = None


class CounterBody(Body):
    add: int | UnsetType = UNSET
    value: bool | UnsetType = UNSET


class Condition(Body):
    revision: int | None = None
    version: int | None = None
    value: Text = None
    value_base64: Text = None
    absent: bool | None = None


class CasBody(Body, rename={"condition": "if"}):
    key: Text = None
    key_base64: Text = None
    value: Text = None
    value_base64: Text = None
    condition: Condition | None = None
    ttl: Duration = None
    lease: int = 0


class CompareBody(Body):
    key: Text = None
    key_base64: Text = None
    op: str = "="
    value: Text = None
    value_base64: Text = None
    revision: int | None = None
    create_revision: int | None = None
    version: int | None = None
    lease: int | None = None


class PutOp(Body):
    key: Text = None
    key_base64: Text = None
    value: Text = None
    value_base64: Text = None
    lease: int = 0


class KeyOp(Body):
    key: Text = None
    key_base64: Text = None


class RangeOp(Body):
    prefix: Text = None
    prefix_base64: Text = None
    start: Text = None
    start_base64: Text = None
    end: Text = None
    end_base64: Text = None
    limit: int = 0


class OpBody(Body):
    put: PutOp | None = None
    get: KeyOp | None = None
    delete: KeyOp | None = None
    range: RangeOp | None = None


class TxnBody(Body, rename={"compares": "if", "otherwise": "else"}):
    compares: tuple[CompareBody, ...] = ()
    then: tuple[OpBody, ...] = ()
    otherwise: tuple[OpBody, ...] = ()


class WatchBody(RangeOp, kw_only=True):
    id: int
    key: Text = None
    key_base64: Text = None
    after: int | None = None
    values: bool = True


class CancelBody(Body):
    id: int


class SocketBody(Body):
    """A message on a WebSocket."""

    watch: WatchBody | None = None
    cancel: CancelBody | None = None


NUMBERS = {
    "revision": c.MOD_REVISION,
    "create_revision": c.CREATE_REVISION,
    "version": c.VERSION,
    "lease": c.LEASE,
}
OPERATORS = {"=": c.EQUAL, "!=": c.UNEQUAL, "<": c.LESS, ">": c.GREATER}
