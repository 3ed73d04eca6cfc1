"""What asyncio has no words for, said to the socket itself."""

import socket
import struct
from typing import Any, Final

_NO_LINGER: Final = struct.pack("ii", 1, 0)


def reset(transport: Any) -> None:
    """Drop what is not yet sent and reset the connection (RST); a Unix socket is only closed."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()


def original_destination(sock: Any) -> tuple[str, int] | None:
    """Where a connection was going before iptables or nftables redirected it (SO_ORIGINAL_DST, Linux)."""
    if sock is None:
        return None
    try:
        if sock.family == socket.AF_INET6 and not sock.getpeername()[0].startswith("::ffff:"):
            raw = sock.getsockopt(41, 80, 28)
            port = struct.unpack_from("!H", raw, 2)[0]
            return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port
        raw = sock.getsockopt(socket.SOL_IP, 80, 16)
        port = struct.unpack_from("!H", raw, 2)[0]
        return socket.inet_ntoa(raw[4:8]), port
    except OSError:
        return None
