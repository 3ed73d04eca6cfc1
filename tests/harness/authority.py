"""A certificate authority for tests: X.509 SVIDs as SPIRE or cert-manager would write them."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.runtime.transport.tls import TlsFiles


class Authority:
    """Signs certificates. `write` puts one, its key and this authority's certificate into a folder."""

    def __init__(self, name: str = "test authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    def write(self, folder: Path, *uris: str) -> TlsFiles:
        """A fresh certificate with these URI names, by rename as a rotation does it."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris] or [x509.DNSName("nobody")])
        signed = (
            self._builder(x509.Name([]), key)
            .add_extension(names, critical=True)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        folder.mkdir(exist_ok=True)
        pem = serialization.Encoding.PEM
        plain = serialization.NoEncryption()
        contents = {
            "certificate.pem": signed.public_bytes(pem),
            "key.pem": key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain),
            "authorities.pem": self.certificate.public_bytes(pem),
        }
        for name, content in contents.items():
            fresh = folder / (name + ".new")
            fresh.write_bytes(content)
            fresh.replace(folder / name)
        return TlsFiles(str(folder / "certificate.pem"), str(folder / "key.pem"), str(folder / "authorities.pem"))
