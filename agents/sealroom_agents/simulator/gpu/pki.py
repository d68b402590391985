# SPDX-License-Identifier: Apache-2.0
"""Chains of certificates of the form of NVIDIA's, of a device or of who signs manifests.

All keys are of P-384, as NVIDIA's are. Shape of a device's chain: firmware, boot ROM, provisioner, family of
chips, root; the firmware's certificate names what the boot ROM measured of it (DICE TcbInfo).
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID, ObjectIdentifier

LABEL = "SIMULATED - not NVIDIA"
"""Stands in the subject of every certificate of a simulated GPU."""
DEVICE_NAMES = (
    "GH100 A01 GSP FMC LF", "GH100 A01 GSP BROM", "GH100 Provisioner ICA 1", "GH100 Identity",
    "Device Identity CA",
)  # fmt: skip
"""Common names of a device's chain. The verifier knows the chip by how the first two begin."""
SIGNER_NAMES = ("RIM signer", "RIM CA", "RIM signing Root CA")
"""Common names of who signs manifests."""

_TCB_INFO = ObjectIdentifier("2.23.133.5.4.1")
_SHA384_OID = bytes.fromhex("0609608648016503040202")
_P384_ORDER = int("f" * 48 + "c7634d81f4372ddf581a0db248b0a77aecec196accc52973", 16)


@dataclass(frozen=True)
class Link:
    """One certificate of a chain, before it is made."""

    name: str
    """Common name."""
    key: ec.EllipticCurvePrivateKey
    serial: int


@dataclass
class Chain:
    """Certificates, leaf first, each signed by the next and the last one by itself."""

    links: Sequence[Link]
    begin: int
    """From when on all are valid, unix seconds."""
    end: int
    fwid: bytes | None = None
    """The firmware that the leaf names, 48 bytes; `None` names none."""
    unfit: int | None = None
    """Place of a certificate that may sign none: a bad twin."""

    @cached_property
    def certificates(self) -> list[x509.Certificate]:
        """Leaf first, root last."""
        return [self._certificate(place) for place in range(len(self.links))]

    @property
    def keys(self) -> list[ec.EllipticCurvePrivateKey]:
        """The keys of the certificates, in their order."""
        return [link.key for link in self.links]

    @property
    def pem(self) -> bytes:
        """All of them."""
        return b"".join(one.public_bytes(Encoding.PEM) for one in self.certificates)

    @property
    def root(self) -> bytes:
        """SHA-256 of the root's DER."""
        return self.certificates[-1].fingerprint(SHA256())

    def name(self, place: int) -> x509.Name:
        """The subject at a place."""
        return subject(self.links[place].name)

    def vouched(self, issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        """The root's name and key in a certificate of somebody else, whose key signs with SHA-256."""
        root = self.links[-1]
        builder = _builder(root, issuer.subject, self.begin, self.end)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        return builder.sign(key, SHA256(), ecdsa_deterministic=True)

    def _certificate(self, place: int) -> x509.Certificate:
        above = self.links[min(place + 1, len(self.links) - 1)]
        builder = _builder(self.links[place], subject(above.name), self.begin, self.end)
        if place and place != self.unfit:
            builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=bool(place)), critical=True)
        if place == 0 and self.fwid is not None:
            spki = self.keys[1].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            info = _tlv(2, b"\x01") + spki + _tlv(0x30, _SHA384_OID + _tlv(4, self.fwid))
            builder = builder.add_extension(
                x509.UnrecognizedExtension(_TCB_INFO, _tlv(0x30, info)), critical=False
            )
        return builder.sign(above.key, SHA384(), ecdsa_deterministic=True)


def derive_p384(seed: bytes, label: str) -> ec.EllipticCurvePrivateKey:
    """The P-384 key of `label` under `seed`: the first SHA-384 output of a counter that is a valid scalar."""
    counter = 0
    while True:
        material = b"sealroom/v1/simulated-p384\x00" + seed + label.encode() + counter.to_bytes(4, "big")
        scalar = int.from_bytes(hashlib.sha384(material).digest(), "big")
        if 0 < scalar < _P384_ORDER:
            return ec.derive_private_key(scalar, ec.SECP384R1())
        counter += 1


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """ECDSA-SHA384 as r ‖ s, 96 bytes, the form of reports and manifests."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(SHA384())))
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def moment(seconds: int) -> datetime.datetime:
    """Unix seconds as `x509` takes them."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


def subject(name: str) -> x509.Name:
    """A subject that says what it is."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, LABEL),
        ]
    )


def _builder(link: Link, issuer: x509.Name, begin: int, end: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject(link.name))
        .issuer_name(issuer)
        .public_key(link.key.public_key())
        .serial_number(link.serial)
        .not_valid_before(moment(begin))
        .not_valid_after(moment(end))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _tlv(tag: int, content: bytes) -> bytes:
    """A DER element."""
    size = bytes([len(content)]) if len(content) < 0x80 else bytes([0x81, len(content)])
    return bytes([tag]) + size + content
