"""mTLS between members: who is let in is who the certificate says, and certificates change under open streams."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from agent.core.swim.envelope import Envelope
from agent.core.swim.io import Input, OpenStream, StreamAnswer, StreamFailed, StreamReply, StreamRequest, Wake
from agent.core.swim.messages import Ack, Ping
from agent.runtime.driver import Driver
from agent.runtime.log import Logger
from agent.runtime.transport import Stream
from agent.runtime.transport.sockets import SocketTransport
from agent.runtime.transport.tls import MutualTls, TlsFiles, spiffe_id
from tests.contract.test_driver import Script, deaf
from tests.contract.transports import Heard, run, until
from tests.harness.authority import Authority

WEB, DB = "spiffe://fish.test/web", "spiffe://fish.test/db/1"


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


def tls(authority: Authority, folder: Path, *uris: str, paths: tuple[str, ...] = ()) -> MutualTls:
    return MutualTls(authority.write(folder, *uris), "fish.test", paths)


async def ask(client: MutualTls | None, server: SocketTransport) -> bytes:
    """What comes back; raises OSError where the server, or the client, will not."""
    stream = await SocketTransport(("127.0.0.1", 0), client).connect(server.place)
    try:
        await stream.write(b"hello")
        answer = await stream.read()
        if not answer:
            raise ConnectionResetError("closed unheard")
        return answer
    finally:
        stream.close()


def test_who_is_let_in(tmp_path: Path) -> None:
    ours, theirs = Authority(), Authority("another")

    async def work() -> None:
        server = SocketTransport(("127.0.0.1", 0), tls(ours, tmp_path / "server", WEB, paths=("/db", "/web")))
        heard = Heard(echo)
        await server.start(heard)
        assert await ask(tls(ours, tmp_path / "good", DB), server) == b"hello"
        strangers = {
            "path": tls(ours, tmp_path / "path", "spiffe://fish.test/dbx"),
            "domain": tls(ours, tmp_path / "domain", "spiffe://other.test/db"),
            "nameless": tls(ours, tmp_path / "nameless"),
            "two": tls(ours, tmp_path / "two", DB, WEB),
            "plain": None,
        }
        signed = theirs.write(tmp_path / "authority", DB)
        strangers["authority"] = MutualTls(TlsFiles(signed.certificate, signed.key, str(tmp_path / "two" / "authorities.pem")), "fish.test")
        for who, stranger in strangers.items():
            with pytest.raises(OSError, match=r".*"):
                print(who, await ask(stranger, server))
        wrong_server = MutualTls(ours.write(tmp_path / "picky", DB), "fish.test", ("/api",))
        with pytest.raises(ssl.SSLError, match="not among those"):
            await ask(wrong_server, server)
        assert await ask(tls(ours, tmp_path / "good", DB), server) == b"hello", "the listener is well"
        outcomes = await asyncio.gather(*heard.tasks, return_exceptions=True)
        assert sum(isinstance(outcome, OSError) for outcome in outcomes) >= len(strangers)
        await server.close()

    run(work)


def test_certificates_change_and_open_streams_stay(tmp_path: Path) -> None:
    old, new = Authority("old"), Authority("new")

    async def work() -> None:
        server_tls, client_tls = tls(old, tmp_path / "server", WEB), tls(old, tmp_path / "client", DB)
        server = SocketTransport(("127.0.0.1", 0), server_tls)
        await server.start(Heard(echo))
        stream = await SocketTransport(("127.0.0.1", 0), client_tls).connect(server.place)
        watching = asyncio.ensure_future(server_tls.watch(Logger("error"), 0.01))
        place = server.place
        (tmp_path / "server" / "key.pem").write_text("half of a rotation")
        await until(lambda: server_tls.reload_failures, "the failure")
        assert await ask(client_tls, server) == b"hello", "the old one stays"
        new.write(tmp_path / "server", WEB)
        await until(lambda: server_tls.reloads, "the new certificate")
        with pytest.raises(OSError, match=r".*"):
            await ask(client_tls, server)
        assert client_tls.refresh() is False
        new.write(tmp_path / "client", DB)
        assert client_tls.refresh() is True
        assert await ask(client_tls, server) == b"hello"
        await stream.write(b"still here")
        assert await stream.read() == b"still here"
        stream.close()
        assert server.place == place
        watching.cancel()
        await server.close()

    run(work)


def test_members_ask_each_other_through_tls_and_a_stranger_is_counted(tmp_path: Path) -> None:
    authority = Authority()

    async def work() -> None:
        asked, asking = Script(), Script()
        members = []
        for name, uri, core in (("a", WEB, asked), ("b", DB, asking)):
            transport = SocketTransport(("127.0.0.1", 0), tls(authority, tmp_path / name, uri))
            members.append(Driver(core, transport, Envelope(), deaf, Logger("error")))
            await members[-1].start()

        def answer(event: Input) -> tuple[StreamReply, ...]:
            return (StreamReply(event.stream, Ack(7)),) if isinstance(event, StreamRequest) else ()

        asked.answer = answer
        to = members[0].place
        asking.answer = lambda event: (OpenStream(1, to, Ping(7, "a"), True, 5.0),) if isinstance(event, Wake) else ()
        members[1].feed(Wake())
        await until(lambda: asking.of(StreamAnswer) or asking.of(StreamFailed), "an answer")
        assert asking.of(StreamAnswer) == [StreamAnswer(1, Ack(7))]
        with contextlib.suppress(OSError):
            await ask(None, members[0]._transport)  # type: ignore[arg-type]
        await until(lambda: members[0].links.dropped.get("tls"), "the stranger")
        for member in members:
            await member.stop()

    run(work)


@pytest.mark.parametrize(
    "names",
    [
        (),
        (("DNS", "fish.test"),),
        (("URI", "https://fish.test/web"),),
        (("URI", "spiffe://Fish.test/web"),),
        (("URI", "spiffe://fish.test/web/"),),
        (("URI", "spiffe://fish.test//web"),),
        (("URI", "spiffe://fish.test/../web"),),
        (("URI", "spiffe://fish.test/web?x"),),
        (("URI", "spiffe://fish.test:1/web"),),
        (("URI", "spiffe://user@fish.test/web"),),
        (("URI", "spiffe:///web"),),
        (("URI", "spiffe://fish.test/" + "a" * 2040),),
        (("URI", WEB), ("URI", DB)),
    ],
)
def test_what_is_not_one_spiffe_id_is_nobody(names: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ssl.SSLError):
        spiffe_id({"subjectAltName": names})


def test_a_spiffe_id_is_a_trust_domain_and_a_path() -> None:
    assert spiffe_id({"subjectAltName": (("DNS", "x"), ("URI", DB))}) == ("fish.test", "/db/1")
    assert spiffe_id({"subjectAltName": (("URI", "spiffe://fish.test"),)}) == ("fish.test", "")
    with pytest.raises(ssl.SSLError):
        spiffe_id(None)


def test_files_that_are_not_there_are_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        MutualTls(TlsFiles(str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "c")), "fish.test")
