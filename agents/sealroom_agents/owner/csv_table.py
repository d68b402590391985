# SPDX-License-Identifier: Apache-2.0
"""A CSV as a table: its columns as they are declared, and its rows in record batches.

Nothing is guessed: a CSV has exactly the columns that the recipe declares, and each cell must be of the
declared type. What a cell holds is never repeated in an error: a terminal's log is no place for data (OP-04).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.schema import Column, ColumnType, String
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import csv_cells
from sealroom_agents.owner.csv_dialect import Dialect
from sealroom_agents.owner.csv_records import Records, count_rows, line_of
from sealroom_agents.owner.to_parquet import Advance, Heading, advancing, same_rows

BLOCK_BYTES = 8 * 1024 * 1024
"""How much is read at once."""
MAX_HEADING_BYTES = 128 * 1024
"""First line: room for the most columns with the longest names."""


def csv_heading(path: Path, declared: Sequence[Column], dialect: Dialect) -> Heading:
    """Columns of a CSV: names from its first line, types as declared, else text. Raises `not-csv`."""
    types = dict(declared)
    names = _csv_names(path, dialect)
    return Heading(tuple(Column(name, types.get(name, String())) for name in names))


def csv_batches(
    path: Path, columns: Sequence[Column], dialect: Dialect, *, advance: Advance | None = None
) -> Iterator[Any]:
    """The rows of a CSV in record batches. `columns` are those of its heading, in its order.

    UTF-8; the first line names the columns; an empty cell is null, but an empty text in a text column. Its
    rows are counted twice, by Python's parser and by Arrow's. Raises `csv-does-not-fit`, `rows-differ`.
    """
    import pyarrow
    import pyarrow.csv

    from sealroom.schema.arrow import arrow_schema

    size = path.stat().st_size
    # Half of the way for each reading.
    first = None if advance is None else lambda done: advance(done // 2)
    rows = count_rows(path, delimiter=dialect.delimiter, advance=first)
    found = 0
    names = [name for name, _ in columns]
    schema = arrow_schema(columns)
    with _arrow_file(path) as stream:
        try:
            # Every cell is read as text: a parser does not guess its type.
            reader = pyarrow.csv.open_csv(
                stream,
                read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
                parse_options=pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pyarrow.string()),
                    include_columns=names,
                    null_values=[],
                    strings_can_be_null=False,
                ),
            )
            second = None if advance is None else lambda done: advance((size + done) // 2)
            converted = _converted(reader, schema, [kind for _, kind in columns], path, dialect)
            for batch in advancing(converted, stream, second):
                found += batch.num_rows
                yield batch
        except (pyarrow.ArrowException, ValueError):
            raise ToolError(
                Code.CSV_DOES_NOT_FIT,
                f"a row of {path} does not have {len(names)} cells of text in UTF-8",
                "quote a cell that holds the delimiter; another delimiter: --delimiter ';'",
            ) from None
    same_rows(path, records=rows, parsed=found)


def _converted(
    reader: Any, schema: Any, kinds: Sequence[ColumnType], path: Path, dialect: Dialect
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
                line = line_of(path, before + error.index, delimiter=dialect.delimiter)
                where = f"{path} line {line}, column {field.name}"
                raise ToolError(
                    Code.CSV_DOES_NOT_FIT, f"{where}: {error.reason}", csv_cells.hint(kind)
                ) from None
        before += batch.num_rows
        yield pyarrow.record_batch(columns, schema=schema)


def _arrow_file(path: Path) -> Any:
    """A file that Arrow reads ahead in threads of its own. A file of Python's needs the interpreter for that,
    and a process that just ends then ends by a signal; names that are no UTF-8 have no other."""
    import pyarrow

    try:
        return pyarrow.OSFile(str(path))
    except UnicodeEncodeError:
        return path.open("rb")


def _csv_names(path: Path, dialect: Dialect) -> list[str]:
    def refused(why: str, hint: str | None = None) -> ToolError:
        return ToolError(Code.NOT_CSV, f"the first line of {path} {why}", hint)

    with path.open("rb") as stream:
        try:
            heading = Records(stream, name=str(path), delimiter=dialect.delimiter).next()
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
