# SPDX-License-Identifier: Apache-2.0
"""A GPU's attestation report: the SPDM 1.1 request and the response to it, as NVIDIA's driver hands them out.

All integers are little-endian, all lengths are checked, and nothing is left over. The response ends with a
signature of 96 bytes over everything before it, the request included. It is found by its offset: drivers add
one zero byte behind it now and then, and who counts from the end takes 95 bytes of it and that zero.

Source: DMTF DSP0274 1.1.1 (GET_MEASUREMENTS, MEASUREMENTS); numbers of opaque fields as in NVIDIA's nvtrust.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from sealroom.codes import Code
from sealroom_agents.errors import AttestationError

MAX_REPORT_BYTES = 16 * 1024
"""Largest report that is read; real ones have 4,052 to 4,278 bytes."""
NONCE_BYTES = 32
SIGNATURE_BYTES = 96
"""ECDSA P-384, r ‖ s, big-endian."""
MEASUREMENT_BYTES = 48
MAX_OPAQUE_FIELDS = 64

_REQUEST = bytes.fromhex("11e001ff")
"""SPDM 1.1, GET_MEASUREMENTS, signature asked for, all measurements."""
_RESPONSE = bytes.fromhex("1160")
"""SPDM 1.1, MEASUREMENTS."""
_REQUEST_BYTES = 37
_DRIVER, _VBIOS, _NVDEC, _CHIP_SKU, _PROJECT, _PROJECT_SKU, _FWID, _PROTECTED_PCIE = (
    3,
    6,
    11,
    15,
    17,
    18,
    20,
    21,
)
_SWITCHES = {0xAA: True, 0x55: False}
_WORD = re.compile(r"[A-Za-z0-9]{1,16}")
_DRIVER_VERSION = re.compile(r"[0-9]{3}\.[0-9]{1,3}(\.[0-9]{1,3})?")


@dataclass(frozen=True)
class Report:
    """What a report says. Nothing of it is verified by reading it."""

    nonce: bytes
    """Nonce of the request, 32 bytes."""
    measurements: dict[int, bytes]
    """48 bytes by the number of the block, which counts from 1."""
    driver: str
    """Version of the driver, such as `550.90.07`."""
    vbios: str
    """Version of the VBIOS in lower case, such as `96.00.9f.00.01`."""
    project: str
    project_sku: str
    chip_sku: str
    """Which board it is."""
    fwid: bytes | None
    """Identity of the firmware, 48 bytes; drivers before 550 do not report it."""
    nvdec: bool
    """Whether the video decoder is on, which measurement 35 is about."""
    protected_pcie: bool
    """Whether protected PCIe is on: several GPUs behind switches are one tenant's."""
    signed: bytes = field(repr=False)
    """What the signature covers."""
    signature: bytes = field(repr=False)
    """r ‖ s, 96 bytes."""

    @property
    def vbios_rim(self) -> str:
        """Name of the reference manifest of the VBIOS."""
        version = self.vbios.replace(".", "").upper()
        return f"NV_GPU_VBIOS_{self.project}_{self.project_sku}_{self.chip_sku}_{version}".upper()

    def driver_rim(self, chip: str) -> str:
        """Name of the reference manifest of the driver for a chip, such as `GH100`."""
        return f"NV_GPU_DRIVER_{chip}_{self.driver}"


def read_report(raw: bytes) -> Report:
    """Read request ‖ response. Raises `AttestationError` `gpu-evidence-malformed`."""
    if len(raw) > MAX_REPORT_BYTES:
        raise _bad(f"it has {len(raw)} bytes")
    request, response = _Bytes(raw[:_REQUEST_BYTES]), _Bytes(raw[_REQUEST_BYTES:])
    if request.take(4) != _REQUEST:
        raise _bad("it does not begin with SPDM 1.1's request for all measurements")
    nonce = request.take(NONCE_BYTES)
    if response.take(2) != _RESPONSE:
        raise _bad("no SPDM 1.1 measurements follow the request")
    response.take(2)
    blocks = response.take(1)[0]
    record = response.take(int.from_bytes(response.take(3), "little"))
    measurements = _measurements(record, blocks)
    response.take(NONCE_BYTES)
    opaque = _opaque(response.take(int.from_bytes(response.take(2), "little")))
    end = _REQUEST_BYTES + response.at
    signature = response.take(SIGNATURE_BYTES)
    if response.rest() not in (b"", b"\0"):
        raise _bad("something stands behind the signature")
    return Report(
        nonce=nonce,
        measurements=measurements,
        driver=_driver(opaque),
        vbios=_vbios(opaque),
        project=_word(opaque, _PROJECT),
        project_sku=_word(opaque, _PROJECT_SKU),
        chip_sku=_word(opaque, _CHIP_SKU),
        fwid=_fwid(opaque),
        nvdec=_switch(opaque, _NVDEC),
        protected_pcie=_PROTECTED_PCIE in opaque and _switch(opaque, _PROTECTED_PCIE),
        signed=raw[:end],
        signature=signature,
    )


class _Bytes:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        if size > len(self._data) - self.at:
            raise _bad("it is cut off")
        self.at += size
        return self._data[self.at - size : self.at]

    def rest(self) -> bytes:
        """What is left."""
        return self._data[self.at :]


def _bad(why: str) -> AttestationError:
    return AttestationError(Code.GPU_EVIDENCE_MALFORMED, f"the report cannot be read: {why}")


def _measurements(record: bytes, blocks: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    left = _Bytes(record)
    for _ in range(blocks):
        index, specification, size = struct.unpack("<BBH", left.take(4))
        _kind, length = struct.unpack("<BH", left.take(3))
        if specification != 1 or size != 3 + MEASUREMENT_BYTES or length != MEASUREMENT_BYTES:
            raise _bad(f"measurement {index} has another form")
        if index == 0 or index in found:
            raise _bad(f"measurement {index} is there twice, or is none")
        found[index] = left.take(MEASUREMENT_BYTES)
    if left.rest():
        raise _bad("something stands behind the measurements")
    return found


def _opaque(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    left = _Bytes(data)
    while left.rest():
        kind, size = struct.unpack("<HH", left.take(4))
        if kind in found or len(found) == MAX_OPAQUE_FIELDS:
            raise _bad(f"field {kind} is there twice, or one too many")
        found[kind] = left.take(size)
    return found


def _field(opaque: dict[int, bytes], kind: int, size: int | None = None) -> bytes:
    value = opaque.get(kind)
    if value is None or size not in (None, len(value)):
        raise _bad(f"field {kind} is missing, or has another size")
    return value


def _text(opaque: dict[int, bytes], kind: int, pattern: re.Pattern[str]) -> str:
    value = _field(opaque, kind).rstrip(b"\0").decode("ascii", "replace")
    if pattern.fullmatch(value) is None:
        raise _bad(f"field {kind} has another form")
    return value


def _word(opaque: dict[int, bytes], kind: int) -> str:
    return _text(opaque, kind, _WORD)


def _driver(opaque: dict[int, bytes]) -> str:
    return _text(opaque, _DRIVER, _DRIVER_VERSION)


def _vbios(opaque: dict[int, bytes]) -> str:
    value = _field(opaque, _VBIOS, 8)
    return ".".join(f"{value[place]:02x}" for place in (3, 2, 1, 0, 4))


def _fwid(opaque: dict[int, bytes]) -> bytes | None:
    return _field(opaque, _FWID, MEASUREMENT_BYTES) if _FWID in opaque else None


def _switch(opaque: dict[int, bytes], kind: int) -> bool:
    value = _SWITCHES.get(_field(opaque, kind, 1)[0])
    if value is None:
        raise _bad(f"field {kind} is neither on nor off")
    return value
