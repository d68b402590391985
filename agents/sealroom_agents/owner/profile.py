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
_MAGIC = b"PAR1"


@dataclass
class ColumnProfile:
    """One column."""

    name: str
    """Its name."""
    type: str
    """One of `sealroom.schema.COLUMN_TYPES`."""
    nulls: int = 0
    """Cells without a value."""
    least: int | float | None = None
    """Smallest finite number; of text, the fewest characters."""
    most: int | float | None = None
    """Largest finite number; of text, the most characters."""
    counts: dict[str, int] = field(default_factory=dict)
    """Cells that an owner should know of: `true` and `false`; `NaN` and `infinite`; `empty`, `missing-words`
    and `line-breaks` of text."""
    distinct: set[str] | None = None
    """The different texts; None when there are more than are counted, and for other types."""

    def json(self) -> dict[str, Any]:
        """The column as JSON. A text column says how many different texts it has, never which."""
        least, most = ("minLength", "maxLength") if self.type == "string" else ("min", "max")
        facts: dict[str, Any] = {"name": self.name, "type": self.type, "nulls": self.nulls}
        if self.type != "bool":
            facts |= {least: self.least, most: self.most}
        if self.type == "string":
            facts["distinct"] = None if self.distinct is None else len(self.distinct)
        return facts | self.counts

    def sentence(self) -> str:
        """The column in one line for people."""
        parts = [self.type, f"{self.nulls:,} null"]
        if self.type == "string":
            if self.least is not None:
                parts.append(f"{self.least:,} to {self.most:,} characters")
            many = f"more than {MAX_DISTINCT:,}" if self.distinct is None else f"{len(self.distinct):,}"
            parts.append(f"{many} different")
        elif self.least is not None:
            parts.append(f"{self.least} to {self.most}")
        words = {"missing-words": "written as NA, null or the like, and kept as text"}
        words |= {"line-breaks": "with line breaks"}
        always = self.type == "bool"
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

    `expected` is how many rows it must have, where that is known. Raises `not-parquet`, `rows-differ`, and
    `SealError` as `sealroom.sealed.parquet.read_footer`.
    """
    import pyarrow
    import pyarrow.parquet as pq

    from sealroom.sealed.parquet import parse_footer
    from sealroom_agents.owner.to_parquet import same_rows

    with path.open("rb", buffering=0) as file:
        footer = parse_footer(file, str(name))
        _refuse_joined(file, footer, name)
        columns = tuple(ColumnProfile(column.name, column.type) for column in footer.columns)
        for column in columns:
            _begin(column)
        rows = 0
        with _decoding(name):
            # The writer's own notes say how to see a column (AR-07); what counts is how it is stored.
            parquet = pq.ParquetFile(pyarrow.PythonFile(file, mode="r"), metadata=footer.for_arrow())
            for batch in parquet.iter_batches(batch_size=BATCH_ROWS, use_threads=False):
                batch.validate(full=True)
                for column, values in zip(columns, batch.columns, strict=True):
                    _add(column, values)
                rows += batch.num_rows
                if advance is not None:
                    advance(rows)
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
    kept: dict[str, tuple[str, ...]] = {
        "bool": ("true", "false"),
        "float64": ("NaN", "infinite"),
        "string": ("empty", "missing-words", "line-breaks"),
    }
    column.counts = dict.fromkeys(kept.get(column.type, ()), 0)
    column.distinct = set() if column.type == "string" else None


def _add(column: ColumnProfile, values: Any) -> None:
    import pyarrow
    import pyarrow.compute as pc

    def count(what: str, mask: Any) -> None:
        column.counts[what] += pc.sum(mask).as_py() or 0

    column.nulls += values.null_count
    measured = values
    if column.type == "bool":
        count("true", values)
        count("false", pc.invert(values))
        return
    if column.type == "float64":
        count("NaN", pc.is_nan(values))
        count("infinite", pc.is_inf(values))
        measured = values.filter(pc.is_finite(values))
    if column.type == "string":
        measured = pc.utf8_length(values)
        count("empty", pc.equal(measured, 0))
        count("missing-words", pc.is_in(values, pyarrow.array(MISSING_WORDS, values.type)))
        count("line-breaks", pc.match_substring_regex(values, r"[\r\n]"))
        column.distinct = _more(column.distinct, pc.unique(values))
    ends = pc.min_max(measured).as_py()
    for least, pick, end in ((True, min, "min"), (False, max, "max")):
        seen = [each for each in (column.least if least else column.most, ends[end]) if each is not None]
        if seen:
            setattr(column, "least" if least else "most", pick(seen))


def _more(known: set[str] | None, found: Any) -> set[str] | None:
    """The texts seen so far with these; None once they are too many to keep."""
    if known is None or len(found) > MAX_DISTINCT + 1 or found.nbytes > MAX_DISTINCT_BYTES:
        return None
    known.update(text for text in found.to_pylist() if text is not None)
    return known if len(known) <= MAX_DISTINCT else None
