"""Validation: asking the origin whether a stored response still holds, and answering clients that ask us (RFC 9111
section 4.3, RFC 9110 section 13)."""

from typing import Final

from agent.core.cache.config import CachePolicy
from agent.core.cache.entry import Entry
from agent.core.cache.storage import decide_storage, make_entry
from agent.core.http import fields as f
from agent.core.http.dates import parse_http_date
from agent.core.http.fields import Field, make_field
from agent.core.http.head import RequestHead, ResponseHead

_KEPT_ON_UPDATE: Final = frozenset(
    {b"content-encoding", b"content-md5", b"content-range", b"content-length", b"etag", b"transfer-encoding"}
)
"""Fields that describe the stored octets, which a 304 does not bring: the stored ones stay (RFC 9111 section 3.2)."""

_IN_304: Final = frozenset(
    {b"cache-control", b"content-location", b"date", b"etag", b"expires", b"vary", b"last-modified", b"cdn-cache-control"}
)
"""RFC 9110 section 15.4.5."""


def revalidation_fields(entry: Entry) -> list[Field]:
    """The conditions of a validation request (RFC 9111 section 4.3.1)."""
    fields = []
    if entry.etag:
        fields.append(make_field(b"If-None-Match", entry.etag))
    if entry.last_modified:
        fields.append(make_field(b"If-Modified-Since", entry.last_modified))
    return fields


def merge_304(
    entry: Entry, response: ResponseHead, request: RequestHead, policy: CachePolicy, requested_at: float, received_at: float
) -> Entry | None:
    """The stored response with what a 304 says anew (RFC 9111 section 4.3.4). None where it says that it is not to be stored.

    Which response the 304 is about is not in doubt even where it brings another ETag: one tag was sent, and the origin says
    that this one matches. (Apache behind mod_deflate is such an origin.) The stored tag stays, as the public cache tests
    require; section 4.3.4 would have the 304 thrown away, and every validation become two requests.
    """
    return _updated(entry, response, request, policy, requested_at, received_at)


def update_from_head(
    entry: Entry, response: ResponseHead, request: RequestHead, policy: CachePolicy, requested_at: float, received_at: float
) -> Entry | None:
    """The stored response with what a response to HEAD says anew (RFC 9111 section 4.3.5). None where the two differ: then
    the stored one no longer holds."""
    etag = response.get(b"etag")
    if (etag is not None or entry.etag) and etag != (entry.etag or None):
        return None
    modified = response.get(b"last-modified")
    if (modified is not None or entry.last_modified) and modified != (entry.last_modified or None):
        return None
    if response.content_length >= 0 and response.content_length != entry.length:
        return None
    return _updated(entry, response, request, policy, requested_at, received_at)


def _updated(
    entry: Entry, response: ResponseHead, request: RequestHead, policy: CachePolicy, requested_at: float, received_at: float
) -> Entry | None:
    named = response.connection_options() if response.flags & f.CONNECTION else frozenset()
    dropped = f.CONNECTION | f.HOP | f.TRANSFER_ENCODING | f.CONTENT_LENGTH | f.VIA | f.CACHE_STATUS
    fresh = [
        field for field in response.fields if field.name not in _KEPT_ON_UPDATE and not field.flags & dropped and field.name not in named
    ]
    names = {field.name for field in fresh}
    names.add(b"date")  # the stored one is of the time before, also where the validation brings none
    kept = [field for field in entry.fields if field.name not in names]
    flags = 0
    fields = kept + fresh
    for field in fields:
        flags |= field.flags
    whole = ResponseHead(1, fields, flags, entry.status, entry.reason)
    whole.content_length = entry.length
    storage = decide_storage(request, whole, policy, received_at)
    if not storage.store:
        return None
    updated = make_entry(entry.key, entry.service, request, whole, policy, requested_at, received_at, storage)
    updated.host = entry.host
    updated.target = entry.target
    updated.body = entry.body
    updated.length = entry.length
    updated.hits = entry.hits
    updated.asked_at = entry.asked_at  # the caller may know that the origin was asked later
    if storage.vary == entry.vary:
        updated.variant = entry.variant
    return updated


def conditional(entry: Entry, head: RequestHead) -> int:
    """304 or 412 where the client's conditions say so of the stored response, else 0 (RFC 9110 section 13.2.2)."""
    value = head.get(b"if-match")
    if value is not None:
        if value.strip() != b"*" and not _in_list(value, entry.etag, False):
            return 412
    else:
        value = head.get(b"if-unmodified-since")
        if value is not None and _modified_since(entry, value) is True:
            return 412
    value = head.get(b"if-none-match")
    if value is not None:
        if value.strip() == b"*" or _in_list(value, entry.etag, True):
            return 304
        return 0
    value = head.get(b"if-modified-since")
    if value is not None and entry.status == 200 and _modified_since(entry, value) is False:
        return 304
    return 0


def _modified_since(entry: Entry, value: bytes) -> bool | None:
    """None where there is nothing to compare."""
    since = parse_http_date(value)
    if since is None:
        return None
    modified = parse_http_date(entry.last_modified)
    if modified is None:
        date = None
        for field in entry.fields:
            if field.flags & f.DATE:
                date = parse_http_date(field.value)
        # RFC 9111 section 4.3.2: without Last-Modified, Date (or the time of receipt) stands in.
        modified = date if date is not None else int(entry.stored_at)
    return modified > since


def _in_list(value: bytes, etag: bytes, weak: bool) -> bool:
    if not etag or (not weak and etag.startswith(b"W/")):
        return False
    wanted = _opaque(etag)
    at = 0
    while at < len(value):
        start = value.find(b'"', at)
        if start < 0:
            break
        end = value.find(b'"', start + 1)
        if end < 0:
            break
        is_weak = value[max(start - 2, 0) : start] == b"W/"
        if value[start : end + 1] == wanted and (weak or not is_weak):
            return True
        at = end + 1
    # Tags without quotes are not legal and are met all the same: compared as they are.
    return b'"' not in value and wanted in [member.strip() for member in value.split(b",")]


def _opaque(etag: bytes) -> bytes:
    return etag[2:] if etag.startswith(b"W/") else etag


def not_modified_fields(entry: Entry) -> list[Field]:
    """What a 304 to a client carries."""
    return [field for field in entry.fields if field.name in _IN_304]
