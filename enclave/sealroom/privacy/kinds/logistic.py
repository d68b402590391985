# SPDX-License-Identifier: Apache-2.0
"""Logistic regression: full-batch gradient descent with a noisy integer sum a step.

Each step sums one clipped gradient a row, which gets discrete Gaussian noise. There is no sampling of
batches, hence nothing to amplify and nothing to get wrong in accounting for it (DP-17). Three details carry
the guarantee:

* A row's gradient is whole numbers of steps, and a function of that row and of the weights alone, *bit for
  bit*: another row that is added changes nobody's (`sealroom.privacy.gradients`).
* A row's gradient is held to the clip in these whole numbers, by what its inputs allow its error to be.
* Features are scaled by bounds written in the recipe, never by anything seen in the data (DP-03).

Features that fill their bounds differently would need steps of different lengths. So the first round also
sums products of the inputs (`triangle`), and each step is as long as their noisy matrix M says: the rate
times M⁻¹ times the gradient. M / 4 is no less than the curvature anywhere (Böhning, Lindsay 1988): with a
rate of 4 no step goes too far, and all directions come down about as fast. Eigenvalues of M that are smaller
than 5 standard deviations of their noise are taken for that: there, steps are shorter than they might be.
What is released is the mean of the weights after the first quarter of the steps, in which noise evens out
(Polyak, Juditsky 1992): so a step more than are needed costs no accuracy.

What the noise of many steps does to coefficients has no formula: it depends on how much the features tell,
which the noise hides most where they tell little. So five descents run side by side, each with its own noise
of √5 times the scale, and what is released is their mean. Its noise is that of one descent with all of the
cost, but for what is not linear in it; and the spread of the five gives an interval by Student's law,
whatever the features are. A row adds its five gradients as one vector, which is no longer than √5 times the
clip.

Intervals are around what steps of the same lengths would lead to without noise, of these people: noise alone.
The five share M, so their spread tells nothing of M's noise. With a rate of 4 and 15 steps that does not
matter, since where these lead hardly depends on how long each is: intervals hold what comes of them without
any noise as well. With a lower rate and few steps they need not: such a descent is still under way. With few
steps that is not yet the maximum of the likelihood, and a clip below what rows' gradients are there moves it.
Where all inputs are groups, the kind `odds` has that maximum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import check_decimals
from sealroom.privacy.features import Feature, read_features
from sealroom.privacy.gradients import GRADIENT_STEPS, Gradients
from sealroom.privacy.intervals import NOISE, around, half_width, people_around
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises, Noisy
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, Rows, Whole, table, with_interval
from sealroom.privacy.triangle import PART, matrices, part, products, unit_noise

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
MAX_STEPS = 10_000
MAX_CLIP = 1024
"""Largest clip. No gradient is longer than the square root of the number of inputs, which is less."""
_PEOPLE, _PRODUCTS = Fraction(1, 20), Fraction(1, 10)
"""Shares of μ² that the number of people and the products of inputs get."""
_CERTAIN = 5
"""Standard deviations of noise that an eigenvalue of the products is taken to have at least."""
_BEFORE = Fraction(1, 4)
"""Share of the steps before the mean of the weights begins."""
DESCENTS = 5
"""Descents side by side. More of them have narrower intervals, but more noise each: with 8, intervals of
3,000 people at μ 0.09 held 87 %, since noise bends the path of a descent that is all noise."""
STUDENT = 2.7764451051977987
"""Student's deviate that 95 % lie within, for five numbers around their own mean."""
_FAR = Fraction(10) ** 15
"""A coefficient of one descent is held to this; bounds of recipes are nearer."""
_WEIGHT_LIMIT = 1e6
"""Weights are held within this, so that a careless learning rate ends in a useless model and not in an
overflow."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """What is trained, and how."""

    features: tuple[Feature, ...]
    """Inputs of the model; the intercept comes on its own."""
    label: str
    """Column of the people's table; above one half it counts as 1."""
    clip: Decimal
    """Largest L2 norm of one row's gradient."""
    steps: int
    learning_rate: Decimal
    lower: Decimal
    """Coefficients are held to this."""
    upper: Decimal
    """Coefficients are held to this."""
    decimals: int

    @property
    def inputs(self) -> tuple[str, ...]:
        """What has a coefficient."""
        return "intercept", *(feature.name for feature in self.features)

    @property
    def reach(self) -> int:
        """The clip in integer steps, rounded up."""
        return math.ceil(Fraction(self.clip) * GRADIENT_STEPS)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What is released so far."""

    people: Fraction
    stride: Floats
    """The rate, times the inverse of the matrix of products: what a step multiplies gradients by."""
    weights: Floats
    """Of each descent, of shape (descents, inputs)."""
    mean: Floats
    """Of the weights after the first quarter of the steps."""
    steps: int
    """Done."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What all steps compute on."""

    gradients: Gradients
    products: dict[str, Integers]


class Logistic(Kind[Model]):
    name = "logistic"
    member_names = ("features", "label", "clip", "steps", "learning_rate", "lower", "upper", "decimals")
    units: ClassVar[Mapping[str, str]] = {"coefficient": "log odds for each unit of the term"}
    laws: ClassVar[tuple[Law, ...]] = ("gaussian",)

    def read(self, members: Members, groups: Groups) -> Model:
        features = read_features(members, "features")
        lower, upper = members.range()
        spec = Model(
            features=features,
            label=members.column("label"),
            clip=members.decimal("clip"),
            steps=members.integer("steps", 1, MAX_STEPS),
            learning_rate=members.decimal("learning_rate"),
            lower=lower,
            upper=upper,
            decimals=members.decimals(),
        )
        if not 0 < spec.clip <= MAX_CLIP or spec.learning_rate <= 0:
            bounds_error(f"a model needs a clip above 0 and at most {MAX_CLIP}, and a learning rate above 0")
        check_decimals(lower, upper, spec.decimals)
        return spec

    def plain(self, spec: Model) -> Value:
        return {
            "clip": decimal_text(spec.clip),
            "decimals": spec.decimals,
            "features": [feature.plain() for feature in spec.features],
            "label": spec.label,
            "learning_rate": decimal_text(spec.learning_rate),
            "lower": decimal_text(spec.lower),
            "steps": spec.steps,
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Model) -> Columns:
        # the label may be a feature too
        return Columns(numbers=tuple(dict.fromkeys((*(each.name for each in spec.features), spec.label))))

    def parts(self, spec: Model, law: Law) -> tuple[Part, ...]:
        # a row's gradients of all descents are one vector
        length, squared = DESCENTS * (len(spec.features) + 1), DESCENTS * spec.reach**2
        return (
            Part(name="people", length=1, l1=1, l2_squared=1, share=_PEOPLE),
            replace(part(len(spec.features)), share=_PRODUCTS),
            Part(
                name="gradient", length=length, l1=math.isqrt(length * squared) + 1, l2_squared=squared,
                share=1 - _PEOPLE - _PRODUCTS, draws=spec.steps,
            ),
        )  # fmt: skip

    def rounds(self, spec: Model) -> int:
        return spec.steps

    def prepare(self, spec: Model, law: Law, people: People) -> Prepared:
        gradients = Gradients(spec.features, spec.label, spec.reach, people)
        sums = products(spec.features, people, known=[spec.label])
        return Prepared(gradients=gradients, products=sums)

    def aggregate(
        self, spec: Model, law: Law, people: Prepared, state: Trained | None
    ) -> dict[str, Integers]:
        import numpy as np

        weights = _start(spec) if state is None else state.weights
        exact = {"gradient": people.gradients.sums(weights.tolist()).ravel()}
        if state is not None:
            return exact
        return {**exact, **people.products, "people": np.array([people.gradients.count], dtype=np.int64)}

    def advance(self, spec: Model, law: Law, state: Trained | None, noisy: Noisy, noise: Noises) -> Trained:
        import numpy as np

        if state is None:
            start, stride = _start(spec), _stride(spec, noisy, unit_noise(noise[PART]))
            state = Trained(people=noisy["people"][0], stride=stride, weights=start, mean=start, steps=0)
        gradient = np.array([float(each / GRADIENT_STEPS) for each in noisy["gradient"]])
        moved = state.weights - gradient.reshape(state.weights.shape) @ state.stride
        weights = np.clip(moved, -_WEIGHT_LIMIT, _WEIGHT_LIMIT)
        counted = max(state.steps + 1 - math.floor(spec.steps * _BEFORE), 1)
        mean = state.mean + (weights - state.mean) / counted
        return replace(state, weights=weights, mean=mean, steps=state.steps + 1)

    def finish(self, spec: Model, law: Law, state: Trained, noise: Noises, cohort: int) -> Value:
        people = people_around(state.people, half_width(noise["people"]))
        few = people["people"] < cohort
        bounds: Value = {"decimals": spec.decimals, "lower": spec.lower, "upper": spec.upper}
        found = zip(*(_coefficients(spec, weights) for weights in state.mean.tolist()), strict=True)
        rows: list[Value] = []
        for name, each in zip(spec.inputs, found, strict=True):
            middle = sum(each, Fraction(0)) / DESCENTS
            square = sum((one - middle) ** 2 for one in each) / (DESCENTS - 1)
            shown = around("coefficient", middle, STUDENT * math.sqrt(square / DESCENTS), **bounds)
            rows.append({"term": name, **(dict.fromkeys(shown) if few else shown)})
        return {"groups": rows, "interval": NOISE, "people": [dict.fromkeys(people) if few else people]}

    def rows(self, spec: Model) -> int:
        return len(spec.inputs) + 1

    def shape(self, spec: Model) -> Row:
        number = Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)
        people = Rows([Row(with_interval("people", Whole()), hides=True)])
        names = [{"term": name} for name in spec.inputs]
        return table(names, with_interval("coefficient", number), interval=NOISE, more={"people": people})

    def preview(self, spec: Model, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        gradient = half_width(noise["gradient"]) / math.sqrt(DESCENTS) / spec.reach
        return (
            Bar(
                about=f"one step's sum, in {of.many} that pull with full length",
                half_width=gradient,
            ),
            Bar(about=f"{of.many} that the model is of", half_width=half_width(noise["people"])),
        )

    def sentence(self, spec: Model, of: Counted) -> str:
        inputs = ", ".join(f"{each.name} ({each.lower:f} to {each.upper:f})" for each in spec.features)
        return (
            f"Logistic model of {spec.label} from {inputs}, trained in {spec.steps} steps. In each of them,"
            f" one {of.one} moves the sum by a vector no longer than {spec.clip:f}, for each of {DESCENTS}"
            f" models with noise of their own, whose mean is released; {of.many} without all values count"
            " nowhere."
        )


def _start(spec: Model) -> Floats:
    import numpy as np

    return np.zeros((DESCENTS, len(spec.features) + 1))


def _stride(spec: Model, noisy: Noisy, unit: float) -> Floats:
    """The rate times the inverse of the noisy products; `unit` is the noise on an eigenvalue of these."""
    import numpy as np

    held = {PART: np.array([[float(each) for each in noisy[PART]]])}
    values, vectors = np.linalg.eigh(matrices(held, len(spec.features))[0])
    found: Floats = vectors / np.maximum(values, max(_CERTAIN * unit, 1.0)) @ vectors.T
    return float(spec.learning_rate) * found


def _coefficients(spec: Model, weights: list[float]) -> list[Fraction]:
    """The intercept and one a feature, in the columns' units, from weights of scaled features."""
    intercept, slopes = Fraction(weights[0]), []
    for weight, feature in zip(weights[1:], spec.features, strict=True):
        middle, half = (Fraction(each) for each in feature.middle_and_half)
        slopes.append(Fraction(weight) / half)
        intercept -= Fraction(weight) * middle / half
    return [min(max(each, -_FAR), _FAR) for each in (intercept, *slopes)]


KIND = Logistic()
