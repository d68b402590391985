# SPDX-License-Identifier: Apache-2.0
"""The SPDM 1.1 report of a simulated GPU: the request for all measurements, and the signed response.

Source: DMTF DSP0274 1.1.1; numbers of opaque fields as in NVIDIA's nvtrust.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec

from sealroom_agents.simulator.gpu.pki import raw_signature

BLOCKS = 64
"""Measurements in a report."""
ON, OFF = b"\xaa", b"\x55"
"""What a switch among the opaque fields says."""
DRIVER, VBIOS, NVDEC, CHIP_SKU, PROJECT, PROJECT_SKU, FWID, PROTECTED_PCIE = 3, 6, 11, 15, 17, 18, 20, 21
"""Numbers of the opaque fields that a verifier reads."""

_MEASUREMENT_BYTES = 48


def golden(index: int) -> bytes:
    """What a simulated GPU measures at an index, which counts from 0 as manifests do: 48 bytes."""
    return hashlib.sha384(bytes([index])).digest()


def block(number: int, value: bytes | None = None) -> bytes:
    """A measurement as a report has it, which counts from 1."""
    value = golden(number - 1) if value is None else value
    return struct.pack("<BBHBH", number, 1, 3 + _MEASUREMENT_BYTES, 1, _MEASUREMENT_BYTES) + value


def opaque_fields(
    *, driver: str, vbios: str, board: tuple[str, str, str], fwid: bytes, protected_pcie: bool
) -> dict[int, bytes]:
    """The fields that a verifier reads. `board` has project, its SKU and the chip's."""
    project, project_sku, chip_sku = board
    a, b, c, d, e = bytes.fromhex(vbios.replace(".", ""))
    return {
        DRIVER: driver.encode() + b"\0",
        VBIOS: bytes([d, c, b, a, e, 0, 0, 0]),
        NVDEC: OFF,
        CHIP_SKU: chip_sku.encode() + b"\0",
        PROJECT: project.encode() + b"\0",
        PROJECT_SKU: project_sku.encode() + b"\0",
        FWID: fwid,
        PROTECTED_PCIE: ON if protected_pcie else OFF,
    }


def encode_report(
    nonce: bytes, *, key: ec.EllipticCurvePrivateKey, fields: Mapping[int, bytes], **changes: bytes
) -> bytes:
    """Request ‖ response under a nonce of 32 bytes, signed by the leaf's key.

    Opaque `fields` that are empty are left out. changes: other bytes for `request`, `head`, `blocks`,
    `record` or `opaque`, for a bad twin; they are signed.
    """
    parts = {
        "request": bytes.fromhex("11e001ff") + nonce + b"\0",
        "head": bytes.fromhex("11600000"),
        "blocks": bytes([BLOCKS]),
        "record": b"".join(block(number) for number in range(1, BLOCKS + 1)),
        "opaque": b"".join(
            struct.pack("<HH", kind, len(value)) + value for kind, value in fields.items() if value
        ),
    } | changes
    body = parts["request"] + parts["head"] + parts["blocks"]
    body += len(parts["record"]).to_bytes(3, "little") + parts["record"] + bytes(32)
    body += len(parts["opaque"]).to_bytes(2, "little") + parts["opaque"]
    return body + raw_signature(key, body)
