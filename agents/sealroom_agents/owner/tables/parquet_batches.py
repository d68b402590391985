# SPDX-License-Identifier: Apache-2.0
"""How much of a Parquet file is decoded at once, so that a small file does not fill the memory.

A few hundred bytes may stand for gigabytes: a page that packs well, values that share their beginnings, a
list whose length is one number. The schema and the page headers bound these before anything is decoded
(AR-05). How often a text of a dictionary stands in a batch shows only when that is decoded: it comes as a
dictionary, and `unfolded` makes texts of it, a few rows at a time where they are long.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.schema.names import shown
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.in_memory import unfolded_bytes

if TYPE_CHECKING:
    from sealroom.sealed.parquet import Footer
    from sealroom.sealed.parquet_columns import Leaf
    from sealroom.sealed.parquet_pages import Page

BATCH_ROWS = 65_536
"""Most rows of one batch."""
BATCH_BYTES = 256 * 1024 * 1024
"""Bytes that one batch may take, about, unless one row takes more."""
_LEVELS_BITS = 96
"""What Arrow holds beside each value of a list while it decodes: its place, and room for as many more."""
_RUN_VALUES, _RUN_BYTES = 4096, 1024 * 1024
"""Smaller pages that follow each other are counted as one: a file may have millions."""


class LeafPages:
    """The pages of one leaf, as their headers describe them, of all row groups in their order."""

    def __init__(self, leaf: Leaf, rows: int) -> None:
        """`rows` are those of the file."""
        self._leaf, self._rows = leaf, max(1, rows)
        self._values = self._page = self._dictionary = 0
        self._chunk = (0, 0)
        self._fullest = 0
        self._runs: list[tuple[int, int]] = []

    def begin(self) -> None:
        """The pages that follow are those of the next row group."""
        self._chunk = (0, 0)

    def add(self, page: Page) -> None:
        """Count a page."""
        if page.dictionary:
            self._dictionary = max(self._dictionary, page.unpacked)
            return
        self._page = max(self._page, page.unpacked)
        self._values += page.values
        # Values that share a beginning may each be as long as the page.
        own = self._leaf.width.foldable
        size = page.unpacked * (page.values if page.shared else 1) if own else 0
        values, told = self._chunk
        self._chunk = (values + page.values, told + size)
        self._fullest = max(self._fullest, self._fixed(self._chunk[0]) + self._chunk[1])
        if not own:
            return
        last, before = self._runs[-1] if self._runs else (_RUN_VALUES, 0)
        if last + page.values <= _RUN_VALUES and before + size <= _RUN_BYTES:
            self._runs[-1] = (last + page.values, before + size)
        else:
            self._runs.append((page.values, size))

    @property
    def held(self) -> int:
        """Bytes that are held while values are decoded, however few: a page and a dictionary."""
        return self._page + self._dictionary

    @property
    def row(self) -> int:
        """Bytes that one row may take: of a list, all values of a row group."""
        return self._fullest if self._leaf.repeated else self.most(1)

    def most(self, rows: int) -> int:
        """Bytes that so many rows may take, where those of one page are about as long as each other."""
        count = max(rows, rows * self._values // self._rows) if self._leaf.repeated else rows
        most = values = size = 0
        for more, bytes_ in self._runs:
            values, size = values + more, size + bytes_
            if values >= count:
                most, values, size = max(most, size * count // values), 0, 0
        return self._fixed(count) + max(most, size)

    def _fixed(self, values: int) -> int:
        return values * (self._leaf.width.bits + (_LEVELS_BITS if self._leaf.repeated else 0)) // 8


def rows_of_a_batch(footer: Footer, pages: Sequence[LeafPages], name: Path) -> int:
    """How many rows to decode at once. `pages` are those of each leaf.

    Raises `table-too-large` where one row, or the pages that it is in, may take more memory than a table may.
    """
    from sealroom.sealed.source import TableLimits

    limit = TableLimits.of_this_machine().table_bytes
    least = [each.held + each.row for each in pages]
    if sum(least) > limit:
        leaf = footer.layout.leaves[max(range(len(least)), key=least.__getitem__)]
        raise ToolError(
            Code.TABLE_TOO_LARGE,
            f"{name} may take {sum(least):,} bytes of memory to read one row, most of them for the column"
            f" {shown(footer.columns[leaf.column].name)}; at most {limit:,} are used here",
            "write it with smaller pages and row groups, or with shorter values",
        )
    rows = BATCH_ROWS
    while rows > 1 and sum(each.most(rows) for each in pages) > BATCH_BYTES:
        rows //= 2
    return rows


def unfolded(batch: Any, kinds: Sequence[Any | None]) -> Iterator[Any]:
    """The batch in one or more, with each column of this Arrow type; `None` for one that stays as it is."""
    import pyarrow

    folded = [
        values
        for values, kind in zip(batch.columns, kinds, strict=True)
        if kind is not None and values.type != kind
    ]
    if batch.num_rows > 1 and sum(map(unfolded_bytes, folded)) > BATCH_BYTES:
        half = batch.num_rows // 2
        for begin, end in ((0, half), (half, batch.num_rows)):
            # Taken and not sliced: of a slice, Arrow would unfold the whole list that it is a part of.
            yield from unfolded(batch.take(pyarrow.array(range(begin, end))), kinds)
        return
    arrays = [
        values if kind is None or values.type == kind else values.cast(kind)
        for values, kind in zip(batch.columns, kinds, strict=True)
    ]
    yield pyarrow.RecordBatch.from_arrays(arrays, names=batch.schema.names)
