"""A node on standard input and output."""

import asyncio
import json
import sys
from typing import Any, Final

from agent.app.maelstrom.node import Node

LINE_BYTES_MAX: Final = 16 << 20


def serve() -> int:
    """Until standard input ends."""
    return asyncio.run(_serve())


async def _serve() -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    lines: list[bytes] = []
    node = Node(lambda message: lines.append(json.dumps(message, separators=(",", ":")).encode() + b"\n"))
    timer: asyncio.TimerHandle | None = None

    def turn(message: dict[str, Any] | None) -> None:
        nonlocal timer
        if message is not None:
            node.take(message)
        node.wake()
        if lines:
            # Maelstrom reads all the time: this does not block for long.
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()
            lines.clear()
        if timer is not None:
            timer.cancel()
        due = node.next_wake()
        # The loop's clock is the monotonic one that the node has too.
        timer = loop.call_at(due, turn, None) if due != float("inf") else None

    while line := await reader.readline():
        try:
            message = json.loads(line)
        except ValueError as error:
            print(f"{node.name}: no JSON: {error}", file=sys.stderr)
            continue
        turn(message)
    return 0
