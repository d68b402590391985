# SPDX-License-Identifier: Apache-2.0
"""Chains of NVIDIA's certificates: of a device, and of whoever signed a reference manifest.

A chain carries its root, and the root is known by its fingerprint. Each chain has its own: a manifest is not
vouched for by the root of devices, nor a device by the root of manifests.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.x509.oid import NameOID, ObjectIdentifier

from sealroom.codes import Code
from sealroom_agents.errors import AttestationError

DEVICE_ROOT = bytes.fromhex("102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48")
"""SHA-256 of the DER of "NVIDIA Device Identity CA"."""
RIM_ROOT = bytes.fromhex("12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1")
"""SHA-256 of the DER of "NVIDIA CoRIM signing Root CA"."""
DEVICE_CHAIN = 5
"""Certificates of a device: firmware, boot ROM, provisioner, family of chips, root."""
MAX_CHAIN_BYTES = 16 * 1024
"""Largest chain in PEM; real ones have 4,300 bytes."""

CERTIFICATE_FAULTS = (
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What looking at a certificate, or at an answer about one, of any shape raises."""

_TCB_INFO = ObjectIdentifier("2.23.133.5.4.1")
_SHA384_OID = bytes.fromhex("0609608648016503040202")
_SEQUENCE, _INTEGER, _OCTETS = 0x30, 0x02, 0x04


def device_chain(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates of a device, leaf first; nothing is verified. Raises `AttestationError`
    `gpu-evidence-malformed`."""
    if len(pem) > MAX_CHAIN_BYTES:
        raise _malformed("they are too long")
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except CERTIFICATE_FAULTS as error:
        raise _malformed("they are no PEM") from error


def require_device_chain(chain: Sequence[x509.Certificate], *, now: int, root: bytes = DEVICE_ROOT) -> None:
    """The five certificates of a device lead to NVIDIA's root. `now` in unix seconds, `root` the SHA-256 of
    its DER. Raises `AttestationError` `gpu-chain`."""
    if len(chain) != DEVICE_CHAIN:
        raise AttestationError(
            Code.GPU_CHAIN, f"the device has {len(chain)} certificates, and not {DEVICE_CHAIN}"
        )
    if (why := chain_fault(chain, root)) or (why := time_fault(chain, now)):
        raise AttestationError(Code.GPU_CHAIN, f"the certificates of the device: {why}")


def chain_fault(chain: Sequence[x509.Certificate], root: bytes) -> str | None:
    """What is wrong with a chain, leaf first, that must end at the root with this fingerprint; `None` if
    nothing. When it is valid is not looked at."""
    if not chain or chain[-1].fingerprint(SHA256()) != root:
        return "they do not end at NVIDIA’s root"
    for depth, (certificate, issuer) in enumerate(pairwise([*chain, chain[-1]])):
        try:
            certificate.verify_directly_issued_by(issuer)
            constraints = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
            usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
            usual = isinstance(certificate.signature_hash_algorithm, SHA384)
        except CERTIFICATE_FAULTS:
            return "one is not signed by the next"
        longest = constraints.path_length
        if not (constraints.ca and usage.key_cert_sign) or (longest is not None and depth > longest):
            return "one is signed by one that may not sign it"
        if not usual or public_key(certificate) is None:
            return "one has another kind of key or signature"
    return None


def time_fault(chain: Sequence[x509.Certificate], now: int) -> str | None:
    """Which certificate of a chain is not valid at `now`, unix seconds; `None` if all are."""
    for certificate in chain:
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin.timestamp() <= now < end.timestamp():
            return f"{common_name(certificate)!r} is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only"
    return None


def common_name(certificate: x509.Certificate) -> str:
    """The subject's name, at most 64 characters."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value)[:64] if names else ""


def public_key(certificate: x509.Certificate) -> ec.EllipticCurvePublicKey | None:
    """The key of a certificate if it is one of P-384."""
    try:
        key = certificate.public_key()
    except CERTIFICATE_FAULTS:
        return None
    return key if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1) else None


def certified_fwid(leaf: x509.Certificate) -> bytes:
    """Identity of the firmware, 48 bytes, for which the boot ROM made the leaf.

    NVIDIA's extension is SEQUENCE {version INTEGER 1, the boot ROM's SubjectPublicKeyInfo, SEQUENCE {SHA-384,
    OCTET STRING}}. Raises `AttestationError` `gpu-fwid` where it is missing or has another form.
    """
    try:
        extension = leaf.extensions.get_extension_for_oid(_TCB_INFO).value
    except CERTIFICATE_FAULTS as error:
        raise AttestationError(Code.GPU_FWID, "the leaf certificate names no firmware") from error
    value = extension.value if isinstance(extension, x509.UnrecognizedExtension) else b""
    whole = _only(value, _SEQUENCE)
    number, rest = _take(whole, _INTEGER)
    _key, rest = _take(rest, _SEQUENCE)
    identity = _only(rest, _SEQUENCE)
    if number != b"\x01" or not identity.startswith(_SHA384_OID):
        raise _no_fwid()
    digest = _only(identity[len(_SHA384_OID) :], _OCTETS)
    if len(digest) != SHA384.digest_size:
        raise _no_fwid()
    return digest


def _take(data: bytes, tag: int) -> tuple[bytes, bytes]:
    """Content of the DER element with this tag in front, and what follows it. Lengths of one or two bytes."""
    if len(data) < 2 or data[0] != tag:
        raise _no_fwid()
    size, at = data[1], 2
    if size == 0x81 and len(data) > 2:
        size, at = data[2], 3
    elif size >= 0x80:
        raise _no_fwid()
    if at + size > len(data):
        raise _no_fwid()
    return data[at : at + size], data[at + size :]


def _only(data: bytes, tag: int) -> bytes:
    content, rest = _take(data, tag)
    if rest:
        raise _no_fwid()
    return content


def _no_fwid() -> AttestationError:
    return AttestationError(Code.GPU_FWID, "what the leaf certificate says of the firmware has another form")


def _malformed(why: str) -> AttestationError:
    return AttestationError(
        Code.GPU_EVIDENCE_MALFORMED, f"the certificates of the device cannot be read: {why}"
    )
