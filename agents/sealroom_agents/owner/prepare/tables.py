# SPDX-License-Identifier: Apache-2.0
"""Tables as the input of a declared file: Parquet, Arrow and CSV, read as `sealroom seal` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.csv_dialect import Dialect
from sealroom_agents.owner.csv_records import line_of
from sealroom_agents.owner.prepare.forms import Advance, Form, Table
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.source import Source, batches, look


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
        source = look(path, kind=self.name or None, declared=(), dialect=Dialect(self.delimiter))
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
        for batch in batches(self._source, as_text=True, advance=advance):
            yield batch.select(list(names))

    def where(self, row: int) -> str:
        if self._source.kind != "csv":
            return super().where(row)
        return f"line {line_of(self._source.path, row, delimiter=self._delimiter):,}"
