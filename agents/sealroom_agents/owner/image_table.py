# SPDX-License-Identifier: Apache-2.0
"""A table whose rows name pictures in a folder, as a table that has them as lists of numbers.

Nothing is guessed and nothing dropped: each row of the table is a row of the result, with its columns but the
one of names, which may name people. A row that names no usable picture is refused, unless it is asked to be
left without one; the rows are counted from 1, below the heading.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import MAX_ROWS, Column, Integer, List, String, check_columns
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.images import Form, Unfit, picture
from sealroom_agents.owner.tables.csv_dialect import Dialect
from sealroom_agents.owner.tables.csv_table import csv_batches, csv_heading
from sealroom_agents.owner.tables.to_parquet import write_batches

MAX_TABLE_BYTES = 2**30
BATCH_ROWS = 512
PICTURE = List(Integer(8, False, nullable=False))
"""The type of the column of pictures."""
_TOLD = 5
"""Rows that a refusal names."""

Advance = Callable[[int], None]


@dataclass
class Written:
    """What came of a table."""

    columns: tuple[Column, ...]
    rows: int = 0
    without: list[int] = field(default_factory=list)
    """Rows that have no picture, counted from 1."""
    larger: int = 0
    """Pictures that were made larger than they are, in width or height."""
    smaller: int = 0
    """Pictures that were made smaller."""


class ImageTable:
    """A table of people and the folder that its names are in."""

    def __init__(self, folder: Path, table: Any, *, names: str, pictures: str) -> None:
        """`names` is the column of names of files, `pictures` the one that is made. Raises `ToolError`:
        "image-table", "schema-unsupported"."""
        from sealroom.schema.arrow import columns_of

        try:
            known = columns_of(table.schema)
            columns = tuple(each for each in known if each.name != names)
            self.columns = (*columns, Column(pictures, PICTURE))
            check_columns(self.columns)
        except FormatError as error:
            raise ToolError(
                Code.SCHEMA_UNSUPPORTED, f"the table cannot be sealed: {error.message}", error.hint
            ) from None
        if not isinstance(dict(known).get(names), String):
            raise ToolError(
                Code.IMAGE_TABLE,
                f"the table has no column {names} of text, in which each row names its picture",
                "name the column with --file-column",
            )
        if len(table) > MAX_ROWS:
            raise ToolError(Code.IMAGE_TABLE, f"the table has more than {MAX_ROWS:,} rows", "make several")
        self._root, self._table, self._names = folder.resolve(), table, names

    @property
    def bytes(self) -> int:
        """What all files have together."""
        return sum(path.stat().st_size for path in map(self._path, self._named()) if path is not None)

    def write(
        self, target: BinaryIO, form: Form, *, leave_out: bool, advance: Advance | None = None
    ) -> Written:
        """Write the table as Parquet. `leave_out`: rows without a usable picture get none, and are told.

        Raises `ToolError` ("image-unfit") once all rows have been looked at.
        """
        from sealroom.schema.arrow import arrow_schema

        written, unfit = Written(self.columns), dict[int, str]()
        schema = arrow_schema(self.columns)
        batches = self._batches(schema, form, unfit, advance, written)
        written.rows = write_batches(batches, schema, target)
        written.without = list(unfit)
        if unfit and not leave_out:
            told = "; ".join(f"row {row} {reason}" for row, reason in list(unfit.items())[:_TOLD])
            more = "" if len(unfit) <= _TOLD else f"; and {len(unfit) - _TOLD:,} more"
            raise ToolError(
                Code.IMAGE_UNFIT,
                f"{len(unfit):,} of {written.rows:,} rows have no picture that can be taken: {told}{more}",
                "--fit crop, pad or stretch takes pictures of another shape; with --leave-out such rows have"
                " none, and a model does not count them",
            )
        return written

    def _batches(
        self, schema: Any, form: Form, unfit: dict[int, str], advance: Advance | None, written: Written
    ) -> Iterator[Any]:
        import pyarrow

        row = done = 0
        for batch in self._table.to_batches(max_chunksize=BATCH_ROWS):
            held, ends = bytearray(), array("i", [0])
            missing = []
            for name in batch.column(self._names).to_pylist():
                row += 1
                path = self._path(name)
                try:
                    if path is None:
                        raise Unfit("names no file in the folder")
                    taken = picture(path, form)
                    held += taken.numbers
                    written.larger += taken.times > 1
                    written.smaller += taken.times < 1
                except Unfit as error:
                    unfit[row] = error.reason
                missing.append(len(held) == ends[-1])
                ends.append(len(held))
                if advance is not None and path is not None:
                    done += path.stat().st_size
                    advance(done)
            numbers = pyarrow.UInt8Array.from_buffers(
                pyarrow.uint8(), len(held), [None, pyarrow.py_buffer(bytes(held))]
            )
            pictures = pyarrow.ListArray.from_arrays(
                pyarrow.array(ends, pyarrow.int32()), numbers, type=schema.types[-1],
                mask=pyarrow.array(missing, pyarrow.bool_()),
            )  # fmt: skip
            rest = [batch.column(name) for name in schema.names[:-1]]
            yield pyarrow.RecordBatch.from_arrays([*rest, pictures], schema=schema)

    def _named(self) -> Iterator[Any]:
        for batch in self._table.column(self._names).chunks:
            yield from batch.to_pylist()

    def _path(self, name: str | None) -> Path | None:
        """The file that a row names; `None` where there is none, and for one outside of the folder."""
        try:
            path = Path(os.path.realpath(self._root / (name or "")))
        except ValueError:  # a name that no file has
            return None
        # these two say no, where methods of a path fail: of links in a circle, and of a name that is too long
        return path if path.is_relative_to(self._root) and os.path.isfile(path) else None


def read_table(path: Path, types: Sequence[Column], dialect: Dialect) -> Any:
    """The table in a Parquet or CSV file. `types` are those of columns of a CSV; all others are text.

    Raises `ToolError`: "file-too-large", "not-a-table", "image-table", and those of `csv_batches`.
    """
    import pyarrow
    import pyarrow.parquet

    if path.stat().st_size > MAX_TABLE_BYTES:
        raise ToolError(Code.FILE_TOO_LARGE, f"{path} is larger than a table of names of files")
    if path.suffix.lower() != ".csv":
        if types:
            raise ToolError(
                Code.IMAGE_TABLE, "a Parquet file says the types of its columns", "leave --type out"
            )
        try:
            return pyarrow.parquet.read_table(path)
        except (pyarrow.ArrowException, OSError, ValueError):
            raise ToolError(Code.NOT_A_TABLE, f"{path} is no Parquet file", "or name it .csv") from None
    heading, form = csv_heading(path, types, dialect)
    if unknown := {each.name for each in types} - {each.name for each in heading}:
        raise ToolError(Code.IMAGE_TABLE, f"the table has no column {min(unknown)}", "see its first line")
    from sealroom.schema.arrow import arrow_schema

    # Arrow's own memory: its threads would need the interpreter for Python's, also when that just ends.
    made = pyarrow.BufferOutputStream()
    write_batches(csv_batches(path, heading, dialect, form), arrow_schema(heading), made)
    return pyarrow.parquet.read_table(pyarrow.BufferReader(made.getvalue()))
