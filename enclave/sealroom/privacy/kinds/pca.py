# SPDX-License-Identifier: Apache-2.0
"""Principal components of standardised columns: the share of variance that each axis explains, and how much
each column weighs in it.

A row adds the triangle of products of its scaled integers, 1 among them, whose squared length is at most (c
S²)² for c columns of ±S steps: the proof stands in `triangle`. The correlations follow from the noisy sums,
and the axes from these.

An axis has no sign: the first column that weighs at least half as much as the heaviest one weighs positively.
Axes that explain about as much as each other are any axes of their plane, so the weights of an axis are null
where the noise could exchange it with a neighbour: where eigenvalues are closer than 5 standard deviations of
the noise on them. All is null where the noise on a column's variance could be as large as the variance.
Intervals are of the noise, drawn again on the released sums (`renoise`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.features import Feature, read_features
from sealroom.privacy.intervals import NOISE, Z, half_width, people_around, within
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.renoise import renoised
from sealroom.privacy.shape import Label, Number, Row, Rows, Whole, table, with_interval
from sealroom.privacy.triangle import PART, STEPS, matrices, part, products, unit_noise

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
_APART = 5
"""Standard deviations of noise that two eigenvalues must be apart."""
_EXAMPLE = 1000
"""People that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What is asked."""

    columns: tuple[Feature, ...]
    axes: int
    """How many are released, those that explain most first."""
    decimals: int


class Pca(Kind[Axes]):
    name = "pca"
    member_names = ("columns", "axes", "decimals")
    otherwise = "axes that the noise does not tell apart"
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Axes:
        columns = read_features(members, "columns")
        if len(columns) < 2:
            members.fail("must have two columns or more")
        return Axes(
            columns=columns, axes=members.integer("axes", 1, len(columns)), decimals=members.decimals()
        )

    def plain(self, spec: Axes) -> Value:
        return {
            "axes": spec.axes,
            "columns": [column.plain() for column in spec.columns],
            "decimals": spec.decimals,
        }

    def columns(self, spec: Axes) -> Columns:
        return Columns(numbers=tuple(column.name for column in spec.columns))

    def parts(self, spec: Axes, law: Law) -> tuple[Part, ...]:
        return (part(len(spec.columns)),)

    def aggregate(self, spec: Axes, law: Law, people: People, state: Any) -> dict[str, Integers]:
        return products(spec.columns, people)

    def least(self, spec: Axes, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        return (Least(of=of.many, count=ENOUGH * unit_noise(noise[PART])),)

    def finish(self, spec: Axes, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        import numpy as np

        unit, count = unit_noise(noise[PART]), len(spec.columns)
        people, half = state[PART][0] / STEPS**2, half_width(noise[PART]) / STEPS**2
        shown: Value = people_around(people, half)
        few = shown["people"] < cohort or people < ENOUGH * unit
        held = {PART: np.array([[float(each) for each in state[PART]]])}
        correlations, least = _correlations(held, count, unit)
        values, vectors = np.linalg.eigh(correlations[0])
        values, vectors = values[::-1], vectors[:, ::-1].T
        heavy = np.abs(vectors) >= np.abs(vectors).max(axis=1, keepdims=True) / 2
        vectors = vectors * np.sign(vectors[np.arange(count), heavy.argmax(axis=1)])[:, np.newaxis]
        found = renoised(state, noise, lambda sums: _axes(sums, spec, unit, vectors))
        vague = few or least[0] < _APART * unit
        # of the noise on a correlation matrix, along any of its axes
        spread = unit / max(float(least[0]), 1e-9)
        gaps = [math.inf, *(values[:-1] - values[1:]), math.inf]
        numbers = self._numbers(spec)
        rows: list[Value] = []
        explained: list[Value] = []
        for axis in range(spec.axes):
            share = within("share", *(float(each[axis]) for each in found), **vars(numbers["share"]))
            explained.append({"axis": str(axis + 1), **(dict.fromkeys(share) if vague else share)})
            unsure = vague or min(gaps[axis], gaps[axis + 1]) < _APART * spread
            for place, column in enumerate(spec.columns):
                at = count + axis * count + place
                weight = within("weight", *(float(each[at]) for each in found), **vars(numbers["weight"]))
                row = dict.fromkeys(weight) if unsure else weight
                rows.append({"axis": str(axis + 1), "column": column.name, **row})
        return {
            "groups": rows,
            "interval": NOISE,
            "explained": explained,
            "people": [dict.fromkeys(shown) if few else shown],
        }

    def rows(self, spec: Axes) -> int:
        return spec.axes * (len(spec.columns) + 1) + 1

    def shape(self, spec: Axes) -> Row:
        numbers, axes = self._numbers(spec), [str(axis + 1) for axis in range(spec.axes)]
        share = with_interval("share", numbers["share"])
        return table(
            [{"axis": axis, "column": column.name} for axis in axes for column in spec.columns],
            with_interval("weight", numbers["weight"]),
            interval=NOISE,
            more={
                "explained": Rows([Row({"axis": Label(axis), **share}, hides=True) for axis in axes]),
                "people": Rows([Row(with_interval("people", Whole()), hides=True)]),
            },
        )

    def preview(self, spec: Axes, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        # of columns with a standard deviation of a third of the way to their bounds
        each = Z * unit_noise(noise[PART]) / math.sqrt(2) / (_EXAMPLE / 9)
        return (
            Bar(about=f"correlation of two columns in {_EXAMPLE:,} {of.many}", half_width=each),
            Bar(about=of.many, half_width=half_width(noise[PART]) / STEPS**2),
        )

    def sentence(self, spec: Axes, of: Counted) -> str:
        columns = ", ".join(f"{each.name} ({each.lower:f} to {each.upper:f})" for each in spec.columns)
        return (
            f"The first {spec.axes} principal components of {columns}, each divided by its standard"
            f" deviation, from sums of products of these, held to their bounds. Each {of.one} adds one set of"
            f" products; {of.many} without all values count nowhere."
        )

    def _numbers(self, spec: Axes) -> dict[str, Number]:
        return {
            "share": Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1)),
            "weight": Number(decimals=spec.decimals, lower=Decimal(-1), upper=Decimal(1)),
        }


def _correlations(sums: Mapping[str, Floats], count: int, unit: float) -> tuple[Floats, Floats]:
    """Of each draw the correlations, and the smallest of the columns' sums of squared deviations, in units of
    half the distance of bounds. A smaller sum than its noise is taken for that."""
    import numpy as np

    whole = matrices(sums, count)
    people = np.maximum(whole[:, 0, 0], 1.0)[:, np.newaxis, np.newaxis]
    away = whole[:, 1:, 1:] - whole[:, 1:, :1] * whole[:, :1, 1:] / people
    squares = np.einsum("dii->di", away)
    root = np.sqrt(np.maximum(squares, max(unit, 1e-9)))
    found = np.clip(away / root[:, :, np.newaxis] / root[:, np.newaxis, :], -1.0, 1.0)
    found[:, np.arange(count), np.arange(count)] = 1.0
    return found, squares.min(axis=1)


def _axes(sums: Mapping[str, Floats], spec: Axes, unit: float, reference: Floats) -> Floats:
    """The explained shares of all axes, and their weights, axis by axis, on the side of the reference."""
    import numpy as np

    count = len(spec.columns)
    values, vectors = np.linalg.eigh(_correlations(sums, count, unit)[0])
    values, vectors = values[:, ::-1], vectors[:, :, ::-1].transpose(0, 2, 1)
    side = np.sign((vectors * reference).sum(axis=2, keepdims=True))
    turned = vectors * np.where(side == 0, 1.0, side)
    return np.concatenate([values / count, turned.reshape(len(turned), -1)], axis=1)


KIND = Pca()
