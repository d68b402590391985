# SPDX-License-Identifier: Apache-2.0
"""Linear regression by least squares, from the noisy sums of products of 1, the features and the target.

A row adds the triangle of products of its scaled integers, whose squared length is at most (c S²)² for c
columns of ±S steps: the proof stands in `triangle`. Coefficients, R² and intervals are made of the noisy
sums, in one round, and no row is seen again.

The equations are solved as they are, without a penalty that would pull coefficients to zero by an unknown
amount. Where features tell so little apart that noise could make the equations singular, which shows in the
smallest eigenvalue of their noisy matrix, the coefficients are null: it must be at least 5 standard
deviations of its noise. A feature should have bounds near its values, since noise is as wide as the bounds.

Intervals are of noise and sampling: the noise is drawn again on the released sums (`renoise`), and sampling
is the usual standard error of least squares, of equal variance at all values, from the released sums too; for
R² it is the asymptotic one, 2 R (1 − R²) / √n, and what so many features explain by chance. They are put
together as independent. Values are those held to the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import ENOUGH, check_decimals
from sealroom.privacy.features import Feature, read_features
from sealroom.privacy.intervals import COUNTS_NOISE, Z, half_width, people_around, within
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.renoise import Renoised, renoised
from sealroom.privacy.shape import Number, Row, Rows, Whole, table, with_interval
from sealroom.privacy.triangle import PART, STEPS, matrices, part, products, unit_noise

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
_CERTAIN = 5
"""Standard deviations of noise that the smallest eigenvalue of the equations must have."""
_EXAMPLE = 1000
"""People that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Regression:
    """What is fitted."""

    features: tuple[Feature, ...]
    target: Feature
    lower: Decimal
    """Coefficients are held to this."""
    upper: Decimal
    """Coefficients are held to this."""
    decimals: int

    @property
    def columns(self) -> tuple[Feature, ...]:
        return (*self.features, self.target)

    def terms(self) -> list[str]:
        return ["intercept", *(feature.name for feature in self.features)]


class Linear(Kind[Regression]):
    name = "linear"
    member_names = ("features", "target", "lower", "upper", "decimals")
    otherwise = "features so much alike that the noise hides what each of them does"
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Regression:
        lower, upper = members.range()
        spec = Regression(
            features=read_features(members, "features"),
            target=Feature.read(members.raw("target"), loose=members.loose),
            lower=lower,
            upper=upper,
            decimals=members.decimals(),
        )
        if spec.target.name in spec.terms():
            members.fail("has a target that is a feature, too")
        check_decimals(lower, upper, spec.decimals)
        return spec

    def plain(self, spec: Regression) -> Value:
        return {
            "decimals": spec.decimals,
            "features": [feature.plain() for feature in spec.features],
            "lower": decimal_text(spec.lower),
            "target": spec.target.plain(),
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Regression) -> Columns:
        return Columns(numbers=tuple(each.name for each in spec.columns))

    def parts(self, spec: Regression, law: Law) -> tuple[Part, ...]:
        return (part(len(spec.columns)),)

    def aggregate(self, spec: Regression, law: Law, people: People, state: Any) -> dict[str, Integers]:
        return products(spec.columns, people)

    def least(self, spec: Regression, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        return (Least(of=of.many, count=ENOUGH * unit_noise(noise[PART])),)

    def finish(self, spec: Regression, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        import numpy as np

        unit, terms = unit_noise(noise[PART]), len(spec.features) + 1
        people, half = state[PART][0] / STEPS**2, half_width(noise[PART]) / STEPS**2
        held = {PART: np.array([[float(each) for each in state[PART]]])}
        fit = Fit(held, spec, unit)
        found = renoised(state, noise, lambda sums: Fit(sums, spec, unit).numbers())
        sampling = np.sqrt([*fit.variances()[0], fit.explained_variance()[0]])
        sampling[-1] += terms / max(float(people), 1.0) / Z
        found = _together(found, Z * sampling)
        shown: Value = people_around(people, half)
        few = shown["people"] < cohort or people < ENOUGH * unit
        vague = few or fit.smallest[0] < _CERTAIN * unit
        rows: list[Value] = []
        number, unit_number = self._number(spec), self._share(spec)
        for place, term in enumerate(spec.terms()):
            ends = (float(each[place]) for each in found)
            row = within("coefficient", *ends, **vars(number))
            rows.append({"term": term, **(dict.fromkeys(row) if vague else row)})
        explained = within("r_squared", *(float(each[terms]) for each in found), **vars(unit_number))
        return {
            "groups": rows,
            "interval": COUNTS_NOISE,
            "fit": [dict.fromkeys(explained) if vague else explained],
            "people": [dict.fromkeys(shown) if few else shown],
        }

    def rows(self, spec: Regression) -> int:
        return len(spec.features) + 3

    def shape(self, spec: Regression) -> Row:
        return table(
            [{"term": term} for term in spec.terms()],
            with_interval("coefficient", self._number(spec)),
            interval=COUNTS_NOISE,
            more={
                "fit": Rows([Row(with_interval("r_squared", self._share(spec)), hides=True)]),
                "people": Rows([Row(with_interval("people", Whole()), hides=True)]),
            },
        )

    def preview(self, spec: Regression, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        # a feature with a standard deviation of a third of the way to its bounds, apart from all others
        each = Z * unit_noise(noise[PART]) / math.sqrt(2) / (_EXAMPLE / 9)
        target = float(spec.target.reach)
        return (
            *(
                Bar(
                    about=f"coefficient of {feature.name} in {_EXAMPLE:,} {of.many}, where it has a standard"
                    f" deviation of {float(feature.reach) / 3:.3g}, without sampling",
                    half_width=each * target / float(feature.reach),
                )
                for feature in spec.features
            ),
            Bar(about=f"{of.many} that the model is of", half_width=half_width(noise[PART]) / STEPS**2),
        )

    def sentence(self, spec: Regression, of: Counted) -> str:
        inputs = ", ".join(f"{each.name} ({each.lower:f} to {each.upper:f})" for each in spec.features)
        return (
            f"Linear model of {spec.target.name} ({spec.target.lower:f} to {spec.target.upper:f}) from"
            f" {inputs}, from sums of products of these, held to their bounds. Each {of.one} adds one set of"
            f" products; {of.many} without all values count nowhere."
        )

    def _number(self, spec: Regression) -> Number:
        return Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)

    def _share(self, spec: Regression) -> Number:
        return Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1))


class Fit:
    """Least squares on sums of products of shape (draws, length); all it gives has the draws first."""

    def __init__(self, sums: Mapping[str, Floats], spec: Regression, unit: float) -> None:
        """`unit`: standard deviation of the noise on an eigenvalue. Smaller ones are taken for this."""
        import numpy as np

        whole = matrices(sums, len(spec.columns))
        self.people = np.maximum(whole[:, 0, 0], 1.0)
        matrix, product = whole[:, :-1, :-1], whole[:, :-1, -1]
        values, vectors = np.linalg.eigh(matrix)
        self.smallest = values[:, 0]
        held = np.maximum(values, max(unit, 1e-9))
        self.inverse = vectors / held[:, np.newaxis, :] @ vectors.transpose(0, 2, 1)
        self.scaled = np.einsum("dij,dj->di", self.inverse, product)
        square = whole[:, -1, -1]
        left = np.einsum("di,dij,dj->d", self.scaled, matrix, self.scaled)
        self.rest = np.maximum(square - 2 * (self.scaled * product).sum(axis=1) + left, 0.0)
        self.total = np.maximum(square - whole[:, 0, -1] ** 2 / self.people, 1e-9)
        # coefficients in the columns' own units, of those in half distances of bounds
        reach, middle = float(spec.target.reach), float(spec.target.centre)
        self._own = np.zeros((len(spec.features) + 1,) * 2)
        self._own[0, 0] = reach
        self._shift = np.zeros(len(self._own))
        self._shift[0] = middle
        for place, feature in enumerate(spec.features, start=1):
            slope = reach / float(feature.reach)
            self._own[place, place] = slope
            self._own[0, place] = -slope * float(feature.centre)

    def numbers(self) -> Floats:
        """The coefficients, and R²."""
        import numpy as np

        own = np.einsum("ij,dj->di", self._own, self.scaled) + self._shift
        return np.concatenate([own, (1 - self.rest / self.total)[:, np.newaxis]], axis=1)

    def variances(self) -> Floats:
        """Of the coefficients, by sampling."""
        import numpy as np

        freedom = np.maximum(self.people - len(self._own), 1.0)
        each = np.einsum("ij,djk,ik->di", self._own, self.inverse, self._own)
        found: Floats = np.maximum(each, 0.0) * (self.rest / freedom)[:, np.newaxis]
        return found

    def explained_variance(self) -> Floats:
        """Of R², by sampling; at R² = 0, that of a χ² with a degree for each feature."""
        import numpy as np

        share = np.clip(1 - self.rest / self.total, 0.0, 1.0)
        terms = len(self._own)
        found: Floats = 4 * share * (1 - share) ** 2 / self.people + 2 * terms / self.people**2
        return found


def _together(found: Renoised, half: Floats) -> Renoised:
    """Intervals that include something else that is as independent and as wide."""
    import numpy as np

    value, low, high = found
    return Renoised(value, value - np.hypot(value - low, half), value + np.hypot(high - value, half))


KIND = Linear()
