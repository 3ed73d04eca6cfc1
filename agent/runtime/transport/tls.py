"""mTLS between our own agents: who a peer is says the SPIFFE ID in its certificate (SPIFFE X509-SVID, sections 2 to 5).

Certificates are short-lived where they come from SPIRE or cert-manager; so the files are looked at again and again, and each stream
is opened with what they hold at the time. Listeners and open streams are not touched.
"""

import asyncio
import os
import re
import ssl
from typing import Any, Final

from msgspec import Struct

from agent.runtime.log import Logger

ID: Final = re.compile(r"spiffe://([a-z0-9._-]{1,255})((?:/[A-Za-z0-9._-]+)*)")
ID_BYTES_MAX: Final = 2048
WATCH_INTERVAL_S: Final = 5.0


class TlsFiles(Struct, frozen=True):
    """PEM files: our certificate (and the chain behind it), its key, the authorities whom we believe."""

    certificate: str
    key: str
    authorities: str


def spiffe_id(certificate: Any) -> tuple[str, str]:
    """Trust domain and path of the one URI name of a verified certificate (as `ssl` shows it). Raises ssl.SSLError."""
    names = (certificate or {}).get("subjectAltName", ())
    uris = [value for kind, value in names if kind == "URI"]
    if len(uris) != 1:
        raise ssl.SSLError(f"the peer's certificate has {len(uris)} URI names, one expected")
    match = ID.fullmatch(uris[0])
    if match is None or len(uris[0]) > ID_BYTES_MAX or {".", ".."} & set(match[2].split("/")):
        raise ssl.SSLError(f"the peer's URI name is not a SPIFFE ID: {uris[0][:200]!r}")
    return match[1], match[2]


class MutualTls:
    """Both sides' contexts. `paths`: whom we talk to in the trust domain, as paths or what they begin with; none is everybody.

    Raises OSError or ssl.SSLError where the files cannot be read.
    """

    def __init__(self, files: TlsFiles, trust_domain: str, paths: tuple[str, ...] = ()) -> None:
        self.files = files
        self.trust_domain = trust_domain
        self.paths = paths
        self.reloads = 0
        self.reload_failures = 0
        self._seen = self._signature()
        self._server, self._client = self._read()

    def server_context(self) -> ssl.SSLContext:
        """For the next stream that comes."""
        return self._server

    def client_context(self) -> ssl.SSLContext:
        """For the next stream that we open."""
        return self._client

    def check(self, certificate: Any) -> str:
        """The SPIFFE ID of the peer. Raises ssl.SSLError where we do not talk to it."""
        domain, path = spiffe_id(certificate)
        if domain != self.trust_domain:
            raise ssl.SSLError(f"the peer is of the trust domain {domain!r}, {self.trust_domain!r} expected")
        if self.paths and not any(path == allowed or path.startswith(allowed.rstrip("/") + "/") for allowed in self.paths):
            raise ssl.SSLError(f"the peer is {path!r}, which is not among those that are allowed")
        return f"spiffe://{domain}{path}"

    def refresh(self) -> bool:
        """Read the files where they have changed; whether they had. Raises as the constructor, and then the old ones stay."""
        signature = self._signature()
        if signature == self._seen:
            return False
        self._server, self._client = self._read()
        self._seen = signature
        self.reloads += 1
        return True

    async def watch(self, log: Logger, interval_s: float = WATCH_INTERVAL_S) -> None:
        """Refresh for ever."""
        while True:
            await asyncio.sleep(interval_s)
            try:
                if self.refresh():
                    log.info("certificates_read", certificate=self.files.certificate)
            except OSError as error:  # ssl.SSLError is one; certificate and key are written one after the other
                self.reload_failures += 1
                log.warning("certificates_unreadable", certificate=self.files.certificate, text=str(error))

    def _signature(self) -> tuple[tuple[int, ...], ...]:
        found = (os.stat(path) for path in (self.files.certificate, self.files.key, self.files.authorities))
        return tuple((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in found)

    def _read(self) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        contexts = []
        for protocol in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
            context = ssl.SSLContext(protocol)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.check_hostname = False  # identity is the URI name, which `check` looks at
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.files.authorities)
            context.load_cert_chain(self.files.certificate, self.files.key)
            contexts.append(context)
        contexts[0].num_tickets = 0  # a resumed session would pass by what the authorities now are
        return contexts[0], contexts[1]
