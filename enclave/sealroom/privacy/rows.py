# SPDX-License-Identifier: Apache-2.0
"""The rows that the analysis hands over for one release, checked and cut to one a person.

They arrive as plain little-endian arrays with a small JSON head, on purpose: the custodian, which holds keys
and signs, parses nothing richer than that from a process it does not trust.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sealroom.errors import PrivacyError

ROWS_MAXIMUM = 50_000_000
"""Rows of one table; sums of clipped 64-bit integers stay far from overflow below this (DP-02)."""

LABELS_MAXIMUM = 4096
"""Distinct values of one grouping column, declared or not."""

LABEL_BYTES = 256

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Groups:
    """A grouping column: a code a row, and the label each code stands for."""

    codes: Integers
    """One a row; −1 for a missing value."""
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One table. All columns have the same length."""

    units: Integers
    """Who each row is about."""
    numbers: Mapping[str, Floats]
    """Numeric columns; NaN where a value is missing."""
    groups: Mapping[str, Groups]

    def __len__(self) -> int:
        return len(self.units)

    def one_per_person(self) -> Rows:
        """The first row of each person. What is dropped depends on that person's own rows alone."""
        _, first = np.unique(self.units, return_index=True)
        first.sort()
        return Rows(
            units=self.units[first],
            numbers={name: column[first] for name, column in self.numbers.items()},
            groups={
                name: Groups(codes=column.codes[first], labels=column.labels)
                for name, column in self.groups.items()
            },
        )

    def cells(self, by: Sequence[str], declared: Mapping[str, Sequence[str]]) -> Integers:
        """The declared group each row falls into, numbered as `cell_names` lists them; −1 for none of them.

        A label that the recipe does not declare puts its row nowhere: whether it occurs stays unseen (DP-12).
        """
        cell = np.zeros(len(self), dtype=np.int64)
        outside = np.zeros(len(self), dtype=bool)
        for name in by:
            column = self.groups[name]
            position = {label: index for index, label in enumerate(declared[name])}
            # one entry more, for the code −1
            lookup = np.array([*(position.get(label, -1) for label in column.labels), -1], dtype=np.int64)
            index = lookup[column.codes]
            outside |= index < 0
            cell = cell * len(declared[name]) + index
        cell[outside] = -1
        return cell


def parse_rows(head: Mapping[str, Any], payload: memoryview, *, unit: str) -> Rows:
    """Read the table of one request: its head and its arrays.

    The head is ``{"rows": n, "columns": [{"name", "type", "labels"?}…]}``; types are "i8" (the unit), "f8"
    (numbers) and "i4" (codes into `labels`). Raises `PrivacyError` ("table-malformed") for anything else,
    and never with a word that the analysis chose (OU-03).
    """
    count, columns = head.get("rows"), head.get("columns")
    if type(count) is not int or not 0 <= count <= ROWS_MAXIMUM or not isinstance(columns, list):
        raise _malformed("its head")
    units: Integers | None = None
    numbers: dict[str, Floats] = {}
    groups: dict[str, Groups] = {}
    offset = 0
    for column in columns:
        if not isinstance(column, dict) or not isinstance(column.get("name"), str):
            raise _malformed("a column's head")
        name, kind = column["name"], column.get("type")
        if name in numbers or name in groups or (name == unit and units is not None):
            raise _malformed("two columns of one name")
        width = {"i8": 8, "f8": 8, "i4": 4}.get(kind if isinstance(kind, str) else "")
        if width is None or offset + width * count > len(payload):
            raise _malformed("a column's type or length")
        values = np.frombuffer(payload, dtype=f"<{kind}", count=count, offset=offset)
        offset += width * count
        if kind == "i8" and name == unit:
            units = values.astype(np.int64)
        elif kind == "f8":
            numbers[name] = values.astype(np.float64)
        elif kind == "i4":
            groups[name] = _groups(values.astype(np.int64), column.get("labels"))
        else:
            raise _malformed("a column's type")
    if offset != len(payload):
        raise _malformed("its length")
    if units is None:
        raise PrivacyError("schema-mismatch", f"the table lacks the column of the privacy unit, {unit}")
    return Rows(units=units, numbers=numbers, groups=groups)


def _groups(codes: Integers, labels: Any) -> Groups:
    if (
        not isinstance(labels, list)
        or len(labels) > LABELS_MAXIMUM
        or not all(isinstance(label, str) and len(label.encode()) <= LABEL_BYTES for label in labels)
    ):
        raise _malformed("a grouping column's labels")
    if len(codes) and (codes.min() < -1 or codes.max() >= len(labels)):
        raise _malformed("a grouping column's codes")
    return Groups(codes=codes, labels=tuple(labels))


def _malformed(what: str) -> PrivacyError:
    return PrivacyError("table-malformed", f"the table handed over for a release cannot be read: {what}")
