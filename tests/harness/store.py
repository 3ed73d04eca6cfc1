"""A client of the replicated state's HTTP API that does not retry by itself, so that each answer can be recorded as what it was."""

import http.client
import json
from typing import Any
from urllib.parse import quote

TIMEOUT_S = 1.0
"""What the agent is given for a request; the connection is given half a second more."""


class Unknown(Exception):
    """No answer, or one that leaves open whether the command took effect."""


class Refused(Exception):
    """The command took no effect and never will, or a read was not answered."""


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class StoreClient:
    """One connection to one agent's API at (host, port), opened when it is needed."""

    def __init__(self, place: tuple[str, int]) -> None:
        self.place = place
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Raises Refused or Unknown for what is not carried out; other answers are the caller's to read."""
        mark = "&" if "?" in path else "?"
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(*self.place, timeout=TIMEOUT_S + 0.5)
                self._connection.connect()
        except OSError as error:
            self.close()
            raise Refused(f"nobody listens at {self.place}: {error}") from None
        try:
            self._connection.request(method, f"{path}{mark}timeout={TIMEOUT_S}s", body, headers or {})
            response = self._connection.getresponse()
            answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unknown(repr(error)) from None
        if answer.status >= 429:
            told = answer.json
            raise (Refused if told.get("applied") == "no" else Unknown)(f"{answer.status} {told}")
        return answer

    # -- keys

    def get(self, key: str, consistency: str = "linearizable") -> str | None:
        answer = self.call("GET", f"/v1/kv/{quote(key)}?consistency={consistency}")
        assert answer.status in (200, 404), (answer.status, answer.body)
        return answer.body.decode() if answer.status == 200 else None

    def put(self, key: str, value: str) -> None:
        answer = self.call("PUT", f"/v1/kv/{quote(key)}", value.encode())
        assert answer.status == 200, (answer.status, answer.body)

    def exchange(self, key: str, old: str, new: str) -> bool:
        """Compare and set."""
        answer = self.call("PUT", f"/v1/kv/{quote(key)}?if_value={quote(old)}", new.encode())
        assert answer.status in (200, 412), (answer.status, answer.body)
        return answer.status == 200

    def keys(self, prefix: str) -> list[str]:
        found: list[str] = []
        after = ""
        while True:
            answer = self.call(
                "GET", f"/v1/kv?prefix={quote(prefix)}&limit=1000&keys_only=true" + (f"&after={quote(after)}" if after else "")
            )
            assert answer.status == 200, (answer.status, answer.body)
            found.extend(item["key"] for item in answer.json["items"])
            if not answer.json["more"]:
                return found
            after = answer.json["next"]

    # -- counters

    def session(self) -> int:
        answer = self.call("POST", "/v1/sessions", b'{"ttl": "300s"}', {"Content-Type": "application/json"})
        assert answer.status == 201, (answer.status, answer.body)
        return int(answer.json["session"])

    def add(self, name: str, number: int, session: int, request: int) -> int:
        headers = {"Pilotfish-Session": str(session), "Pilotfish-Request": str(request), "Content-Type": "application/json"}
        answer = self.call("POST", f"/v1/counters/{quote(name)}", json.dumps({"add": number}).encode(), headers)
        assert answer.status == 200, (answer.status, answer.body)
        return int(answer.json["value"])

    def total(self, name: str) -> int:
        answer = self.call("GET", f"/v1/counters/{quote(name)}")
        assert answer.status == 200, (answer.status, answer.body)
        return int(answer.json["value"])
