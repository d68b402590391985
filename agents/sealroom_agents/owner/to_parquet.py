# SPDX-License-Identifier: Apache-2.0
"""Arrow files, and batches of rows, as Parquet: the one form of a table that a recipe reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import Column
from sealroom_agents.errors import ToolError

ROW_GROUP_BYTES = 64 * 1024 * 1024
"""How much of a table one row group holds, before it is compressed."""
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
        yield from advancing(messages, stream, advance)
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


def same_rows(path: Path, **counted: int) -> None:
    """Raise `rows-differ` unless all ways to count the rows agree."""
    if len(set(counted.values())) > 1:
        said = ", ".join(f"{count:,} {way}" for way, count in counted.items())
        raise ToolError(
            Code.ROWS_DIFFER,
            f"the rows of {path} cannot be counted the same twice: {said}",
            "nothing was sealed",
        )


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


def advancing(batches: Iterable[Any], source: BinaryIO, advance: Advance | None) -> Iterator[Any]:
    for batch in batches:
        yield batch
        if advance is not None:
            advance(source.tell())


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


def as_schema(batch: Any, schema: Any) -> Any:
    """The same batch with each column as the schema has it."""
    import pyarrow

    pairs = zip(batch.columns, schema, strict=True)
    arrays = [values if values.type == one.type else values.cast(one.type) for values, one in pairs]
    return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)


def _not_arrow(path: Path) -> ToolError:
    return ToolError(
        Code.NOT_ARROW, f"cannot read {path} as Arrow IPC", "is it whole? else write it as Parquet"
    )
