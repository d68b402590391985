# SPDX-License-Identifier: Apache-2.0
"""A certificate hierarchy shaped like Intel's and worth nothing: every subject says so.

    root CA ── PCK Platform CA ── PCK certificate of a machine (signs its quoting enclave's report)
       └────── TCB signer        (signs TCB info and QE identity)

All keys derive from one seed and all signatures are deterministic (RFC 6979), so a platform is reproducible.
Shapes: Intel, "SGX PCK Certificate and Certificate Revocation List Profile Specification".
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from sealroom_agents.simulator.sgx import SGX_EXTENSION, Hardware, encode_sgx_extension

LABEL = "SIMULATED - not Intel"
"""Stands in the subject of every certificate that the simulator makes."""

VALID_FROM = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
VALID_UNTIL = datetime.datetime(2100, 1, 1, tzinfo=datetime.UTC)

_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_SERIAL_BYTES = 16


@dataclass(frozen=True)
class Authority:
    """A certificate with its private key."""

    certificate: x509.Certificate
    """The certificate."""
    key: ec.EllipticCurvePrivateKey
    """Its P-256 key."""

    def __repr__(self) -> str:
        return f"Authority({self.certificate.subject.rfc4514_string()})"


class SimulatedPki:
    """Root, PCK CA and TCB signer derived from one seed."""

    def __init__(self, seed: bytes) -> None:
        """`seed`: 32 bytes, or any other bytes in a test; equal seeds give equal certificates."""
        self._seed = seed
        self.root = self._authority("SGX Root CA", issuer=None, path_length=1)
        # dcap-qvl tells a Platform CA from a Processor CA by this word in the common name.
        self.pck_ca = self._authority("SGX PCK Platform CA", issuer=self.root, path_length=0)
        self.tcb_signer = self._authority("SGX TCB Signing", issuer=self.root, path_length=None)

    @property
    def root_der(self) -> bytes:
        """The root certificate, DER."""
        return self.root.certificate.public_bytes(serialization.Encoding.DER)

    def key(self, label: str) -> ec.EllipticCurvePrivateKey:
        """The P-256 key that the seed gives for `label`."""
        return derive_p256(self._seed, label)

    def pck_certificate(self, name: str, *, hardware: Hardware) -> Authority:
        """A PCK certificate for the machine `name`, with the SGX extension that describes `hardware`."""
        extension = x509.UnrecognizedExtension(
            x509.ObjectIdentifier(SGX_EXTENSION), encode_sgx_extension(hardware)
        )
        return self._authority(
            "SGX PCK Certificate",
            issuer=self.pck_ca,
            path_length=None,
            key_label=f"pck:{name}",
            extension=extension,
        )

    def revocation_list(
        self,
        issuer: Authority,
        *,
        issued: int,
        lifetime_s: int,
        revoked: Iterable[int] = (),
        number: int = 1,
    ) -> bytes:
        """A DER CRL of `issuer` naming the serial numbers in `revoked`; times in unix seconds."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.certificate.subject)
            .last_update(_time(issued))
            .next_update(_time(issued + lifetime_s))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False
            )
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial in revoked:
            entry = (
                x509.RevokedCertificateBuilder()
                .serial_number(serial)
                .revocation_date(_time(issued))
                .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
                .build()
            )
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(issuer.key, hashes.SHA256(), ecdsa_deterministic=True)
        return signed.public_bytes(serialization.Encoding.DER)

    def _authority(
        self,
        name: str,
        *,
        issuer: Authority | None,
        path_length: int | None,
        key_label: str | None = None,
        extension: x509.UnrecognizedExtension | None = None,
    ) -> Authority:
        """Make a certificate; `path_length` None means that it is no CA."""
        key = self.key(key_label or name)
        signer = issuer.key if issuer else key
        subject = _subject(name)
        is_ca = path_length is not None
        public = raw_public_key(key)
        serial = hashlib.sha256(self._seed + name.encode() + public).digest()[:_SERIAL_BYTES]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            # The top bit stays clear: a serial number is positive and at most 20 bytes (RFC 5280 §4.1.2.2).
            .serial_number((int.from_bytes(serial, "big") >> 1) | 1)
            .not_valid_before(VALID_FROM)
            .not_valid_after(VALID_UNTIL)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=path_length), critical=True)
            .add_extension(_key_usage(is_ca=is_ca), critical=True)
        )
        if extension is not None:
            builder = builder.add_extension(extension, critical=False)
        return Authority(certificate=builder.sign(signer, hashes.SHA256(), ecdsa_deterministic=True), key=key)


def derive_p256(seed: bytes, label: str) -> ec.EllipticCurvePrivateKey:
    """The P-256 key of `label` under `seed`: the first SHA-256 output of a counter that is a valid scalar."""
    counter = 0
    while True:
        material = hashlib.sha256(
            b"sealroom/v1/simulated-p256\x00" + seed + label.encode() + counter.to_bytes(4, "big")
        )
        scalar = int.from_bytes(material.digest(), "big")
        if 0 < scalar < _P256_ORDER:
            return ec.derive_private_key(scalar, ec.SECP256R1())
        counter += 1


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA-SHA256 as r ‖ s, 64 bytes, the form of quotes and TCB info."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def raw_public_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """X ‖ Y, 64 bytes."""
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return point[1:]


def pem_chain(*authorities: Authority) -> str:
    """The certificates as one PEM text, leaf first."""
    return "".join(pem(authority.certificate).decode() for authority in authorities)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _subject(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"{LABEL}: {name}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, LABEL),
        ]
    )


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )


def _time(seconds: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
