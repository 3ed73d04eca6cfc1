"""The OpenAPI document of the state API. Tests hold it against the routes, and every answer that they get against its schema."""

from typing import Any, Final

from agent.core.schema import COUNT, FLAG, NUMBER, TEXT, Schema, array, fields, one_of, operation, or_null, ref
from agent.state.plan import CONSISTENCIES

INTEGER: Final[Schema] = {"type": "integer"}
DURATION: Final[Schema] = {"anyOf": [NUMBER, TEXT]}
OCTETS: Final = "application/octet-stream"

_KEY: Final = {"key_": TEXT, "key_base64_": TEXT}
_NAME: Final = {"name_": TEXT, "name_base64_": TEXT}
_VALUE: Final = {"value_": TEXT, "value_base64_": TEXT}
_NUMBERS: Final = {"create_revision": COUNT, "mod_revision": COUNT, "version": COUNT, "lease": COUNT}
_ITEM: Final = fields(**_KEY, **_VALUE, **_NUMBERS)
_HOLDER: Final = fields(lease=COUNT, owner=TEXT, token=COUNT, **_VALUE)
_OWNER: Final = fields(lease=COUNT, owner=TEXT)
_PUT: Final = fields(revision=COUNT, version=COUNT)
_DELETED: Final = fields(revision=COUNT, deleted=COUNT, more_=FLAG)
_EVENT: Final = fields(
    type=one_of("put", "delete"),
    **_KEY,
    **_VALUE,
    **{name + "_": schema for name, schema in _NUMBERS.items()},
    revision=COUNT,
    expired_=FLAG,
)
_RANGE: Final = {"prefix_": TEXT, "prefix_base64_": TEXT, "start_": TEXT, "start_base64_": TEXT, "end_": TEXT, "end_base64_": TEXT}
_OPERATION: Final = fields(
    put_=fields(**_KEY, **_VALUE, lease_=COUNT), get_=fields(**_KEY), delete_=fields(**_KEY), range_=fields(**_RANGE, limit_=COUNT)
)
_RESULT: Final = fields(
    put_=fields(version=COUNT),
    get_=or_null(_ITEM),
    delete_=fields(deleted=COUNT),
    range_=fields(items=array(_ITEM), more=FLAG),
)
_COMPARE: Final = fields(
    **_KEY, op_=one_of("=", "!=", "<", ">"), **_VALUE, revision_=COUNT, create_revision_=COUNT, version_=COUNT, lease_=COUNT
)
_LEASE: Final = {"lease": COUNT, "ttl_s": NUMBER, "left_s": NUMBER}
_HOLD: Final = {"lease_": COUNT, "ttl_": DURATION, "owner_": TEXT, "wait_": DURATION}


def _renamed(schema: Schema, **names: str) -> Schema:
    """The schema with some of its properties called otherwise: by words that Python has taken."""
    properties = {names.get(name, name): one for name, one in schema["properties"].items()}
    return {**schema, "properties": properties, "required": [names.get(name, name) for name in schema["required"]]}


COMPONENTS: Final[dict[str, Schema]] = {
    "Error": fields(
        error=TEXT,
        detail=TEXT,
        applied_=one_of("no", "unknown"),
        current_=or_null(_ITEM),
        holder_=or_null(_HOLDER),
        oldest_=COUNT,
        revision_=COUNT,
        parties_=COUNT,
        inside_=COUNT,
        lease_=COUNT,
        allow_=TEXT,
    ),
    "Item": fields(**_KEY, **_VALUE, **_NUMBERS, revision=COUNT),
    "Page": fields(items_=array(fields(**_KEY, **_VALUE, **_NUMBERS)), revision=COUNT, more_=FLAG, next_=TEXT, count_=COUNT),
    "Put": _PUT,
    "Deleted": _DELETED,
    "Cas": _renamed(
        fields(
            **_KEY,
            **_VALUE,
            condition=fields(revision_=COUNT, version_=COUNT, value_=TEXT, value_base64_=TEXT, absent_=FLAG),
            ttl_=DURATION,
            lease_=COUNT,
        ),
        condition="if",
    ),
    "Txn": _renamed(
        fields(compares_=array(_COMPARE), then_=array(_OPERATION), otherwise_=array(_OPERATION)), compares="if", otherwise="else"
    ),
    "Txned": fields(succeeded=FLAG, revision=COUNT, results=array(_RESULT)),
    "Events": fields(events=array(_EVENT), revision=COUNT, more=FLAG),
    "SessionWish": fields(ttl_=DURATION, window_={"type": "integer", "minimum": 1}),
    "SessionOpened": fields(session=COUNT, ttl_s=NUMBER, window=COUNT),
    "Session": fields(session=COUNT, ttl_s=NUMBER, left_s=NUMBER, window=COUNT, highest=COUNT, acked=COUNT),
    "SessionEnded": fields(ended=FLAG, deleted=COUNT, revision=COUNT),
    "LeaseWish": fields(ttl_=DURATION),
    "LeaseGranted": fields(lease=COUNT, ttl_s=NUMBER),
    "Lease": fields(**_LEASE, keys=array(fields(**_KEY)), more=FLAG),
    "Leases": fields(leases=array(fields(**_LEASE)), more=FLAG),
    "Kept": fields(ttl_s=NUMBER),
    "Revoked": fields(revoked=FLAG, deleted=COUNT, revision=COUNT),
    "Hold": fields(**_HOLD, **_VALUE),
    "Held": fields(**_NAME, lease=COUNT, owner=TEXT, token=COUNT, **_VALUE),
    "Release": fields(lease_=COUNT, owner_=TEXT, token_=COUNT),
    "Released": fields(released=FLAG, held=FLAG),
    "Lock": fields(**_NAME, holder=or_null(_HOLDER), waiters=array(_OWNER), waiting=COUNT),
    "Queued": fields(queued=FLAG, position=COUNT, lease=COUNT, leader=or_null(_HOLDER)),
    "Election": fields(**_NAME, leader=or_null(_HOLDER), candidates=COUNT),
    "Resigned": fields(resigned=FLAG, led=FLAG),
    "Add": fields(add_=INTEGER, value_=FLAG),
    "Added": fields(value_=INTEGER),
    "Counter": fields(**_NAME, value=INTEGER),
    "CounterDeleted": fields(deleted=FLAG, value=INTEGER),
    "Enter": fields(**_HOLD, parties={"type": "integer", "minimum": 1}),
    "Entered": fields(entered=FLAG, generation=COUNT, lease=COUNT),
    "Leave": fields(lease_=COUNT, owner_=TEXT, wait_=DURATION),
    "Left": fields(left=FLAG),
    "Barrier": fields(**_NAME, parties=COUNT, inside=array(_OWNER), state=one_of("none", "filling", "open", "draining"), generation=COUNT),
    "Status": {"type": "object", "required": ["agent", "group", "role", "term", "leader", "applied", "revision", "ready", "reason"]},
    "OpenApi": {"type": "object", "required": ["openapi", "info", "paths"]},
}

_CONDITIONS: Final = {
    "if_revision": "only where the key's revision of the last change is this; 0: there is no such key",
    "if_version": "only where the key has been written so many times; 0: there is no such key",
    "if_value": "only where this is the value",
    "if_absent": "true: only where there is no such key; false: only where there is",
}
_BETWEEN: Final = {"prefix": "keys that begin with this", "start": "keys from this on", "end": "keys before this"}
_WATCHED: Final = {"key": "this key", **_BETWEEN, "after": "events after this revision", "values": "false: without values"}
_FRESH: Final = {
    "consistency": f"{', '.join(CONSISTENCIES)}: how fresh what is read must be",
    "max_staleness": "a duration; what is read is no older, and consistency is stale",
}
_TIMEOUT: Final = {"timeout": "a duration; no answer after so long is an answer too (504)"}


def _errors(*statuses: int) -> dict[int, str]:
    return dict.fromkeys((400, 403, 413, 421, *statuses, 429, 503, 504), "Error")


def _read(summary: str, schema: str, *statuses: int, query: dict[str, str] | None = None, path: str = "") -> dict[str, Any]:
    return operation(
        summary, {200: schema, **_errors(*statuses)}, {**(query or {}), **_FRESH, **_TIMEOUT}, path={"name": path} if path else None
    )


def _write(
    summary: str,
    schema: str,
    *statuses: int,
    query: dict[str, str] | None = None,
    body: str = "",
    path: str = "",
    status: int = 200,
) -> dict[str, Any]:
    made = operation(
        summary,
        {status: schema, **_errors(404, *statuses, 422, 507)},
        {**(query or {}), **_TIMEOUT},
        path={"name": path} if path else None,
    )
    if body:
        made["requestBody"] = {"required": False, "content": {"application/json": {"schema": ref(body)}}}
    for name, told in _COMMAND_FIELDS.items():
        made.setdefault("parameters", []).append({"name": name, "in": "header", "description": told, "schema": TEXT})
    return made


_COMMAND_FIELDS: Final = {
    "Pilotfish-Session": "the session under which it is done once",
    "Pilotfish-Request": "its number in the session",
    "Pilotfish-Acked": "the outcomes of all requests up to this number are known",
    "Idempotency-Key": "done once for this key",
    "Idempotency-TTL": "for how long the key is remembered; 1h unless given, at most 24h",
}


def _put_value() -> dict[str, Any]:
    made = _write(
        "Put a value, as it stands in the body",
        "Put",
        404,
        412,
        query={"ttl": "a duration, after which the key goes", "lease": "a lease, with whose end the key goes", **_CONDITIONS},
        path="the key, percent-encoded; slashes may stand",
    )
    made["requestBody"] = {"required": False, "content": {OCTETS: {"schema": TEXT}}}
    for name in ("If-Match", "If-None-Match"):
        made["parameters"].append({"name": name, "in": "header", "description": "an entity tag, or *", "schema": TEXT})
    return made


def _get_value() -> dict[str, Any]:
    made = _read("The value of a key, as it is, or as JSON if that is accepted", "Item", 404, path="the key")
    made["responses"]["200"]["content"][OCTETS] = {"schema": TEXT}
    return made


def _stream(summary: str, query: dict[str, str], path: str = "") -> dict[str, Any]:
    made = _read(summary, "text/event-stream", 404, query=query, path=path)
    made["responses"]["101"] = {"description": "a WebSocket, where it was asked for"}
    return made


_LOCK: Final = "the lock's name, percent-encoded"
_ELECTION: Final = "the election's name, percent-encoded"
_COUNTER: Final = "the counter's name, percent-encoded"
_BARRIER: Final = "the barrier's name, percent-encoded"
_PAGE: Final = {
    **_BETWEEN,
    "limit": "at most so many",
    "after": "what `next` said",
    "keys_only": "without values",
    "count": "only how many",
}
_WHO: Final = {"lease": "the holder's lease", "owner": "the holder's word", "token": "the holder's token"}

PATHS: Final[dict[str, dict[str, dict[str, Any]]]] = {
    "/v1/kv": {
        "get": _read("Keys in their order, in pages", "Page", query=_PAGE),
        "delete": _write("Delete keys, at most 1000 at once", "Deleted", query={**_BETWEEN, "limit": "at most so many"}),
    },
    "/v1/kv/{name}": {
        "get": _get_value(),
        "put": _put_value(),
        "delete": _write("Delete a key", "Deleted", 412, query=_CONDITIONS, path="the key"),
    },
    "/v1/cas": {"post": _write("Put a value where the key is as expected", "Put", 404, 412, body="Cas")},
    "/v1/txn": {"post": _write("Compare, then do one list of operations or the other, as one", "Txned", 404, body="Txn")},
    "/v1/watch": {"get": _stream("Changes as they happen, as server-sent events or over a WebSocket", _WATCHED)},
    "/v1/events": {
        "get": _read(
            "Changes after a revision",
            "Events",
            410,
            query={**_WATCHED, "limit": "at most so many", "wait": "so long for the first"},
        )
    },
    "/v1/sessions": {"post": _write("Open a session", "SessionOpened", body="SessionWish", status=201)},
    "/v1/sessions/{name}": {
        "get": _read("A session", "Session", 404, path="its number"),
        "delete": _write("End a session, and what it holds", "SessionEnded", 404, path="its number"),
    },
    "/v1/sessions/{name}/keepalive": {
        "post": _write("A sign of life", "Kept", 404, query={"acked": "as Pilotfish-Acked"}, path="the session's number")
    },
    "/v1/leases": {
        "get": _read("Leases", "Leases", query={"after": "those with greater numbers"}),
        "post": _write("Grant a lease", "LeaseGranted", body="LeaseWish", status=201),
    },
    "/v1/leases/{name}": {
        "get": _read("A lease and its keys", "Lease", 404, path="its number"),
        "delete": _write("Revoke a lease; what it holds goes with it", "Revoked", 404, path="its number"),
    },
    "/v1/leases/{name}/keepalive": {"post": _write("A sign of life", "Kept", 404, path="the lease's number")},
    "/v1/locks/{name}": {
        "get": _read("Who holds a lock and who waits", "Lock", path=_LOCK),
        "post": _write("Hold a lock, or wait for it", "Held", 404, 409, body="Hold", path=_LOCK),
        "delete": _write("Give a lock up, or the wait for it", "Released", 404, 409, query=_WHO, body="Release", path=_LOCK),
    },
    "/v1/elections/{name}": {
        "get": _read("Who leads", "Election", path=_ELECTION),
        "post": _write("Stand for election", "Held", 404, 409, body="Hold", path=_ELECTION),
        "put": _write("Say another value as the leader", "Held", 404, 409, body="Hold", path=_ELECTION),
        "delete": _write("Lead no more, or stand no more", "Resigned", 404, 409, query=_WHO, body="Release", path=_ELECTION),
    },
    "/v1/elections/{name}/observe": {"get": _stream("Who leads, and each change of it, as server-sent events", {}, _ELECTION)},
    "/v1/counters/{name}": {
        "get": _read("A counter", "Counter", path=_COUNTER),
        "post": _write(
            "Add to a counter", "Added", query={"add": "how much; 1", "value": "false: do not tell the sum"}, body="Add", path=_COUNTER
        ),
        "delete": _write("End a counter", "CounterDeleted", path=_COUNTER),
    },
    "/v1/barriers/{name}": {"get": _read("A barrier", "Barrier", path=_BARRIER)},
    "/v1/barriers/{name}/enter": {"post": _write("Wait until so many have come", "Entered", 404, 409, body="Enter", path=_BARRIER)},
    "/v1/barriers/{name}/leave": {"post": _write("Wait until all have left", "Left", 404, 409, body="Leave", path=_BARRIER)},
    "/v1/status": {"get": operation("What this agent knows of the group; asks nobody", {200: "Status", 403: "Error", 421: "Error"})},
    "/v1/openapi.json": {"get": operation("This document", {200: "OpenApi", 403: "Error", 421: "Error"})},
}
PATHS["/v1/elections/{name}"]["post"]["responses"]["202"] = {
    "description": "Queued",
    "content": {"application/json": {"schema": ref("Queued")}},
}
_IN_NAMES: Final = str.maketrans({"/": "_", ".": "_", "{": None, "}": None})
for _path, _methods in PATHS.items():
    for _method, _one in _methods.items():
        _one["operationId"] = _method + _path.translate(_IN_NAMES)

DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {"title": "Pilotfish agent state API", "version": "1"},
    "paths": PATHS,
    "components": {"schemas": COMPONENTS},
}
