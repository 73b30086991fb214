"""The certificate of a cluster: at once its authority, and that of its scheduler, its workers and its clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_LIFETIME = timedelta(days=365)
_CLOCKS_DIFFER = timedelta(minutes=5)


def new_keypair(cluster: str) -> tuple[bytes, bytes]:
    """Certificate and private key in PEM, good for a TLS server name that is the cluster's.

    On an elliptic curve: made in a millisecond. The RSA key that Dask-Gateway makes (``dask_gateway_server.tls``) takes
    a tenth of a second and often more, in the gateway's own loop, while a person waits for the cluster.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dask cluster")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(cluster)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), private
