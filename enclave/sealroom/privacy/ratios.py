# SPDX-License-Identifier: Apache-2.0
"""Models on a table of declared groups: what each label of a group does to a rate, beside the group's first
label, all other groups being equal.

The logarithm of what is modelled is a sum of one effect for each label (main effects, no interactions). The
effects solve equations of the form U(β) = 0, in which U is a sum over cells that is linear in the noisy sums:
with noise of mean zero the equations are right on average. So cells below zero go into them as they are. Held
to zero, they would bias the effects by several standard errors.

Intervals have a closed form: Var β = H⁻¹ V H⁻¹, with H the derivative of U and V its variance, which is the
sum of what sampling does to U and of what the noise does (the sandwich of Huber 1967 and White 1980, with one
layer more). They are formed for ln of the ratio.

A label with too few people, or with too few of what is counted for its noise, is left out of the table before
the fit, and its ratio is null; so are those of a group whose first label is left out, and all of them where
the equations have no solution in reach.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from sealroom.privacy.cells import Cells
from sealroom.privacy.clamped import ENOUGH
from sealroom.privacy.intervals import COUNTS_NOISE, Z, people_around, within
from sealroom.privacy.kind import PEOPLE, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law
from sealroom.privacy.shape import Number, Row, Rows, Whole, table, with_interval

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sealroom.privacy.people import Floats

    Bools = npt.NDArray[np.bool_]

S = TypeVar("S")
Value = dict[str, Any]
MAX_EFFECTS = 64
"""Most labels of all groups of one field, the first ones left out."""
RATIO = Decimal(0), Decimal(1000)
"""Ratios are held to this."""
EXAMPLE = 1000
"""People of each label that a preview is about."""
_STEPS = 60
"""Most steps of Newton's method."""
_FAR = 40.0
"""No effect is sought beyond this: its exponential is a number still."""


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """The groups of a model."""

    cells: Cells
    decimals: int

    @classmethod
    def read(cls, members: Members, groups: Groups) -> Ratios:
        """Take `by` and `decimals`."""
        return cls.of(Cells.read(members, groups), members)

    @classmethod
    def of(cls, cells: Cells, members: Members) -> Ratios:
        """Take `decimals`."""
        decimals = members.decimals()
        if not cells.by or min(len(labels) for labels in cells.labels) < 2:
            members.fail("must have groups in by, with at least two labels each")
        if sum(len(labels) - 1 for labels in cells.labels) > MAX_EFFECTS:
            bounds_error(f"a model has more than {MAX_EFFECTS} labels beside the first ones")
        return cls(cells=cells, decimals=decimals)

    def plain(self) -> Value:
        return {"by": list(self.cells.by), "decimals": self.decimals}

    def rows(self) -> list[tuple[int, int]]:
        """Group and label of each ratio, by their places."""
        return [
            (group, label)
            for group, labels in enumerate(self.cells.labels)
            for label in range(1, len(labels))
        ]

    def names(self) -> list[dict[str, str]]:
        """The words for these."""
        by, labels = self.cells.by, self.cells.labels
        return [{"group": by[group], "label": labels[group][label]} for group, label in self.rows()]

    def members_of(self) -> list[Bools]:
        """Of each group, which cells have which of its labels, of shape (labels, cells)."""
        import numpy as np

        sizes = [len(labels) for labels in self.cells.labels]
        places = np.array(list(itertools.product(*(range(size) for size in sizes))))
        return [places[:, at] == np.arange(size)[:, np.newaxis] for at, size in enumerate(sizes)]

    def of_label(self) -> list[int]:
        """Of each group, how many cells have one of its labels."""
        return [self.cells.count // len(labels) for labels in self.cells.labels]


Judged = Sequence[tuple[str, float]]
"""What each label must have enough of, in words, with the standard deviation of the noise of one cell."""
Equations = Callable[["Floats", "Bools", "Floats"], tuple["Floats", "Floats", "Floats"]]
"""From effects of cells (cells, effects), which cells are used, and β: U, H and V."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What a kind makes of its noisy sums."""

    people: Floats
    """By cell."""
    people_half: Callable[[int], float]
    """Half the width of the interval of the people in so many cells."""
    judged: Sequence[tuple[Floats, float]]
    """What each label must have enough of: by cell, and the standard deviation of the noise of one cell."""
    equations: Equations
    level: Callable[[Bools], float] | None
    """What is modelled, over these cells together; `None` for a model without a level of its own."""


def beside(values: Sequence[Floats], judged: Judged) -> list[tuple[Floats, float]]:
    """What is judged, by cell, each with its noise."""
    return [(each, deviation) for each, (_, deviation) in zip(values, judged, strict=True)]


class RatioKind(Kind[S]):
    """A kind whose value is a ratio for each label."""

    otherwise = "too little of the first label of its group, or equations without a solution"
    ratio: ClassVar[str]
    """The name of a ratio."""
    at_reference: ClassVar[str] = ""
    """The name of what is modelled, where all labels are the first ones; none where there is no level."""

    @abstractmethod
    def ratios(self, spec: S) -> Ratios:
        """The groups."""

    @abstractmethod
    def model(self, spec: S, law: Law, state: Any, noise: Noises) -> Model:
        """The equations that the noisy sums give."""

    @abstractmethod
    def judged(self, spec: S, law: Law, noise: Noises) -> Judged:
        """What each label must have enough of."""

    def least(self, spec: S, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        cells = math.sqrt(max(self.ratios(spec).of_label()))
        return tuple(
            Least(of=f"{what.replace(PEOPLE.many, of.many)} with a label", count=ENOUGH * deviation * cells)
            for what, deviation in self.judged(spec, law, noise)
        )

    def reference(self, spec: S) -> tuple[Decimal, Decimal]:
        """What the number at the reference is held to."""
        raise NotImplementedError

    def level(self, logarithm: float) -> float:
        """What is modelled, from the logarithm of what the ratios are of."""
        return math.exp(logarithm)

    def finish(self, spec: S, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        ratios, model = self.ratios(spec), self.model(spec, law, state, noise)
        found = fitted(ratios, model, cohort)
        bounds: Value = {"decimals": ratios.decimals, "lower": RATIO[0], "upper": RATIO[1]}
        sizes, members = ratios.of_label(), ratios.members_of()
        rows: list[Value] = []
        for name, (group, label) in zip(ratios.names(), ratios.rows(), strict=True):
            people = Fraction(float(model.people[members[group][label]].sum()))
            shown: Value = people_around(people, model.people_half(sizes[group]))
            effect = found.get((group, label))
            shown |= within(self.ratio, *_exponentials(effect or (0.0, 0.0), math.exp), **bounds)
            rows.append(name | (shown if effect else dict.fromkeys(shown)))
        value: Value = {"groups": rows, "interval": COUNTS_NOISE}
        if self.at_reference:
            lower, upper = self.reference(spec)
            effect = found.get((-1, -1))
            numbers = _exponentials(effect or (0.0, 0.0), self.level)
            shown = within(self.at_reference, *numbers, decimals=ratios.decimals, lower=lower, upper=upper)
            value["reference"] = [shown if effect else dict.fromkeys(shown)]
        return value

    def rows(self, spec: S) -> int:
        return len(self.ratios(spec).rows()) + bool(self.at_reference)

    def shape(self, spec: S) -> Row:
        ratios = self.ratios(spec)
        number = Number(decimals=ratios.decimals, lower=RATIO[0], upper=RATIO[1])
        more: dict[str, Rows] = {}
        if self.at_reference:
            lower, upper = self.reference(spec)
            level = Number(decimals=ratios.decimals, lower=lower, upper=upper)
            more["reference"] = Rows([Row(with_interval(self.at_reference, level), hides=True)])
        numbers = {**with_interval("people", Whole()), **with_interval(self.ratio, number)}
        return table(ratios.names(), numbers, interval=COUNTS_NOISE, more=more)


def _exponentials(effect: tuple[float, float], level: Callable[[float], float]) -> tuple[float, float, float]:
    value, wide = effect[0], Z * effect[1]
    middle, low, high = (level(min(max(each, -700.0), 700.0)) for each in (value, value - wide, value + wide))
    return middle, low, high


def fitted(ratios: Ratios, model: Model, cohort: int) -> dict[tuple[int, int], tuple[float, float]]:
    """The effect of each label and its standard deviation, by the places of group and label; those that are
    withheld are missing. That of the level is at (−1, −1)."""
    import numpy as np

    members = ratios.members_of()
    labels = _enough(members, model, cohort)
    used = np.prod([of[each].any(axis=0) for of, each in zip(members, labels, strict=True)], axis=0) > 0
    if not used.any():
        return {}
    at: dict[tuple[int, int], int] = {}
    columns = [] if model.level is None else [np.ones(used.sum())]
    for group, kept in enumerate(labels):
        for label in np.flatnonzero(kept)[1:]:
            at[group, int(label)] = len(columns)
            columns.append(members[group][label][used].astype(np.float64))
    firsts = [bool(kept[0]) for kept in labels]
    if model.level is not None and all(firsts):
        at[-1, -1] = 0
    if not columns:
        return {}
    start = np.zeros(len(columns))
    if model.level is not None:
        start[0] = model.level(used)
    with np.errstate(all="ignore"):
        solved = _solved(np.stack(columns, axis=1), used, model.equations, start)
    if solved is None:
        return {}
    effects, deviations = solved
    return {
        key: (float(effects[place]), float(deviations[place]))
        for key, place in at.items()
        if key[0] < 0 or firsts[key[0]]
    }


def _enough(members: Sequence[Bools], model: Model, cohort: int) -> list[Bools]:
    """Which labels of each group have enough, over the cells of such labels alone."""
    import numpy as np

    labels = [np.ones(len(of), dtype=bool) for of in members]
    while True:
        used = np.prod([of[each].any(axis=0) for of, each in zip(members, labels, strict=True)], axis=0) > 0
        before = sum(int(each.sum()) for each in labels)
        for of, kept in zip(members, labels, strict=True):
            inside = of & used
            kept &= inside @ model.people >= cohort
            for values, deviation in model.judged:
                kept &= inside @ values >= ENOUGH * deviation * np.sqrt(inside.sum(axis=1))
        if sum(int(each.sum()) for each in labels) == before:
            return labels


def _solved(
    effects: Floats, used: Bools, equations: Equations, start: Floats
) -> tuple[Floats, Floats] | None:
    """β and its standard deviations, by Newton's method with bounded steps; `None` where it finds none."""
    import numpy as np

    beta = start
    for _ in range(_STEPS):
        score, slope, variance = equations(effects, used, beta)
        if not all(np.isfinite(each).all() for each in (score, slope, variance)):
            return None
        try:
            step = np.linalg.solve(slope, score)
            inverse = np.linalg.inv(slope)
        except np.linalg.LinAlgError:
            return None
        size = float(np.abs(step).max())
        if not math.isfinite(size):
            return None
        if size < 1e-9:
            squares = np.diag(inverse @ variance @ inverse.T)
            rising = np.linalg.eigvalsh((slope + slope.T) / 2).min() > 0
            if not rising or not np.isfinite(squares).all() or squares.min() < 0:
                return None
            return beta, np.sqrt(squares)
        beta = beta + step * min(1.0, 1.0 / size)
        if float(np.abs(beta).max()) > _FAR:
            return None
    return None


def summed(effects: Floats, rest: Floats, weight: Floats, variance: Floats) -> tuple[Floats, Floats, Floats]:
    """U, H and V where each cell adds effects · rest, with this derivative and this variance."""
    return effects.T @ rest, (effects.T * weight) @ effects, (effects.T * variance) @ effects


def preview_half_width(ratios: Ratios, *, variance: float, weight: float) -> float:
    """Half the width of the interval of ln of a ratio, of two labels with `EXAMPLE` people each, evenly over
    cells: from the variance of the noise on what a cell adds to U, and the sum of the cells' weights."""
    return Z * math.sqrt(2 * ratios.of_label()[0] * variance) / weight
