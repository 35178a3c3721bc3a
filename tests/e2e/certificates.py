"""Certificates as cert-manager would make them: one authority, one certificate an identity."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

IDENTITIES = ("gateway", "tokens", "responder", "operator")


def make(folder: Path, namespace: str) -> dict[str, Path]:
    """Write tls.crt, tls.key and ca.crt for each identity; return its folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "igbot e2e")])
    authority = begun(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    root = authority.sign(key, hashes.SHA256())
    folders = {}
    for identity in IDENTITIES:
        at = folder / identity
        at.mkdir()
        mine = ec.generate_private_key(ec.SECP256R1())
        request = begun(x509.Name([]), name, mine)
        # The first name is who it is, the second what it is called by.
        names = [x509.DNSName(identity), x509.DNSName(f"igbot-{identity}.{namespace}.svc")]
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        request = request.add_extension(x509.SubjectAlternativeName(names), critical=True)
        certificate = request.add_extension(usage, critical=False).sign(key, hashes.SHA256())
        (at / "tls.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (at / "tls.key").write_bytes(mine.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (at / "ca.crt").write_bytes(root.public_bytes(Encoding.PEM))
        folders[identity] = at
    return folders


def begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    """A certificate for two days, not signed yet."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=2))
