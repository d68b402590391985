# SPDX-License-Identifier: Apache-2.0
"""GPU evidence as a guest hands it out, and what each GPU in it proves by itself.

The form is that of `nvattest collect-evidence`, which dstack's guest agent passes on (`AttestGpu`, format
`nvidia-nvattest-collect-evidence-json-v1`): a JSON array with one object a GPU.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealroom.codes import Code
from sealroom.encoding import Fields, from_base64, sha256
from sealroom.errors import FormatError
from sealroom.key_release.messages import MAX_GPU_EVIDENCE
from sealroom_agents.attestation.gpu.arrays import read_array
from sealroom_agents.attestation.gpu.chain import certified_fwid, common_name, device_chain, public_key
from sealroom_agents.attestation.gpu.report import NONCE_BYTES, SIGNATURE_BYTES, Report, read_report
from sealroom_agents.errors import AttestationError

MAX_GPUS = 16
CHIPS = {"HOPPER": "GH100"}
"""Architectures whose evidence is verified, and the chip that their certificates name."""
FORM_VERSION = "1.0"
"""Version of the form, where evidence names one."""

_HEX = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")


@dataclass(frozen=True)
class Device:
    """One GPU of the evidence. Nothing of it is verified by reading it."""

    arch: str
    """Architecture, as the evidence names it: `HOPPER`."""
    report: Report
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    """Certificates, leaf first."""

    @property
    def ueid(self) -> str:
        """The device's identity: the serial number of its leaf certificate, in decimal as NVIDIA tells it."""
        return str(self.chain[0].serial_number)

    @property
    def boot_rom(self) -> bytes:
        """The key of the device's boot ROM, which certified the leaf: SHA-256 of its SubjectPublicKeyInfo."""
        key = self.chain[1].public_key()
        return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def chip(self) -> str:
        """The chip that goes with the architecture."""
        return CHIPS[self.arch]


def read_evidence(data: bytes) -> tuple[Device, ...]:
    """Read evidence of 1 to 16 GPUs. Raises `AttestationError`: `gpu-evidence-malformed`, and
    `gpu-architecture` for one that nothing here can verify."""
    try:
        found = read_array(data, MAX_GPU_EVIDENCE)
        if not 1 <= len(found) <= MAX_GPUS:
            raise _malformed(f"no array of 1 to {MAX_GPUS} GPUs")
        return tuple(_device(value) for value in found)
    except FormatError as error:
        raise _malformed(error.message) from error


def require_signature(device: Device) -> None:
    """The key of the leaf signed the report. Raises `AttestationError` `gpu-signature`."""
    key, raw, half = public_key(device.chain[0]), device.report.signature, SIGNATURE_BYTES // 2
    try:
        if key is None:
            raise InvalidSignature
        r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
        key.verify(encode_dss_signature(r, s), device.report.signed, ec.ECDSA(SHA384()))
    except InvalidSignature as error:
        raise AttestationError(Code.GPU_SIGNATURE, "the device did not sign this report") from error


def require_nonce(device: Device, nonce: bytes) -> None:
    """The report was made for this nonce, 32 bytes (GP-01). Raises `AttestationError` `gpu-nonce`."""
    if len(nonce) != NONCE_BYTES or not hmac.compare_digest(device.report.nonce, nonce):
        raise AttestationError(Code.GPU_NONCE, "the report was made for another nonce")


def require_firmware(device: Device) -> None:
    """The chip is of the architecture, and the firmware that reports is the one that its boot ROM certified
    (GP-10). Raises `AttestationError`: `gpu-architecture`, `gpu-fwid`."""
    for certificate in device.chain[:2]:
        name = common_name(certificate)
        if not name.startswith(f"{device.chip} "):
            raise AttestationError(
                Code.GPU_ARCHITECTURE, f"{device.arch} has chips {device.chip}, and this is {name!r}"
            )
    certified = certified_fwid(device.chain[0])
    # Drivers before 550 do not report it; then the certificate alone names the firmware.
    if device.report.fwid is not None and not hmac.compare_digest(device.report.fwid, certified):
        raise AttestationError(Code.GPU_FWID, "the firmware that reports is not the one of the certificate")


def _device(value: object) -> Device:
    fields = Fields(value, "GPU evidence")
    arch, certificate, evidence, nonce = (
        fields.raw(name) for name in ("arch", "certificate", "evidence", "nonce")
    )
    told = {
        name: fields.raw(name)
        for name in ("driver_version", "vbios_version", "version")
        if isinstance(value, dict) and name in value
    }
    fields.done()
    if not isinstance(arch, str) or arch not in CHIPS:
        raise AttestationError(
            Code.GPU_ARCHITECTURE, f"this version verifies {' and '.join(CHIPS)}, and no other architecture"
        )
    device = Device(arch, read_report(from_base64(evidence)), device_chain(from_base64(certificate)))
    if not isinstance(nonce, str) or _HEX.fullmatch(nonce) is None or nonce != device.report.nonce.hex():
        raise _malformed("the nonce beside a report is not the report's")
    if told.get("version", FORM_VERSION) != FORM_VERSION:
        raise _malformed("it has another version")
    for name, said in (("driver_version", device.report.driver), ("vbios_version", device.report.vbios)):
        # Nothing signs what stands beside a report, so it may not say anything else.
        if name in told and str(told[name]).lower() != said:
            raise _malformed(f"the {name} beside a report is not the report's")
    return device


def _malformed(why: str) -> AttestationError:
    return AttestationError(Code.GPU_EVIDENCE_MALFORMED, f"the GPU evidence cannot be read: {why}")
