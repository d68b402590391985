# SPDX-License-Identifier: Apache-2.0
"""TDX-lite: from the measurement that an OS image carries to the registers of a machine that booted it.

An image's digest is that of its list of checksums, which names `measurement.tdx.cbor`, which names firmware,
kernel, command line and initial disk. So a digest alone fixes MRTD, RTMR1 and RTMR2, and with the size of
memory RTMR0 too, but for three digests: ACPI tables are made by the host, and nothing here judges them.
Source: dstack `dstack-mr/src/tdx.rs` and `tdvf.rs`, 0.6.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import from_base64, sha256, strict_json
from sealroom.errors import FormatError
from sealroom.platform_policy import BY_IMAGE, LiteImage, OsImage

MEASUREMENT_FILE = "measurement.tdx.cbor"
VERSION = 3
OVMF = "pre202505"
"""The one firmware whose boot is known; a newer one measures four events more."""
MIB = 1 << 20
LOW_MEMORY = 0xB0000000
"""Memory from which on a machine has a part above 4 GiB."""
MAX_VM_CONFIG_BYTES = 64 * 1024
SMALL_MEMORY = 2 << 30
"""The one smaller size whose kernel has the same digest."""
ACPI_EVENTS = 3

_MAX_DEPTH = 4
_MAX_RANGES = 64
_EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_EFI_DATABASES = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
_VARIABLES = (
    (_EFI_GLOBAL, "SecureBoot"),
    (_EFI_GLOBAL, "PK"),
    (_EFI_GLOBAL, "KEK"),
    (_EFI_DATABASES, "db"),
    (_EFI_DATABASES, "dbx"),
)
"""Variables that firmware measures, all of them empty: no secure boot is set up in a TD."""
_CFV = bytes.fromhex(
    "344bc51c980ba621aaa00da3ed7436f7d6e549197dfe699515dfa2c6583d95e6412af21c097d473155875ffd561d6790"
)
"""Digest of dstack's configuration volume of the firmware."""
_BOOT0 = bytes.fromhex(
    "23ada07f5261f12f34a0bd8e46760962d6b4d576a416f1fea1c64bc656b1d28eacf7047ae6e967c58fd2a98bfa74c298"
)
"""Digest of the variable Boot0000: start what the host hands over."""


@dataclass(frozen=True)
class LiteMeasurement:
    """What an image's measurement says; registers are 48 bytes."""

    mr_tds: tuple[bytes, ...]
    """MRTD by how the host added pages: in one pass, in two."""
    rt_mr1: bytes
    """RTMR1: kernel."""
    rt_mr2: bytes
    """RTMR2: command line and initial disk."""
    memory_map: bytes
    """What of memory the firmware takes, packed; from it follows what it measures of memory."""

    def rt_mr0(self, memory: int, acpi: Sequence[bytes]) -> bytes:
        """RTMR0 of a machine with that much memory (bytes) and ACPI tables of these three digests.

        Raises `FormatError` where the packed map is malformed.
        """
        zero = _digest(bytes(4))
        return _register(
            [
                _digest(_memory_list(self.memory_map, memory)),
                _CFV,
                *(_variable(vendor, name) for vendor, name in _VARIABLES),
                zero,
                *acpi,
                _digest(bytes(2)),
                _BOOT0,
            ]
        )


@lru_cache(16)
def read_measurement(image: LiteImage) -> LiteMeasurement:
    """The measurement of an image. Raises `FormatError` `malformed`: it is not the one that the list of
    checksums names, of another version or firmware, or its machines cannot have that memory."""
    if not image.checksums.isascii():
        _malformed("its list of checksums is not text")
    lines = [line.split() for line in image.checksums.decode().splitlines() if line.strip()]
    named = [line[0] for line in lines if len(line) == 2 and line[1].lstrip("*") == MEASUREMENT_FILE]
    if named != [sha256(image.measurement).hex()]:
        _malformed(f"its list of checksums does not name this {MEASUREMENT_FILE}")
    for memory in image.memory:
        if memory * MIB != SMALL_MEMORY and memory * MIB < LOW_MEMORY:
            _malformed(f"its registers are not known for {memory} MiB of memory")
    document = _Cbor(image.measurement).whole()
    if _member(document, "version", int) != VERSION:
        _malformed(f"its measurement is of another version than {VERSION}")
    boot, firmware = _member(document, "image", dict), _member(document, "tdvf", dict)
    if _member(firmware, "ovmf", str) != OVMF:
        _malformed(f"its firmware is another than {OVMF}")
    passes = _member(firmware, "mrtd", dict)
    found = LiteMeasurement(
        mr_tds=(_hash(passes, "single_pass"), _hash(passes, "two_pass")),
        rt_mr1=_register(
            [
                _hash(boot, "kernel_authenticode"),
                _digest(b"Calling EFI Application from Boot Option"),
                _digest(bytes(4)),
                _digest(b"Exit Boot Services Invocation"),
                _digest(b"Exit Boot Services Returned with Success"),
            ]
        ),
        rt_mr2=_register([_hash(boot, "cmdline_sha384"), _hash(boot, "initrd_sha384")]),
        memory_map=_member(firmware, "td_hob", bytes),
    )
    for memory in image.memory:
        _memory_list(found.memory_map, memory * MIB)
    return found


def carried_image(vm_config: str, memory: Sequence[int] = ()) -> LiteImage:
    """The entry of the image that a recorded machine's `vm_config` carries, checked against its own digest.

    memory: sizes in MiB; without them the recorded machine's. Whether the digest is that of a release, who
    wrote the entry compares. Raises `FormatError` `malformed`.
    """
    document = strict_json(vm_config.encode("utf-8", "surrogatepass"), MAX_VM_CONFIG_BYTES)
    parts, digest = document.get("tdx_measurement"), document.get("os_image_hash")
    if not isinstance(parts, dict):
        _malformed("the host's vm_config has no tdx_measurement; only images from dstack 0.6 on carry one")
    size = document.get("memory_size")
    if not memory:
        if not isinstance(size, int) or size <= 0 or size % MIB:
            _malformed("the host's vm_config names no size of memory")
        memory = (size // MIB,)
    image = LiteImage(
        checksums=from_base64(parts.get("checksum_file")),
        measurement=from_base64(parts.get("measurement")),
        memory=tuple(sorted(set(memory))),
    )
    read_measurement(image)
    if image.digest.hex() != digest:
        _malformed("its list of checksums has another digest than os_image_hash")
    return image


def is_booted(image: LiteImage, mr_td: bytes, rt_mr: Sequence[bytes], acpi: Sequence[bytes]) -> bool:
    """Whether a machine with these registers booted the image, with a size of memory that the entry names.

    acpi: digests of its ACPI tables, as its log has them; they count, since RTMR0 follows from them.
    """
    seen = read_measurement(image)
    if mr_td not in seen.mr_tds or tuple(rt_mr[1:3]) != (seen.rt_mr1, seen.rt_mr2):
        return False
    return len(acpi) == ACPI_EVENTS and any(
        seen.rt_mr0(memory * MIB, acpi) == rt_mr[0] for memory in image.memory
    )


def as_images(image: LiteImage) -> tuple[OsImage, ...]:
    """The entries by image that say the same, but for RTMR0: for a pin, which holds registers only."""
    seen = read_measurement(image)
    return tuple(
        OsImage(by=BY_IMAGE, digest=image.digest, mr_td=mr_td, rt_mr=(seen.rt_mr1, seen.rt_mr2))
        for mr_td in sorted(set(seen.mr_tds))
    )


# --- registers ---------------------------------------------------------------------------------------


def _digest(data: bytes) -> bytes:
    return hashlib.sha384(data).digest()


def _register(digests: Iterable[bytes]) -> bytes:
    register = bytes(48)
    for digest in digests:
        register = _digest(register + digest)
    return register


def _variable(vendor: str, name: str) -> bytes:
    """Digest of an empty EFI variable: vendor, length of the name, length of the value, name."""
    return _digest(uuid.UUID(vendor).bytes_le + struct.pack("<QQ", len(name), 0) + name.encode("utf-16-le"))


def _memory_list(packed: bytes, memory: int) -> bytes:
    """The list of memory that the firmware is given (a TD HOB): its head, then one entry a range."""
    base, end, ranges = _ranges(packed, memory)
    listed = bytearray(struct.pack("<HHIII", 1, 56, 0, 9, 0) + bytes(40))

    def add(accepted: bool, start: int, stop: int) -> None:
        # Kind 0 is memory that the firmware has accepted, kind 7 memory that it has yet to accept.
        kind = 0 if accepted else 7
        listed.extend(struct.pack("<HHI16xB3xIQQ", 3, 48, 0, kind, 7, start, stop - start))

    *below, (_, start, stop) = ranges
    for accepted, low, high in below:
        add(accepted, low, high)
    if memory >= LOW_MEMORY:
        # What would lie above 2 GiB is mapped above 4 GiB.
        if start < 1 << 31:
            add(False, start, 1 << 31)
        if stop > 1 << 31:
            add(False, 1 << 32, (1 << 32) + stop - (1 << 31))
    else:
        add(False, start, stop)
    listed[48:56] = struct.pack("<Q", ((base + end) << 12) + len(listed) + 8)
    return bytes(listed)


def _ranges(packed: bytes, memory: int) -> tuple[int, int, list[tuple[bool, int, int]]]:
    """First page of the list, how far its end is from there, and ranges of memory: accepted or not, bytes."""
    numbers = _numbers(packed)
    if len(numbers) < 3 or numbers[2] > _MAX_RANGES or len(numbers) != 3 + 2 * numbers[2]:
        _malformed("its map of memory has a wrong length")
    base, end, count = numbers[:3]
    ranges = [(False, 0, memory)]
    for place in range(count):
        first, pages = numbers[3 + 2 * place : 5 + 2 * place]
        start, stop = (base + first) << 12, (base + first + pages) << 12
        if start >= stop:
            continue
        split = []
        for accepted, low, high in ranges:
            if accepted or high <= start or low >= stop:
                split.append((accepted, low, high))
                continue
            if low < start:
                split.append((False, low, start))
            if high > stop:
                split.append((False, stop, high))
        ranges = sorted([*split, (True, start, stop)], key=lambda one: one[1])
    if ranges[-1][2] > 1 << 63 or base + end > 1 << 50:
        _malformed("its map of memory goes beyond any memory")
    return base, end, ranges


def _numbers(packed: bytes) -> list[int]:
    """Numbers of seven bits a byte, the lowest first; the last byte of each has no high bit."""
    found, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            found.append(value)
            value = shift = 0
        elif shift > 49:
            _malformed("its map of memory has a number that is too large")
    if shift:
        _malformed("its map of memory ends within a number")
    return found


# --- CBOR --------------------------------------------------------------------------------------------


class _Cbor:
    """The part of CBOR that a measurement has: numbers, bytes, text and maps of definite length."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def whole(self) -> dict[str, Any]:
        found = self._item(0)
        if self._place != len(self._data) or not isinstance(found, dict):
            _malformed("its measurement is not one CBOR map")
        return found

    def _item(self, depth: int) -> Any:
        kind, size = divmod(self._take(1)[0], 32)
        if size >= 24:
            if size > 27:
                _malformed("its measurement has CBOR of another form")
            size = int.from_bytes(self._take(1 << (size - 24)), "big")
        if kind == 0:
            return size
        if kind == 2:
            return self._take(size)
        if kind == 3:
            text = self._take(size)
            if not text.isascii():
                _malformed("its measurement has text of another form")
            return text.decode()
        if kind == 5 and depth < _MAX_DEPTH:
            found: dict[Any, Any] = {}
            for _ in range(size):
                name = self._item(_MAX_DEPTH)
                if name in found:
                    _malformed("its measurement has a member twice")
                found[name] = self._item(depth + 1)
            return found
        _malformed("its measurement has CBOR of another form")

    def _take(self, size: int) -> bytes:
        self._place += size
        if self._place > len(self._data):
            _malformed("its measurement is cut off")
        return self._data[self._place - size : self._place]


def _member(value: dict[Any, Any], name: str, type_: type[Any]) -> Any:
    if not isinstance(value.get(name), type_):
        _malformed(f"its measurement lacks {name}")
    return value[name]


def _hash(value: dict[Any, Any], name: str) -> bytes:
    found: bytes = _member(value, name, bytes)
    if len(found) != 48:
        _malformed(f"its measurement has {name} that is no SHA-384")
    return found


def _malformed(why: str) -> NoReturn:
    raise FormatError(Code.MALFORMED, f"a TDX-lite image is malformed: {why}")
