"""Handing a listening port over to another process that listens on it too, without losing a connection (SO_REUSEPORT, Linux).

The kernel spreads new connections over the sockets of a port and resets those that still wait on a socket when it is closed.
So a socket that is to be closed first gets nothing new: a one-line filter on the port's group names another socket for every
connection. A socket cannot ask for its own number in the group; whether the filter names another one is tried with a connection.
"""

import ctypes
import socket
import struct
from collections.abc import Callable
from typing import Final

_SO_ATTACH_REUSEPORT_CBPF: Final = 51
_SO_DETACH_REUSEPORT_BPF: Final = 68
_RETURN_CONSTANT: Final = 0x06
"""BPF_RET | BPF_K of <linux/filter.h>."""
_INDEXES: Final = (1, 0)
"""The oldest socket has number 0; when it is closed the last one takes its number. For a socket there are others or there are not,
so two numbers are enough to find one that is not its own."""
_PROBE_S: Final = 0.2

Accepted = Callable[[socket.socket], None]


def accept_all(listener: socket.socket, accepted: Accepted) -> None:
    """Take every connection that waits."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        accepted(connection)


def steer_away(listener: socket.socket, accepted: Accepted) -> bool:
    """Let new connections go to another socket of the port. False where there is none, or the system does not know how.

    What comes to this socket meanwhile is handed to `accepted`.
    """
    for index in _INDEXES:
        if not _name(listener, index):
            return False
        try:
            if not _comes_here(listener, accepted):
                return True
        except OSError:
            break
    spread_evenly(listener)
    return False


def spread_evenly(listener: socket.socket) -> None:
    """Take a filter away that a process before this one has left."""
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 0)
    except OSError:
        return  # there is none


def _name(listener: socket.socket, index: int) -> bool:
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, index))
    program = struct.pack("HP", 1, ctypes.addressof(instruction))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError:
        return False
    return True


def _comes_here(listener: socket.socket, accepted: Accepted) -> bool:
    host, port = listener.getsockname()[:2]
    place = ({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)
    came: list[socket.socket] = []
    with socket.create_connection(place, _PROBE_S) as probe:
        accept_all(listener, came.append)
        own = probe.getsockname()[:2]
    found = False
    for connection in came:
        try:
            is_probe = connection.getpeername()[:2] == own
        except OSError:
            is_probe = False  # it is gone already; its owner will see that
        if is_probe:
            found = True
            connection.close()
        else:
            accepted(connection)
    return found
