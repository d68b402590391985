# SPDX-License-Identifier: Apache-2.0
"""Types and terms of the calculus: what a value may be, and SQL for it that cannot fail and has one form.

A term is a scalar expression over one row. `terms`, `functions` and `calculus` are the only modules that
write SQL; they are what owners trust. Spec: `enclave/spec/relation.md`.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

from sealroom.codes import Code
from sealroom.errors import RecipeError

MAX_TEXT = 4096
"""Most characters of a text, whatever is done to it."""
INLINE_BYTES = 12
"""A text of so many bytes lies within the 16 that each has in DuckDB."""
UTF_8_BYTES = 4
"""Most bytes of a character."""
MAX_SQL = 100_000
"""Most characters of one term."""
MAX_SCALE = 15
"""Most decimal places of a decimal number."""
DIGITS = 18
"""Digits of every decimal: their sum over 10^20 rows fits the 38 digits in which DuckDB adds."""
CAST_TEXT = 40
"""Most characters of a number, date or truth value as text."""


def refuse(code: Code, what: str, how: str) -> NoReturn:
    """Refuse a query: `what` names the operator, `how` says how to write it instead."""
    raise RecipeError(code, what, how)


@dataclass(frozen=True)
class Type:
    """The type of a value. There are no others: every input is widened to one of these, or not read."""

    kind: str
    """`bool`, `int`, `dec`, `real`, `text`, `date`, `ts`, `list`; `null` and `span` of literals alone."""
    size: int = 0
    """dec: decimal places. text: most characters. list: most elements."""
    of: Type | None = None
    """list: type of an element."""
    item_bytes: int = 8
    """list: bytes of an element, as it is held."""
    utf_8_bytes: int | None = field(default=None, compare=False)
    """text: most bytes, where these are known, as of labels; else what so many characters may have."""

    def __str__(self) -> str:
        match self.kind:
            case "dec":
                return f"decimal({DIGITS}, {self.size})"
            case "text":
                return f"text of at most {self.size} character{'' if self.size == 1 else 's'}"
            case "list":
                return f"list of at most {self.size} × {self.of}"
            case _:
                return _WORDS[self.kind]

    @property
    def sql(self) -> str:
        """The type as DuckDB calls it."""
        match self.kind:
            case "dec":
                return f"DECIMAL({DIGITS},{self.size})"
            case "list" if self.of is not None:
                return f"{self.of.sql}[]"
            case _:
                return _SQL[self.kind]

    @property
    def width(self) -> int:
        """About how many bytes a value takes in memory: of a text that may be of any length, what ids and
        codes take."""
        match self.kind:
            case "text":
                longest = self.utf_8_bytes
                if longest is None:
                    longest = UTF_8_BYTES * self.size if self.size < MAX_TEXT else 32
                return 16 + (longest if longest > INLINE_BYTES else 0)
            case "list":
                return 16 + self.size * self.item_bytes
            case "bool":
                return 1
            case _:
                return 8


_SQL = {
    "bool": "BOOLEAN",
    "int": "BIGINT",
    "real": "DOUBLE",
    "text": "VARCHAR",
    "date": "DATE",
    "ts": "TIMESTAMP",
}
_WORDS = {
    "bool": "truth value",
    "int": "whole number (64 bits)",
    "real": "binary fraction (64 bits)",
    "date": "date",
    "ts": "timestamp",
    "null": "NULL",
    "span": "interval",
}
BOOL, INT, REAL, DATE, TIMESTAMP, NULL, SPAN = (
    Type(kind) for kind in ("bool", "int", "real", "date", "ts", "null", "span")
)
NUMBERS = ("int", "dec", "real")
EXACT = ("bool", "int", "dec", "text", "date", "ts")
"""Kinds whose equal values have equal bits, also before a step has made reals finite."""


def decimal_type(scale: int) -> Type:
    return Type("dec", scale)


def text_type(size: int) -> Type:
    return Type("text", min(size, MAX_TEXT))


def type_of_texts(texts: Iterable[str]) -> Type:
    """The type of a text that is one of these."""
    known = list(texts)
    size, longest = (
        max(map(len, each), default=0)
        for each in (known, [text.encode(errors="surrogatepass") for text in known])
    )
    return Type("text", min(size, MAX_TEXT), utf_8_bytes=longest)


Value = bool | int | float | decimal.Decimal | str | datetime.date | datetime.datetime


@dataclass(frozen=True)
class Term:
    """A function of one row's bits: total once it is `safe`, and deterministic.

    Made by this module and by `functions` and `calculus`, never by the front end.
    """

    sql: str
    type: Type
    columns: frozenset[str] = frozenset()
    """Columns that it reads, by id."""
    total: bool = False
    """Whether it raises no error on any row. What is not total stands in `TRY` when a rule uses it."""
    nullable: bool = True
    """Whether it can be NULL."""
    unit: bool = False
    """Whether it is the person's column itself. A term over that column is not."""
    value: Value | None = None
    """Of a literal: its value."""
    clean: bool = False
    """Whether it is a column of a relation: what a rule made is total, and its reals are finite."""

    def __post_init__(self) -> None:
        if len(self.sql) > MAX_SQL:
            refuse(Code.RELATION_TOO_LARGE, "an expression is too long once it is written out", "use CTEs")

    @property
    def safe(self) -> str:
        """SQL that a rule may put into a query: an error is NULL, and a real is finite and has one zero.

        So reals that are equal have the same bits. A column is that already, by the rule that made it.
        """
        sql = self.sql if self.total else f"TRY({self.sql})"
        if self.type.kind == "real" and not self.clean:
            return f"(CASE WHEN isfinite({sql}) THEN {sql} + 0.0::DOUBLE END)"
        return sql

    @property
    def safe_nullable(self) -> bool:
        """Whether `safe` can be NULL."""
        return self.nullable or not self.total or (self.type.kind == "real" and not self.clean)


@dataclass(frozen=True)
class Column:
    """A column of a relation. Its id is made up; the researcher's names live in the front end."""

    id: str
    type: Type
    unit: bool = False
    """Whether it names the person: it comes from a table's column of the person, unchanged."""
    nullable: bool = True
    place: bool = False
    """Whether no two rows of a person have the same number in it."""

    @property
    def term(self) -> Term:
        return Term(
            f'"{self.id}"',
            self.type,
            frozenset({self.id}),
            total=True,
            nullable=self.nullable,
            unit=self.unit,
            clean=True,
        )


@dataclass(frozen=True)
class Aggregate:
    """One value of a group: a function of the multiset of one person's rows, exactly; it cannot fail."""

    sql: str
    type: Type
    columns: frozenset[str] = field(default_factory=frozenset)
    over: str = ""
    """The relation for which its order was completed."""
    nullable: bool = True
    keeps: int = 0
    """About how many bytes it keeps of each row, until it has seen all of its group."""


@dataclass(frozen=True)
class Window:
    """One value a row, of the rows of one person around it."""

    sql: str
    type: Type
    columns: frozenset[str] = field(default_factory=frozenset)
    over: str = ""
    """The relation for which its order was completed."""
    nullable: bool = True
    by_place: bool = False
    """Whether rows that are equal in all columns can get different values of it."""


def used(terms: Iterable[Term]) -> frozenset[str]:
    """The columns that several terms read."""
    return frozenset().union(*(term.columns for term in terms))


def derived(sql: str, type: Type, *terms: Term, total: bool = False, nullable: bool | None = None) -> Term:
    """A term over other terms. It is total only if they are, and if it says so itself."""
    if nullable is None:
        nullable = any(term.nullable for term in terms)
    total = total and all(term.total for term in terms)
    return Term(sql, type, used(terms), total=total, nullable=nullable or not total)


def check_key(term: Term, what: str) -> None:
    """A key is exact: a binary fraction or a list is none."""
    if term.type.kind in ("real", "list", "null", "span"):
        refuse(
            Code.RELATION_KEY,
            f"{what} is of type {term.type}, which is no key",
            "make it exact first: CAST(x AS DECIMAL(18, 4)), or CAST(x AS BIGINT)",
        )


def need(term: Term, kind: str, what: str) -> Term:
    """The term, if it is of this kind."""
    if term.type.kind == "null":
        return cast(term, Type(kind))
    if term.type.kind != kind:
        refuse(Code.RELATION_TYPE, f"{what} is a {term.type}, not a {Type(kind)}", "CAST it, or compare it")
    return term


def common_type(terms: Sequence[Term], what: str) -> Type:
    """The type that all of some terms can be cast to without losing their meaning."""
    kinds = {term.type.kind for term in terms} - {"null"}
    size = max((term.type.size for term in terms), default=0)
    if kinds == {"list"} or "span" in kinds:
        refuse(Code.RELATION_TYPE, f"{what} takes no {terms[0].type}", "use an element: x[1]")
    if kinds == {"text"}:
        longest = [term.type.utf_8_bytes for term in terms if term.type.kind == "text"]
        known = [each for each in longest if each is not None]
        return Type("text", size, utf_8_bytes=max(known) if len(known) == len(longest) else None)
    if len(kinds) == 1:
        return Type(kinds.pop(), size)
    if kinds == {"int", "dec"}:
        return decimal_type(size)
    if kinds and kinds <= {*NUMBERS}:
        return REAL
    if kinds == {"date", "ts"}:
        return TIMESTAMP
    found = ", ".join(sorted({str(term.type) for term in terms}))
    refuse(Code.RELATION_TYPE, f"the values of {what} have no common type: {found}", "CAST them to one type")


def literal(value: Value | None) -> Term:
    """A constant, encoded anew."""
    match value:
        case None:
            return Term("NULL", NULL, total=True)
        case bool():
            return _constant("TRUE" if value else "FALSE", BOOL, value)
        case int() if -(2**63) <= value < 2**63:
            # The least number has no positive counterpart that could be negated.
            return _constant(f"CAST('{value}' AS BIGINT)" if value < 0 else f"{value}::BIGINT", INT, value)
        case float() if math.isfinite(value):
            return _constant(f"'{value!r}'::DOUBLE", REAL, value)
        case decimal.Decimal() if value.is_finite():
            return _decimal(value)
        case str() if len(value) <= MAX_TEXT and "\0" not in value:
            quoted = value.replace("'", "''")
            return _constant(f"'{quoted}'::VARCHAR", type_of_texts([value]), value)
        case datetime.datetime() if value.tzinfo is None:
            return _constant(f"'{value.isoformat(' ')}'::TIMESTAMP", TIMESTAMP, value)
        case datetime.date() if not isinstance(value, datetime.datetime):
            return _constant(f"'{value.isoformat()}'::DATE", DATE, value)
        case _:
            refuse(
                Code.RELATION_CONSTANT,
                "a constant is out of range",
                f"whole numbers of 64 bits, {DIGITS} digits, texts of {MAX_TEXT} characters",
            )


def _constant(sql: str, type: Type, value: Value) -> Term:
    return Term(sql, type, total=True, nullable=False, value=value)


def _decimal(value: decimal.Decimal) -> Term:
    exponent = value.as_tuple().exponent
    scale = max(0, -exponent) if isinstance(exponent, int) else 0
    if scale > MAX_SCALE or not abs(value) < decimal.Decimal(10) ** (DIGITS - scale):
        refuse(
            Code.RELATION_CONSTANT,
            f"the constant {str(value)[:40]} has too many digits",
            f"at most {DIGITS} digits, {MAX_SCALE} behind the point",
        )
    return _constant(f"'{value:f}'::DECIMAL({DIGITS},{scale})", decimal_type(scale), value)


_TOTAL_CASTS = frozenset(
    {("int", "real"), ("dec", "real"), ("bool", "int"), ("int", "text"), ("dec", "text"), ("bool", "text")}
)
"""Casts that no value fails. Not `date` to `ts`: the dates reach further."""


def cast(term: Term, type: Type) -> Term:
    """CAST: explicit, and NULL for a value that it fails on."""
    have, want = term.type.kind, type.kind
    if term.type == type:
        return term
    if have == "text" and want == "text":
        return replace(term, type=text_type(max(type.size, term.type.size)))
    if "list" in (have, want) or "span" in (have, want):
        refuse(Code.RELATION_TYPE, f"CAST from {term.type} to {type} has no rule", "use an element: x[1]")
    if have == "int" and want == "dec" and isinstance(term.value, int):
        fits = abs(term.value) < 10 ** (DIGITS - type.size)
        if fits:
            return _constant(f"'{term.value}'::{type.sql}", type, decimal.Decimal(term.value))
    if isinstance(term.value, str) and want in ("date", "ts"):
        return time_literal(term.value, type)
    if want == "text":
        type = text_type(CAST_TEXT)
    return derived(
        f"CAST({term.sql} AS {type.sql})", type, term, total=have == "null" or (have, want) in _TOTAL_CASTS
    )


def time_literal(text: str, type: Type) -> Term:
    """DATE '…' or TIMESTAMP '…', in ISO 8601 without a zone."""
    try:
        if type.kind == "date":
            return literal(datetime.date.fromisoformat(text.strip()))
        return literal(datetime.datetime.fromisoformat(text.strip()))
    except ValueError:
        refuse(
            Code.RELATION_CONSTANT,
            f"the constant '{text[:40]}' is no {type}",
            "write DATE '2026-01-31' or TIMESTAMP '2026-01-31 08:00:00'",
        )
