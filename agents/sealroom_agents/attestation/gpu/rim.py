# SPDX-License-Identifier: Apache-2.0
"""Reference manifests (RIM): the measurements that NVIDIA signed for a version of the driver or the VBIOS.

A manifest is a SWID tag with an enveloped XML signature. Its signer's certificate lives about two years and
manifests are signed anew under the same name, with more alternatives at times, so one is judged at the moment
when it was fetched, and whoever uses it bounds how long ago that may be.

Source: ISO/IEC 19770-2, TCG RIM information model, W3C XML Signature (Canonical XML 1.1, ECDSA with SHA-384).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from sealroom.codes import Code
from sealroom_agents.attestation.gpu.canonical_xml import Element, XmlError, canonical_xml, read_xml
from sealroom_agents.attestation.gpu.chain import (
    CERTIFICATE_FAULTS,
    RIM_ROOT,
    chain_fault,
    public_key,
    time_fault,
)
from sealroom_agents.errors import AttestationError

MAX_RIM_BYTES = 128 * 1024
"""Largest manifest; real ones have 21 KiB."""
MAX_KEPT = 32
"""Manifests that are kept as verified: the same bytes at the same time have the same verdict."""
MAX_CERTIFICATES = 6
MAX_INDEX = 63
"""Measurements count from 0 here, and from 1 in reports."""
MAX_ALTERNATIVES = 64

_DS = "http://www.w3.org/2000/09/xmldsig#"
_SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_HASH = "http://www.w3.org/2001/04/xmlenc#sha384"
_C14N = "http://www.w3.org/2006/12/xml-c14n11"
_ECDSA = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384"
_DIGEST = "http://www.w3.org/2001/04/xmldsig-more#sha384"
_ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature"
_SIGNATURE_BYTES = 96


@dataclass(frozen=True)
class Rim:
    """A manifest whose signature was verified."""

    product: str
    """The chip, such as `GH100`."""
    version: str
    """Version of driver or VBIOS, in lower case."""
    golden: dict[int, tuple[bytes, ...]]
    """What NVIDIA expects, 48 bytes each, by index from 0; active ones only. One of them must be measured."""
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    """The signer's certificates, signer first, root last."""


@lru_cache(MAX_KEPT)
def verify_rim(data: bytes, *, now: int, root: bytes = RIM_ROOT) -> Rim:
    """Verify a manifest at `now`, unix seconds: when it was fetched. `root`: SHA-256 of the root's DER.

    Raises `AttestationError`, in the order of the checks: `gpu-rim-malformed`, `gpu-rim-chain`,
    `gpu-rim-expired`, `gpu-rim-signature`, `gpu-rim-altered`.
    """
    if len(data) > MAX_RIM_BYTES:
        raise _malformed("it is too large")
    try:
        document = read_xml(data)
        signature = _signature(document)
        info, value, certificates = _parts(signature)
        signed_info = canonical_xml(info)
        digest = _digest(read_xml(signed_info))
        payload = canonical_xml(document, without=signature)
        chain = tuple(_certificate(text) for text in certificates)
        raw = _base64(value)
    except (XmlError, ValueError) as error:
        raise _malformed(str(error)) from error
    _require_chain(chain, root, now)
    _require_signed(chain[0], raw, signed_info)
    if hashlib.sha384(payload).digest() != digest:
        raise AttestationError(Code.GPU_RIM_ALTERED, "the manifest is not what its signature covers")
    try:
        # What was signed, and nothing else, is what is read.
        return _content(read_xml(payload), chain)
    except (XmlError, ValueError) as error:
        raise _malformed(str(error)) from error


def _require_chain(chain: tuple[x509.Certificate, ...], root: bytes, now: int) -> None:
    if why := chain_fault(chain, root):
        raise AttestationError(Code.GPU_RIM_CHAIN, f"the certificates of the manifest: {why}")
    if why := time_fault(chain, now):
        raise AttestationError(Code.GPU_RIM_EXPIRED, f"the certificates of the manifest: {why}")


def _require_signed(signer: x509.Certificate, raw: bytes, signed: bytes) -> None:
    key = public_key(signer)
    try:
        if key is None or len(raw) != _SIGNATURE_BYTES:
            raise InvalidSignature
        half = _SIGNATURE_BYTES // 2
        r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise AttestationError(Code.GPU_RIM_SIGNATURE, "the signature of the manifest is wrong") from error


def _signature(document: Element) -> Element:
    """The one signature, which stands directly in the document."""
    found = [element for element in document.walk() if element.tag == (_DS, "Signature")]
    if len(found) != 1 or not any(child is found[0] for child in document.children):
        raise XmlError("not one enveloped signature")
    return found[0]


def _parts(signature: Element) -> tuple[Element, str, list[str]]:
    """What is signed, the signature's value, and the certificates, each in base64."""
    info, value, keys = _exactly(signature, ("SignedInfo", "SignatureValue", "KeyInfo"))
    (data,) = _exactly(keys, ("X509Data",))
    certificates = data.elements()
    if not 2 <= len(certificates) <= MAX_CERTIFICATES:
        raise XmlError(f"{len(certificates)} certificates")
    if any(one.tag != (_DS, "X509Certificate") for one in certificates):
        raise XmlError("something besides certificates")
    return info, value.text(), [one.text() for one in certificates]


def _digest(info: Element) -> bytes:
    """The digest that a signature names, if it is of the whole document by the algorithms that we know."""
    canonical, method, reference = _exactly(info, ("CanonicalizationMethod", "SignatureMethod", "Reference"))
    transforms, digest_method, digest = _exactly(reference, ("Transforms", "DigestMethod", "DigestValue"))
    enveloped, second = _exactly(transforms, ("Transform", "Transform"))
    found = [_algorithm(one) for one in (canonical, method, enveloped, second, digest_method)]
    if found != [_C14N, _ECDSA, _ENVELOPED, _C14N, _DIGEST] or reference.attributes != {"URI": ""}:
        raise XmlError("other algorithms than NVIDIA’s")
    return _base64(digest.text())


def _algorithm(element: Element) -> str | None:
    if element.children:
        raise XmlError(f"parameters of {element.name}")
    return element.get("Algorithm")


def _exactly(element: Element, names: Sequence[str]) -> list[Element]:
    found = element.elements()
    if [one.tag for one in found] != [(_DS, name) for name in names]:
        raise XmlError(f"another form of {element.name}")
    return found


def _content(document: Element, chain: tuple[x509.Certificate, ...]) -> Rim:
    parts = {one.tag: one for one in document.elements()}
    if document.tag != (_SWID, "SoftwareIdentity") or len(parts) != len(document.elements()):
        raise XmlError("no software identity")
    meta, payload = parts.get((_SWID, "Meta")), parts.get((_SWID, "Payload"))
    if meta is None or payload is None:
        raise XmlError("it lacks version or payload")
    version, product = meta.get("colloquialVersion"), meta.get("product")
    if not version or not product:
        raise XmlError("it names no version or product")
    golden: dict[int, tuple[bytes, ...]] = {}
    seen: set[int] = set()
    for resource in payload.elements():
        index = _number(resource.get("index"), 0, MAX_INDEX)
        if resource.tag != (_SWID, "Resource") or resource.get("type") != "Measurement" or index in seen:
            raise XmlError(f"measurement {index} is there twice, or is none")
        seen.add(index)
        values = _alternatives(resource)
        active = resource.get("active")
        if active not in ("True", "False"):
            raise XmlError(f"measurement {index} is neither active nor not")
        if active == "True":
            golden[index] = values
    if not golden:
        raise XmlError("it expects nothing")
    return Rim(product=product, version=version.lower(), golden=golden, chain=chain)


def _alternatives(resource: Element) -> tuple[bytes, ...]:
    values = []
    for number in range(_number(resource.get("alternatives"), 1, MAX_ALTERNATIVES)):
        value = bytes.fromhex(resource.get(f"Hash{number}", _HASH) or "")
        if len(value) != SHA384.digest_size:
            raise XmlError("a measurement of another size")
        values.append(value)
    return tuple(values)


def _number(text: str | None, low: int, high: int) -> int:
    if (
        text is None
        or len(text) > 3
        or not (text.isascii() and text.isdigit())
        or not low <= int(text) <= high
    ):
        raise XmlError("a number of another form")
    return int(text)


def _certificate(text: str) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(_base64(text))
    except CERTIFICATE_FAULTS as error:
        raise XmlError("something that is no certificate") from error


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except binascii.Error as error:
        raise XmlError("no base64") from error


def _malformed(why: str) -> AttestationError:
    return AttestationError(Code.GPU_RIM_MALFORMED, f"the manifest cannot be read: {why}")
