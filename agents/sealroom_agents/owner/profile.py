# SPDX-License-Identifier: Apache-2.0
"""What stands in the table that is about to be sealed, column by column, for its owner to recognise.

Read back from the Parquet file itself, all of it, in batches: so a page that cannot be decoded shows before
it is sealed, and rows are counted once more, against what the footer says.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sealroom.schema import (
    Binary,
    Bool,
    Column,
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
from sealroom_agents.owner.tables.csv_dialect import MISSING_WORDS
from sealroom_agents.owner.tables.parquet_rows import ParquetRows

MAX_DISTINCT = 1_000
"""Different texts that are counted; memory is bounded by this and `MAX_DISTINCT_BYTES`."""
MAX_DISTINCT_BYTES = 1024 * 1024
_MISSING = rf"\A(?:{'|'.join(map(re.escape, MISSING_WORDS))})\z"
_YEAR = re.compile("-?[0-9]+")


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
    """Smallest and largest values or lengths of each batch, in Arrow; of real numbers, numbers."""
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

    def discreet(self, *, names_people: bool = False) -> ColumnProfile:
        """The same without what is some person's value, but for the ends of numbers: of days and instants the
        years, of clock times and of ids nothing."""
        if names_people or isinstance(self.type, Time):
            return self if self._measure else replace(self, least=None, most=None)
        if isinstance(self.type, Date | Timestamp):
            return replace(self, least=_year(self.least), most=_year(self.most))
        return self

    def sentence(self) -> str:
        """The column in one line for people."""
        parts = [self.type.name, f"{self.nulls:,} null"]
        if self.least is not None:
            measure = self._measure
            if measure is None:
                parts.append(f"{self.least} to {self.most}")
            elif self.least == self.most:
                parts.append(f"{self.least:,} {measure[:-1] if self.least == 1 else measure}")
            else:
                parts.append(f"{self.least:,} to {self.most:,} {measure}")
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
    from sealroom_agents.owner.tables.to_parquet import same_rows

    with path.open("rb", buffering=0) as file:
        parquet = ParquetRows(file, name=name, indexed=True)
        seen = Tally(parquet.columns)
        for batch in parquet:
            seen.add(batch.columns)
            if advance is not None:
                advance(seen.rows)
    found = seen.finish()
    written = parquet.rows if expected is None else expected
    same_rows(name, footer=parquet.rows, decoded=found.rows, written=written)
    return found


class Tally:
    """What stands in columns whose values come in batches. Each array is of the Arrow type of its column."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = tuple(ColumnProfile(column.name, column.type) for column in columns)
        for column in self._columns:
            _begin(column)
        self.rows = 0
        """Rows that were added."""

    def add(self, arrays: Sequence[Any]) -> None:
        """Count the values of one batch."""
        for column, values in zip(self._columns, arrays, strict=True):
            _add(column, values)
        self.rows += len(arrays[0])

    def finish(self) -> Profile:
        """What was counted."""
        for column in self._columns:
            _finish(column)
        return Profile(self.rows, self._columns)


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

    column.nulls += values.null_count
    measured = values
    if isinstance(column.type, Bool):
        true = pc.sum(values).as_py() or 0
        column.counts["true"] += true
        column.counts["false"] += len(values) - values.null_count - true
        return
    if isinstance(column.type, Struct):
        return
    if isinstance(column.type, Real):
        _add_real(column, values.cast(pyarrow.float32()) if column.type.bits == 16 else values)
        return
    if isinstance(column.type, Binary):
        measured = pc.binary_length(values)
    if isinstance(column.type, List):
        measured = pc.list_value_length(values)
    if isinstance(column.type, String):
        measured = _lengths(column, values)
    ends = pc.min_max(measured)
    column.ends.extend((ends["min"], ends["max"]))


def _add_real(column: ColumnProfile, values: Any) -> None:
    """Real numbers: the ends of the finite ones, and how many are none."""
    import pyarrow.compute as pc

    ends = _real_ends(values)
    if not all(map(math.isfinite, ends)):
        column.counts["NaN"] += pc.sum(pc.is_nan(values)).as_py() or 0
        column.counts["infinite"] += pc.sum(pc.is_inf(values)).as_py() or 0
        ends = _real_ends(values.filter(pc.is_finite(values)))
    column.ends.extend(ends)


def _real_ends(values: Any) -> list[float]:
    """Smallest and largest number; none of no numbers. One that is not finite is one of them, or NaN is.

    Taken from the bits (IEEE 754), whose order as whole numbers is that of the positive numbers, and that of
    the negative ones turned round: Arrow takes ten times as long for real numbers as for whole ones.
    """
    import pyarrow
    import pyarrow.compute as pc

    wide = values.type == pyarrow.float64()
    signed = pc.min_max(values.view(pyarrow.int64() if wide else pyarrow.int32()))
    unsigned = pc.min_max(values.view(pyarrow.uint64() if wide else pyarrow.uint32()))
    if not signed["min"].is_valid:
        return []
    low, high = signed["min"].as_py(), signed["max"].as_py()
    least, most = unsigned["min"].as_py(), unsigned["max"].as_py()
    sign = 1 << (63 if wide else 31)

    def number(bits: int) -> float:
        shape = "<d" if wide else "<f"
        (found,) = struct.unpack(shape, (bits % (2 * sign)).to_bytes(struct.calcsize(shape), "little"))
        return float(found)

    return [number(most if most >= sign else least), number(high if high >= 0 else low)]


def _lengths(column: ColumnProfile, values: Any) -> Any:
    """The lengths of different texts, in characters. Each text is looked at once, however often it stands."""
    import pyarrow
    import pyarrow.compute as pc

    found = pc.value_counts(values.drop_null())
    texts, times = found.field(0), found.field(1)
    if pyarrow.types.is_dictionary(texts.type):
        texts = texts.dictionary_decode()
    lengths = pc.utf8_length(texts)

    def count(what: str, mask: Any) -> None:
        column.counts[what] += pc.sum(times.filter(mask)).as_py() or 0

    # Compared with a number, or made of Python's values, an array costs the import of pandas: half a second.
    count("empty", pc.invert(lengths.cast(pyarrow.bool_())))
    count("missing-words", pc.match_substring_regex(texts, _MISSING))
    count("line-breaks", pc.match_substring_regex(texts, r"[\r\n]"))
    column.distinct = _more(column.distinct, texts)
    return lengths


def _finish(column: ColumnProfile) -> None:
    """Make one pair of ends of those of all batches."""
    import pyarrow
    import pyarrow.compute as pc

    if isinstance(column.type, Real):
        column.least, column.most = min(column.ends, default=None), max(column.ends, default=None)
        return
    # Not `pyarrow.array`: see `_lengths`.
    there = [pyarrow.repeat(end, 1) for end in column.ends if end.is_valid]
    if not there:
        return
    ends = pc.min_max(pyarrow.concat_arrays(there))
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


def _year(end: int | float | str | None) -> str | None:
    found = _YEAR.match(str(end))
    return None if end is None else found[0] if found else str(end)
