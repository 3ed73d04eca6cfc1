"""Sources that need nothing but this machine and its resolver: names that stand in the configuration, DNS names, a file."""

import asyncio
import os
import socket
from typing import Final

from agent.core.swim.messages import Place
from agent.runtime.discovery import ordered, parse_place

RESOLVE_INTERVAL_S: Final = 30.0
FILE_INTERVAL_S: Final = 1.0
FILE_BYTES_MAX: Final = 1024 * 1024


async def resolve(host: str, port: int) -> set[Place]:
    """Every address of a host, A and AAAA, by the system's resolver (so /etc/hosts and search domains count)."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return {(str(address[0]), port) for *_, address in found}


class StaticSeeds:
    """Places from the configuration. Names among them are resolved anew each time; one that does not resolve hides no other."""

    def __init__(self, seeds: tuple[str, ...], default_port: int, interval_s: float = RESOLVE_INTERVAL_S) -> None:
        self.name = "static"
        self.interval_s = interval_s
        self._seeds = [parse_place(seed, default_port) for seed in seeds]

    async def find(self) -> tuple[Place, ...]:
        answers = await asyncio.gather(*(resolve(*seed) for seed in self._seeds), return_exceptions=True)
        found: set[Place] = set()
        failed: list[BaseException] = []
        for answer in answers:
            if isinstance(answer, BaseException):
                failed.append(answer)
            else:
                found |= answer
        if failed and not found:
            raise failed[0]
        return ordered(found)

    async def close(self) -> None:
        """Nothing is held."""


class DnsHost:
    """All addresses of one name, such as a headless service's in Kubernetes; members listen at `port`."""

    def __init__(self, host: str, port: int, interval_s: float = RESOLVE_INTERVAL_S) -> None:
        self.name = f"dns:{host}"
        self.interval_s = interval_s
        self._host = host
        self._port = port

    async def find(self) -> tuple[Place, ...]:
        return ordered(await resolve(self._host, self._port))

    async def close(self) -> None:
        """Nothing is held."""


class AddressFile:
    """A file with a place a line, ``#`` begins a comment. Read again when it changes (also by rename or a swapped link)."""

    def __init__(self, path: str, default_port: int, interval_s: float = FILE_INTERVAL_S) -> None:
        self.name = f"file:{path}"
        self.interval_s = interval_s
        self._path = path
        self._port = default_port
        self._seen: tuple[int, ...] = ()
        self._places: tuple[Place, ...] = ()

    async def find(self) -> tuple[Place, ...]:
        stat = os.stat(self._path)
        seen = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if seen != self._seen:
            self._places = await self._resolved(self._read())
            self._seen = seen
        return self._places

    def _read(self) -> list[Place]:
        with open(self._path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"{self._path}: expected at most {FILE_BYTES_MAX} bytes")
        places = []
        for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
            text = line.partition("#")[0].strip()
            if text:
                try:
                    places.append(parse_place(text, self._port))
                except ValueError as error:
                    raise ValueError(f"{self._path}, line {number}: {error}") from None
        return places

    async def _resolved(self, places: list[Place]) -> tuple[Place, ...]:
        ordered(places)
        answers = await asyncio.gather(*(resolve(*place) for place in places))
        return ordered(set().union(*answers))

    async def close(self) -> None:
        """Nothing is held."""
