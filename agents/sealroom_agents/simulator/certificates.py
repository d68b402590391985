# SPDX-License-Identifier: Apache-2.0
"""Certificates that a simulated KMS issues, shaped like dstack's: leaf, "App CA" of the app, KMS CA.

dstack's extensions (`ra-tls`) are OCTET STRINGs: the app's id, what the certificate is for, and where the
caller asks for it a quote over the certificate's own key.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sealroom_agents.simulator.kms import SimulatedKms
from sealroom_agents.simulator.pki import LABEL, VALID_FROM, VALID_UNTIL, derive_p256, pem

_DSTACK = "1.3.6.1.4.1.62397.1."
QUOTE, EVENT_LOG, APP_ID, USAGE, ATTESTATION = (1, 2, 3, 4, 8)
"""Last parts of dstack's extensions."""
_LATEST = int(datetime.datetime(2200, 1, 1, tzinfo=datetime.UTC).timestamp())


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a caller asks of a certificate."""

    subject: str
    alt_names: Sequence[str] = ()
    server: bool = False
    client: bool = False
    not_before: int | None = None
    """Unix seconds."""
    not_after: int | None = None
    """Unix seconds."""


def issue(
    kms: SimulatedKms,
    app_id: bytes,
    wanted: Wanted,
    proof: Callable[[bytes], Mapping[int, bytes]] = lambda public: {},
) -> tuple[str, list[str]]:
    """A new key, PEM of PKCS#8, and its chain, PEM, leaf first. proof: extensions for the key's
    SubjectPublicKeyInfo. Raises `ValueError`: dates that are none, a subject that is too long."""
    key = ec.generate_private_key(ec.SECP256R1())
    app_ca_key = derive_p256(_scalar(kms.root_ca_key), f"app-ca:{app_id.hex()}")
    kms_ca, app_ca = _name("Dstack KMS CA"), _name("Dstack App CA")
    named = {APP_ID: app_id}
    root = _certificate(kms_ca, kms_ca, kms.root_ca_key, kms.root_ca_key, ca=True)
    middle = _certificate(
        app_ca, kms_ca, app_ca_key, kms.root_ca_key, ca=True, said={**named, USAGE: b"app:ca"}
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, wanted.subject or LABEL)])
    leaf = _certificate(
        subject, app_ca, key, app_ca_key,
        said={**named, USAGE: b"app:custom", **proof(public)}, wanted=wanted,
    )  # fmt: skip
    written = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return written.decode(), [pem(one).decode() for one in (leaf, middle, root)]


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool = False,
    said: Mapping[int, bytes] | None = None,
    wanted: Wanted | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_time(None if wanted is None else wanted.not_before, VALID_FROM))
        .not_valid_after(_time(None if wanted is None else wanted.not_after, VALID_UNTIL))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if wanted is not None and wanted.alt_names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general(name) for name in wanted.alt_names]), critical=False
        )
    uses = []
    if wanted is not None and wanted.server:
        uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
    if wanted is not None and wanted.client:
        uses.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    if uses:
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    for number, value in (said or {}).items():
        oid = x509.ObjectIdentifier(f"{_DSTACK}{number}")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, octets(value)), critical=False)
    return builder.sign(signer, hashes.SHA256())


def octets(data: bytes) -> bytes:
    """DER of an OCTET STRING."""
    size = len(data)
    if size < 0x80:
        return bytes([4, size]) + data
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([4, 0x80 | len(length)]) + length + data


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(word: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, LABEL), x509.NameAttribute(NameOID.COMMON_NAME, word)]
    )


def _scalar(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_numbers().private_value.to_bytes(32, "big")


def _time(seconds: int | None, otherwise: datetime.datetime) -> datetime.datetime:
    if seconds is None:
        return otherwise
    if seconds > _LATEST:
        raise ValueError("a time beyond the year 2200")
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
