"""Where the local agent is: what the caller says, else the environment, else a socket that is there, else the ports that agents have."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

API_VARIABLE: Final = "PILOTFISH_API"
ADMIN_VARIABLE: Final = "PILOTFISH_ADMIN"
API_SOCKET: Final = "/run/pilotfish/api.sock"
ADMIN_SOCKET: Final = "/run/pilotfish/admin.sock"
API_DEFAULT: Final = "127.0.0.1:15030"
ADMIN_DEFAULT: Final = "127.0.0.1:15020"


@dataclass(frozen=True, slots=True)
class Address:
    """`base`: before every path. `socket`: the Unix socket's path, or None. `source`: how it was found, for messages."""

    base: str
    socket: str | None
    source: str

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.base


def find_api(given: str | None = None, environ: Mapping[str, str] | None = None) -> Address:
    """Of the application's API: kv, locks and so on. Raises ValueError for an address that is none."""
    return _find(given, API_VARIABLE, API_SOCKET, API_DEFAULT, os.environ if environ is None else environ)


def find_admin(given: str | None = None, environ: Mapping[str, str] | None = None) -> Address:
    """Of the admin API: cache, status, cluster. Raises ValueError for an address that is none."""
    return _find(given, ADMIN_VARIABLE, ADMIN_SOCKET, ADMIN_DEFAULT, os.environ if environ is None else environ)


def _find(given: str | None, variable: str, socket: str, default: str, environ: Mapping[str, str]) -> Address:
    if given:
        return _parse(given, "the argument")
    if environ.get(variable):
        return _parse(environ[variable], f"${variable}")
    if Path(socket).is_socket():
        return Address("http://localhost", socket, "the socket that is there")
    return Address(f"http://{default}", None, f"the default, as ${variable} is not set")


def _parse(text: str, source: str) -> Address:
    if text.startswith("unix:"):
        path = text[5:].removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{source}: found {text!r}, expected unix:/path")
        return Address("http://localhost", path, source)
    rest = text.removeprefix("http://").rstrip("/")
    host, _, port = rest.rpartition(":")
    if "/" in rest or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{source}: found {text!r}, expected host:port, http://host:port or unix:/path")
    return Address(f"http://{rest}", None, source)
