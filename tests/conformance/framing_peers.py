"""``python -m tests.conformance.framing_peers``: the framing vectors through every proxy that is installed, and how they differ.

Pilotfish, Envoy, HAProxy and nginx get the same octets, one connection each, before an upstream that records all that reaches it.
What that refuses when it is read by the strict parser has passed unsound. The peers' configurations are those of the load test.
``--page`` prints docs/framing.md.
"""

import argparse
import contextlib
import re
import socket
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from agent.core.http.body import RequestBody
from agent.core.http.errors import BadMessage
from agent.core.http.head import parse_request_head
from loadtest.proxies import Absent, Place, find
from tests.conformance.framing_vectors import BODY_BYTES_MAX, VECTORS, Vector
from tests.harness.agent import AgentProcess
from tests.harness.client import RawClient
from tests.harness.wait import wait_until

NAMES = ("pilotfish", "envoy", "haproxy", "nginx")
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
QUIET_S = 0.25
"""How long nothing must come before it is taken that nothing will."""


class Recorder:
    """An upstream that answers as soon as it has an empty line, reads on, and keeps every octet."""

    def __init__(self) -> None:
        self.raw: list[bytearray] = []
        self.busy = 0
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            record = bytearray()
            with self._lock:
                self.raw.append(record)
                self.busy += 1
            threading.Thread(target=self._serve, args=(sock, record), daemon=True).start()

    def _serve(self, sock: socket.socket, record: bytearray) -> None:
        with contextlib.suppress(OSError), sock:
            sock.settimeout(QUIET_S / 2)
            answered = False
            while data := sock.recv(65_536):
                record += data
                if not answered and re.search(rb"\r?\n\r?\n", record):
                    sock.sendall(ANSWER)
                    answered = True
        with self._lock:
            self.busy -= 1

    def close(self) -> None:
        self._listener.close()


@dataclass
class Outcome:
    """What one proxy made of one vector."""

    statuses: list[int] = field(default_factory=list)
    closed: bool = False
    reached: list[bytes] = field(default_factory=list)
    """What each upstream connection got."""
    faults: list[str] = field(default_factory=list)
    """What the strict parser has against what reached the upstream."""

    @property
    def verdict(self) -> str:
        """refused: the upstream got nothing. rewritten: it got sound requests. unsound: it got something else."""
        if not any(self.reached):
            return "refused" if self.statuses or self.closed else "silent"
        return "unsound" if self.faults else "rewritten"

    def shown(self) -> str:
        answer = " ".join(map(str, self.statuses)) or ("closed" if self.closed else "no answer")
        return f"{answer}, **{self.verdict}**" if self.verdict == "unsound" else f"{answer}, {self.verdict}"


def faults_of(raw: bytes) -> list[str]:
    """What the strict parser has against what reached an upstream. An unfinished message that is sound so far is none."""
    found = []
    while raw:
        end = raw.find(b"\r\n\r\n") + 4
        if end < 4:
            return [*found, "a bare LF"] if raw.count(b"\n") != raw.count(b"\r\n") else found
        try:
            head = parse_request_head(raw[:end], 4096, 1_000_000)
            raw = raw[end:]
            if head.has_body:
                body = RequestBody(head.content_length, 0, 1_000_000, 4096)
                body.feed(raw)
                raw = body.rest if body.done else b""
        except BadMessage as error:
            return [*found, error.reason]
    return found


def send(port: int, vector: Vector, recorder: Recorder) -> Outcome:
    """One vector on a connection of its own."""
    before = len(recorder.raw)
    outcome = Outcome()
    answer = b""
    with socket.create_connection(("127.0.0.1", port), 10.0) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(vector.raw)
        sock.settimeout(QUIET_S * 2)
        with contextlib.suppress(OSError):
            while data := sock.recv(65_536):
                answer += data
            outcome.closed = True
    with contextlib.suppress(AssertionError):
        wait_until(lambda: recorder.busy == 0, "the upstream to have all that comes", 3.0)
    outcome.statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", answer)]
    outcome.reached = [bytes(raw) for raw in recorder.raw[before:]]
    outcome.faults = [fault for raw in outcome.reached for fault in faults_of(raw)]
    return outcome


@dataclass
class Peer:
    """A proxy that runs."""

    name: str
    version: str
    port: int
    recorder: Recorder


@contextlib.contextmanager
def running(name: str, directory: Path) -> Iterator[Peer | Absent]:
    """Start one proxy before a recorder of its own."""
    recorder = Recorder()
    try:
        if name == "pilotfish":
            service = {"hosts": ["*"], "endpoints": [f"127.0.0.1:{recorder.port}"], "outlier": {"enabled": False}}
            config = {"services": {"web": {**service, "breaker": {"enabled": False}}}, "http": {"body_bytes_max": BODY_BYTES_MAX}}
            with AgentProcess(config) as agent:
                yield Peer(name, "this checkout", agent.egress[1], recorder)
            return
        proxy = find(name, Place(directory, recorder.port))
        if isinstance(proxy, Absent):
            yield proxy
            return
        try:
            proxy.start()
            yield Peer(name, proxy.version, proxy.port, recorder)
        finally:
            proxy.stop()
    finally:
        recorder.close()


def run(name: str, vectors: Iterable[Vector], directory: Path) -> tuple[str, list[Outcome]] | Absent:
    """A proxy's version and outcomes, one for each vector."""
    with running(name, directory) as peer:
        if isinstance(peer, Absent):
            return peer
        with RawClient(("127.0.0.1", peer.port)) as client:
            assert client.get("/good").status == 200
        return peer.version, [send(peer.port, vector, peer.recorder) for vector in vectors]


def compare(vectors: list[Vector], names: Iterable[str] = NAMES) -> dict[str, tuple[str, list[Outcome]] | Absent]:
    """Every proxy over the vectors, beside one another."""
    names = list(names)
    with tempfile.TemporaryDirectory(prefix="framing-") as directory, ThreadPoolExecutor(len(names)) as pool:
        return dict(zip(names, pool.map(lambda name: run(name, vectors, Path(directory)), names), strict=True))


def tables(vectors: list[Vector], results: dict[str, tuple[str, list[Outcome]] | Absent]) -> str:
    """Versions, counts by group, and each vector that the proxies treat differently."""
    there = {name: result for name, result in results.items() if not isinstance(result, Absent)}
    lines = [f"- {name}: {result.reason if isinstance(result, Absent) else result[0]}" for name, result in results.items()]
    lines += ["", "| vectors | " + " | ".join(there) + " |", "|---|" + "---|" * len(there)]
    groups = [*dict.fromkeys(vector.group for vector in vectors), ""]
    for group in groups:
        cells = []
        for _, outcomes in there.values():
            counts = Counter(one.verdict for vector, one in zip(vectors, outcomes, strict=True) if group in ("", vector.group))
            cells.append(", ".join(f"{counts[key]} {key}" for key in ("refused", "rewritten", "unsound", "silent") if counts[key]))
        size = sum(group in ("", vector.group) for vector in vectors)
        lines.append(f"| {group or 'all'} ({size}) | " + " | ".join(cells) + " |")
    lines += ["", "| vector | " + " | ".join(there) + " |", "|---|" + "---|" * len(there)]
    for index, vector in enumerate(vectors):
        row = [outcomes[index] for _, outcomes in there.values()]
        if len({one.verdict for one in row}) > 1:
            lines.append(f"| {vector.group}: {vector.name.replace('|', '/')} | " + " | ".join(one.shown() for one in row) + " |")
    return "\n".join(lines) + "\n"


HEAD = f"""\
# Framing, compared

{len(VECTORS)} requests that two recipients could read in two ways, or that are no HTTP/1 at all (`tests/conformance/framing_vectors.py`),
sent octet for octet through each proxy to an upstream that records what reaches it. Made by
`python -m tests.conformance.framing_peers --page > docs/framing.md`; the peers' configurations are in `loadtest/peers`.

- **refused**: nothing reached the upstream.
- **rewritten**: what reached it was sound by RFC 9112, or sound as far as it went: the proxy decided how to read the vector. Whether a
  recipient before it read it the same way is another matter.
- **unsound**: the upstream got something that the strict parser refuses.
- **silent**: no answer, no end and nothing forwarded within half a second.

A peer's reading is not always a fault: RFC 9112 lets a recipient take a bare LF for a line's end, and sizes are a matter of limits. Where
there are two statuses, what came behind the vector was answered as a request of its own.

"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.framing_peers", description=__doc__)
    parser.add_argument("--page", action="store_true", help="with the page's head, as docs/framing.md has it")
    parser.add_argument("--only", action="append", choices=NAMES, help="this proxy; may be repeated")
    parser.add_argument("--explain", action="store_true", help="also what the strict parser has against what reached the upstreams")
    args = parser.parse_args()
    results = compare(VECTORS, args.only or NAMES)
    print((HEAD if args.page else "") + tables(VECTORS, results), end="")
    if args.explain:
        for name, result in results.items():
            if not isinstance(result, Absent):
                for vector, outcome in zip(VECTORS, result[1], strict=True):
                    if outcome.faults:
                        print(f"{name}: {vector.group}: {vector.name}: {'; '.join(outcome.faults)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
