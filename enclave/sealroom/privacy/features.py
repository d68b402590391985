# SPDX-License-Identifier: Apache-2.0
"""The inputs of a model: columns with declared bounds, which values are clamped to and scaled by."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from fractions import Fraction
from typing import Any, Self

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.privacy.members import Members, bounds_error

Value = dict[str, Any]
MAX_FEATURES = 64
MAX_LENGTH = 2**14
"""Longest list that is an input."""


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input of a model, with the bounds that it is clamped to and scaled by."""

    name: str
    """Column of the people's table."""
    lower: Decimal
    """Smallest value, in the column's unit."""
    upper: Decimal
    """Largest value, in the column's unit."""

    @classmethod
    def read(cls, value: Any, *, loose: bool) -> Self:
        members = Members(value, "feature", loose=loose, code=Code.RECIPE_FIELD)
        members.only(*(each.name for each in fields(cls)))
        found = cls(**cls._taken(members))
        members.done()
        lower, upper = found.lower, found.upper
        if not float((upper - lower) / 2) > 0 or not float(lower) < float(upper):
            bounds_error(
                f"the bounds of the feature {found.name} are too close for real numbers to tell them apart"
            )
        return found

    @classmethod
    def _taken(cls, members: Members) -> dict[str, Any]:
        name, (lower, upper) = members.column("name"), members.range()
        return {"name": name, "lower": lower, "upper": upper}

    def plain(self) -> Value:
        return {"lower": decimal_text(self.lower), "name": self.name, "upper": decimal_text(self.upper)}

    @property
    def centre(self) -> Fraction:
        return (Fraction(self.lower) + Fraction(self.upper)) / 2

    @property
    def reach(self) -> Fraction:
        """From the middle of the bounds to either."""
        return (Fraction(self.upper) - Fraction(self.lower)) / 2

    @property
    def middle_and_half(self) -> tuple[float, float]:
        return float((self.lower + self.upper) / 2), float((self.upper - self.lower) / 2)


@dataclass(frozen=True, kw_only=True)
class FeatureList(Feature):
    """A column of lists of one length: an input for each number, all between the same bounds."""

    length: int

    @classmethod
    def _taken(cls, members: Members) -> dict[str, Any]:
        return {**super()._taken(members), "length": members.integer("length", 1, MAX_LENGTH)}

    def plain(self) -> Value:
        return {"length": self.length, **super().plain()}


def read_features(members: Members, name: str) -> tuple[Feature, ...]:
    """Take a list of features, each once."""
    listed = members.array(name, limit=MAX_FEATURES)
    features = tuple(Feature.read(item, loose=members.loose) for item in listed)
    if not features or len({feature.name for feature in features}) != len(features):
        members.fail(f"must have {name}, each once")
    return features
