# SPDX-License-Identifier: Apache-2.0
"""Columns of lists of one length, on their way to the custodian.

Whole numbers of up to 16 bits travel in two bytes, all others as real numbers of four. What an entry becomes
depends on it alone; a value beyond what two bytes hold is the nearest one that they do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from sealroom.privacy.people import MISSING

_ENTRIES = 2**18
"""Entries that are turned at a time: what is held meanwhile is small beside the table."""
_WITH_NULLS = pc.ElementWiseAggregateOptions(skip_nulls=False)


def has_length(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.bool_]:
    """Of each row, whether it has a list of this length."""
    same = pc.fill_null(pc.equal(pc.list_value_length(column), width), False)
    return np.asarray(same.to_numpy(zero_copy_only=False), dtype=np.bool_)


def entries(column: pa.ChunkedArray, width: int, kept: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """The lists of the rows that are kept, all of which have this length: shape (rows, width)."""
    inner = column.type.value_type
    small = (pa.types.is_integer(inner) and inner.bit_width <= 16) or pa.types.is_boolean(inner)
    made = np.empty((int(kept.sum()), width), dtype="<i2" if small else "<f4")
    rows, place, start = max(1, _ENTRIES // width), 0, 0
    for piece in column.chunks:
        for begin in range(0, len(piece), rows):
            some = piece.slice(begin, rows)
            mine = kept[start : start + len(some)]
            start += len(some)
            whole = some if mine.all() else some.filter(_mask(mine))
            values = _small(whole.flatten()) if small else _real(whole.flatten())
            made[place : place + len(whole)] = values.reshape(-1, width)
            place += len(whole)
    return made


def _mask(kept: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """The same for Arrow. `pa.array` would import pandas first, and a relation's job cannot."""
    bits = pa.py_buffer(np.packbits(kept, bitorder="little"))
    return pa.BooleanArray.from_buffers(pa.bool_(), len(kept), [None, bits])


def _small(values: pa.Array) -> npt.NDArray[np.int16]:
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    elif values.type.bit_width == 16:
        least = pc.max_element_wise(values.cast(pa.int32()), MISSING + 1, options=_WITH_NULLS)
        values = pc.min_element_wise(least, -(MISSING + 1), options=_WITH_NULLS)
    found = pc.fill_null(values.cast(pa.int16()), pa.scalar(MISSING, pa.int16()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype="<i2")


def _real(values: pa.Array) -> npt.NDArray[np.float32]:
    found = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        return np.asarray(found, dtype="<f4")
