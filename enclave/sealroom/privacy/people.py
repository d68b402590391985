# SPDX-License-Identifier: Apache-2.0
"""The people that a field is released from: columns of numbers and of places among declared labels.

Whoever fills this table answers for its one promise: what a row holds depends on the rows of that row's
person alone, and no person has more rows than `rows`. The kernel takes the rest from here: it reads no ids,
and bounds what each row adds by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]
Vectors = npt.NDArray[np.int16] | npt.NDArray[np.float32]
MISSING = -(2**15)
"""What stands for a missing entry of a list of whole numbers; of real ones, NaN does."""


@dataclass(frozen=True, kw_only=True)
class People:
    """One table, without ids. All columns have the same length; none may be changed in place."""

    count: int
    """Number of rows."""
    numbers: Mapping[str, Floats]
    """Numeric columns by name; NaN where a value is missing, infinities as they are."""
    groups: Mapping[str, Integers]
    """Grouping columns by name: the place of each row's label among the declared ones, counted from zero; any
    other number is none of them."""
    vectors: Mapping[str, Vectors] = field(default_factory=dict)
    """Columns of lists of one length by name, of shape (rows, length): see `entries`."""
    rows: int = 1
    """Most rows that one person has here."""
    persons: Integers | None = None
    """Whose each row is, as numbers that are counted from zero; None where nobody asks."""

    def __post_init__(self) -> None:
        whose = () if self.persons is None else (self.persons,)
        for column in (*self.numbers.values(), *self.groups.values(), *whose):
            if column.shape != (self.count,):
                raise ValueError("a column of another length than the table")
        if any(each.ndim != 2 or len(each) != self.count for each in self.vectors.values()):
            raise ValueError("a column of lists that is no table of the same length")
        if self.rows < 1:
            raise ValueError("a person has at least one row")

    def entries(self, name: str, start: int, stop: int) -> Floats:
        """The lists of some rows as real numbers, NaN where an entry is missing."""
        held = self.vectors[name][start:stop]
        found = held.astype(np.float64)
        if held.dtype == np.int16:
            found[held == MISSING] = np.nan
        return found

    def cells(self, by: Sequence[str], sizes: Sequence[int]) -> Integers:
        """The declared group each row falls into, the last of `by` counting fastest; −1 for none of them.

        `sizes` are the numbers of declared labels. A label that the recipe does not declare puts its row
        nowhere: whether it occurs stays unseen (DP-12).
        """
        cell = np.zeros(self.count, dtype=np.int64)
        outside = np.zeros(self.count, dtype=bool)
        for name, size in zip(by, sizes, strict=True):
            place = self.groups[name]
            outside |= (place < 0) | (place >= size)
            cell = cell * size + np.clip(place, 0, size - 1)
        cell[outside] = -1
        return cell
