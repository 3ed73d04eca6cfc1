"""An upstream server that does exactly what a test says, byte for byte, and remembers every byte that it got."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Received:
    """One request as it came: the raw head (with its empty line) and the raw body (chunk framing included)."""

    head: bytes
    body: bytes = b""
    connection: int = 0
    lines: list[bytes] = field(default_factory=list)

    @property
    def method(self) -> str:
        return self.lines[0].split(b" ")[0].decode("latin-1")

    @property
    def target(self) -> str:
        return self.lines[0].split(b" ")[1].decode("latin-1")

    def headers(self) -> list[tuple[str, str]]:
        pairs = (line.partition(b":") for line in self.lines[1:] if line)
        return [(name.decode("latin-1").lower(), value.strip().decode("latin-1")) for name, _, value in pairs]

    def header(self, name: str) -> str | None:
        """All values of a field, joined; None where it is absent."""
        found = [value for key, value in self.headers() if key == name.lower()]
        return ", ".join(found) if found else None


class Close:
    """A handler's answer: close the connection now."""


class Reset:
    """A handler's answer: reset the connection now (RST)."""


Answer = bytes | type[Close] | type[Reset] | Iterable[object] | None
Handler = Callable[[Received], Answer]


def response(
    body: bytes | str = b"ok", status: int = 200, headers: Iterable[tuple[str, str]] = (), *, reason: str = "Because", length: bool = True
) -> bytes:
    """A whole response with Content-Length."""
    raw = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(raw)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + raw


class Upstream:
    """A server on a port of the kernel's choice. `handler` answers each request with bytes, `Close`, `Reset`, None (say nothing),
    or an iterable of those and of callables that are called (to wait for something) between the pieces."""

    def __init__(self, handler: Handler | bytes = b"", port: int = 0, host: str = "127.0.0.1") -> None:
        self.handler: Handler = handler if callable(handler) else (lambda _: handler or response())
        self.requests: list[Received] = []
        self.raw: list[bytearray] = []
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((host, port))
        self._listener.listen(256)
        self.port: int = self._listener.getsockname()[1]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many were ever accepted."""
        return len(self.raw)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                if self._closed:
                    sock.close()
                    return
                self._sockets.add(sock)
                number = len(self.raw)
                self.raw.append(bytearray())
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        stream = _Stream(sock, self.raw[number])
        try:
            while True:
                head = stream.until(b"\r\n\r\n")
                if head is None:
                    return
                request = Received(head, b"", number, head[:-4].split(b"\r\n"))
                request.body = stream.body(request, sock)
                self.requests.append(request)
                if not self._reply(sock, self.handler(request)):
                    return
        except OSError:
            return
        finally:
            with self._lock:
                self._sockets.discard(sock)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _reply(self, sock: socket.socket, answer: object) -> bool:
        if answer is Close:
            return False
        if answer is Reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            return False
        if answer is None:
            return True
        if isinstance(answer, bytes):
            sock.sendall(answer)
            return True
        if callable(answer):
            answer()
            return True
        assert isinstance(answer, Iterable)
        return all(self._reply(sock, piece) for piece in answer)

    def close(self) -> None:
        """Stop listening and cut every connection."""
        with self._lock:
            self._closed = True
            sockets = list(self._sockets)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> "Upstream":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stream:
    """Reads requests from a socket, keeping a record."""

    def __init__(self, sock: socket.socket, record: bytearray) -> None:
        self._sock = sock
        self._record = record
        self._rest = b""

    def _more(self) -> bool:
        data = self._sock.recv(65536)
        self._record += data
        self._rest += data
        return bool(data)

    def until(self, mark: bytes) -> bytes | None:
        while mark not in self._rest:
            if not self._more():
                return None
        cut = self._rest.index(mark) + len(mark)
        found, self._rest = self._rest[:cut], self._rest[cut:]
        return found

    def exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            if not self._more():
                break
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def body(self, request: Received, sock: socket.socket) -> bytes:
        if request.header("expect") == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (request.header("transfer-encoding") or ""):
            pieces = b""
            while True:
                line = self.until(b"\r\n")
                if line is None:
                    return pieces
                pieces += line
                size = int(line.split(b";")[0], 16)
                if size == 0:
                    while (trailer := self.until(b"\r\n")) not in (b"\r\n", None):
                        pieces += trailer or b""
                    return pieces + b"\r\n"
                pieces += self.exactly(size + 2)
        length = request.header("content-length")
        return self.exactly(int(length)) if length else b""
