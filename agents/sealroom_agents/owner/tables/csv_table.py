# SPDX-License-Identifier: Apache-2.0
"""A CSV as a table: its columns as they are declared, and its rows in record batches.

Nothing is guessed: a CSV has exactly the columns that the recipe declares, and each cell must be of the
declared type. What a cell holds is never repeated in an error: a terminal's log is no place for data (OP-04).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.schema import Column, String
from sealroom.schema.columns import loose
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables import csv_cells
from sealroom_agents.owner.tables.csv_bytes import Text, text_of
from sealroom_agents.owner.tables.csv_dialect import Dialect
from sealroom_agents.owner.tables.csv_form import Form, form_of, skip_sep
from sealroom_agents.owner.tables.csv_records import QUOTE_HINT, Chunk, Records
from sealroom_agents.owner.tables.to_parquet import Advance, same_rows

CHUNK_BYTES = 8 * 1024 * 1024
"""How much is made a batch at once."""
MAX_HEADING_BYTES = 128 * 1024
"""First line: room for the most columns with the longest names."""


def csv_heading(path: Path, declared: Sequence[Column], dialect: Dialect) -> tuple[tuple[Column, ...], Form]:
    """Columns of a CSV, names from its first line, types as declared, else text; and how it is written.

    Raises `not-csv`, `compressed-damaged`.
    """
    types = dict(declared)
    form = form_of(path, dialect)
    names = _names(path, form)
    trimmed = [name.strip() for name in names] if dialect.trim_names else names
    if trimmed != names:
        form = replace(form, trimmed=True)
    _check_names(path, trimmed)
    return tuple(Column(name, types.get(name, String())) for name in trimmed), form


def require_names(path: Path, columns: Sequence[Column], declared: Sequence[Column]) -> None:
    """A first line that has no declared name, however it is spelled, may be a row: it is refused, and not
    repeated (OP-04). Raises `columns-differ`."""
    if declared and not {loose(name) for name, _ in columns} & {loose(name) for name, _ in declared}:
        raise ToolError(
            Code.COLUMNS_DIFFER,
            f"the first line of {path} names none of the columns that are declared",
            f"declared are {', '.join(name for name, _ in declared)[:200]}; where the names are others, "
            "sealroom prepare maps them; the first line, which may be a row, is not repeated here",
        )


def csv_batches(
    path: Path,
    columns: Sequence[Column],
    dialect: Dialect,
    form: Form,
    *,
    as_text: bool = False,
    advance: Advance | None = None,
) -> Iterator[Any]:
    """The rows of a CSV in record batches. `columns` are those of its heading, in its order; with `as_text`
    no cell is converted.

    It is read once. An empty cell is null, but an empty text in a text column. Its rows are counted twice, by
    Python's parser and by Arrow's. Raises `csv-does-not-fit`, `rows-differ`, `compressed-damaged`.
    """
    import pyarrow

    from sealroom.schema.arrow import arrow_schema

    schema = arrow_schema([Column(name, String()) for name, _ in columns] if as_text else columns)
    before = 0
    with _records(path, form) as (records, text):
        records.next()
        while (chunk := records.chunk(CHUNK_BYTES)) is not None:
            found = _parsed(chunk, columns, dialect, form, path)
            same_rows(path, records=before + chunk.rows, parsed=before + found.num_rows)
            arrays = list(found.columns) if as_text else []
            for (name, kind), cells in zip(() if as_text else columns, found.columns, strict=not as_text):
                try:
                    arrays.append(csv_cells.convert(cells, kind, dialect))
                except csv_cells.CellError as error:
                    line = line_of_row(path, form, before + error.index)
                    where = f"{path} line {line}, column {name}"
                    hint = error.hint or csv_cells.hint(kind, dialect)
                    raise ToolError(Code.CSV_DOES_NOT_FIT, f"{where}: {error.reason}", hint) from None
            before += chunk.rows
            yield pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
            if advance is not None:
                advance(text.file.tell())


def line_of_row(path: Path, form: Form, row: int) -> int:
    """The line in which a row, counted from 0, begins."""
    with _records(path, form) as (records, _):
        records.next()
        while (chunk := records.chunk(CHUNK_BYTES)) is not None and chunk.rows <= row:
            row -= chunk.rows
        if chunk is None:
            return 0
        within = _again(chunk, 0, form, path)
        return next((record.line for record in islice(within, row, None)), 0)


@contextmanager
def _records(path: Path, form: Form) -> Iterator[tuple[Records, Text]]:
    with text_of(path, form.coding) as text:
        line = 1 if skip_sep(text) is None else 2
        encoding = form.coding.encoding
        yield (
            Records(text.stream, name=str(path), delimiter=form.delimiter, line=line, encoding=encoding),
            text,
        )


def _again(chunk: Chunk, width: int, form: Form, path: Path) -> Records:
    """The records of a chunk, one by one."""
    stream: io.BufferedReader[Any] = io.BufferedReader(io.BytesIO(chunk.data))
    return Records(stream, name=str(path), delimiter=form.delimiter, line=chunk.line, width=width)


def _parsed(chunk: Chunk, columns: Sequence[Column], dialect: Dialect, form: Form, path: Path) -> Any:
    """The cells of a chunk, all of them text; a missing text is null."""
    import pyarrow
    import pyarrow.csv

    names = [name for name, _ in columns]
    try:
        # Every cell is read as text: a parser does not guess its type.
        table = pyarrow.csv.read_csv(
            pyarrow.BufferReader(chunk.data),
            read_options=pyarrow.csv.ReadOptions(block_size=len(chunk.data) + 1, column_names=names),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=form.delimiter,
                newlines_in_values=chunk.quoted,
                quote_char='"' if chunk.quoted else False,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pyarrow.string()),
                null_values=list(dialect.missing),
                strings_can_be_null=bool(dialect.missing),
                quoted_strings_can_be_null=False,
            ),
        )
    except (pyarrow.ArrowException, ValueError):
        for _ in _again(chunk, len(names), form, path):
            pass  # the first record that does not fit says why
        raise ToolError(
            Code.CSV_DOES_NOT_FIT, f"a row of {path} does not have {len(names)} cells of text", QUOTE_HINT
        ) from None
    (batch,) = table.combine_chunks().to_batches()
    return batch


def _names(path: Path, form: Form) -> list[str]:
    with _records(path, form) as (records, _):
        try:
            heading = records.next()
        except ToolError as error:
            if error.code == Code.NOT_CSV:
                raise
            hint = "write it as UTF-8; another encoding: --encoding; another delimiter: --delimiter ';'"
            raise _refused(
                path, f"does not name columns in {form.coding.encoding}", error.hint or hint
            ) from None
    return [] if heading is None else heading.cells


def _check_names(path: Path, names: list[str]) -> None:
    if sum(map(len, names)) > MAX_HEADING_BYTES:
        raise _refused(path, "is too long to name columns")
    if names and names[-1] == "":
        raise _refused(
            path,
            "leaves the last column without a name",
            "is there a delimiter too many? empty columns of a spreadsheet: delete them, and export it again",
        )
    if "" in names:
        raise _refused(path, "leaves a column without a name", "is there a delimiter too many?")
    if not names or len(set(names)) != len(names):
        raise _refused(path, "does not name each column once")
    if any(name != name.strip() for name in names):
        raise _refused(
            path, "names a column with spaces around it", "remove them, or let --trim-names take them off"
        )


def _refused(path: Path, why: str, hint: str | None = None) -> ToolError:
    return ToolError(Code.NOT_CSV, f"the first line of {path} {why}", hint)
