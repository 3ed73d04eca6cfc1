"""A client that sends exactly the bytes it is told to and reads whole responses."""

import socket
from dataclasses import dataclass


@dataclass
class Reply:
    """One response; `body` has its chunk framing taken off, `trailers` what followed the last chunk."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes
    head: bytes
    trailers: list[tuple[str, str]]

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.fields if key.lower() == name.lower()]
        return ", ".join(found) if found else None


class RawClient:
    """One connection. A context manager."""

    def __init__(self, place: tuple[str, int] | str, timeout_s: float = 20.0) -> None:
        if isinstance(place, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(timeout_s)
            self.sock.connect(place)
        else:
            self.sock = socket.create_connection(place, timeout_s)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, data: bytes) -> "RawClient":
        self.sock.sendall(data)
        return self

    def more(self) -> bool:
        """Read what there is. False at the end of the connection."""
        try:
            data = self.sock.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self.more():
                raise EOFError(f"connection ended before {mark!r}; got {self.buffer[:400]!r}")
        cut = self.buffer.index(mark) + len(mark)
        found, self.buffer = self.buffer[:cut], self.buffer[cut:]
        return found

    def exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self.more():
                raise EOFError(f"connection ended {size - len(self.buffer)} bytes early")
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def rest(self) -> bytes:
        """Everything until the connection ends."""
        while self.more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    def reply(self, method: str = "GET") -> Reply:
        """The next response. Raises EOFError where the connection ends inside it."""
        head = self.until(b"\r\n\r\n")
        lines = head[:-4].decode("latin-1").split("\r\n")
        _, status, reason = (lines[0] + " ").split(" ", 2)
        fields = _fields(lines[1:])
        answer = Reply(int(status), reason.strip(), fields, b"", head, [])
        code = answer.status
        if method == "HEAD" or code in (204, 304) or code < 200 or (method == "CONNECT" and code < 300):
            return answer
        if (answer.header("transfer-encoding") or "").endswith("chunked"):
            while size := int(self.until(b"\r\n").split(b";")[0], 16):
                answer.body += self.exactly(size + 2)[:-2]
            trailer = []
            while (line := self.until(b"\r\n")) != b"\r\n":
                trailer.append(line[:-2].decode("latin-1"))
            answer.trailers = _fields(trailer)
        elif (length := answer.header("content-length")) is not None:
            answer.body = self.exactly(int(length))
        else:
            answer.body = self.rest()
        return answer

    def get(self, target: str = "/", host: str = "test", *lines: str, method: str = "GET") -> Reply:
        """Send a request without a body on this connection and read its response."""
        head = "\r\n".join([f"{method} {target} HTTP/1.1", f"Host: {host}", *lines])
        self.send(head.encode("latin-1") + b"\r\n\r\n")
        return self.reply(method)

    def reset(self) -> None:
        """Close with RST: an orderly end may be a client that still waits for its answer."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _fields(lines: list[str]) -> list[tuple[str, str]]:
    pairs = (line.partition(":") for line in lines)
    return [(name, value.strip()) for name, _, value in pairs]
