# SPDX-License-Identifier: Apache-2.0
"""Arrow and CSV files as Parquet, the one form of a table that a recipe reads.

Nothing is guessed: a CSV has exactly the columns that the recipe declares, and each cell must be of the
declared type. What a cell holds is never repeated in an error: a terminal's log is no place for data (OP-04).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import Column, ColumnType, String
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import csv_cells
from sealroom_agents.owner.csv_records import Records, count_rows, line_of

CSV_BLOCK_BYTES = 8 * 1024 * 1024
"""How much of a CSV is read at once."""
ROW_GROUP_BYTES = 64 * 1024 * 1024
"""How much of a table one row group holds, before it is compressed."""
MAX_HEADING_BYTES = 128 * 1024
"""First line of a CSV: room for the most columns with the longest names."""
_FILE_START, _FILE_END = b"ARROW1\0\0", b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\0\0\0\0"
"""How Arrow marks the end of a stream."""
MAX_FOOTER_BYTES = 64 * 1024 * 1024
"""Largest footer of an Arrow file."""

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Heading:
    """What a file says of itself before its rows are read."""

    columns: tuple[Column, ...]
    """Its columns, in its order."""


def arrow_heading(path: Path) -> Heading:
    """Columns of an Arrow IPC file or stream. Raises `not-arrow`, `schema-unsupported`."""
    import pyarrow

    from sealroom.schema.arrow import columns_of

    with path.open("rb") as stream:
        try:
            # A name that is no UTF-8 shows only when it is asked for.
            return Heading(columns_of(_arrow_reader(stream).schema))
        except FormatError as error:
            raise ToolError(
                Code.SCHEMA_UNSUPPORTED, f"{path} cannot be sealed as a table: {error.message}", error.hint
            ) from None
        except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
            raise _not_arrow(path) from error


def csv_heading(path: Path, declared: Sequence[Column], *, delimiter: str) -> Heading:
    """Columns of a CSV: names from its first line, types as declared. Raises `not-csv`."""
    types = dict(declared)
    names = _csv_names(path, delimiter)
    return Heading(tuple(Column(name, types.get(name, String())) for name in names))


def arrow_to_parquet(path: Path, target: BinaryIO, *, advance: Advance | None = None) -> int:
    """Write an Arrow IPC file or stream as Parquet; returns its rows. Raises as `arrow_batches`."""
    import pyarrow

    with path.open("rb") as stream, _reading_arrow(path):
        # Metadata would carry pandas' or an application's own notes out with the table or a column.
        schema = pyarrow.schema([column.remove_metadata() for column in _arrow_reader(stream).schema])
    return write_batches(arrow_batches(path, advance=advance), schema, target)


def arrow_batches(path: Path, *, advance: Advance | None = None) -> Iterator[Any]:
    """The record batches of an Arrow IPC file or stream, as they are.

    Raises `not-arrow`, also for one that was cut off or has something behind its end.
    """
    with path.open("rb") as stream, _reading_arrow(path):
        reader = _arrow_reader(stream)
        batches = reader.num_record_batches if hasattr(reader, "num_record_batches") else None
        messages = _ArrowStream(stream, batches=batches)
        yield from _advancing(messages, stream, advance)
        messages.check_end()


@contextmanager
def _reading_arrow(path: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError, OSError, MemoryError) as error:
        # Arrow asks for as much memory as a broken length says.
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's own carry no number
            raise
        raise _not_arrow(path) from error


def csv_to_parquet(
    path: Path,
    target: BinaryIO,
    declared: Sequence[Column],
    *,
    delimiter: str,
    advance: Advance | None = None,
) -> int:
    """Write a CSV as Parquet with the declared types; returns its rows. Raises as `csv_batches`."""
    from sealroom.schema.arrow import arrow_schema

    schema = arrow_schema(csv_heading(path, declared, delimiter=delimiter).columns)
    return write_batches(csv_batches(path, declared, delimiter=delimiter, advance=advance), schema, target)


def csv_batches(
    path: Path, declared: Sequence[Column], *, delimiter: str, advance: Advance | None = None
) -> Iterator[Any]:
    """The rows of a CSV with the declared types, in record batches.

    UTF-8; the first line names the columns; an empty cell is null, but an empty text in a text column. Its
    rows are counted twice, by Python's parser and by Arrow's. Raises `csv-does-not-fit`, `rows-differ`.
    """
    import pyarrow
    import pyarrow.csv

    from sealroom.schema.arrow import arrow_schema

    size = path.stat().st_size
    names = _csv_names(path, delimiter)
    # Half of the way for each reading.
    first = None if advance is None else lambda done: advance(done // 2)
    rows = count_rows(path, delimiter=delimiter, advance=first)
    found = 0
    types = dict(declared)
    schema = arrow_schema([Column(name, types[name]) for name in names])
    with _arrow_file(path) as stream:
        try:
            # Every cell is read as text: a parser does not guess its type.
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(block_size=CSV_BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pyarrow.string()),
                    include_columns=names,
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            second = None if advance is None else lambda done: advance((size + done) // 2)
            converted = _converted(reader, schema, [types[name] for name in names], path, delimiter)
            for batch in _advancing(converted, stream, second):
                found += batch.num_rows
                yield batch
        except (pyarrow.ArrowException, ValueError):
            raise ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"a row of {path} does not have {len(names)} cells of text in UTF-8",
                "quote a cell that holds the delimiter; another delimiter: --delimiter ';'",
            ) from None
    same_rows(path, records=rows, parsed=found)


def same_rows(path: Path, **counted: int) -> None:
    """Raise `rows-differ` unless all ways to count the rows agree."""
    if len(set(counted.values())) > 1:
        said = ", ".join(f"{count:,} {way}" for way, count in counted.items())
        raise ToolError(
            Code.ROWS_DIFFER,
            f"the rows of {path} cannot be counted the same twice: {said}",
            "nothing was sealed",
        )


def _converted(
    reader: Any, schema: Any, kinds: Sequence[ColumnType], path: Path, delimiter: str
) -> Iterator[Any]:
    """The batches of a CSV with each column as declared."""
    import pyarrow

    before = 0
    for batch in reader:
        columns = []
        for field, kind, text in zip(schema, kinds, batch.columns, strict=True):
            try:
                columns.append(csv_cells.convert(text, kind))
            except csv_cells.CellError as error:
                line = line_of(path, before + error.index, delimiter=delimiter)
                where = f"{path} line {line}, column {field.name}"
                raise ToolError(
                    Code.CSV_DOES_NOT_FIT, f"{where}: {error.reason}", csv_cells.hint(kind)
                ) from None
        before += batch.num_rows
        yield pyarrow.record_batch(columns, schema=schema)


def write_batches(batches: Iterable[Any], schema: Any, target: BinaryIO) -> int:
    """Write all batches, gathered into row groups of one size however small they come; returns their rows."""
    import pyarrow
    import pyarrow.parquet

    waiting: list[Any] = []
    rows = gathered = 0
    with pyarrow.parquet.ParquetWriter(target, schema, compression="zstd") as writer:

        def flush() -> None:
            if waiting:
                writer.write_table(pyarrow.Table.from_batches(waiting, schema))
                waiting.clear()

        for batch in batches:
            rows += batch.num_rows
            gathered += batch.nbytes
            waiting.append(pyarrow.RecordBatch.from_arrays(batch.columns, schema=schema))
            if gathered >= ROW_GROUP_BYTES:
                flush()
                gathered = 0
        flush()
    return rows


def _advancing(batches: Iterable[Any], source: BinaryIO, advance: Advance | None) -> Iterator[Any]:
    for batch in batches:
        yield batch
        if advance is not None:
            advance(source.tell())


def _arrow_file(path: Path) -> Any:
    """A file that Arrow reads ahead in threads of its own. A file of Python's needs the interpreter for that,
    and a process that just ends then ends by a signal; names that are no UTF-8 have no other."""
    import pyarrow

    try:
        return pyarrow.OSFile(str(path))
    except UnicodeEncodeError:
        return path.open("rb")


def _arrow_reader(stream: BinaryIO) -> Any:
    import pyarrow

    magic = stream.read(6)
    stream.seek(0)
    return pyarrow.ipc.open_file(stream) if magic == b"ARROW1" else pyarrow.ipc.open_stream(stream)


class _ArrowStream:
    """The record batches of an Arrow file or stream, one after the other, to an end that is marked.

    A file is a stream between two magic numbers, with a footer behind it (Arrow, "IPC File Format"). Read so,
    and not by its footer, two files that were joined, or a stream that was cut between two batches, show.
    """

    def __init__(self, stream: BinaryIO, *, batches: int | None) -> None:
        import pyarrow

        self._stream, self._batches = stream, batches
        stream.seek(0 if batches is None else len(_FILE_START))
        self._reader = pyarrow.ipc.open_stream(stream)

    def __iter__(self) -> Iterator[Any]:
        found = 0
        for batch in self._reader:
            batch.validate(full=True)
            found += 1
            yield batch
        if self._batches not in (None, found):
            raise ValueError("the footer tells another number of batches")

    def check_end(self) -> None:
        """Raise `ValueError` unless the stream's end is marked, and nothing but a file's footer follows."""
        at = self._stream.tell()
        self._stream.seek(at - len(_STREAM_END))
        end, rest = self._stream.read(len(_STREAM_END)), self._stream.read(MAX_FOOTER_BYTES)
        footer = len(rest) - len(_FILE_END) - 4
        whole = not rest if self._batches is None else footer == int.from_bytes(rest[footer:][:4], "little")
        if end != _STREAM_END or not whole:
            raise ValueError("it does not end where it should")


def _csv_names(path: Path, delimiter: str) -> list[str]:
    def refused(why: str, hint: str | None = None) -> ToolError:
        return ToolError(Code.NOT_CSV, f"the first line of {path} {why}", hint)

    with path.open("rb") as stream:
        try:
            heading = Records(stream, name=str(path), delimiter=delimiter).next()
        except ToolError as error:
            if error.code == Code.NOT_CSV:
                raise
            said = "write it as UTF-8; another delimiter: --delimiter ';'"
            raise refused("does not name columns in UTF-8", said) from None
    names = [] if heading is None else heading.cells
    if sum(map(len, names)) > MAX_HEADING_BYTES:
        raise refused("is too long to name columns")
    if "" in names:
        raise refused("leaves a column without a name", "is there a delimiter too many?")
    if not names or len(set(names)) != len(names):
        raise refused("does not name each column once")
    if any(name != name.strip() for name in names):
        raise refused("names a column with spaces around it", "remove them")
    return names


def _not_arrow(path: Path) -> ToolError:
    return ToolError(
        Code.NOT_ARROW, f"cannot read {path} as Arrow IPC", "is it whole? else write it as Parquet"
    )
