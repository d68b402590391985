# SPDX-License-Identifier: Apache-2.0
"""The declared file of an input: a small TOML file that says what each column of the result is made of.

It is parsed strictly and once: a word that says nothing where it stands is refused by its name, and so are
two words that do not go together. A column that is not named does not leave the house.

::

    version = 1
    [input]
    form = "csv"
    [pseudonyms]
    study = "cardio-renal"
    [columns.person_id]
    from = "Patienten-Nr"
    type = "int64"
    pseudonym = { spelling = ["trim", "strip-zeros"] }
    [columns.sex]
    from = "Geschlecht"
    type = "string"
    values = { m = "male", w = "female" }
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.schema import (
    MAX_COLUMNS,
    Bool,
    Category,
    Column,
    ColumnType,
    Date,
    Integer,
    Real,
    String,
    check_column_name,
    check_columns,
    parse_type,
)
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.prepare.forms import Form, read_form
from sealroom_agents.owner.prepare.words import MAX_TEXT, MAX_WORDS, Words

VERSION = 1
MAX_BYTES = 1024 * 1024
"""Longest declared file."""
SPELLINGS = ("trim", "upper", "no-separators", "digits-only", "strip-zeros")
"""What may be done to an id before its pseudonym is made, in the order that a file says."""
KEPT_OF_A_DAY = ("year", "month", "day")
"""What may be kept of a day or an instant."""
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_WORDS = re.compile(r"[a-z]+( [a-z]+){11}")
_DEEP_KEY = re.compile(
    rb"(?<![\w-])(?:(?:[\w-]++|\"(?:[^\"\\\n]|\\.){0,128}+\"|'[^'\n]{0,128}+')[ \t]*+\.[ \t]*+){64}"
)
"""A key of more names than any has here: the parser's time grows with the square of their number."""

Scalar = str | int | float | bool | date
"""A value as a declared file writes one."""


@dataclass(frozen=True)
class Pseudonym:
    """That a column's ids are replaced by a keyed hash."""

    of: str
    """What the ids name: ids of persons and of wards never have one pseudonym."""
    spelling: tuple[str, ...]
    """What is done to an id before, of `SPELLINGS`."""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """One column of the result."""

    name: str
    """As the study names it."""
    type: ColumnType
    """What its cells hold."""
    source: str | None
    """The input's column; `None` where every cell holds `constant`."""
    constant: Scalar | None = None
    """What every cell holds, where there is no `source`."""
    missing: tuple[str, ...] = ()
    """Texts of the input that stand for no value."""
    values: Mapping[str, Scalar] | None = None
    """What each text of the input becomes; `None` where cells are not recoded."""
    other: Scalar | None = None
    """What a text becomes that is not in `values`; `None` where it is refused, or missing."""
    other_missing: bool = False
    """Whether a text that is not in `values` becomes a missing one."""
    reads: ColumnType | None = None
    """What a text of the input is read as first; `None` for what follows from the type."""
    keep: str | None = None
    """What is kept of a day or an instant, of `KEPT_OF_A_DAY`; `None` for all of it."""
    factor: float | None = None
    """What numbers are multiplied by."""
    pseudonym: Pseudonym | None = None
    """That its ids are replaced; `None` where they are not."""

    @property
    def changes(self) -> tuple[str, ...]:
        """The words by which its cells become others, beside their type."""
        said = {"values": self.values, "keep": self.keep, "factor": self.factor, "pseudonym": self.pseudonym}
        return tuple(word for word, value in said.items() if value is not None)


@dataclass(frozen=True)
class Declared:
    """A declared file."""

    data: bytes
    """Its bytes, as they are kept with the dataset."""
    form: Form
    """How the input is read."""
    study: str | None
    """Label of the study that pseudonyms are for; `None` where the file makes none."""
    key_words: str | None
    """The twelve words of the pseudonym key; `None` where the file does not name it."""
    columns: tuple[Mapped, ...]
    """The columns of the result, in the file's order."""

    @property
    def result(self) -> tuple[Column, ...]:
        """Names and types of the result."""
        return tuple(Column(each.name, each.type) for each in self.columns)

    @property
    def needs_key(self) -> bool:
        """Whether pseudonyms are made."""
        return any(each.pseudonym is not None for each in self.columns)


def read(path: Path) -> Declared:
    """Read a declared file. Raises `source-missing`, `prepare-malformed`, `unsupported-version`, and
    `package-missing` where the input's form needs a package that is not installed."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ToolError(Code.SOURCE_MISSING, f"cannot read {path}: {error.strerror}") from None
    return parse(data, name=str(path))


def parse(data: bytes, *, name: str) -> Declared:
    """The same of its bytes; `name` is what messages call the file."""
    if len(data) > MAX_BYTES:
        raise _malformed(f"{name} is longer than {MAX_BYTES:,} bytes")
    if _DEEP_KEY.search(data) is not None:
        raise _malformed(f"{name} is nested too deep")
    try:
        members = tomllib.loads(data.decode("utf-8"))
    except UnicodeDecodeError:
        raise _malformed(f"{name} is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise _malformed(f"{name} is no TOML: {error}") from None
    except ValueError:  # of Python's limit on digits
        raise _malformed(f"{name} has a number that is too long") from None
    except RecursionError:
        raise _malformed(f"{name} is nested too deep") from None
    words = Words(members, name)
    words.version(VERSION)
    form = read_form(Words(words.raw("input") if words.has("input") else {}, f"{name}: [input]"))
    study, key_words = _pseudonyms(words, name)
    tables = words.object("columns") if words.has("columns") else {}
    words.done()
    columns = tuple(_column(value, each, name) for each, value in tables.items())
    if not columns or len(columns) > MAX_COLUMNS:
        raise _malformed(f"{name} names no columns, or more than {MAX_COLUMNS:,}", "[columns.NAME] for each")
    try:
        check_columns([Column(each.name, each.type) for each in columns])
    except FormatError as error:
        raise _malformed(f"{name}: {error.message}", error.hint) from None
    for each in columns:
        _refuse_identifying(each, form, name)
    replaced = {each.source: each.name for each in columns if each.pseudonym is not None}
    for each in columns:
        if each.source in replaced and not each.changes:
            words.fail(
                f"has [columns.{each.name}] that takes {each.source} as it is, of which "
                f"[columns.{replaced[each.source]}] makes pseudonyms",
                "leave it out: side by side they say whose pseudonym is whose",
            )
    found = Declared(data, form, study, key_words, columns)
    if found.needs_key != (study is not None):
        said = "makes pseudonyms" if found.needs_key else "makes no pseudonyms"
        lacks = "lacks [pseudonyms] with study" if found.needs_key else "has [pseudonyms]"
        raise _malformed(f"{name} {said}, and {lacks}", '[pseudonyms] study = "…", the same at all owners')
    return found


def _refuse_identifying(column: Mapped, form: Form, name: str) -> None:
    """Refuse a column that would let leave as it is what tells who somebody is."""
    why = None if column.source is None else form.identifies(column.source)
    if why is not None and column.pseudonym is None and column.keep not in ("year", "month"):
        raise _malformed(
            f"{name}: [columns.{column.name}] takes {column.source}, which {why}",
            'pseudonym = true; of a day, keep = "year"; else leave it out',
        )


def _pseudonyms(words: Words, name: str) -> tuple[str | None, str | None]:
    if not words.has("pseudonyms"):
        return None, None
    table = Words(words.raw("pseudonyms"), f"{name}: [pseudonyms]")
    study = table.text("study", limit=64, pattern=_LABEL, words="a label: letters, digits, and . _ -")
    key = table.line("key")
    if key is not None and _WORDS.fullmatch(key) is None:
        table.fail("has key that is not twelve words", "sealroom pseudonyms words FILE prints them")
    table.done()
    return study, key


def _column(value: Any, name: str, file: str) -> Mapped:
    words = Words(value, f"{file}: [columns.{name[:80]}]")
    try:
        check_column_name(name)
        kind = parse_type(words.raw("type"), column=name)
        reads = parse_type(words.raw("reads"), column=name) if words.has("reads") else None
    except FormatError as error:
        words.fail(f"cannot be: {error.message}", error.hint)
    if isinstance(kind, Category):
        words.fail("has type category, of which files know nothing", "string; values = {…} says which texts")
    values = _values(words, kind)
    other_missing = words.flag("other-is-missing")
    found = Mapped(
        name=name,
        type=kind,
        source=words.line("from"),
        constant=_scalar(words, "value", words.raw("value"), kind) if words.has("value") else None,
        missing=words.lines("missing"),
        values=values,
        other=_scalar(words, "other", words.raw("other"), kind) if words.has("other") else None,
        other_missing=other_missing,
        reads=reads,
        keep=words.one_of("keep", KEPT_OF_A_DAY),
        factor=_factor(words) if words.has("factor") else None,
        pseudonym=_pseudonym(words) if words.has("pseudonym") else None,
    )
    words.done()
    _check_together(found, words)
    return found


def _values(words: Words, kind: ColumnType) -> Mapping[str, Scalar] | None:
    if not words.has("values"):
        return None
    given = words.object("values")
    if not given or len(given) > MAX_WORDS:
        words.fail(f"has values that are none, or more than {MAX_WORDS:,}")
    return {text: _scalar(words, f"values.{text[:80]}", value, kind) for text, value in given.items()}


def _scalar(words: Words, name: str, value: Any, kind: ColumnType) -> Scalar:
    """A value of the column's type, as TOML writes one."""
    match kind:
        case Integer(bits=bits, signed=signed) if isinstance(value, int) and not isinstance(value, bool):
            low = -(2 ** (bits - 1)) if signed else 0
            if low <= value < 2 ** (bits - 1 if signed else bits):
                return value
        case Real() if isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value)
        case Bool() if isinstance(value, bool):
            return value
        case String() if isinstance(value, str) and len(value) <= MAX_TEXT:
            return value
        case Date() if isinstance(value, date) and not isinstance(value, datetime):
            return value
    words.fail(f"has {name} that is no {kind.name}", "a text in quotes, a number, true or false, 2026-01-31")


def _factor(words: Words) -> float:
    value = words.raw("factor")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not value:
        words.fail("has factor that is no number")
    return float(value)


def _pseudonym(words: Words) -> Pseudonym | None:
    value = words.raw("pseudonym")
    if isinstance(value, bool):
        return Pseudonym("person", ()) if value else None
    table = Words(value, f"{words.what}: pseudonym")
    of = table.text("of", limit=64, pattern=_LABEL, words="a label") if table.has("of") else "person"
    spelling = table.some_of("spelling", SPELLINGS)
    table.done()
    return Pseudonym(of, spelling)


def _check_together(found: Mapped, words: Words) -> None:
    """Refuse words that do not go together, or not with the type."""
    said = found.changes
    if (found.source is None) == (found.constant is None):
        words.fail("needs either from, a column of the input, or value, the same in each row")
    if found.source is None and (said or found.missing or found.reads is not None):
        words.fail(f"has value, and {(said or ['missing or reads'])[0]}, which is about cells of the input")
    if len(said) > 1:
        words.fail(f"has {' and '.join(said)}, of which a column may have one")
    if found.values is None and (found.other is not None or found.other_missing):
        words.fail("has other or other-is-missing without values")
    if set(found.missing) & set(found.values or ()):
        words.fail("has missing and values that name one text")
    if found.other is not None and found.other_missing:
        words.fail("has other and other-is-missing: leave out one")
    if found.reads is not None and (found.values is not None or found.pseudonym is not None):
        words.fail(f"has reads and {said[0]}, which reads texts")
    if found.factor is not None and not isinstance(found.type, Real):
        words.fail(f"has factor, and type {found.type.name}", "float64: a product is seldom a whole number")
    if found.pseudonym is not None and not _holds_pseudonyms(found.type):
        words.fail(f"has pseudonym, and type {found.type.name}", "int64 or string")
    if found.keep is not None and not _holds_days(found.type, found.keep):
        words.fail(f"has keep, and type {found.type.name}", "date; or int16 and wider for keep = 'year'")
    may_lack = bool(found.missing) or found.other_missing
    if may_lack and not found.type.nullable:
        words.fail("says what is missing, and is declared without nulls")


def _holds_pseudonyms(kind: ColumnType) -> bool:
    return isinstance(kind, String) or (isinstance(kind, Integer) and kind.bits == 64 and kind.signed)


def _holds_days(kind: ColumnType, keep: str) -> bool:
    return isinstance(kind, Date) or (keep == "year" and isinstance(kind, Integer) and kind.bits > 8)


def _malformed(message: str, hint: str | None = None) -> ToolError:
    return ToolError(Code.PREPARE_MALFORMED, message, hint)
