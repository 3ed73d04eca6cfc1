"""Purges that were asked for: by an operator here, or on another agent of the mesh."""

from urllib.parse import urlsplit

from agent.core.cache.rules import key_of
from agent.proxy.datapath import DataPath

KINDS = ("url", "prefix", "host", "tag", "service", "all")


def subject(kind: str, text: str) -> tuple[bytes, bytes]:
    """Host and value of a purge as they travel between agents, from what a person writes. ValueError: it is not what it is for."""
    if kind in ("url", "prefix"):
        parts = urlsplit(text)
        if not parts.netloc:
            raise ValueError("it has no host")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return parts.netloc.lower().encode(), target.encode()
    if kind == "host":
        return text.lower().encode(), b""
    return b"", b"" if kind == "all" else text.encode()


def purge(path: DataPath, kind: str, host: bytes, value: bytes, soft: bool) -> int:
    """Drop what these mean, or (soft) make it stale; how many stored responses that were. A kind that is not known here, of a newer
    agent, makes everything stale."""
    store = path.store
    if kind == "url":
        count = store.purge_url(host, value, soft)
        for keys, policy in path.table.shaped:
            # Under a shaped key one response stands for several targets.
            count += store.purge_key(key_of(keys, host.lower(), value, policy), soft)
        return count
    if kind == "prefix":
        return store.purge_prefix(host, value, soft)
    if kind == "host":
        return store.purge_host(host, soft)
    if kind == "tag":
        return store.purge_tag(value, soft)
    if kind == "service":
        return store.purge_service(value.decode("utf-8", "replace"), soft)
    return store.purge_all(soft or kind != "all")
