"""The end of a connection that nobody can take for an orderly one."""

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
