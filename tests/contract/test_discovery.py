"""What every source does: it says what it knows, fails with an OSError or ValueError, and is well again afterwards."""

import asyncio
import ipaddress
from pathlib import Path
from typing import Any

import pytest

from agent.core.swim.messages import Place
from agent.runtime.discovery import Source, sources
from agent.runtime.discovery.mdns import Mdns
from agent.runtime.discovery.sources import AddressFile, DnsHost, StaticSeeds
from agent.runtime.discovery.srv import DnsSrv
from tests.contract.transports import run
from tests.harness.dns import NameServer

EXPECTED: Place = ("127.0.0.1", 7946)


class Case:
    """A source, and how to break and mend what it looks at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source: Source

    async def start(self) -> None:
        """Make it work."""

    def break_it(self) -> None:
        """From now on it cannot say."""

    def mend(self) -> None:
        """And now it can."""

    async def stop(self) -> None:
        """Let go."""


class FileCase(Case):
    async def start(self) -> None:
        self.path = self.folder / "members"
        self.mend()
        self.source = AddressFile(str(self.path), 7946)

    def mend(self) -> None:
        self.path.write_text("# members\n127.0.0.1  # the first\n\n127.0.0.1:7946\n")

    def break_it(self) -> None:
        self.path.unlink()


class ResolverCase(Case):
    """Names by the system's resolver, which the test stands in for when it is to fail."""

    real: Any = None

    def break_it(self) -> None:
        async def fail(*_: Any, **__: Any) -> Any:
            raise OSError("no answer")

        self.real, self.module.resolve = self.module.resolve, fail

    def mend(self) -> None:
        self.module.resolve = self.real

    module: Any = sources


class StaticCase(ResolverCase):
    async def start(self) -> None:
        self.source = StaticSeeds(("127.0.0.1:7946", "127.0.0.1"), 7946)


class DnsCase(ResolverCase):
    async def start(self) -> None:
        self.source = DnsHost("127.0.0.1", 7946)


class SrvCase(Case):
    async def start(self) -> None:
        self.server = await NameServer().start()
        self.server.records["_pilotfish._tcp.fish.test"] = ["0 0 7946 127.0.0.1.", "5 9 7946 127.0.0.1."]
        self.source = DnsSrv("_pilotfish._tcp.fish.test", nameservers=("127.0.0.1",), port=self.server.port)

    def break_it(self) -> None:
        self.server.failing = True

    def mend(self) -> None:
        self.server.failing = False

    async def stop(self) -> None:
        self.server.close()


class MdnsCase(Case):
    async def start(self) -> None:
        self.other = Mdns("blue", "other", EXPECTED, ("127.0.0.1",))
        self.green = Mdns("green", "green", ("127.0.0.1", 9), ("127.0.0.1",))
        await self.other.find()
        await self.green.find()
        self.source = Mdns("blue", "us", None, ("127.0.0.1",))

    def break_it(self) -> None:
        self.kept = self.source
        self.source = Mdns("blue", "us", None, ("192.0.2.1",))

    def mend(self) -> None:
        self.source = self.kept

    async def stop(self) -> None:
        await self.other.close()
        await self.green.close()


CASES = [StaticCase, DnsCase, SrvCase, MdnsCase, FileCase]


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_a_source_says_what_it_knows_fails_by_its_errors_and_recovers(kind: type[Case], tmp_path: Path) -> None:
    async def work() -> None:
        case = kind(tmp_path)
        await case.start()
        assert case.source.name
        assert case.source.interval_s > 0
        found: tuple[Place, ...] = ()
        while not found:  # mDNS hears answers after it asked
            found = await case.source.find()
            await asyncio.sleep(0.01)
        assert found == (EXPECTED,)
        for host, port in found:
            ipaddress.ip_address(host)
            assert 0 < port < 65536
        assert await case.source.find() == found
        case.break_it()
        with pytest.raises((OSError, ValueError)):
            await case.source.find()
        with pytest.raises((OSError, ValueError)):
            await case.source.find()
        case.mend()
        assert await case.source.find() == found
        await case.source.close()
        await case.source.close()
        await case.stop()

    run(work)


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_a_source_that_was_never_asked_closes(kind: type[Case], tmp_path: Path) -> None:
    async def work() -> None:
        case = kind(tmp_path)
        await case.start()
        await case.source.close()
        await case.stop()

    run(work)


def test_a_file_is_read_again_when_it_changes_and_says_where_it_is_wrong(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "members"
        path.write_text("127.0.0.1:1\n[::1]:2\n")
        source = AddressFile(str(path), 7946)
        assert await source.find() == (("127.0.0.1", 1), ("::1", 2))
        fresh = tmp_path / "fresh"
        fresh.write_text("127.0.0.3")
        fresh.replace(path)
        assert await source.find() == (("127.0.0.3", 7946),)
        fresh.write_text("127.0.0.3\n127.0.0.1:no\n")
        fresh.replace(path)
        with pytest.raises(ValueError, match=r"line 2: found '127.0.0.1:no'"):
            await source.find()
        path.write_text("127.0.0.1\n" * 200_000)
        with pytest.raises(ValueError, match="at most 1048576 bytes"):
            await source.find()
        path.write_text("".join(f"127.0.{n >> 8}.{n & 255}\n" for n in range(5000)))
        with pytest.raises(ValueError, match="found 5000 places"):
            await source.find()

    run(work)


def test_one_seed_that_does_not_resolve_hides_no_other() -> None:
    async def work() -> None:
        source = StaticSeeds(("127.0.0.1:1", "no-such-host.invalid:2"), 7946)
        assert await source.find() == (("127.0.0.1", 1),)
        with pytest.raises(OSError, match=r".+"):
            await StaticSeeds(("no-such-host.invalid:2",), 7946).find()

    run(work)


def test_srv_answers_change_and_names_that_are_not_there_are_errors() -> None:
    async def work() -> None:
        server = await NameServer().start()
        source = DnsSrv("_x._tcp.fish.test", nameservers=("127.0.0.1",), port=server.port)
        with pytest.raises(OSError, match="NXDOMAIN"):
            await source.find()
        server.records["_x._tcp.fish.test"] = ["0 0 1 127.0.0.1.", "0 0 2 no-such-host.invalid."]
        assert await source.find() == (("127.0.0.1", 1),)
        server.records["_x._tcp.fish.test"] = ["0 0 2 no-such-host.invalid."]
        with pytest.raises(OSError, match=r".+"):
            await source.find()
        server.records["_x._tcp.fish.test"] = ["0 0 0 ."]
        assert await source.find() == ()
        server.close()

    run(work)


def test_a_member_that_says_goodbye_is_no_longer_found_by_mdns() -> None:
    async def work() -> None:
        other, source = Mdns("blue", "other", EXPECTED, ("127.0.0.1",)), Mdns("blue", "us", ("127.0.0.1", 8), ("127.0.0.1",))
        await other.find()
        while EXPECTED not in await source.find():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await other.close()
        while EXPECTED in await source.find():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await source.close()

    run(work)
