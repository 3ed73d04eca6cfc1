"""The key-value store: `sidecar.kv`."""

from collections.abc import AsyncIterator
from typing import Any, Final

from agent.client.errors import CompareFailed
from agent.client.transport import Api, duration, quoted
from agent.client.types import Consistency, Item, Octets, Page, Written, octets, to_json
from agent.client.watch import Watch

PAGE_ITEMS: Final = 500
DELETED_MAX: Final = 1000
NOT_FOUND: Final = frozenset({404})


def reading(consistency: Consistency, max_staleness_s: float | None) -> dict[str, str]:
    """The query of a read."""
    query = {} if consistency == "linearizable" else {"consistency": str(consistency)}
    if max_staleness_s is not None:
        query["max_staleness"] = duration(max_staleness_s)
    return query


def span(prefix: Octets | None, start: Octets | None, end: Octets | None) -> dict[str, str]:
    """The query for a range. Raises ValueError where it says nothing, or two things."""
    if prefix is not None and (start is not None or end is not None):
        raise ValueError("found prefix and start or end, expected one or the other")
    given = {"prefix": prefix, "start": start, "end": end}
    return {name: _raw(value) for name, value in given.items() if value is not None}


def _raw(value: Octets) -> str:
    """Any octets in a text that is percent-encoded to the same octets."""
    return octets(value).decode("utf-8", "surrogateescape")


class Kv:
    """Every change is carried out once, however often it had to be sent."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def get(
        self,
        key: Octets,
        *,
        consistency: Consistency = "linearizable",
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Item | None:
        """None where there is nothing."""
        query = reading(consistency, max_staleness_s)
        answer = await self._api.read(_path(key), query, timeout_s, NOT_FOUND)
        if answer.status == 404:
            return None
        headers = answer.headers
        return Item(
            octets(key),
            answer.body,
            int(headers.get("Pilotfish-Create", "0")),
            int(headers.get("ETag", '"0"').strip('"')),
            int(headers.get("Pilotfish-Version", "0")),
            int(headers.get("Pilotfish-Lease", "0")),
        )

    async def put(
        self,
        key: Octets,
        value: Octets,
        *,
        ttl_s: float | None = None,
        lease: int | None = None,
        if_revision: int | None = None,
        if_version: int | None = None,
        if_absent: bool = False,
        timeout_s: float | None = None,
    ) -> Written:
        """Set it. `ttl_s`: gone after so long unless it is put again. `lease`: gone when that ends. `if_…`: only where the key is at this
        revision or version (0: not there), or absent; else CompareFailed, with what is there."""
        query = _conditions(if_revision, if_version, if_absent)
        if ttl_s is not None:
            query["ttl"] = duration(ttl_s)
        if lease is not None:
            query["lease"] = str(lease)
        fields = (await self._api.command("PUT", _path(key), query, octets(value), timeout_s)).json()
        return Written(int(fields["revision"]), int(fields["version"]))

    async def cas(
        self,
        key: Octets,
        value: Octets,
        *,
        expect: Octets | None,
        ttl_s: float | None = None,
        lease: int | None = None,
        timeout_s: float | None = None,
    ) -> Written | None:
        """Set it if its value is `expect` (None: if there is nothing). None where it is not; `put(if_revision=…)` compares revisions."""
        condition: dict[str, Any] = {"absent": True} if expect is None else to_json("value", expect)
        body: dict[str, Any] = {**to_json("key", key), **to_json("value", value), "if": condition}
        if ttl_s is not None:
            body["ttl"] = duration(ttl_s)
        if lease is not None:
            body["lease"] = lease
        try:
            fields = (await self._api.command("POST", "/v1/cas", None, body, timeout_s)).json()
        except CompareFailed:
            return None
        return Written(int(fields["revision"]), int(fields["version"]))

    async def delete(
        self, key: Octets, *, if_revision: int | None = None, if_version: int | None = None, timeout_s: float | None = None
    ) -> bool:
        """Was it there?"""
        query = _conditions(if_revision, if_version, False)
        answer = await self._api.command("DELETE", _path(key), query, None, timeout_s)
        return bool(answer.json()["deleted"])

    async def range(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        limit: int = PAGE_ITEMS,
        after: str | None = None,
        keys_only: bool = False,
        consistency: Consistency = "linearizable",
        max_staleness_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Page:
        """A page of items in the order of keys: those that begin with `prefix`, or from `start` up to before `end`, or all. `scan` gives
        all pages."""
        query = {**span(prefix, start, end), **reading(consistency, max_staleness_s), "limit": str(limit)}
        if after is not None:
            query["after"] = after
        if keys_only:
            query["keys_only"] = "true"
        fields = (await self._api.read("/v1/kv", query, timeout_s)).json()
        items = tuple(Item.of(item) for item in fields["items"])
        return Page(items, int(fields["revision"]), fields["next"] if fields.get("more") else None)

    async def scan(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        keys_only: bool = False,
        consistency: Consistency = "linearizable",
    ) -> AsyncIterator[Item]:
        """Every item of a range, a page at a time: what changes meanwhile may be seen as before or as after."""
        after: str | None = None
        while True:
            page = await self.range(prefix, start=start, end=end, after=after, keys_only=keys_only, consistency=consistency)
            for item in page.items:
                yield item
            after = page.next
            if after is None:
                return

    async def count(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        consistency: Consistency = "linearizable",
        timeout_s: float | None = None,
    ) -> int:
        query = {**span(prefix, start, end), **reading(consistency, None), "count": "true"}
        return int((await self._api.read("/v1/kv", query, timeout_s)).json()["count"])

    async def delete_range(
        self,
        prefix: Octets | None = None,
        *,
        start: Octets | None = None,
        end: Octets | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """How many there were. In steps of some hundred; what others add meanwhile may stay. Raises ValueError without a range."""
        query = span(prefix, start, end)
        if not query:
            raise ValueError("found no range, expected prefix, start or end: everything is prefix=''")
        deleted = 0
        while True:
            fields = (await self._api.command("DELETE", "/v1/kv", query, None, timeout_s)).json()
            deleted += int(fields["deleted"])
            if not fields.get("more"):
                return deleted

    async def txn(
        self,
        conditions: list[dict[str, Any]],
        then: list[dict[str, Any]],
        otherwise: list[dict[str, Any]] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """Several operations as one, in the API's own JSON: `{"key": "a", "revision": 7}`, `{"put": {"key": "a", "value": "b"}}`."""
        body = {"if": conditions, "then": then, "else": otherwise or []}
        answer: dict[str, Any] = (await self._api.command("POST", "/v1/txn", None, body, timeout_s)).json()
        return answer

    def watch(
        self,
        prefix: Octets | None = None,
        *,
        key: Octets | None = None,
        start: Octets | None = None,
        end: Octets | None = None,
        after: int | None = None,
        values: bool = True,
    ) -> Watch:
        """Changes as they are committed, from now on or after a revision: `async for event in sidecar.kv.watch("users/")`."""
        query = {"key": _raw(key)} if key is not None else span(prefix, start, end)
        if not values:
            query["values"] = "false"
        return Watch(self._api, query, after)


def _path(key: Octets) -> str:
    return f"/v1/kv/{quoted(octets(key))}"


def _conditions(if_revision: int | None, if_version: int | None, if_absent: bool) -> dict[str, str]:
    query: dict[str, str] = {}
    if if_revision is not None:
        query["if_revision"] = str(if_revision)
    if if_version is not None:
        query["if_version"] = str(if_version)
    if if_absent:
        query["if_absent"] = "true"
    return query
