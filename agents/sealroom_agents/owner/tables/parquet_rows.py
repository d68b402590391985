# SPDX-License-Identifier: Apache-2.0
"""The rows of a Parquet file in batches, read as a run reads them; what a run would fail on is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.schema import Column
from sealroom.schema.names import shown
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.parquet_batches import (
    BATCH_ROWS,
    LeafPages,
    rows_of_a_batch,
    unfolded,
)

if TYPE_CHECKING:
    from sealroom.sealed.parquet import Footer

READ_BYTES, ALL_READ_BYTES, LEAST_READ_BYTES = 256 * 1024, 64 * 1024 * 1024, 4096
"""Bytes of each column that are read at once; of all columns together; and the fewest. Without such a limit,
Arrow reads whole columns of a row group, which take all its bytes in memory, and more time."""
GAP_BLOCK_BYTES = 1024 * 1024
"""How much is read at once of what lies between columns."""
MOST_SECONDS = 9_214_646_400
"""Seconds from 1970 to the end of 2261, within which 64 bits count nanoseconds."""
_MAGIC = b"PAR1"


class ParquetRows:
    """An open Parquet file that can be sealed. `name` is what messages call it.

    With `indexed`, texts come as Arrow's dictionary arrays where the file has a dictionary of them: a third
    of the work for who asks only which there are. Raises `not-parquet`, `table-malformed`, `table-too-large`,
    and `SealError` as `sealroom.sealed.parquet.read_footer`.
    """

    def __init__(self, file: io.RawIOBase, *, name: Path, indexed: bool = False) -> None:
        import pyarrow
        import pyarrow.parquet as pq

        from sealroom.schema import String
        from sealroom.schema.arrow import arrow_schema
        from sealroom.sealed.parquet import parse_footer
        from sealroom.sealed.table import same_schema

        footer = parse_footer(file, str(name))
        _refuse_joined(file, footer, name)
        self._batch_rows = rows_of_a_batch(footer, _walk_pages(file, footer, name), name)
        _refuse_far_times(file, footer, name)
        self._name = name
        self.columns: tuple[Column, ...] = tuple(footer.columns)
        """Its columns, in its order."""
        self._leaves: list[list[int]] = [[] for _ in self.columns]
        for leaf in footer.layout.leaves:
            self._leaves[leaf.column].append(leaf.number)
        self.rows = footer.rows
        """Its rows, as its footer says."""
        schema = arrow_schema(footer.columns)
        self._kinds = [
            None if indexed and isinstance(column.type, String) else field.type
            for column, field in zip(self.columns, schema, strict=True)
        ]
        folded = footer.folded(footer.chunks)
        self._nested = any("." in path for path in folded)
        with _decoding(name):
            # The writer's own notes say how to see a column (AR-07); what counts is how it is stored.
            self._parquet = pq.ParquetFile(
                pyarrow.PythonFile(file, mode="r"),
                metadata=footer.for_arrow(),
                arrow_extensions_enabled=False,
                read_dictionary=folded,
                **_steps(footer),
            )
            if not same_schema(self._parquet.schema_arrow, schema):
                raise ValueError("Arrow reads a column as another type")

    def __iter__(self) -> Iterator[Any]:
        """Its record batches. Each value is one that its type can have. The next is decoded by a thread while
        one is in use: Arrow works without the interpreter's lock."""
        from concurrent.futures import ThreadPoolExecutor

        batches = self._batches(None)
        with ThreadPoolExecutor(1, thread_name_prefix="rows") as ahead:
            coming = ahead.submit(self._next, batches)
            while (batch := coming.result()) is not None:
                coming = ahead.submit(self._next, batches)
                for piece in unfolded(batch, self._kinds):
                    for column, values in zip(self.columns, piece.columns, strict=True):
                        check_values(column, values, self._name)
                    yield piece

    def _batches(self, numbers: Sequence[int] | None) -> Iterator[Any]:
        """Batches of all columns, or of the leaves of these numbers alone."""
        groups = range(self._parquet.num_row_groups)
        # Arrow joins no dictionaries inside of a list or struct, and each row group has its own.
        for some in [[group] for group in groups] if self._nested else [groups]:
            yield from self._parquet.reader.iter_batches(self._batch_rows, some, numbers, use_threads=False)

    def _next(self, batches: Iterator[Any]) -> Any:
        """The next batch, or `None`. Raises `not-parquet`, with the name of the column that is broken."""
        try:
            with _decoding(self._name):
                return next(batches, None)
        except ToolError:
            for column, leaves in zip(self.columns, self._leaves, strict=True):
                with _decoding(self._name, column.name):
                    for _ in self._batches(leaves):
                        pass
            raise


def _steps(footer: Footer) -> dict[str, Any]:
    """How Arrow reads: no column beyond the pages that are decoded next."""
    each = ALL_READ_BYTES // max(1, len(footer.layout.leaves))
    return {"buffer_size": min(READ_BYTES, max(LEAST_READ_BYTES, each)), "pre_buffer": False}


def _refuse_joined(file: io.RawIOBase, footer: Footer, name: Path) -> None:
    """Parquet is read from its end, so of files that were joined the rows of all but one would be lost.

    Where one ends and the next begins, `PAR1` stands twice; there is room for that only where no column lies.
    """
    at = len(_MAGIC)
    for begin, end in [*((chunk.begin, chunk.end) for chunk in footer.chunks), (footer.begin, footer.begin)]:
        file.seek(at)
        known = b""
        while at < begin and (block := file.read(min(begin - at, GAP_BLOCK_BYTES))):
            if _MAGIC * 2 in known + block:
                raise ToolError(
                    Code.NOT_PARQUET,
                    f"{name} is several Parquet files joined, and the rows of one alone would be sealed",
                    "read them as tables, and write all rows to one file",
                )
            known, at = block[1 - 2 * len(_MAGIC) :], at + len(block)
        at = max(at, end)
    file.seek(0)


def _walk_pages(file: io.RawIOBase, footer: Footer, name: Path) -> list[LeafPages]:
    """Refuse pages that an enclave refuses. Returns what the others are, of each leaf. Raises
    `table-malformed`, `table-too-large`."""
    from sealroom.sealed.parquet_pages import walk_pages
    from sealroom.sealed.source import MAX_PAGE_BYTES
    from sealroom.sealed.thrift import malformed

    def read(offset: int, count: int) -> memoryview:
        file.seek(offset)
        return memoryview(file.read(count) or b"")

    found = [LeafPages(leaf, footer.rows) for leaf in footer.layout.leaves]
    for chunk in sorted(footer.chunks, key=lambda chunk: chunk.group):
        of = found[chunk.leaf.number]
        of.begin()
        try:
            pages = walk_pages(read, chunk.begin, chunk.end, page_limit=MAX_PAGE_BYTES, told=of.add)
            if pages.values != chunk.values or (pages.dictionary and not chunk.dictionary):
                raise malformed("a column has other values than its footer says")
        except SealError as error:
            column = shown(footer.columns[chunk.leaf.column].name)
            raise ToolError(
                error.code, f"{name}: the column {column}: {error.message}", "is it whole? write it again"
            ) from None
    file.seek(0)
    return found


def _refuse_far_times(file: io.RawIOBase, footer: Footer, name: Path) -> None:
    """Refuse times of 96 bits that no nanosecond of 64 bits is: Arrow reads another, and DuckDB fails."""
    import pyarrow
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from sealroom.sealed.parquet_types import INT96

    leaves = [leaf for leaf in footer.layout.leaves if leaf.stored == INT96 and not leaf.repeated]
    if not leaves:
        return
    with _decoding(name):
        parquet = pq.ParquetFile(
            pyarrow.PythonFile(file, mode="r"),
            metadata=footer.for_arrow(),
            arrow_extensions_enabled=False,
            coerce_int96_timestamp_unit="s",
            **_steps(footer),
        )
        numbers, groups = [leaf.number for leaf in leaves], range(parquet.num_row_groups)
        for batch in parquet.reader.iter_batches(BATCH_ROWS, groups, numbers, use_threads=False):
            for column, values in zip(batch.schema.names, batch.columns, strict=True):
                seconds = pc.abs(_in_struct(values).cast(pyarrow.int64()))
                if (pc.max(seconds).as_py() or 0) > MOST_SECONDS:
                    raise ToolError(
                        Code.TABLE_MALFORMED,
                        f"{name}: the column {shown(column)} holds a time before 1678 or after 2261,"
                        " stored in 96 bits",
                        "write the column as a timestamp in microseconds of 64 bits",
                    )
    file.seek(0)


def _in_struct(values: Any) -> Any:
    """The values of all fields of a struct, one behind the other; others as they are."""
    import pyarrow

    if not pyarrow.types.is_struct(values.type):
        return values
    fields = [_in_struct(each) for each in values.flatten()]
    return pyarrow.concat_arrays(fields)


def check_values(column: Column, values: Any, name: Path) -> None:
    """Refuse text that is no UTF-8, and decimals of more digits than declared: a run would fail on them."""
    import pyarrow

    try:
        values.validate(full=True)
    except pyarrow.ArrowException:
        raise ToolError(
            Code.TABLE_MALFORMED,
            f"{name}: the column {shown(column.name)} holds a value that its type {column.type.name} cannot"
            " have",
            "text must be UTF-8, and a decimal within its digits: write the column anew",
        ) from None


@contextmanager
def _decoding(name: Path, column: str | None = None) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        where = "" if column is None else f": the column {shown(column)}"
        raise ToolError(
            Code.NOT_PARQUET,
            f"{name}{where} holds a page that cannot be read",
            "is it whole? write it again; a list of one length, as a list of any",
        ) from None
