# SPDX-License-Identifier: Apache-2.0
"""One file of DICOM, read within bounds, and what stands in it that tells who somebody is."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

from sealroom_agents.owner.adapters.dicom_profile import listed, private
from sealroom_agents.owner.images import Unfit

MAX_FILE_BYTES = 256 * 2**20
MAX_ELEMENTS = 100_000
"""Attributes of one file, with those in its sequences, and with the items of these."""
MAX_NESTING = 16
"""Deepest that sequences lie in one another."""
PRIVATE = 0x00010001
"""Stands for all private attributes in what is counted: no tag of the standard has an odd group."""
DIRECTORY = "1.2.840.10008.1.3.10"
"""What an index of a folder (DICOMDIR) says that it is."""
_PREAMBLE, _MAGIC = 128, b"DICM"
_META_GROUP = 2
_ITEM = b"\xfe\xff\x00\xe0"
"""What each item of a sequence begins with, in little endian."""
_HEAD_BYTES = 8
"""Of an attribute: tag, kind of value, length."""
_UNDEFINED = 0xFFFFFFFF
_CUT_OFF = "was cut off"
MAX_READS = 4 * MAX_ELEMENTS
"""Reading an attribute takes three reads at most, and one more where its length is found by its end."""


class _Bounded:
    """A stream for pydicom, which makes an object of all that it reads: after so many reads it ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.left = MAX_READS
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise Unfit(f"has more than {MAX_ELEMENTS:,} attributes")
        found = self._stream.read(size)
        if size == _HEAD_BYTES and 0 < len(found) < size:
            raise Unfit(_CUT_OFF)  # pydicom takes what is left of a tag for the end
        return found


@contextmanager
def reading(stream: _Bounded | None = None) -> Iterator[None]:
    """What pydicom raises and warns of, as `Unfit`. Its words repeat values."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Unfit:
        raise
    except Exception as error:  # pydicom raises whatever a broken file makes it meet
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own word, and not pydicom's
        if stream is not None:
            stream.read(0)  # which says so where pydicom took our refusal for a broken item
        raise Unfit("is broken, or nested too deeply") from None


def read_file(path: Path, *, pixels: bool) -> Any:
    """The dataset of a file, without its pixels unless they are asked for. Raises `Unfit`."""
    from pydicom import dcmread
    from pydicom.filereader import read_dataset

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise Unfit("cannot be opened") from None
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_size > MAX_FILE_BYTES:
            raise Unfit(f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
        if stream.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] != _MAGIC:
            raise Unfit("is no file of DICOM")
        bounded = _Bounded(stream)
        with reading(bounded):
            meta = read_dataset(
                cast(BinaryIO, bounded), False, True, stop_when=lambda tag, *_: tag >> 16 != _META_GROUP
            )
            syntax = meta.get("TransferSyntaxUID")
            # Packed whole, it is unpacked at once, to whatever size.
            if syntax is None or not syntax.is_transfer_syntax or syntax.is_deflated:
                said = "no known way" if syntax is None or not syntax.is_transfer_syntax else syntax.name
                raise Unfit(f"is packed in {said}, which is not read")
            stream.seek(0)
            return dcmread(bounded, stop_before_pixels=not pixels)
    raise AssertionError("the block returns or raises")


def telling(dataset: Any) -> Counter[int]:
    """How often each attribute that tells who somebody is stands in a file, in its sequences too, by its tag.

    Private ones are counted under `PRIVATE`. Raises `Unfit` for more than is bounded.
    """
    found: Counter[int] = Counter()
    left = MAX_ELEMENTS
    level = [dataset.file_meta, dataset]
    for _ in range(MAX_NESTING + 1):
        below: list[Any] = []
        left -= sum(len(each) + 1 for each in level)
        waiting = 0
        for each in level:
            for tag in each.keys():  # noqa: SIM118, a dataset is no mapping of keys alone
                if private(tag):
                    found[PRIVATE] += 1
                    continue
                if listed(tag) is not None:
                    found[int(tag)] += 1
                with reading():  # what is empty, pydicom reads at once
                    element = each.get_item(tag)
                items = _items(element, tag)
                below += items
                waiting += sum(len(item) + 1 for item in items)
                if waiting > left:
                    raise Unfit(f"has more than {MAX_ELEMENTS:,} attributes")
        if not below:
            return found
        level = below
    raise Unfit(f"has sequences that lie deeper than {MAX_NESTING} in one another")


def _items(element: Any, tag: Any) -> list[Any]:
    """The items of a sequence; none of what is no sequence. Raises `Unfit` for one that was cut off, too.

    Whoever does not know a tag writes its sequence as bytes (UN), and what lies in it without kinds of values
    (PS3.5, 6.2.2): it is one all the same.
    """
    from pydicom.datadict import dictionary_has_tag, dictionary_VR
    from pydicom.filereader import read_sequence

    vr, value = element.VR, element.value
    if isinstance(value, bytes) and getattr(element, "length", _UNDEFINED) not in (len(value), _UNDEFINED):
        raise Unfit(_CUT_OFF)
    if vr not in (None, "SQ", "UN"):
        return []
    if not isinstance(value, bytes):
        return list(value or ()) if vr == "SQ" else []
    if vr != "SQ":
        known = dictionary_VR(tag) if dictionary_has_tag(tag) else None
        if known != "SQ" and not (value.startswith(_ITEM) and (vr == "UN" or known is None)):
            return []
    bounded = _Bounded(BytesIO(value))
    with reading(bounded):
        implicit, little = vr != "SQ" or element.is_implicit_VR, vr == "UN" or element.is_little_endian
        return list(read_sequence(cast(BinaryIO, bounded), implicit, little, len(value), "iso8859"))
    raise AssertionError("the block returns or raises")
