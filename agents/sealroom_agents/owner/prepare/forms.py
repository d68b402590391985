# SPDX-License-Identifier: Apache-2.0
"""What can be prepared: the forms of an input, each with a reader of its own.

A form reads its own words of `[input]`, opens a file or folder, and yields record batches. It is imported
when a declared file names it: some need packages that few owners have. To add one, write a module with a
function `parse(words, name) -> Form`, and name it in `FORMS`.

A reader is strict and bounded, tells no cell's content (OP-04), and drops nothing without telling it.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from sealroom.schema import Column, ColumnType
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.tables import csv_cells

Advance = Callable[[int], None]
"""Told the bytes of the input that are read so far."""


class Table(ABC):
    """An open input: rows of named columns."""

    columns: tuple[Column, ...]
    """What it has. Where the input says no types, as a CSV does, each is text."""
    size: int
    """Bytes of the input, for progress and for the room that is needed; an upper bound where unpacked."""

    @abstractmethod
    def batches(self, names: Sequence[str], *, advance: Advance | None = None) -> Iterator[Any]:
        """All rows, in the input's order, as Arrow record batches of exactly these columns, in this order,
        each of the Arrow type of its column. Called once. Raises `ToolError` for what does not fit."""

    def where(self, row: int) -> str:
        """Where a row, counted from 0, stands in the input, in words a person finds it by: `line 7`."""
        return f"row {row + 1:,}"

    def typed(self, text: Any, kind: ColumnType) -> Any:
        """A column of text as values of another type, where the input's own way to write them counts: a
        decimal comma, the order of a date. Raises `csv_cells.CellError`."""
        return csv_cells.convert(text, kind)

    def looks(self, kind: ColumnType) -> str:
        """What a text looks like that becomes a value of `kind`, in words for a hint."""
        return csv_cells.hint(kind)

    def notes(self) -> Sequence[tuple[str, str]]:
        """What the owner should know of what was read and left out, in lines of two cells; when all rows
        were read."""
        return ()


class Form(ABC):
    """How an input is read, as `[input]` says."""

    name: str
    """As a declared file names it."""

    def identifies(self, column: str) -> str | None:
        """Why a column must not leave as it is, in words that follow its name: it becomes a pseudonym, or a
        year or month of it is kept. `None`: it may leave."""
        return None

    @abstractmethod
    def open(self, path: Path) -> AbstractContextManager[Table]:
        """Open an input. Raises `ToolError` where it is none of this form."""


FORMS = {
    "arrow": "sealroom_agents.owner.prepare.tables",
    "csv": "sealroom_agents.owner.prepare.tables",
    "dicom": "sealroom_agents.owner.adapters.dicom",
    "fhir-ndjson": "sealroom_agents.owner.adapters.fhir",
    "parquet": "sealroom_agents.owner.prepare.tables",
    "vcf": "sealroom_agents.owner.adapters.vcf",
}
"""The module of each form. Its `parse(words: Words, name: str) -> Form` takes the form's own words of
`[input]`, and leaves unknown ones, which are refused here."""
FOUND = "sealroom_agents.owner.prepare.tables"
"""The module for an input whose form is not named, but found out."""


def read_form(words: Words) -> Form:
    """The form that `[input]` declares; all its words are taken. Raises `prepare-malformed`, and
    `package-missing` for a form whose package is not installed."""
    name = words.one_of("form", tuple(FORMS))
    module = importlib.import_module(FOUND if name is None else FORMS[name])
    form = cast(Form, module.parse(words, name))
    words.done()
    return form
