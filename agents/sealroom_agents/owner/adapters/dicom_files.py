# SPDX-License-Identifier: Apache-2.0
"""One file of DICOM, read within bounds, and what stands in it that tells who somebody is."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from sealroom_agents.owner.adapters.dicom_profile import listed, private
from sealroom_agents.owner.images import Unfit

MAX_FILE_BYTES = 256 * 2**20
MAX_ELEMENTS = 100_000
"""Attributes of one file, with those in its sequences."""
MAX_NESTING = 16
"""Deepest that sequences lie in one another."""
PRIVATE = 0x00010001
"""Stands for all private attributes in what is counted: no tag of the standard has an odd group."""
DIRECTORY = "1.2.840.10008.1.3.10"
"""What an index of a folder (DICOMDIR) says that it is."""
_PREAMBLE, _MAGIC = 128, b"DICM"


def read_file(path: Path, *, pixels: bool) -> Any:
    """The dataset of a file, without its pixels unless they are asked for. Raises `Unfit`."""
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise Unfit("cannot be opened") from None
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_size > MAX_FILE_BYTES:
            raise Unfit(f"is larger than {MAX_FILE_BYTES // 2**20} MiB")
        if stream.read(_PREAMBLE + len(_MAGIC))[_PREAMBLE:] != _MAGIC:
            raise Unfit("is no file of DICOM")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they repeat values
                syntax = getattr(read_file_meta_info(path), "TransferSyntaxUID", None)
                # Packed whole, it is unpacked at once, to whatever size.
                if syntax is None or not syntax.is_transfer_syntax or syntax.is_deflated:
                    said = "no known way" if syntax is None or not syntax.is_transfer_syntax else syntax.name
                    raise Unfit(f"is packed in {said}, which is not read")
                stream.seek(0)
                return dcmread(stream, stop_before_pixels=not pixels)
        except Unfit:
            raise
        except Exception as error:  # pydicom raises whatever a broken file makes it meet
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's own word, and not pydicom's
            raise Unfit("is broken, or nested too deeply") from None


def telling(dataset: Any) -> Counter[int]:
    """How often each attribute that tells who somebody is stands in a file, in its sequences too, by its tag.

    Private ones are counted under `PRIVATE`. Raises `Unfit` for more than is bounded.
    """
    found: Counter[int] = Counter()
    left = MAX_ELEMENTS
    level = [dataset.file_meta, dataset]
    for _ in range(MAX_NESTING + 1):
        below: list[Any] = []
        for each in level:
            left -= len(each)
            if left < 0:
                raise Unfit(f"has more than {MAX_ELEMENTS:,} attributes")
            for tag in each.keys():  # noqa: SIM118, a dataset is no mapping of keys alone
                if private(tag):
                    found[PRIVATE] += 1
                    continue
                if listed(tag) is not None:
                    found[int(tag)] += 1
                below.extend(_items(each, tag))
        if not below:
            return found
        level = below
    raise Unfit(f"has sequences that lie deeper than {MAX_NESTING} in one another")


def _items(dataset: Any, tag: Any) -> list[Any]:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    vr = dataset.get_item(tag).VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else None)
    if vr != "SQ":
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return list(dataset[tag].value or ())
    except Exception:  # as above
        raise Unfit("is broken, or nested too deeply") from None
