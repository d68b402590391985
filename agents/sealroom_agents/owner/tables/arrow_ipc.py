# SPDX-License-Identifier: Apache-2.0
"""Arrow IPC files and streams, whichever program wrote them.

How a program keeps a value in memory is not what the value is: text as a dictionary, as views or large is
text. Each column becomes the one Arrow type that a study reads, exactly, or its name is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import Column
from sealroom.schema.names import shown
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.tables.arrow_schema import (
    MARKER,
    Batch,
    Foreign,
    NoFlatbuffer,
    batch_of,
    footer_facts,
    foreign_columns,
)
from sealroom_agents.owner.tables.in_memory import unfolded_bytes
from sealroom_agents.owner.tables.parquet_batches import BATCH_BYTES
from sealroom_agents.owner.tables.parquet_rows import check_values

FILE_START, FILE_END = b"ARROW1", b"ARROW1"
"""Both ends of a file. A stream begins with `arrow_schema.MARKER`."""
_FIRST_MESSAGE = 8
"""Where a file's messages begin."""
_STREAM_END = MARKER + bytes(4)
"""How Arrow marks the end of a stream, and of the messages of a file."""
MAX_FOOTER_BYTES = 64 * 1024 * 1024
"""Largest footer of an Arrow file, and largest message with a schema."""

Advance = Callable[[int], None]


def arrow_columns(path: Path) -> tuple[Column, ...]:
    """Columns of an Arrow IPC file or stream. Raises `not-arrow`, `schema-unsupported`."""
    from sealroom.schema.arrow import columns_of

    with path.open("rb") as stream, _reading_arrow(path):
        opened = _Arrow(stream, path)
        try:
            # A name that is no UTF-8 shows only when it is asked for.
            return columns_of(opened.schema)
        except FormatError as error:
            raise _unsupported(path, error.message, error.hint) from None


def arrow_batches(path: Path, columns: Sequence[Column], *, advance: Advance | None = None) -> Iterator[Any]:
    """The record batches of an Arrow IPC file or stream, each column as the one Arrow type of its kind.

    Raises `not-arrow`, also for one that was cut off or has something behind its end; `table-malformed` for
    a value that its type cannot have.
    """
    from sealroom.schema.arrow import arrow_schema

    schema = arrow_schema(columns)
    with path.open("rb") as stream:
        for batch in _read(stream, path):
            for column, values in zip(columns, batch.columns, strict=True):
                check_values(column, values, path)
            for piece in _pieces(batch):
                yield _as_columns(piece, columns, schema, path)
            if advance is not None:
                advance(min(stream.tell(), os.fstat(stream.fileno()).st_size))


def _read(stream: BinaryIO, path: Path) -> Iterator[Any]:
    """The record batches as they are. What the caller does with them is not taken for Arrow's fault."""
    with _reading_arrow(path):
        opened = _Arrow(stream, path)
    batches = iter(opened)
    while True:
        with _reading_arrow(path):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


class _Arrow:
    """An opened file or stream. Raises what Arrow raises, and `NoFlatbuffer`, `ToolError`."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        import pyarrow

        self._stream = stream
        self.size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        self._is_file = stream.read(len(FILE_START)) == FILE_START
        if self._is_file:
            self._check_sizes(self._check_file(path), 0, path)
            stream.seek(0)
            self._reader = pyarrow.ipc.open_file(stream)
        else:
            stream.seek(0)
            head = stream.read(8)
            if head[:4] != MARKER:
                raise NoFlatbuffer("no stream")
            length = int.from_bytes(head[4:], "little")
            if length > MAX_FOOTER_BYTES:
                raise NoFlatbuffer("a schema without end")
            _refuse(foreign_columns(head + stream.read(length)), path)
            self._check_sizes(None, len(head) + length, path)
            stream.seek(0)
            self._reader = pyarrow.ipc.open_stream(stream)
        self.schema = self._reader.schema

    def __iter__(self) -> Iterator[Any]:
        if self._is_file:
            for number in range(self._reader.num_record_batches):
                yield self._reader.get_batch(number)
            return
        yield from self._reader
        at = self._stream.tell()
        self._stream.seek(at - len(_STREAM_END))
        if self._stream.read(len(_STREAM_END)) != _STREAM_END or at != self.size:
            raise ValueError("it does not end where it should")

    def _check_sizes(self, places: Iterable[int] | None, first: int, path: Path) -> None:
        """Refuse a batch that takes, with the dictionaries before it, more memory than a table may.

        places: where a file's messages begin, by its footer; those of a stream follow each other from `first`
        on. A compressed buffer begins with how long it is once it is none any more (`Message.fbs`,
        BodyCompression).
        """
        from sealroom.sealed.parquet import MAX_ROWS
        from sealroom.sealed.source import TableLimits

        limit = TableLimits.of_this_machine().table_bytes
        held, rows = dict[int, int](), 0
        for batch, body in self._messages(places, first):
            size = batch.body
            for begin, count in batch.packed:
                size += (
                    max(int.from_bytes(self._at(body + begin, 8), "little", signed=True), 0) if count else 0
                )
            if batch.dictionary is None:
                rows, size = rows + batch.rows, size + sum(held.values())
            else:
                before = held.get(batch.dictionary, 0) if batch.delta else 0
                held[batch.dictionary] = before + size
                size = sum(held.values())
            if size > limit or rows > MAX_ROWS:
                what = f"{rows:,} rows" if rows > MAX_ROWS else f"a batch of {size:,} bytes, unpacked"
                most = f"{MAX_ROWS:,}" if rows > MAX_ROWS else f"{limit:,} here"
                raise ToolError(
                    Code.TABLE_TOO_LARGE, f"{path} has {what}; at most {most}", "write it in smaller batches"
                )

    def _messages(self, places: Iterable[int] | None, first: int) -> Iterator[tuple[Batch, int]]:
        """Each batch and dictionary, and where its values begin. Of old, messages had no marker; Arrow reads
        those too."""
        waiting, at = iter(places or ()), first
        while (at if places is None else (at := next(waiting, self.size))) < self.size:
            head = self._at(at, 8)
            marked = head[:4] == MARKER
            length = int.from_bytes(head[4:] if marked else head[:4], "little")
            if length == 0:
                return
            if length > MAX_FOOTER_BYTES:
                raise NoFlatbuffer("a message without end")
            begin = at + (8 if marked else 4)
            batch = batch_of(self._at(begin, length))
            if batch is None or batch.body < 0 or batch.rows < 0:
                raise NoFlatbuffer("a message of no batch")
            yield batch, begin + length
            at = begin + length + batch.body

    def _at(self, at: int, count: int) -> bytes:
        if not 0 <= at <= self.size:
            raise NoFlatbuffer("an offset beyond the end")
        self._stream.seek(at)
        return self._stream.read(count)

    def _check_file(self, path: Path) -> list[int]:
        """Refuse two files that were joined, and messages that the footer does not list. Returns where its
        batches and dictionaries begin.

        A file is read by its footer, and of what it does not list nothing would be sealed. So all that it
        lists must lie end to end from the schema on, up to the mark of the end and the footer. The schema
        before them is Arrow's message, or, as polars writes it, the same without its marker and length.
        """
        stream = self._stream
        tail = len(FILE_END) + 4
        stream.seek(max(self.size - tail, 0))
        last = stream.read(tail)
        length = int.from_bytes(last[:4], "little")
        begin = self.size - tail - length
        if last[4:] != FILE_END or not begin >= _FIRST_MESSAGE or length > MAX_FOOTER_BYTES:
            raise ValueError("no footer")
        stream.seek(begin)
        found, blocks = footer_facts(stream.read(length))
        _refuse(found, path)
        end = begin - len(_STREAM_END)
        first = blocks[0].begin if blocks else end
        at = first
        for block in blocks:
            if block.begin != at or block.end <= at:
                raise ValueError("batches that do not lie end to end")
            at = block.end
        stream.seek(end)
        if at != end or stream.read(len(_STREAM_END)) != _STREAM_END:
            raise ValueError("messages that its footer does not list")
        self._check_schema(first)
        return [block.begin for block in blocks]

    def _check_schema(self, end: int) -> None:
        """Refuse anything but the schema before the first batch."""
        import pyarrow

        if not _FIRST_MESSAGE < end <= _FIRST_MESSAGE + MAX_FOOTER_BYTES:
            raise ValueError("no schema before its batches")
        self._stream.seek(_FIRST_MESSAGE)
        message = self._stream.read(end - _FIRST_MESSAGE)
        if message[:4] != MARKER:
            message = MARKER + len(message).to_bytes(4, "little") + message
        elif 8 + int.from_bytes(message[4:8], "little") != len(message):
            raise ValueError("messages before its first batch")
        pyarrow.ipc.read_schema(pyarrow.py_buffer(message))


def _pieces(batch: Any) -> Iterator[Any]:
    """The batch in slices, of which none is much longer than `BATCH_BYTES` once nothing in it is folded."""
    if batch.num_rows > 1 and sum(map(unfolded_bytes, batch.columns)) > BATCH_BYTES:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half))
        yield from _pieces(batch.slice(half))
    else:
        yield batch


def _as_columns(batch: Any, columns: Sequence[Column], schema: Any, path: Path) -> Any:
    import pyarrow

    arrays = []
    for column, field, values in zip(columns, schema, batch.columns, strict=True):
        if values.null_count and not column.type.nullable:
            raise _misfit(path, column, "holds nulls, and says that it has none", "write it anew")
        try:
            arrays.append(as_kind(values, field.type))
        except (pyarrow.ArrowException, ValueError, OverflowError):
            # Arrow's own words quote the value.
            raise _misfit(
                path,
                column,
                f"holds a value that none of type {column.type.name} is",
                "write the column as that type with the program that it comes from",
            ) from None
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def as_kind(values: Any, kind: Any) -> Any:
    """An array as another Arrow type that holds the same values.

    Raises `pyarrow.ArrowException` for a value that the type does not hold.
    """
    import pyarrow
    import pyarrow.compute as pc

    types, have = pyarrow.types, values.type
    if have == kind:
        return values
    if not len(values):
        return pyarrow.array([], kind)
    if types.is_run_end_encoded(have):
        return as_kind(pc.run_end_decode(values), kind)
    if types.is_dictionary(have):
        # Arrow unfolds no dictionary of views, as polars writes its categories.
        return as_kind(values.dictionary, kind).take(values.indices)
    if types.is_struct(have):
        parts = [as_kind(values.field(place), kind.field(place).type) for place in range(kind.num_fields)]
        return pyarrow.StructArray.from_arrays(parts, fields=list(kind), mask=values.is_null())
    if (types.is_list(have) or types.is_large_list(have)) and not _castable(have):
        offsets = values.offsets.cast(pyarrow.int64())
        # Of a slice, what lies before and behind it is left folded.
        begin, end = offsets[0].as_py(), offsets[-1].as_py()
        inner = as_kind(values.values.slice(begin, end - begin), kind.value_type)
        offsets = pc.subtract(offsets, offsets[0]).cast(pyarrow.int32())
        return pyarrow.ListArray.from_arrays(offsets, inner, type=kind, mask=values.is_null())
    return values.cast(kind)


def _castable(kind: Any) -> bool:
    """Whether Arrow's own cast unfolds it: no dictionary and no runs lie within."""
    import pyarrow

    if pyarrow.types.is_dictionary(kind) or pyarrow.types.is_run_end_encoded(kind):
        return False
    return all(_castable(kind.field(place).type) for place in range(kind.num_fields))


@contextmanager
def _reading_arrow(path: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError, OSError, MemoryError) as error:
        # Arrow asks for as much memory as a broken length says.
        if isinstance(error, OSError) and error.errno is not None:  # Arrow's own carry no number
            raise
        raise ToolError(
            Code.NOT_ARROW, f"cannot read {path} as Arrow IPC", "is it whole? else write it as Parquet"
        ) from error


def _refuse(found: list[Foreign], path: Path) -> None:
    for each in found:
        raise _unsupported(path, f"the column {shown(each.name)} is {each.what}", each.remedy)


def _unsupported(path: Path, why: str, remedy: str | None) -> ToolError:
    return ToolError(Code.SCHEMA_UNSUPPORTED, f"{path} cannot be sealed as a table: {why}", remedy)


def _misfit(path: Path, column: Column, why: str, remedy: str) -> ToolError:
    return ToolError(Code.TABLE_MALFORMED, f"{path}: the column {shown(column.name)} {why}", remedy)
