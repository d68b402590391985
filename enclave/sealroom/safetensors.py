# SPDX-License-Identifier: Apache-2.0
"""Files of tensors, read strictly and within bounds, and written in one spelling.

A file is the length of its header as 8 little-endian bytes, the header in JSON, and the tensors' data.
Nothing in it is code, and nothing here runs or unpickles anything. The header is read once, as all JSON from
outside is: no name twice. Data follow each other without gap, overlap or rest, and each tensor has as many
bytes as its type and shape say. Source: the format of safetensors 0.5 (README of its repository, "Format").
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import canonical, strict_json
from sealroom.errors import FormatError

METADATA = "__metadata__"
LENGTH_BYTES = 8
MAX_HEADER_BYTES = 12 * 1024 * 1024
"""Most bytes of a header: room for an envelope in the metadata, with its quotation marks escaped."""
MAX_TENSORS = 1024
MAX_DIMENSIONS = 8
SIZES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
"""Bytes of a number, by type."""


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Numbers of one shape."""

    name: str
    """As torch names weights in a sequence of layers: `0.weight`."""
    shape: tuple[int, ...]
    data: bytes
    """By rows, little-endian."""
    dtype: str = "F32"
    """As the format names it."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """Where a tensor lies in a file, and what it is."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    """In the file."""
    end: int


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of itself."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, Stored]
    """By name, in the order of their data."""
    end: int
    """Of the header: where the data begin."""


def read_header(data: bytes | memoryview) -> Header:
    """Read the header of a whole file, and check that its tensors fill the file.

    Raises `FormatError` ("malformed").
    """
    size = int.from_bytes(data[:LENGTH_BYTES], "little")
    if len(data) < LENGTH_BYTES or size > min(MAX_HEADER_BYTES, len(data) - LENGTH_BYTES):
        _malformed("its header is longer than the file, or than any header may be")
    begin = LENGTH_BYTES + size
    written = strict_json(bytes(data[LENGTH_BYTES:begin]), MAX_HEADER_BYTES)
    metadata = written.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(each, str) for each in metadata.values()):
        _malformed("its metadata are not a mapping of names to texts")
    if len(written) > MAX_TENSORS:
        _malformed(f"it has more than {MAX_TENSORS} tensors")
    found = {name: _stored(name, tensor, begin) for name, tensor in written.items()}
    tensors = dict(sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)))
    end = begin
    for name, tensor in tensors.items():
        if tensor.begin != end:
            _malformed(f"the data of the tensor {name[:80]!r} do not begin where the last ones end")
        end = tensor.end
    if end != len(data):
        _malformed("something follows its tensors, or something of them is missing")
    return Header(metadata=metadata, tensors=tensors, end=begin)


def write(tensors: Sequence[Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """A file of these tensors, in their order: the header is canonical JSON, filled up with spaces to a
    multiple of 8 bytes."""
    table, at = {}, 0
    for tensor in tensors:
        end = at + len(tensor.data)
        table[tensor.name] = {"data_offsets": [at, end], "dtype": tensor.dtype, "shape": list(tensor.shape)}
        at = end
    header = canonical({**table, METADATA: dict(metadata)} if metadata else table)
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(LENGTH_BYTES, "little"), header, *(each.data for each in tensors)])


def _stored(name: str, tensor: Any, base: int) -> Stored:
    """One tensor of the header; `base` is where the data begin."""
    if not isinstance(tensor, dict) or tensor.keys() != {"data_offsets", "dtype", "shape"}:
        _malformed("a tensor is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = tensor["dtype"], tensor["shape"], tensor["data_offsets"]
    if not isinstance(dtype, str) or dtype not in SIZES:
        _malformed(f"the tensor {name[:80]!r} has an unknown type")
    if not _whole_numbers(shape) or len(shape) > MAX_DIMENSIONS:
        _malformed(f"the tensor {name[:80]!r} has a shape that is none")
    if not _whole_numbers(offsets) or len(offsets) != 2:
        _malformed(f"the tensor {name[:80]!r} has data_offsets that are no two places")
    begin, end = offsets
    if end - begin != math.prod(shape) * SIZES[dtype]:
        _malformed(f"the tensor {name[:80]!r} has other data than its type and shape say")
    return Stored(dtype=dtype, shape=tuple(shape), begin=base + begin, end=base + end)


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


def _malformed(what: str) -> NoReturn:
    raise FormatError(Code.MALFORMED, what)
