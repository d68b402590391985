# SPDX-License-Identifier: Apache-2.0
"""What an owner has, as one file that can be sealed: a table as Parquet, or an opaque file or folder.

A file that has to be made first holds plaintext. It is made beside the input, so that data stays where its
owner keeps it, and without a name, so that nothing is left of it however the run ends.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from sealroom.codes import Code
from sealroom.schema import Column
from sealroom.sealed import PARQUET
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import folder
from sealroom_agents.owner.disk_space import Free, free_at, need
from sealroom_agents.owner.spool import called, nameless, place_of
from sealroom_agents.owner.tables import arrow_ipc, csv_cells, to_parquet
from sealroom_agents.owner.tables.csv_dialect import Dialect
from sealroom_agents.owner.tables.csv_form import Form
from sealroom_agents.owner.tables.csv_table import csv_batches, csv_heading, line_of_row, require_names
from sealroom_agents.owner.tables.packed import SUFFIXES, compression_of
from sealroom_agents.owner.tables.parquet_note import look_parquet
from sealroom_agents.owner.tables.parquet_rows import ParquetRows
from sealroom_agents.owner.tables.table_folder import TableFolder, folder_batches, look_folder, table_files

if TYPE_CHECKING:
    from sealroom.keys import Secret
    from sealroom_agents.owner.prepare.declared import Declared
    from sealroom_agents.owner.prepare.run import Prepared

KINDS = ("parquet", "arrow", "csv", "opaque", "prepared")
OPAQUE_FILE, OPAQUE_FOLDER = "application/octet-stream", "application/x-tar"
"""Media types of what is no table."""

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How the files of Excel and of OpenDocument begin, newer and older."""

CSV_SUFFIXES = (".csv", ".tsv", ".tab")
"""What the names of CSVs end in, those of compressed ones before what says that."""

Advance = Callable[[int], None]


def name_of(path: Path) -> str:
    """The name of an input without what says of which kind it is: what a dataset is called where no other
    name is said."""
    inner = Path(path.stem)
    packed = path.suffix.lower() in SUFFIXES and inner.suffix.lower() in CSV_SUFFIXES
    return inner.stem if packed else path.stem


@dataclass(frozen=True)
class Preparing:
    """By what an input is prepared."""

    file: Path
    """The declared file."""
    declared: Declared
    """What it says."""
    key: Secret | None
    """The key of pseudonyms; `None` where none are made."""


@dataclass(frozen=True)
class Source:
    """An input, looked at and not yet changed."""

    path: Path
    """The file or folder."""
    kind: str
    """One of `KINDS`."""
    columns: tuple[Column, ...] | None
    """Its columns; `None` when it is opaque."""
    rows: int | None
    """Its rows, where they are known without reading it all."""
    size: int
    """Bytes of the input: of a folder, an upper bound of its tar."""
    entries: tuple[folder.Entry, ...] | None = None
    """What a folder holds that is no table."""
    table: TableFolder | None = None
    """The folder of Parquet or Arrow files that is one table."""
    dialect: Dialect = csv_cells.PLAIN
    """How the cells of a CSV are written, as its owner says."""
    form: Form | None = None
    """How a CSV turned out to be written; `None` for what is none."""
    preparing: Preparing | None = None
    """By what it is prepared; `None` where it is sealed as it is."""

    @property
    def called(self) -> Path:
        """What a person reads in its place, where it came through a pipe and has no name."""
        return called(self.path)

    @property
    def place(self) -> Path:
        """The folder in which what is made of it may lie."""
        return place_of(self.path)

    @property
    def media_type(self) -> str:
        """Media type of what is sealed."""
        if self.kind != "opaque":
            return PARQUET
        return OPAQUE_FILE if self.entries is None else OPAQUE_FOLDER

    @property
    def remade(self) -> str | None:
        """What is sealed instead of the input's own bytes, in words; `None` when it is those bytes."""
        if self.entries is not None:
            return f"a tar of its {len(self.entries):,} files and folders, without their times and owners"
        if self.preparing is not None:
            return f"the columns that {self.preparing.file} declares, as Parquet"
        if self.table is not None:
            return f"one Parquet file of the rows of {len(self.table.files):,} files"
        return {"arrow": "the same columns as Parquet", "csv": "the declared columns as Parquet"}.get(
            self.kind
        )


@dataclass(frozen=True)
class Ready:
    """One file to be sealed as it is."""

    path: Path
    """Where it can be read, for as long as the context lasts."""
    size: int
    """Its bytes."""
    rows: int | None = None
    """Rows that were written to it, where it was made."""
    prepared: Prepared | None = None
    """How it was prepared, where it was."""


def look(
    path: Path, *, kind: str | None, declared: Sequence[Column] | None, dialect: Dialect | None = None
) -> Source:
    """Find out what `path` is, from its first bytes; `kind` is what the owner says it is.

    `declared` are the columns that the recipe declares, `None` without a recipe; `dialect` says how a CSV is
    written. Raises `ToolError`:
    `source-missing`, `source-unsupported`, `not-a-table`, `not-arrow`, `not-csv`, `columns-undeclared`,
    `columns-differ`, `folder-unsupported`; and `SealError` `not-parquet`.
    """
    check_path(path)
    kind = kind or _guess(path)
    if path.is_dir():
        entries = tuple(folder.listing(path))
        if kind != "opaque":
            held = table_files(entries)
            if held is None or kind not in ("folder", held[0]):
                raise ToolError(
                    Code.NOT_A_TABLE,
                    f"{path} is a folder, and not one of Parquet files or Arrow files alone",
                    "of a DICOM folder sealroom prepare makes a table; --as opaque seals any folder as it is",
                )
            found = look_folder(*held, declared)
            size = sum(each.size or 0 for each in found.files)
            return Source(
                path=path, kind=found.kind, columns=found.columns, rows=found.rows, size=size, table=found
            )
        size = folder.packed_size(list(entries))
        return Source(path=path, kind=kind, columns=None, rows=None, size=size, entries=entries)
    size = path.stat().st_size
    if kind == "parquet":
        columns, rows = look_parquet(path)
        return Source(path=path, kind=kind, columns=columns, rows=rows, size=size)
    if kind == "arrow":
        return Source(path=path, kind=kind, columns=arrow_ipc.arrow_columns(path), rows=None, size=size)
    if kind == "csv":
        if declared is None:
            raise ToolError(
                Code.COLUMNS_UNDECLARED,
                f"{path} is a CSV, which says of no column what type it has",
                "seal it for a study, whose recipe declares them; or write it as Parquet or Arrow",
            )
        dialect = dialect or Dialect()
        columns, form = csv_heading(path, declared, dialect)
        require_names(path, columns, declared)
        return Source(path, kind, columns, rows=None, size=size, dialect=dialect, form=form)
    return Source(path=path, kind="opaque", columns=None, rows=None, size=size)


def batches(source: Source, *, as_text: bool = False, advance: Advance | None = None) -> Iterator[Any]:
    """The rows of a table in record batches whose schema is `arrow_schema(source.columns)`.

    With `as_text`, all cells of a CSV are text, so that one that is not of its column's type ends nothing.
    `advance` is told how much of `source.size` is done. Raises as `arrow_batches`, `csv_batches`,
    `folder_batches` and `ParquetRows`, and `rows-differ`; `ValueError` for what is no table.
    """
    from sealroom.schema.arrow import arrow_schema

    columns = source.columns
    if columns is None:
        raise ValueError(f"{source.path} is no table")
    if source.form is not None:
        yield from csv_batches(
            source.path, columns, source.dialect, source.form, as_text=as_text, advance=advance
        )
    elif source.table is not None:
        yield from folder_batches(source.table, advance=advance)
    elif source.kind == "arrow":
        yield from arrow_ipc.arrow_batches(source.path, columns, advance=advance)
    else:
        schema = arrow_schema(columns)
        for batch in _parquet(source, advance):
            yield batch if batch.schema == schema else to_parquet.as_schema(batch, schema)


def line_of(source: Source, row: int) -> int | None:
    """The line of a CSV in which a row, counted from 0, begins; `None` for what has no lines."""
    return None if source.form is None else line_of_row(source.path, source.form, row)


def _parquet(source: Source, advance: Advance | None) -> Iterator[Any]:
    done = 0
    with source.path.open("rb", buffering=0) as file:
        parquet = ParquetRows(file, name=source.path)
        for batch in parquet:
            yield batch
            done += batch.num_rows
            if advance is not None and parquet.rows:
                advance(source.size * done // parquet.rows)
        to_parquet.same_rows(source.path, footer=parquet.rows, decoded=done)


def look_prepared(path: Path, preparing: Preparing) -> Source:
    """Find out whether an input can be prepared. Raises as `sealroom_agents.owner.prepare.run.prepared`."""
    from sealroom_agents.owner.prepare.run import prepared

    place = path.absolute().parent
    with prepared(path, preparing.declared, key=preparing.key, place=place) as made:
        return Source(
            path=path,
            kind="prepared",
            columns=made.columns,
            rows=None,
            size=made.table.size,
            preparing=preparing,
        )


@contextmanager
def ready(
    source: Source,
    *,
    advance: Advance | None = None,
    free: Free = free_at,
) -> Iterator[Ready]:
    """The file to be sealed. Raises `no-space`, `scratch-unwritable`, and what the conversion raises."""
    if source.remade is None:
        yield Ready(source.path, source.size)
        return
    need(source.place, source.size, what=f"what is made of {source.path}", free=free)
    before = source.path.stat()
    with nameless(source.place) as (stream, path):
        rows, made = None, None
        try:
            if source.preparing is not None:
                rows, made = _prepare(source, source.preparing, stream, advance)
            elif source.entries is not None:
                folder.pack(list(source.entries), stream, advance=advance)
            else:
                from sealroom.schema.arrow import arrow_schema

                rows = to_parquet.write_batches(
                    batches(source, advance=advance), arrow_schema(source.columns or ()), stream
                )
            stream.flush()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise ToolError(
                Code.NO_SPACE, f"no room beside {source.path}", "make room and run it again"
            ) from None
        after = source.path.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise ToolError(Code.SOURCE_CHANGED, f"{source.path} changed while it was read", "run it again")
        yield Ready(path, os.fstat(stream.fileno()).st_size, rows, made)


def _prepare(
    source: Source, preparing: Preparing, target: BinaryIO, advance: Advance | None
) -> tuple[int, Prepared]:
    from sealroom.schema.arrow import arrow_schema
    from sealroom_agents.owner.prepare.run import prepared

    place = source.path.absolute().parent
    with prepared(source.path, preparing.declared, key=preparing.key, place=place) as made:
        rows = to_parquet.write_batches(made.batches(advance=advance), arrow_schema(made.columns), target)
        return rows, made


def check_path(path: Path) -> None:
    """Refuse what is neither a file nor a folder, without opening it: to open a FIFO is to wait for a writer.

    A pipe or a device has no size and cannot be read twice: what is sealed of it would be less than it gives.
    The same goes for what Linux shows as an empty file and is none, as below /proc. Raises `source-missing`,
    `source-unsupported`.
    """
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ToolError(Code.SOURCE_MISSING, f"{path}: no such file or folder") from None
    except OSError as error:
        raise ToolError(Code.SOURCE_MISSING, f"cannot read {path}: {error.strerror}") from None
    if stat.S_ISDIR(state.st_mode):
        return
    if not stat.S_ISREG(state.st_mode):
        pipe = stat.S_ISFIFO(state.st_mode)
        raise ToolError(
            Code.SOURCE_UNSUPPORTED,
            f"{path} is neither a file nor a folder",
            "read it as standard input: --in - --name NAME"
            if pipe
            else "write what it gives to a file first",
        )
    if state.st_size == 0:
        with path.open("rb") as stream:
            if stream.read(1):
                raise ToolError(
                    Code.SOURCE_UNSUPPORTED,
                    f"{path} says that it is empty, and is not",
                    "write what it gives to a file first, and seal that",
                )


def _guess(path: Path) -> str:
    if path.is_dir():
        return "folder"
    with path.open("rb") as stream:
        first = stream.read(6)
    if first[:4] == b"PAR1":
        return "parquet"
    if first == b"ARROW1" or first[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    packed = compression_of(path) is not None
    if path.suffix.lower() in CSV_SUFFIXES or (packed and Path(path.stem).suffix.lower() in CSV_SUFFIXES):
        return "csv"
    if packed:
        raise ToolError(
            Code.NOT_A_TABLE,
            f"{path} is compressed, and its name does not say that it is a CSV",
            "say so with --as csv; unpack another table first; --as opaque seals any file as it is",
        )
    if first.startswith(_WORKBOOKS) and path.suffix.lower().startswith((".xls", ".ods")):
        raise ToolError(
            Code.NOT_A_TABLE,
            f"{path} is a workbook, which declares no types: a date in it is a number, shown as a date",
            "save the one sheet as CSV in UTF-8, and seal that; or write it as Parquet",
        )
    raise ToolError(
        Code.NOT_A_TABLE,
        f"{path} is no Parquet, Arrow or CSV file",
        "say what it is with --as; of FHIR and VCF sealroom prepare makes a table; "
        "--as opaque seals any file or folder as it is",
    )
