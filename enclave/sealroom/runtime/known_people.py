# SPDX-License-Identifier: Apache-2.0
"""The people of the tables that a run opened: nobody else's rows count in a release of a script.

A script hands over rows with ids. It could put one person's number under as many made-up ids as it likes, and
the noise for one person would no longer hide it. So the custodian keeps the ids of what it opened. A row with
another id is dropped, and not refused: a refusal would tell whether one person is there.
"""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

IDENTITY_BYTES = 16
"""Of an id that is no whole number: the first bytes of its SHA-256. At 10⁷ people, two of them share these
with a chance of 10⁻²⁵."""


PIECE = 2**16
"""So many digests are put together at once: more would stop every other thread for long (OU-06)."""


def digest(text: bytes) -> bytes:
    """What stands for an id that is no whole number: `text` is its Python type, a space and itself."""
    return sha256(text).digest()[:IDENTITY_BYTES]


class KnownPeople:
    """Ids, as they come in `sealroom.privacy.rows`: words of 64 bits, or digests of two words."""

    def __init__(self) -> None:
        self._columns: list[pa.Array] = []
        self._numbers: pa.Array | None = None
        self._digests: pa.Array | None = None

    def add(self, column: pa.ChunkedArray) -> None:
        """The unit column of a table that was opened: whole numbers or text. A missing id is nobody's."""
        values = pc.unique(column.combine_chunks()).drop_null()
        if pa.types.is_integer(values.type):
            # Unsigned ones keep their bits, as in the job.
            signed = values.to_numpy(zero_copy_only=False).astype(np.int64)
            values = pa.array(signed, pa.int64())
        self._columns.append(values)
        self._numbers = self._digests = None

    def holds(self, units: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which of these ids are among them; `units` has shape (rows,) or (rows, 2)."""
        if units.ndim == 1:
            if self._numbers is None:
                whole = [each for each in self._columns if pa.types.is_integer(each.type)]
                self._numbers = pa.concat_arrays([pa.array([], pa.int64()), *whole])
            found = pc.is_in(pa.array(units, pa.int64()), value_set=self._numbers)
        else:
            if self._digests is None:
                pieces = (
                    each[at : at + PIECE] for each in self._columns for at in range(0, len(each), PIECE)
                )
                self._digests = _binary(b"".join([b"".join(map(_digest, piece)) for piece in pieces]))
            found = pc.is_in(_binary(np.ascontiguousarray(units)), value_set=self._digests)
        held: npt.NDArray[np.bool_] = found.to_numpy(zero_copy_only=False)
        return held


def _digest(id: pa.Scalar) -> bytes:
    value = id.as_py()
    return digest(f"{type(value).__name__} {value}".encode())


def _binary(data: bytes | npt.NDArray[np.int64]) -> pa.Array:
    """The same memory: a copy would stop every other thread, for as long as the analysis chose (OU-06)."""
    buffer = pa.py_buffer(data)
    return pa.Array.from_buffers(pa.binary(IDENTITY_BYTES), buffer.size // IDENTITY_BYTES, [None, buffer])
