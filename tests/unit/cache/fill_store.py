"""Run as a program: fills a store until it evicts, and prints what it counts and what the process really grew by."""

import asyncio
import gc
import json
import os
import sys
from time import perf_counter, time

import psutil

from agent.core.cache.config import CachePolicy
from agent.core.cache.storage import decide_storage, make_entry
from agent.core.cache.store import CacheStore
from agent.core.http.head import parse_request_head, parse_response_head
from agent.proxy.datapath import DataPath
from agent.proxy.plugins import PluginHost
from agent.proxy.serve import hit_wire
from agent.runtime.wheel import TimerWheel

POLICY = CachePolicy(enabled=True)


def data_path(store: CacheStore) -> DataPath:
    """A data path that no connection comes to."""
    loop = asyncio.new_event_loop()
    return DataPath(loop, TimerWheel(loop), store, PluginHost(lambda *_, **__: None))


def put(path: DataPath, number: int, body: int, own_fields: int, tags: int) -> None:
    """One response such as an API gives, hit once."""
    request = parse_request_head(b"GET /items/%d?lang=en HTTP/1.1\r\nHost: api.example.test\r\n\r\n" % number)
    lines = [
        b"HTTP/1.1 200 OK",
        b"Date: Tue, 24 Nov 2026 20:00:%02d GMT" % (number % 60),
        b"Content-Type: application/json",
        b"Cache-Control: public, max-age=600",
        b'ETag: "%032x"' % number,
        b"Content-Length: %d" % body,
        *[b"X-Own-%d: %040d" % (index, number) for index in range(own_fields)],
    ]
    if tags:
        lines.append(b"Surrogate-Key: item-%d list" % number)
    head = parse_response_head(b"\r\n".join(lines) + b"\r\n\r\n", b"GET")
    now = time()
    key = b"web " + request.authority + request.target
    entry = make_entry(key, "web", request, head, POLICY, now, now, decide_storage(request, head, POLICY, now))
    entry.asked_at = perf_counter()
    entry.body = [os.urandom(body)] if body else []
    entry.length = body
    path.store.put(entry)
    hit_wire(path, entry, int(now))


def main(size: int, body: int, own_fields: int, tags: int, turns: int) -> None:
    shape = (body, own_fields, tags)
    warm = data_path(CacheStore(1_000_000))
    for number in range(500):
        put(warm, number, *shape)
    del warm
    gc.collect()
    process = psutil.Process()
    before = process.memory_full_info().uss
    store = CacheStore(size)
    path = data_path(store)
    number = 0
    left = -1
    while left != 0:
        put(path, number, *shape)
        number += 1
        if left < 0 and store.by_service["web"].evictions:
            left = store.count * turns  # so many times over, for ghosts and holes in the memory
        left -= 1
    gc.collect()
    grown = process.memory_full_info().uss - before
    print(json.dumps({"entries": store.count, "counted": store.used_bytes, "grown": grown}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
