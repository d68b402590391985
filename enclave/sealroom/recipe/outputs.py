# SPDX-License-Identifier: Apache-2.0
"""The fields that a result may have: counts, means and logistic models, with all that fixes their noise.

Each type gives itself back with `plain`; `read_field` reads one strictly.
Errors: `RecipeError` with `recipe-malformed`, `recipe-unknown-field`, `recipe-bounds`, `recipe-budget`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

from sealroom.codes import Code
from sealroom.decimals import decimal_text, parse_normal_decimal
from sealroom.encoding import Fields
from sealroom.errors import FormatError, RecipeError
from sealroom.schema import COLUMN_NAME, MAX_ROWS

MAX_OUTPUT_BYTES = 64 * 1024
MAX_FEATURES = 64
MAX_DECIMALS = 12
MAX_STEPS = 10_000
MAX_BY = 4
"""Most groups of one field."""

MAX_CLIP = 1024
"""Largest clip of a model: squared lengths of quantised gradients stay within 64 bits."""
GUARD_DIGITS = 2
"""Means are summed in steps this many decimal places finer than the released value."""
MAX_MEAN_BOUND = 2**62 // MAX_ROWS
"""Most such steps between the middle of a mean's bounds and a bound: no sum over as many rows as a table may
have can overflow 64 bits."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def reader(value: Any, what: str) -> Fields:
    """A field reader whose errors are `RecipeError`."""
    return Fields(
        value, what, error=RecipeError, code=Code.RECIPE_MALFORMED, unknown=Code.RECIPE_UNKNOWN_FIELD
    )


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input of a model, with the bounds that it is clamped to and scaled by."""

    name: str
    """Column of the per-person table."""
    lower: Decimal
    """Smallest value, in the column's unit."""
    upper: Decimal
    """Largest value, in the column's unit."""

    def plain(self) -> dict[str, Any]:
        return {"name": self.name, "lower": decimal_text(self.lower), "upper": decimal_text(self.upper)}


@dataclass(frozen=True, kw_only=True)
class CountField:
    """People in each cell, with Laplace noise."""

    kind: ClassVar[str] = "count"
    name: str
    """Name in the result."""
    by: tuple[str, ...]
    """Groups whose product makes the cells; empty for one total."""
    epsilon: Decimal
    """ε that it costs."""
    delta: ClassVar[Decimal] = Decimal(0)

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "by": list(self.by),
            "epsilon": decimal_text(self.epsilon),
        }


@dataclass(frozen=True, kw_only=True)
class MeanField:
    """Mean of one column in each cell, clamped, with Laplace noise."""

    kind: ClassVar[str] = "mean"
    name: str
    """Name in the result."""
    column: str
    """Column of the per-person table."""
    by: tuple[str, ...]
    """Groups whose product makes the cells."""
    lower: Decimal
    """Values are clamped to this, and results too."""
    upper: Decimal
    """Values are clamped to this, and results too."""
    decimals: int
    """Decimals of the results."""
    epsilon: Decimal
    """ε that it costs."""
    delta: ClassVar[Decimal] = Decimal(0)

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "column": self.column,
            "by": list(self.by),
            "lower": decimal_text(self.lower),
            "upper": decimal_text(self.upper),
            "decimals": self.decimals,
            "epsilon": decimal_text(self.epsilon),
        }


@dataclass(frozen=True, kw_only=True)
class LogisticField:
    """Coefficients of a logistic model, trained by noisy gradient descent."""

    kind: ClassVar[str] = "logistic"
    name: str
    """Name in the result."""
    features: tuple[Feature, ...]
    """Inputs of the model; the intercept comes on its own."""
    label: str
    """Column of the per-person table: 0 or 1."""
    clip: Decimal
    """Largest L2 norm of one person's gradient."""
    steps: int
    """Number of gradient steps."""
    learning_rate: Decimal
    """Length of a step."""
    lower: Decimal
    """Coefficients are clamped to this."""
    upper: Decimal
    """Coefficients are clamped to this."""
    decimals: int
    """Decimals of the coefficients."""
    epsilon: Decimal
    """ε that it costs."""
    delta: Decimal
    """δ that it costs."""

    def plain(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "features": [feature.plain() for feature in self.features],
            "label": self.label,
            "clip": decimal_text(self.clip),
            "steps": self.steps,
            "learning_rate": decimal_text(self.learning_rate),
            "lower": decimal_text(self.lower),
            "upper": decimal_text(self.upper),
            "decimals": self.decimals,
            "epsilon": decimal_text(self.epsilon),
            "delta": decimal_text(self.delta),
        }


FieldSpec = CountField | MeanField | LogisticField


def read_field(value: Any) -> FieldSpec:
    """Read one field of the output contract."""
    fields = reader(value, "output field")
    kind = fields.text("kind", limit=16)
    name = fields.text("name", limit=63, pattern=_NAME)
    epsilon = read_decimal(fields, "epsilon")
    field: FieldSpec
    if kind == "count":
        field = CountField(name=name, by=_by(fields), epsilon=epsilon)
    elif kind == "mean":
        lower, upper = _range(fields, name)
        field = MeanField(
            name=name,
            column=fields.text("column", limit=63, pattern=COLUMN_NAME),
            by=_by(fields),
            lower=lower,
            upper=upper,
            decimals=fields.integer("decimals", 0, MAX_DECIMALS),
            epsilon=epsilon,
        )
        _check_decimals(field)
        if mean_bound(lower=lower, upper=upper, decimals=field.decimals) > MAX_MEAN_BOUND:
            bounds_error(f"the bounds of {name} are too wide for so many decimal places")
    elif kind == "logistic":
        field = _logistic(fields, name=name, epsilon=epsilon)
    else:
        fields.fail("has a kind that is none of count, mean and logistic")
    fields.done()
    if field.epsilon <= 0 or field.delta < 0:
        raise RecipeError(Code.RECIPE_BUDGET, f"the field {name} must cost a positive ε and no negative δ")
    return field


def _logistic(fields: Fields, *, name: str, epsilon: Decimal) -> LogisticField:
    features = tuple(_feature(item) for item in fields.array("features", limit=MAX_FEATURES))
    if not features or len({feature.name for feature in features}) != len(features):
        fields.fail("must have features, each once")
    lower, upper = _range(fields, name)
    field = LogisticField(
        name=name,
        features=features,
        label=fields.text("label", limit=63, pattern=COLUMN_NAME),
        clip=read_decimal(fields, "clip"),
        steps=fields.integer("steps", 1, MAX_STEPS),
        learning_rate=read_decimal(fields, "learning_rate"),
        lower=lower,
        upper=upper,
        decimals=fields.integer("decimals", 0, MAX_DECIMALS),
        epsilon=epsilon,
        delta=read_decimal(fields, "delta"),
    )
    if field.clip <= 0 or field.learning_rate <= 0:
        bounds_error(f"the field {name} needs a clip and a learning rate above 0")
    if field.clip > MAX_CLIP:
        bounds_error(f"the field {name} has a clip above {MAX_CLIP}")
    _check_decimals(field)
    if field.delta <= 0:
        raise RecipeError(Code.RECIPE_BUDGET, f"the field {name} needs a δ above 0")
    return field


def mean_bound(*, lower: Decimal, upper: Decimal, decimals: int) -> int:
    """How far one person moves a sum: half the width of the bounds, in steps, rounded up."""
    steps = 10 ** (decimals + GUARD_DIGITS)
    return math.ceil((Fraction(upper) - Fraction(lower)) / 2 * steps)


def _check_decimals(field: MeanField | LogisticField) -> None:
    # Without one, a group would be refused when it is shown, and pass when it is too small to be shown.
    unit = 10**field.decimals
    if math.ceil(Fraction(field.lower) * unit) > math.floor(Fraction(field.upper) * unit):
        bounds_error(f"no number with the decimals of {field.name} lies within its bounds")


def _feature(value: Any) -> Feature:
    fields = reader(value, "feature")
    name = fields.text("name", limit=63, pattern=COLUMN_NAME)
    lower, upper = _range(fields, name)
    fields.done()
    if not float((upper - lower) / 2) > 0 or not float(lower) < float(upper):
        bounds_error(f"the bounds of the feature {name} are too close for real numbers to tell them apart")
    return Feature(name=name, lower=lower, upper=upper)


def _by(fields: Fields) -> tuple[str, ...]:
    names = fields.array("by", limit=MAX_BY)
    if not all(isinstance(name, str) for name in names):
        fields.fail("has by that is not a list of groups")
    return tuple(names)


def _range(fields: Fields, name: str) -> tuple[Decimal, Decimal]:
    lower, upper = read_decimal(fields, "lower"), read_decimal(fields, "upper")
    if lower >= upper:
        bounds_error(f"{name} has a lower bound that is not below the upper one")
    return lower, upper


def read_decimal(fields: Fields, name: str) -> Decimal:
    """Take a number in its one text form."""
    try:
        return parse_normal_decimal(fields.raw(name))
    except FormatError as error:
        fields.fail(f"has {name} that is wrong: {error.message}")


def bounds_error(message: str) -> NoReturn:
    """Refuse a bound."""
    raise RecipeError(Code.RECIPE_BOUNDS, message)
