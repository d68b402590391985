# SPDX-License-Identifier: Apache-2.0
"""What stands in the table that is about to be sealed, column by column, for its owner to recognise.

Read back from the Parquet file itself, all of it, in batches: so a page that cannot be decoded shows before
it is sealed, and rows are counted once more, against what the footer says.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealroom.codes import Code
from sealroom.schema import (
    Binary,
    Bool,
    ColumnType,
    Date,
    Decimal,
    List,
    Real,
    String,
    Struct,
    Time,
    Timestamp,
    plain_type,
)
from sealroom.schema.names import shown
from sealroom_agents.errors import ToolError

if TYPE_CHECKING:
    from sealroom.sealed.parquet import Footer

BATCH_ROWS = 65_536
GAP_BLOCK_BYTES = 1024 * 1024
"""How much is read at once of what lies between columns."""
MAX_DISTINCT = 1_000
"""Different texts that are counted; memory is bounded by this and `MAX_DISTINCT_BYTES`."""
MAX_DISTINCT_BYTES = 1024 * 1024
MISSING_WORDS = ("NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "none", "-", ".", "?")
"""Texts that some programs write for a missing value. Here they are texts."""
MOST_SECONDS = 9_214_646_400
"""Seconds from 1970 to the end of 2261, within which 64 bits count nanoseconds."""
_MAGIC = b"PAR1"


@dataclass
class ColumnProfile:
    """One column."""

    name: str
    """Its name."""
    type: ColumnType
    """What its cells hold."""
    nulls: int = 0
    """Cells without a value."""
    least: int | float | str | None = None
    """Smallest value, of real numbers the smallest finite one; of text, bytes and lists the least length."""
    most: int | float | str | None = None
    """Largest value or length."""
    counts: dict[str, int] = field(default_factory=dict)
    """Cells that an owner should know of: `true` and `false`; `NaN` and `infinite`; `empty`, `missing-words`
    and `line-breaks` of text."""
    ends: list[Any] = field(default_factory=list)
    """Smallest and largest values or lengths of each batch, in Arrow."""
    distinct: set[str] | None = None
    """The different texts; None when there are more than are counted, and for other types."""

    def json(self) -> dict[str, Any]:
        """The column as JSON. A text column says how many different texts it has, never which."""
        least, most = ("minLength", "maxLength") if self._measure else ("min", "max")
        facts: dict[str, Any] = {"name": self.name, "type": plain_type(self.type), "nulls": self.nulls}
        if not isinstance(self.type, Bool | Struct):
            facts |= {least: self.least, most: self.most}
        if isinstance(self.type, String):
            facts["distinct"] = None if self.distinct is None else len(self.distinct)
        return facts | self.counts

    @property
    def _measure(self) -> str | None:
        """What a value is counted in, where its length is told and not the value."""
        lengths = {String: "characters", Binary: "bytes", List: "elements"}
        return lengths.get(type(self.type))

    def sentence(self) -> str:
        """The column in one line for people."""
        parts = [self.type.name, f"{self.nulls:,} null"]
        if self.least is not None:
            measure = self._measure
            ends = f"{self.least} to {self.most}" if measure is None else f"{self.least:,} to {self.most:,}"
            parts.append(f"{ends} {measure}" if measure else ends)
        if isinstance(self.type, String):
            many = f"more than {MAX_DISTINCT:,}" if self.distinct is None else f"{len(self.distinct):,}"
            parts.append(f"{many} different")
        words = {"missing-words": "written as NA, null or the like, and kept as text"}
        words |= {"line-breaks": "with line breaks"}
        always = isinstance(self.type, Bool)
        parts += [f"{n:,} {words.get(what, what)}" for what, n in self.counts.items() if n or always]
        return ", ".join(parts)


@dataclass(frozen=True)
class Profile:
    """The table."""

    rows: int
    """Its rows."""
    columns: tuple[ColumnProfile, ...]
    """Its columns, in its order."""


def profile(
    path: Path, *, name: Path, advance: Callable[[int], None] | None = None, expected: int | None = None
) -> Profile:
    """Read a Parquet file, all of it. `name` is what messages call it; `advance` is told the rows done.

    `expected` is how many rows it must have, where that is known. Raises `not-parquet`, `rows-differ`,
    `table-malformed`, and `SealError` as `sealroom.sealed.parquet.read_footer`.
    """
    import pyarrow
    import pyarrow.parquet as pq

    from sealroom.schema.arrow import arrow_schema
    from sealroom.sealed.parquet import parse_footer
    from sealroom.sealed.table import same_schema
    from sealroom_agents.owner.to_parquet import same_rows

    with path.open("rb", buffering=0) as file:
        footer = parse_footer(file, str(name))
        _refuse_joined(file, footer, name)
        _refuse_far_times(file, footer, name)
        columns = tuple(ColumnProfile(column.name, column.type) for column in footer.columns)
        for column in columns:
            _begin(column)
        rows = 0
        with _decoding(name):
            # The writer's own notes say how to see a column (AR-07); what counts is how it is stored.
            parquet = pq.ParquetFile(
                pyarrow.PythonFile(file, mode="r"),
                metadata=footer.for_arrow(),
                arrow_extensions_enabled=False,
            )
            if not same_schema(parquet.schema_arrow, arrow_schema(footer.columns)):
                raise ValueError("Arrow reads a column as another type")
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                for column, values in zip(columns, batch.columns, strict=True):
                    _check_values(column, values, name)
                    _add(column, values)
                rows += batch.num_rows
                if advance is not None:
                    advance(rows)
    for column in columns:
        _finish(column)
    same_rows(name, footer=footer.rows, decoded=rows, written=rows if expected is None else expected)
    return Profile(rows, columns)


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


def _check_values(column: ColumnProfile, values: Any, name: Path) -> None:
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
def _decoding(name: Path) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, ValueError, OSError, MemoryError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ToolError(
            Code.NOT_PARQUET, f"{name} holds a page that cannot be read", "is it whole? write it again"
        ) from None


def _begin(column: ColumnProfile) -> None:
    kept: dict[type[ColumnType], tuple[str, ...]] = {
        Bool: ("true", "false"),
        Real: ("NaN", "infinite"),
        String: ("empty", "missing-words", "line-breaks"),
    }
    column.counts = dict.fromkeys(kept.get(type(column.type), ()), 0)
    column.distinct = set() if isinstance(column.type, String) else None


def _add(column: ColumnProfile, values: Any) -> None:
    import pyarrow
    import pyarrow.compute as pc

    def count(what: str, mask: Any) -> None:
        column.counts[what] += pc.sum(mask).as_py() or 0

    column.nulls += values.null_count
    measured = values
    if isinstance(column.type, Bool):
        count("true", values)
        count("false", pc.invert(values))
        return
    if isinstance(column.type, Struct):
        return
    if isinstance(column.type, Real):
        values = values.cast(pyarrow.float32()) if column.type.bits == 16 else values
        count("NaN", pc.is_nan(values))
        count("infinite", pc.is_inf(values))
        measured = values.filter(pc.is_finite(values))
    if isinstance(column.type, Binary):
        measured = pc.binary_length(values)
    if isinstance(column.type, List):
        measured = pc.list_value_length(values)
    if isinstance(column.type, String):
        measured = pc.utf8_length(values)
        count("empty", pc.equal(measured, 0))
        count("missing-words", pc.is_in(values, pyarrow.array(MISSING_WORDS, values.type)))
        count("line-breaks", pc.match_substring_regex(values, r"[\r\n]"))
        column.distinct = _more(column.distinct, pc.unique(values))
    ends = pc.min_max(measured)
    column.ends.extend((ends["min"], ends["max"]))


def _finish(column: ColumnProfile) -> None:
    """Make one pair of ends of those of all batches."""
    import pyarrow
    import pyarrow.compute as pc

    there = [end for end in column.ends if end.is_valid]
    if not there:
        return
    ends = pc.min_max(pyarrow.array(there, there[0].type))
    column.least, column.most = _told(ends["min"], column.type), _told(ends["max"], column.type)


def _told(end: Any, kind: ColumnType) -> int | float | str:
    """A number as it is, any other value as Arrow writes it: Python has no days beyond the year 9999."""
    import pyarrow

    if not isinstance(kind, Decimal | Date | Time | Timestamp):
        number: int | float = end.as_py()
        return number
    try:
        return str(end.cast(pyarrow.string()).as_py())
    except pyarrow.ArrowException:
        return "out of range"


def _more(known: set[str] | None, found: Any) -> set[str] | None:
    """The texts seen so far with these; None once they are too many to keep."""
    if known is None or len(found) > MAX_DISTINCT + 1 or found.nbytes > MAX_DISTINCT_BYTES:
        return None
    known.update(text for text in found.to_pylist() if text is not None)
    return known if len(known) <= MAX_DISTINCT else None
