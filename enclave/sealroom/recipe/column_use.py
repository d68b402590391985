# SPDX-License-Identifier: Apache-2.0
"""Which columns a study reads, what for, and whether their declared types are fit for it.

All of it follows from the recipe alone: what only a run could find would depend on the data. A column
that no dataset declares is one that the analysis makes; nothing is known of it here. Errors: `RecipeError`
with `recipe-unit`, `recipe-column`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.recipe.contract import DatasetSpec, OutputContract, Privacy
from sealroom.recipe.outputs import CountField, FieldSpec, MeanField

_UNIT = frozenset({"int64", "string"})
_NUMBER = frozenset({"int64", "float64", "bool"})
_GROUP = frozenset({"int64", "string", "bool"})
"""No real numbers: which of them are equal is a matter of rounding."""
_TRUTH = ({"true", "false"}, {"True", "False"})
"""Keys of a group of truth values, as JSON writes them or as Python does."""
_DERIVE = "let the analysis make a column of another name, of a fit type, and name that one"


def field_columns(field: FieldSpec) -> dict[str, list[str]]:
    """The columns that a field reads, each once: numbers, and grouping columns."""
    if isinstance(field, CountField):
        return {"numbers": [], "groups": list(field.by)}
    if isinstance(field, MeanField):
        return {"numbers": [field.column], "groups": list(field.by)}
    # the label may be a feature too
    numbers = dict.fromkeys((*(feature.name for feature in field.features), field.label))
    return {"numbers": list(numbers), "groups": []}


def check_columns(datasets: Sequence[DatasetSpec], privacy: Privacy, output: OutputContract) -> None:
    """Check the unit, and each column that a field reads, against its declared types."""
    unit = _one_type(privacy.unit, datasets, Code.RECIPE_UNIT, "the privacy unit")
    for spec in datasets:
        if privacy.unit not in dict(spec.columns):
            raise RecipeError(Code.RECIPE_UNIT, f"{spec.path} lacks {privacy.unit}, the column of the person")
    _check_type(
        privacy.unit, unit, _UNIT, Code.RECIPE_UNIT, "the privacy unit",
        "seal the ids as whole numbers or as text",
    )  # fmt: skip
    for field in output.fields:
        columns = field_columns(field)
        for name in columns["numbers"]:
            what = f"a number of the field {field.name}"
            kind = _one_type(name, datasets, Code.RECIPE_COLUMN, what)
            _check_type(name, kind, _NUMBER, Code.RECIPE_COLUMN, what, _DERIVE)
        for name in columns["groups"]:
            what = f"a group of the field {field.name}"
            kind = _one_type(name, datasets, Code.RECIPE_COLUMN, what)
            _check_type(name, kind, _GROUP, Code.RECIPE_COLUMN, what, _DERIVE)
            _check_keys(name, kind, output.groups)


def _one_type(name: str, datasets: Iterable[DatasetSpec], code: Code, what: str) -> str | None:
    """The type that all datasets with this column declare for it; `None` where none has it."""
    found: dict[str, str] = {}
    for spec in datasets:
        if name in dict(spec.columns):
            found.setdefault(dict(spec.columns)[name], spec.path)
    if len(found) > 1:
        (one, here), (other, there) = list(found.items())[:2]
        raise RecipeError(
            code,
            f"{name}, {what}, is {one} in {here} and {other} in {there}",
            "owners must seal it with one type: values of two types are never the same",
        )
    return next(iter(found), None)


def _check_type(name: str, kind: str | None, fit: frozenset[str], code: Code, what: str, hint: str) -> None:
    if kind is not None and kind not in fit:
        raise RecipeError(code, f"{name}, {what}, is {kind}; it must be {_either(sorted(fit))}", hint)


def _check_keys(name: str, kind: str | None, groups: Mapping[str, Sequence[str]]) -> None:
    """Refuse a key that no value of the column can be written as."""
    keys = groups[name]
    if kind == "bool" and not any(set(keys) <= pair for pair in _TRUTH):
        wrong, form = keys[0], "the keys of truth values are true and false"
    elif kind == "int64" and (strange := [key for key in keys if not _is_int64(key)]):
        wrong, form = strange[0], "whole numbers are written in digits, as 7 or -1"
    else:
        return
    raise RecipeError(
        Code.RECIPE_COLUMN, f"the group {name} is {kind}, and no such value is written {wrong!r}", form
    )


def _is_int64(text: str) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 19) or text != str(int(text)):
        return False
    return -(2**63) <= int(text) < 2**63


def _either(names: Sequence[str]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1]))
