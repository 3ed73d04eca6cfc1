"""A client of the admin API, for the commands that ask a running agent."""

import http.client
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_S = 5.0
PATIENCE_S = 20.0
"""For what asks every member, which waits for those that do not answer."""
SILENCE_S = 45.0
"""A stream says something each 15 seconds; after three times that it is dead."""


class AdminError(Exception):
    """The agent did not answer, or not what was asked for."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Admin:
    """An agent's admin API at ``host:port``, ``http://host:port`` or ``unix:/path``. No proxy of the environment is used."""

    def __init__(self, address: str) -> None:
        self.address = address

    def _connection(self, timeout_s: float = TIMEOUT_S) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            return _UnixConnection(self.address[5:], timeout_s)
        parts = urlsplit(self.address if "://" in self.address else f"http://{self.address}")
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)

    def get(self, path: str) -> Any:
        """The JSON at a path. Raises AdminError."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """The JSON that answers one. Raises AdminError."""
        return self._ask("POST", path, json.dumps(body), PATIENCE_S)

    def _ask(self, method: str, path: str, body: str | None, timeout_s: float = TIMEOUT_S) -> Any:
        try:
            connection = self._connection(timeout_s)
            try:
                connection.request(method, path, body)
                answer = connection.getresponse()
                text = answer.read()
            finally:
                connection.close()
            value = json.loads(text)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise AdminError(f"{self.address}{path}: {error}") from error
        if answer.status not in (200, 202):
            raise AdminError(
                f"{self.address}{path}: {answer.status} {value.get('error', answer.reason) if isinstance(value, dict) else ''}"
            )
        return value

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Name and data of each server-sent event, until the agent ends the stream. Raises AdminError."""
        try:
            connection = self._connection()
            try:
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status != 200:
                    raise AdminError(f"{self.address}{path}: {answer.status} {json.loads(answer.read()).get('error', answer.reason)}")
                if connection.sock is not None:
                    connection.sock.settimeout(SILENCE_S)
                parts: dict[str, str] = {}
                while line := answer.readline():
                    key, _, value = line.decode().rstrip("\n").partition(": ")
                    if key:
                        parts[key] = value
                    elif "data" in parts:
                        yield parts.get("event", "message"), json.loads(parts["data"])
                        parts = {}
            finally:
                connection.close()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise AdminError(f"{self.address}{path}: {error}") from error

    def snapshot(self) -> dict[str, Any]:
        """Everything that the views of `pilotfish status` show."""
        return {"status": self.get("/status"), "clusters": self.get("/clusters"), "cache": self.get("/cache")}
