# SPDX-License-Identifier: Apache-2.0
"""Sums of clipped gradients of logistic models, exact to the last bit in any order and on any threads.

All numbers are whole numbers of steps, held in floats that hold them exactly. In bits, the sign apart:

==============  ========================  ==============================================================
what            step, magnitude           sums that it is in
==============  ========================  ==============================================================
inputs x        2⁻¹⁶, 16 (1.0)            x·w over all inputs: 16 + 36, whatever the weights are
weights w       as fine as 36 bits allow  for the weights of one step together
errors e        2⁻¹⁸, 18 (1.0)            e·x over 2¹⁶ rows at most: 34 + 16 = 50
all rows' e·x   2⁻³⁴, 34 a row            in 64-bit integers, with 26 bits of rows: 60
==============  ========================  ==============================================================

A double holds each whole number up to 2⁵³, so both sums are right as matrix products: no order, no block
and no fused multiply-add rounds them. So a row's error is a function of this row and of the weights alone
(DP-17): between the two products all is done number by number, and the sigmoid is looked up.

**What a row adds is bounded.** It adds e·x, whose length is |e| times the row's length. The largest |e| that
keeps it within the clip depends on the row's inputs alone, is computed once, in whole steps rounded down, and
each error is held to it. However an error came about, no row adds a vector longer than the clip.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from sealroom.privacy.features import Feature

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sealroom.privacy.people import Floats, Integers, People

    Steps = npt.NDArray[np.float32]
    """Whole numbers up to 2²⁴."""
INPUT_STEPS = 2**16
"""Steps a unit of scaled input."""
ERROR_STEPS = 2**18
"""Steps a unit of error."""
GRADIENT_STEPS = INPUT_STEPS * ERROR_STEPS
"""Steps a unit of gradient."""
_WEIGHT_BITS = 36
"""The magnitudes of a model's weights add up to so many bits."""
_SIGMOID_REACH, _SIGMOID_STEPS = 16, 4096
"""The sigmoid is tabulated on ±16 with 4,096 entries a unit: it is off by 2⁻¹⁵ at most."""
_UNDER = 1 - 2.0**-40
"""Less than one by more than all rounding of a length: four operations, each by 2⁻⁵³."""
_TOGETHER = 2**16
"""About so many inputs are worked on at a time, so that they stay in a cache."""


class Gradients:
    """The rows that have all values, as steps compute on them."""

    def __init__(self, features: Sequence[Feature], label: str, reach: int, people: People) -> None:
        """`reach` is the clip in steps of a gradient. A label above one half counts as 1."""
        import numpy as np

        labels = people.numbers[label]
        whole = ~np.isnan(labels)
        for feature in features:
            whole &= ~np.isnan(people.numbers[feature.name])
        self.count = int(whole.sum())
        self._target: Steps = (labels[whole] > 0.5).astype(np.float32) * np.float32(ERROR_STEPS)
        self._inputs: Steps = np.full((len(features) + 1, self.count), INPUT_STEPS, np.float32)
        squared = np.full(self.count, float(INPUT_STEPS) ** 2)
        for steps, feature in zip(self._inputs[1:], features, strict=True):
            middle, half = feature.middle_and_half
            clamped = np.clip(people.numbers[feature.name][whole], float(feature.lower), float(feature.upper))
            scaled = np.rint(np.clip((clamped - middle) / half, -1.0, 1.0) * INPUT_STEPS)
            steps[:] = scaled
            squared += scaled * scaled
        most = np.minimum(reach * _UNDER / np.sqrt(squared), float(ERROR_STEPS))
        self._most: Steps = np.floor(most).astype(np.float32)
        self._together = max(_TOGETHER // len(self._inputs), 1)

    def sums(self, weights: Sequence[Sequence[float]]) -> Integers:
        """The sum of everyone's clipped gradients for each model: (models, inputs), in steps.

        `weights` are those of each model, the one of the intercept first.
        """
        import numpy as np

        steps, bits = _on_grid(weights)
        to_place = 2.0 ** -(16 + bits) * _SIGMOID_STEPS
        middle = _SIGMOID_REACH * _SIGMOID_STEPS + 0.5  # what lies behind the point is cut off
        sigmoid = _sigmoid()
        total = np.zeros(steps.shape, np.int64)
        for start in range(0, self.count, self._together):
            rows = slice(start, start + self._together)
            inputs = self._inputs[:, rows].astype(np.float64)
            place = steps @ inputs
            place *= to_place
            place += middle
            error = sigmoid.take(place.astype(np.intp), mode="clip")
            error -= self._target[rows]
            most = self._most[rows]
            np.minimum(error, most, out=error)
            np.maximum(error, -most, out=error)
            total += (error.astype(np.float64) @ inputs.T).astype(np.int64)
        return total


def _on_grid(weights: Sequence[Sequence[float]]) -> tuple[Floats, int]:
    """Weights in whole steps of 2⁻ᵇⁱᵗˢ, and the bits: one grid, on which each score is exact."""
    import numpy as np

    largest = max(math.fsum(map(abs, each)) for each in weights)
    bits = _WEIGHT_BITS - max(math.frexp(largest)[1], 0)
    return np.rint(np.array(weights, dtype=np.float64) * 2.0**bits), bits


@lru_cache(maxsize=1)
def _sigmoid() -> Steps:
    import numpy as np

    reach = _SIGMOID_REACH * _SIGMOID_STEPS
    scores = np.arange(-reach, reach + 1) / _SIGMOID_STEPS
    return np.rint(ERROR_STEPS / (1 + np.exp(-scores))).astype(np.float32)
