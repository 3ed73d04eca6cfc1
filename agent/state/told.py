"""Events as JSON, made once for all who watch."""

from typing import Any, Final

from agent.core.machine.records import Event
from agent.state.texts import octets_json, record_json
from agent.state.wire import to_json

MEMO_MAX: Final = 1_024
_memo: Final[dict[tuple[int, bytes, bool], tuple[Event, bytes]]] = {}


def event_json(event: Event, values: bool, kind: bool = False) -> dict[str, Any]:
    """kind: with a member `type`, put or delete."""
    made: dict[str, Any] = {"type": "delete" if event.record is None else "put"} if kind else {}
    if event.record is None:
        made.update(octets_json("key", event.key))
        if event.expired:
            made["expired"] = True
    else:
        made.update(record_json(event.key, event.record, values))
    made["revision"] = event.revision
    return made


def event_text(event: Event, values: bool) -> bytes:
    """An event as it stands in a stream of server-sent events, but for its id. JSON escapes what would end a line."""
    key = (event.revision, event.key, values)
    known = _memo.get(key)
    if known is not None and known[0] is event:
        return known[1]
    name = b"delete" if event.record is None else b"put"
    text = b"event: %b\ndata: %b\n\n" % (name, to_json(event_json(event, values)))
    if len(_memo) >= MEMO_MAX:
        _memo.clear()
    _memo[key] = (event, text)
    return text
