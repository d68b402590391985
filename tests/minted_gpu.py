# SPDX-License-Identifier: Apache-2.0
"""GPUs of the same form as NVIDIA's under roots of our own: what no recording has, a test mints.

mint = Mint()
walk_gpus(mint.evidence(nonce), nonce=nonce, now=NOW, trust=mint.trust)

The simulator's own parts make them; here is what only a test asks of them.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509.oid import ExtendedKeyUsageOID

from sealroom_agents.attestation.gpu import Trust
from sealroom_agents.simulator.gpu.manifest import encode_manifest
from sealroom_agents.simulator.gpu.pki import (
    DEVICE_NAMES,
    SIGNER_NAMES,
    Chain,
    Link,
    moment,
    raw_signature,
    subject,
)
from sealroom_agents.simulator.gpu.report import block, encode_report, golden
from sealroom_agents.simulator.gpu.status import Pair, encode_answer

__all__ = ["DEVICE_NAMES", "block", "golden", "raw_signature"]

NOW = 1_780_000_000
"""When everything minted here is valid, unix seconds."""
DAY = 86_400
FWID = bytes(range(48))
DRIVER = "570.172.08"
VBIOS = "96.00.d0.00.03"
VBIOS_RIM = "NV_GPU_VBIOS_G520_0280_895_9600D00003"
DRIVER_RIM = f"NV_GPU_DRIVER_GH100_{DRIVER}"
VBIOS_INDICES = (0, 1, 2, 9)
DRIVER_INDICES = (7, 21, 35)


def made_chain(
    names: tuple[str, ...] = SIGNER_NAMES,
    *,
    begin: int = NOW - 400 * DAY,
    end: int = NOW + 400 * DAY,
    serial: int = 2**158 + 1,
    **changes: Any,
) -> Chain:
    """Certificates of these names, leaf first, with fresh keys; `serial` is the leaf's."""
    links = [
        Link(name, ec.generate_private_key(ec.SECP384R1()), serial if place == 0 else place + 1)
        for place, name in enumerate(names)
    ]
    return Chain(links, begin, end, **changes)


def device_chain(**changes: Any) -> Chain:
    """A device's chain."""
    return made_chain(**{"names": DEVICE_NAMES, "fwid": FWID, **changes})


@dataclass
class Mint:
    """A device, who signs manifests, and who answers about certificates."""

    device: Chain = field(default_factory=device_chain)
    signer: Chain = field(default_factory=made_chain)
    opaque: dict[int, bytes] = field(default_factory=dict)
    """Fields of the report that are other ones, or missing where they are empty."""

    @property
    def trust(self) -> Trust:
        """The minted roots."""
        return Trust(devices=self.device.root, rims=self.signer.root)

    def report(self, nonce: bytes, **changes: bytes) -> bytes:
        """Request ‖ response, signed by the leaf; `changes` replace a part before that."""
        return encode_report(nonce, key=self.device.keys[0], fields=OPAQUE | self.opaque, **changes)

    def entry(self, nonce: bytes, /, **changes: Any) -> dict[str, Any]:
        """One GPU of evidence."""
        report = changes.pop("report", None) or self.report(nonce)
        return entry(report, self.device.pem) | changes

    def evidence(self, nonce: bytes, /, **changes: Any) -> bytes:
        """Evidence of this one device."""
        return json.dumps([self.entry(nonce, **changes)]).encode()

    def rim(self, version: str, indices: tuple[int, ...], **changes: Any) -> bytes:
        """A manifest that expects what `report` has, signed."""
        values = {index: (golden(index),) for index in indices} | changes.pop("values", {})
        return encode_manifest(version, values, self.signer, **changes)

    def answer(self, pair: tuple[x509.Certificate, x509.Certificate], **changes: Any) -> bytes:
        """The issuer's word on a certificate: good, since an hour, for a day."""
        issuer = pair[1]
        of = next(chain for chain in (self.device, self.signer) if issuer in chain.certificates)
        return answer(pair, of.keys[of.certificates.index(issuer)], **changes)


def entry(report: bytes, pem: bytes) -> dict[str, Any]:
    """One GPU of evidence, as nvattest writes it."""
    return {
        "arch": "HOPPER",
        "certificate": base64.b64encode(pem).decode(),
        "evidence": base64.b64encode(report).decode(),
        "nonce": report[4:36].hex(),
    }


OPAQUE = {
    3: DRIVER.encode() + b"\0",
    6: bytes.fromhex("00d0009603000000"),
    11: b"\x55",
    15: b"895\0",
    17: b"G520\0",
    18: b"0280\0",
    20: FWID,
    21: b"\x55",
}
"""The fields of a report that are read."""


def answer(
    pair: Pair,
    key: ec.EllipticCurvePrivateKey,
    *,
    made: int = NOW - 3600,
    until: int | None = NOW + DAY,
    **changes: Any,
) -> bytes:
    """An answer of a responder about a certificate, DER."""
    return encode_answer(pair, key, made=made, until=until, **changes)


def responder(
    chain: Chain, place: int, *, answers: bool = True, end: int = NOW + DAY
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Who answers for the certificate at a place of a chain: for the next one below, that is."""
    key = ec.generate_private_key(ec.SECP384R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject("OCSP"))
        .issuer_name(chain.name(place))
        .public_key(key.public_key())
        .serial_number(99)
        .not_valid_before(moment(NOW - DAY))
        .not_valid_after(moment(end))
    )
    usage = ExtendedKeyUsageOID.OCSP_SIGNING if answers else ExtendedKeyUsageOID.CODE_SIGNING
    builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return builder.sign(chain.keys[place], SHA384()), key
