# SPDX-License-Identifier: Apache-2.0
"""Tables as the input of a declared file: Parquet, Arrow and CSV, read as `sealroom seal` reads them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from sealroom.codes import Code
from sealroom.schema import ColumnType
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import source as sources
from sealroom_agents.owner.prepare.forms import FORMS, Advance, Form, Table
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.tables import csv_cells
from sealroom_agents.owner.tables.csv_dialect import Dialect

_NAME_IT = f'name its form: [input] form = "…", of {", ".join(FORMS)}; docs/inputs.md has a file of each'


@dataclass(frozen=True)
class TableForm(Form):
    """A table in a file, or a folder of Parquet files."""

    name: str
    """The form, or empty where it is found out from the first bytes."""
    dialect: Dialect = field(default_factory=Dialect)
    """How a CSV is written."""

    @contextmanager
    def open(self, path: Path) -> Iterator[Table]:
        """Open it. Raises as `sealroom_agents.owner.source.look`."""
        try:
            source = sources.look(path, kind=self.name or None, declared=(), dialect=self.dialect)
        except ToolError as error:
            if error.code is not Code.NOT_A_TABLE or self.name:
                raise
            raise ToolError(error.code, error.message, _NAME_IT) from None
        if source.columns is None:
            raise ToolError(Code.NOT_A_TABLE, f"{path} is no table", _NAME_IT)
        yield _Opened(source)


def parse(words: Words, name: str | None) -> TableForm:
    """The form of a table, as `[input]` says: of a CSV, by the words of `Dialect`."""
    return TableForm(name or "", _dialect(words) if name in (None, "csv") else Dialect())


def _dialect(words: Words) -> Dialect:
    """Every field of a dialect is a word, so that it is written down in one place."""
    hints = get_type_hints(Dialect)
    given: dict[str, Any] = {}
    for each in fields(Dialect):
        word = each.name.replace("_", "-")
        if not words.has(word):
            continue
        if hints[each.name] is bool:
            given[each.name] = words.flag(word)
        elif each.default is not MISSING and (each.default is None or isinstance(each.default, str)):
            given[each.name] = words.text(word, limit=64, empty=True)
        else:
            given[each.name] = words.lines(word)
    try:
        return Dialect(**given)
    except ToolError as error:
        words.fail(f"cannot be: {error.message}", error.hint)


class _Opened(Table):
    def __init__(self, source: sources.Source) -> None:
        assert source.columns is not None
        self._source = source
        self.columns, self.size = source.columns, source.size

    def batches(self, names: Sequence[str], *, advance: Advance | None = None) -> Iterator[Any]:
        for batch in sources.batches(self._source, as_text=True, advance=advance):
            yield batch.select(list(names))

    def where(self, row: int) -> str:
        line = sources.line_of(self._source, row)
        return super().where(row) if line is None else f"line {line:,}"

    def typed(self, text: Any, kind: ColumnType) -> Any:
        return csv_cells.convert(text, kind, self._source.dialect)

    def looks(self, kind: ColumnType) -> str:
        return csv_cells.hint(kind, self._source.dialect)
