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


def has_length(column: pa.ChunkedArray, width: int) -> npt.NDArray[np.bool_]:
    """Of each row, whether it has a list of this length."""
    same = pc.fill_null(pc.equal(pc.list_value_length(column), width), False)
    return np.asarray(same.to_numpy(zero_copy_only=False), dtype=np.bool_)


def entries(column: pa.ChunkedArray, width: int, kept: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """The lists of the rows that are kept, all of which have this length: shape (rows, width)."""
    inner = column.type.value_type
    small = (pa.types.is_integer(inner) and inner.bit_width <= 16) or pa.types.is_boolean(inner)
    made = np.empty((int(kept.sum()), width), dtype="<i2" if small else "<f4")
    place = start = 0
    for piece in column.chunks:
        mine = kept[start : start + len(piece)]
        start += len(piece)
        if not mine.any():
            continue
        whole = piece if mine.all() else piece.filter(pa.array(mine))
        made[place : place + len(whole)] = _flat(whole.flatten(), small).reshape(-1, width)
        place += len(whole)
    return made


def _flat(values: pa.Array, small: bool) -> npt.NDArray[Any]:
    missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    if not small:
        found = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        with np.errstate(over="ignore"):
            return np.asarray(found, dtype="<f4")
    plain = (
        pc.fill_null(values, 0).to_numpy(zero_copy_only=False) if missing is not None else values.to_numpy()
    )
    held = plain if plain.dtype.itemsize == 1 else np.clip(plain, MISSING + 1, -(MISSING + 1))
    made = held.astype("<i2")
    if missing is not None:
        made[missing] = MISSING
    return made
