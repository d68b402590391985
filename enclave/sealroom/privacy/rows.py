# SPDX-License-Identifier: Apache-2.0
"""The rows that the analysis hands over for one release, checked and cut to one a person.

They arrive as plain little-endian arrays with a small JSON head, on purpose: the custodian, which holds keys
and signs, parses nothing richer than that from a process it does not trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.privacy.people import Floats, Integers, People, Vectors
from sealroom.schema import MAX_ROWS

_TYPES = {
    "i8": np.dtype("<i8"),
    "b16": np.dtype(("<i8", (2,))),
    "f8": np.dtype("<f8"),
    "i4": np.dtype("<i4"),
}
_ENTRIES: Mapping[str, np.dtype[Any]] = {"i2": np.dtype("<i2"), "f4": np.dtype("<f4")}
"""Types of the entries of lists."""
MAX_WIDTH = 2**14
"""Longest list."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One table. All columns have the same length."""

    units: Integers
    """Who each row is about: ids of one word, shape (rows,), or of several, shape (rows, words)."""
    numbers: Mapping[str, Floats]
    """Numeric columns; NaN where a value is missing."""
    groups: Mapping[str, Integers]
    """Grouping columns: the place of each row's label among the declared ones;
    any other number is none of them."""
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    """Columns of lists of one length, shape (rows, length)."""

    def __len__(self) -> int:
        return len(self.units)

    def where(self, kept: npt.NDArray[np.bool_] | Integers) -> Rows:
        """Those of these places, in the same order."""
        return Rows(
            units=self.units[kept],
            numbers={name: column[kept] for name, column in self.numbers.items()},
            groups={name: column[kept] for name, column in self.groups.items()},
            vectors={name: column[kept] for name, column in self.vectors.items()},
        )

    def first_of_each(self, rows: int = 1) -> Integers:
        """The places of the rows that count, rising: the first so many of each person. What is dropped
        depends on that person's own rows alone."""
        place, (order, first) = np.arange(len(self)), self._in_order()
        if first.all():
            return place
        begun = np.maximum.accumulate(np.where(first, place, 0))
        return np.sort(order[place - begun < rows])

    def persons(self) -> Integers:
        """Whose each row is, as a number below that of the people."""
        order, first = self._in_order()
        whose = np.empty(len(self), dtype=np.int64)
        whose[order] = np.cumsum(first) - 1
        return whose

    def _in_order(self) -> tuple[Integers, npt.NDArray[np.bool_]]:
        """The places of the rows, person by person, and which of them are a person's first."""
        words = self.units.T if self.units.ndim == 2 else self.units[np.newaxis]
        place = np.arange(len(self))
        # Numbers that rise are in order already. Whether they do is seen here, and taken from nobody.
        rising = len(words) == 1 and bool(np.all(words[0][1:] >= words[0][:-1]))
        order = place if rising else np.lexsort(words)  # stable: one person's rows stay in the table's order
        first = place == 0
        for word in words:
            ordered = word if rising else word[order]
            first[1:] |= ordered[1:] != ordered[:-1]
        return order, first

    def one_per_person(self) -> People:
        """The people, with one row each."""
        return self.people(1)

    def people(self, rows: int, *, told_apart: bool = False) -> People:
        """The people, with at most so many rows each; `told_apart`: with whose each row is."""
        kept = self.first_of_each(rows)
        whole = self if len(kept) == len(self) else self.where(kept)
        return People(
            count=len(whole), rows=rows, numbers=whole.numbers, groups=whole.groups, vectors=whole.vectors,
            persons=whole.persons() if told_apart and rows > 1 else None,
        )  # fmt: skip


def parse_rows(head: Mapping[str, Any], payload: memoryview, *, unit: str) -> Rows:
    """Read the table of one request: its head and its arrays.

    The head is ``{"rows": n, "columns": [{"name", "type"}…]}``. The type says what a column is for: "i8" and
    "b16" name the unit (a whole number, or 16 bytes of a digest), "f8" is a number, "i4" the place of a label
    among the declared ones. With a "width" besides, "i2" and "f4" are lists of so many numbers. Raises
    `PrivacyError`: "table-malformed" for anything else, and never with a word that the analysis chose
    (OU-03); "schema-mismatch" without the unit. No value in an array is refused.
    """
    count, columns = head.get("rows"), head.get("columns")
    if type(count) is not int or not 0 <= count <= MAX_ROWS or not isinstance(columns, list):
        raise _malformed("its head")
    units: Integers | None = None
    numbers: dict[str, Floats] = {}
    groups: dict[str, Integers] = {}
    vectors: dict[str, Vectors] = {}
    offset = 0
    for column in columns:
        if not isinstance(column, dict) or not isinstance(column.get("name"), str):
            raise _malformed("a column's head")
        name, kind = column["name"], column.get("type")
        if "width" in column:
            values, offset = _lists(column, count, payload, offset)
            if name in vectors:
                raise _malformed("two columns of one name and use")
            vectors[name] = values
            continue
        dtype = _TYPES.get(kind) if isinstance(kind, str) else None
        if dtype is None or offset + dtype.itemsize * count > len(payload):
            raise _malformed("a column's type or length")
        values = np.frombuffer(payload, dtype=dtype, count=count, offset=offset)
        offset += dtype.itemsize * count
        if kind == "f8" and name not in numbers:
            numbers[name] = values.astype(np.float64, copy=False)
        elif kind == "i4" and name not in groups:
            groups[name] = values.astype(np.int64)
        elif kind in ("i8", "b16") and name == unit and units is None:
            units = values.astype(np.int64, copy=False)
        else:
            raise _malformed("two columns of one name and use")
    if offset != len(payload):
        raise _malformed("its length")
    if units is None:
        raise PrivacyError(Code.SCHEMA_MISMATCH, f"the table lacks the column of the privacy unit, {unit}")
    return Rows(units=units, numbers=numbers, groups=groups, vectors=vectors)


def _lists(column: Mapping[str, Any], count: int, payload: memoryview, offset: int) -> tuple[Vectors, int]:
    """A column of lists, and where the next column begins."""
    kind, width = column.get("type"), column["width"]
    dtype = _ENTRIES.get(kind) if isinstance(kind, str) else None
    if dtype is None or type(width) is not int or not 1 <= width <= MAX_WIDTH:
        raise _malformed("a column's type or width")
    size = dtype.itemsize * count * width
    if offset + size > len(payload):
        raise _malformed("a column's type or length")
    values = np.frombuffer(payload, dtype=dtype, count=count * width, offset=offset)
    return values.reshape(count, width), offset + size


def _malformed(what: str) -> PrivacyError:
    return PrivacyError(Code.TABLE_MALFORMED, f"the table handed over for a release cannot be read: {what}")
