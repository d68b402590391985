# SPDX-License-Identifier: Apache-2.0
"""How many different values a column has, in memory that does not grow with them.

Of each value a hash of 64 bits is taken, and the smallest `MOST_KEPT` are kept: as long as these are all,
the count is exact. Beyond, the greatest that is kept tells how dense they lie, and so how many there are (K
minimum values; Bar-Yossef et al. 2002), with a standard error of one in 1,000.
"""

from __future__ import annotations

from typing import Any

MOST_KEPT = 1_000_000
"""Hashes that are kept: 8 MB."""


class Distinct:
    """Counts the different values of one column of whole numbers or text. Nulls do not count."""

    def __init__(self, *, most: int = MOST_KEPT) -> None:
        import duckdb
        import pyarrow

        self._most = most
        # Its hash is all that is used; the values stay in memory.
        self._engine = duckdb.connect(":memory:", config={"threads": 1, "enable_external_access": False})
        self._kept: Any = pyarrow.array([], pyarrow.uint64())
        self.exact = True
        """Whether all hashes were kept."""

    def add(self, values: Any) -> None:
        """Count the values of an Arrow array."""
        import pyarrow
        import pyarrow.compute as pc

        given = pyarrow.table({"v": values.drop_null()})
        made = self._engine.from_arrow(given).project("hash(v)::UBIGINT AS h").to_arrow_table()
        hashes = pc.unique(made["h"].combine_chunks())
        if not self.exact:
            hashes = hashes.filter(pc.less(hashes, self._kept[-1]))
        if not len(hashes):
            return
        both = pc.unique(pyarrow.concat_arrays([self._kept, hashes]))
        self._kept = both.take(pc.array_sort_indices(both))
        if len(self._kept) > self._most:
            self.exact = False
            self._kept = pyarrow.concat_arrays([self._kept.slice(0, self._most)])

    @property
    def count(self) -> int:
        """How many there are; about, where it is not exact."""
        if self.exact:
            return len(self._kept)
        return round((self._most - 1) * 2**64 / self._kept[-1].as_py())
