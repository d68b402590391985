# SPDX-License-Identifier: Apache-2.0
"""Which columns a study reads, what for, and whether their declared types are fit for it.

All of it follows from the recipe alone: what only a run could find would depend on the data. A column
that no dataset declares is one that the analysis makes; nothing is known of it here. Errors: `RecipeError`
with `recipe-unit`, `recipe-column`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.privacy.kind import Columns
from sealroom.recipe.tables import Schema
from sealroom.schema import Bool, Category, ColumnType, Decimal, Integer, List, Real, String
from sealroom.schema.types import bare

_Types = tuple[type[ColumnType], ...]
_NUMBER: _Types = (Integer, Real, Decimal, Bool)
_GROUP: _Types = (Integer, String, Category, Bool)
"""No real numbers: which of them are equal is a matter of rounding."""
_WORDS: dict[_Types, str] = {
    _NUMBER: "a whole number, a real number, a decimal or bool",
    _GROUP: "a whole number, a string, a category or bool",
}
_TRUTH = ({"true", "false"}, {"True", "False"})
"""Keys of a group of truth values, as JSON writes them or as Python does."""
_DERIVE = "let the relation or the analysis make a column of another name, of a fit type, and name that one"


@dataclass(frozen=True)
class Use:
    """What reads columns, and which."""

    by: str
    """In words: `the field risk`."""
    columns: Columns


def check_columns(
    schemas: Iterable[Schema], uses: Iterable[Use], groups: Mapping[str, Sequence[str]]
) -> None:
    """Check the unit, and each column that is read, against its declared types; `groups` are the declared
    labels."""
    schemas = list(schemas)
    check_unit(schemas)
    for use in uses:
        for name in use.columns.numbers:
            what = f"a number of {use.by}"
            kind = _one_type(name, schemas, Code.RECIPE_COLUMN, what)
            _check_type(name, kind, _NUMBER, what)
        for name in use.columns.groups:
            what = f"a group of {use.by}"
            kind = _one_type(name, schemas, Code.RECIPE_COLUMN, what)
            _check_type(name, kind, _GROUP, what)
            _check_keys(name, kind, groups)
        for name, _ in use.columns.vectors:
            what = f"a list of {use.by}"
            kind = _one_type(name, schemas, Code.RECIPE_COLUMN, what)
            if kind is not None and not (isinstance(kind, List) and isinstance(kind.of, _NUMBER)):
                raise RecipeError(
                    Code.RECIPE_COLUMN,
                    f"{name}, {what}, is {kind.name}; it must be a list of numbers",
                    _DERIVE,
                )


def check_unit(schemas: Iterable[Schema]) -> None:
    """Check that the column of the person is the same, of one type, in all schemas."""
    schemas = list(schemas)
    units = {schema.unit: schema.name for schema in schemas}
    if len(units) > 1:
        (one, here), (other, there) = list(units.items())[:2]
        raise RecipeError(
            Code.RECIPE_UNIT,
            f"the column of the person is {one} in the schema {here} and {other} in {there}",
            "owners must seal it under one name",
        )
    _one_type(schemas[0].unit, schemas, Code.RECIPE_UNIT, "the column of the person")


def _one_type(name: str, schemas: Iterable[Schema], code: Code, what: str) -> ColumnType | None:
    """The type that all schemas with this column declare for it; `None` where none has it."""
    found: dict[ColumnType, tuple[ColumnType, str]] = {}
    for schema in schemas:
        kind = dict(schema.columns).get(name)
        if kind is not None:
            found.setdefault(bare(kind), (kind, schema.name))
    if len(found) > 1:
        (one, here), (other, there) = list(found.values())[:2]
        raise RecipeError(
            code,
            f"{name}, {what}, is {one.name} in the schema {here} and {other.name} in {there}",
            "owners must seal it with one type: values of two types are never the same",
        )
    return next((kind for kind, _ in found.values()), None)


def _instead(name: str, kind: ColumnType, fit: _Types) -> str:
    """What to do about a column of another type; a text is most often a number that nobody gave its type."""
    if not isinstance(kind, String):
        return _DERIVE
    return (
        f"if it holds true and false, write {name}: bool in the schema: sealroom seal reads a CSV so, and"
        f" sealroom images writes it with --type {name}=bool (a number: --type {name}=int64); or {_DERIVE}"
    )


def _check_type(name: str, kind: ColumnType | None, fit: _Types, what: str) -> None:
    if kind is not None and not isinstance(kind, fit):
        raise RecipeError(
            Code.RECIPE_COLUMN,
            f"{name}, {what}, is {kind.name}; it must be {_WORDS[fit]}",
            _instead(name, kind, fit),
        )


def _check_keys(name: str, kind: ColumnType | None, groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse a key that no value of the column can be written as."""
    keys = groups[name]
    if isinstance(kind, Bool) and not any(set(keys) <= pair for pair in _TRUTH):
        wrong, form = keys[0], "the keys of truth values are true and false"
    elif isinstance(kind, Integer) and (strange := [key for key in keys if not _is_value(key, kind)]):
        wrong, form = strange[0], "whole numbers are written in digits, as 7 or -1"
    elif isinstance(kind, Category) and (strange := [key for key in keys if key not in kind.values]):
        wrong, form = strange[0], f"its values are {', '.join(kind.values)[:200]}"
    else:
        return
    raise RecipeError(
        Code.RECIPE_COLUMN, f"the group {name} is {kind}, and no such value is written {wrong!r}", form
    )


def _is_value(text: str, kind: Integer) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20) or text != str(int(text)):
        return False
    least = -(2 ** (kind.bits - 1)) if kind.signed else 0
    return least <= int(text) < least + 2**kind.bits
