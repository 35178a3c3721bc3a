"""A certificate authority of the tests' own: what GRPC_TLS_DIR holds, right and wrong."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


class Authority:
    """Signs certificates."""

    def __init__(self, name: str = "igbot tests", ends: timedelta = DAY) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = begun(self.name, self.name, self.key, ends=ends)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def issue(self, folder: Path, *names: str, ends: timedelta = DAY, trusts: "Authority | None" = None) -> Path:
        """Write tls.crt, tls.key and ca.crt for these DNS names; for loopback as well, so that tests can call it."""
        folder.mkdir(exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        alternatives = x509.SubjectAlternativeName([*(x509.DNSName(name) for name in names), loopback])
        builder = begun(x509.Name([]), self.name, key, ends=ends).add_extension(alternatives, critical=True)
        (folder / "tls.crt").write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))
        (folder / "tls.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "ca.crt").write_bytes((trusts or self).certificate)
        return folder


def begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, *, ends: timedelta
) -> x509.CertificateBuilder:
    """A certificate that began two days ago, not signed yet."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - 2 * DAY).not_valid_after(now + ends)
