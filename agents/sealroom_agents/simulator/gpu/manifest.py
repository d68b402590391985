# SPDX-License-Identifier: Apache-2.0
"""Reference manifests (RIM) of simulated drivers and VBIOSes.

They are written in canonical form by hand, so that their signatures do not rest on the verifier's own
canonical XML. Source: ISO/IEC 19770-2, TCG RIM information model, W3C XML Signature.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from cryptography.hazmat.primitives.serialization import Encoding

from sealroom_agents.simulator.gpu.pki import Chain, raw_signature

CHIP = "GH100"
"""The one chip that is simulated."""

_SWID = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
_SCOPE = f'xmlns="{_SWID}" xmlns:h="http://www.w3.org/2001/04/xmlenc#sha384"'
_ALGORITHM = "http://www.w3.org/2001/04/xmldsig-more#"
_C14N = "http://www.w3.org/2006/12/xml-c14n11"
_DS = "http://www.w3.org/2000/09/xmldsig#"


def encode_manifest(
    version: str,
    values: Mapping[int, tuple[bytes, ...]],
    signer: Chain,
    *,
    product: str = CHIP,
    active: str = "True",
) -> bytes:
    """A signed manifest: what is expected of a version, alternatives by index from 0."""
    resources = "".join(
        f'<Resource active="{active}" alternatives="{len(found)}" index="{index}" '
        f'size="48" type="Measurement"'
        + "".join(f' h:Hash{place}="{value.hex()}"' for place, value in enumerate(found))
        + "></Resource>"
        for index, found in values.items()
    )
    meta = f'<Meta colloquialVersion="{version}" product="{product}"></Meta>'
    head = f'<SoftwareIdentity {_SCOPE} name="{CHIP}">\n{meta}'
    body, end = f"{head}<Payload>{resources}</Payload>", "</SoftwareIdentity>"
    digest = _base64(hashlib.sha384((body + end).encode()).digest())
    # What is signed carries the namespaces that are in scope where it stands.
    one, other = _SCOPE.split(" ")
    value = raw_signature(signer.keys[0], _info(digest, f' {one} xmlns:ds="{_DS}" {other}').encode())
    certificates = "".join(
        f"<ds:X509Certificate>{_base64(each.public_bytes(Encoding.DER))}</ds:X509Certificate>"
        for each in signer.certificates
    )
    signature = (
        f'<ds:Signature xmlns:ds="{_DS}">{_info(digest, "")}'
        f"<ds:SignatureValue>{_base64(value)}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo></ds:Signature>"
    )
    return (body + signature + end).encode()


def _info(digest: str, scope: str) -> str:
    return (
        f"<ds:SignedInfo{scope}>"
        f'<ds:CanonicalizationMethod Algorithm="{_C14N}"></ds:CanonicalizationMethod>'
        f'<ds:SignatureMethod Algorithm="{_ALGORITHM}ecdsa-sha384"></ds:SignatureMethod>'
        f'<ds:Reference URI=""><ds:Transforms>'
        f'<ds:Transform Algorithm="{_DS}enveloped-signature"></ds:Transform>'
        f'<ds:Transform Algorithm="{_C14N}"></ds:Transform></ds:Transforms>'
        f'<ds:DigestMethod Algorithm="{_ALGORITHM}sha384"></ds:DigestMethod>'
        f"<ds:DigestValue>{digest}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
