# SPDX-License-Identifier: Apache-2.0
"""Tables as the input of a declared file: Parquet, Arrow and CSV, read as `sealroom seal` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.schema import Column, String
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import to_parquet
from sealroom_agents.owner.csv_records import line_of
from sealroom_agents.owner.parquet_folder import folder_batches
from sealroom_agents.owner.parquet_rows import ParquetRows
from sealroom_agents.owner.prepare.forms import Advance, Form, Table
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.source import Source, look


@dataclass(frozen=True)
class TableForm(Form):
    """A table in a file, or a folder of Parquet files."""

    name: str
    """The form, or empty where it is found out from the first bytes."""
    delimiter: str = ","
    """Between the cells of a CSV."""

    @contextmanager
    def open(self, path: Path) -> Iterator[Table]:
        """Open it. Raises as `sealroom_agents.owner.source.look`."""
        source = look(path, kind=self.name or None, declared=(), delimiter=self.delimiter)
        if source.columns is None:
            raise ToolError(Code.NOT_A_TABLE, f"{path} is no table", "name another form: [input] form = …")
        yield _Opened(source, self.delimiter)


def parse(words: Words, name: str | None) -> TableForm:
    """The form of a table, as `[input]` says."""
    delimiter = words.line("delimiter", ",") if name in (None, "csv") else None
    return TableForm(name or "", delimiter or ",")


class _Opened(Table):
    def __init__(self, source: Source, delimiter: str) -> None:
        assert source.columns is not None
        self._source, self._delimiter = source, delimiter
        self.columns, self.size = source.columns, source.size

    def batches(self, names: Sequence[str], *, advance: Advance | None = None) -> Iterator[Any]:
        for batch in self._all(advance):
            yield batch.select(list(names))

    def where(self, row: int) -> str:
        if self._source.kind != "csv":
            return super().where(row)
        return f"line {line_of(self._source.path, row, delimiter=self._delimiter):,}"

    def _all(self, advance: Advance | None) -> Iterator[Any]:
        source = self._source
        if source.table is not None:
            yield from folder_batches(source.table, advance=advance)
        elif source.kind == "arrow":
            yield from to_parquet.arrow_batches(source.path, advance=advance)
        elif source.kind == "csv":
            texts = [Column(name, String()) for name, _ in self.columns]
            yield from to_parquet.csv_batches(source.path, texts, delimiter=self._delimiter, advance=advance)
        else:
            with source.path.open("rb", buffering=0) as file:
                parquet = ParquetRows(file, name=source.path)
                done = 0
                for batch in parquet:
                    yield batch
                    done += batch.num_rows
                    if advance is not None and parquet.rows:
                        advance(source.size * done // parquet.rows)
                to_parquet.same_rows(source.path, footer=parquet.rows, decoded=done)
