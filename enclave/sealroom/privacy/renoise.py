# SPDX-License-Identifier: Apache-2.0
"""95 % intervals of whatever is computed from noisy sums, where no closed formula is at hand.

The noise is drawn again, on top of the *released* sums, many times, and the statistic is computed of each of
these. How far it falls from the released one then is how far the released one fell from the exact one. This
reads nothing but what was released, and so spends no budget (a parametric bootstrap of the noise).

The interval goes from the lowest to the highest of two pairs of limits: the percentiles of the draws, and the
same reflected at the released statistic. Percentiles alone are right for whatever rises with the sums, on any
scale, and hold the exact number of a square near zero never: noise adds to a square on average, and adds as
much to the draws once more. Reflected alone they are right for that, and hold the exact number of a skewed
statistic in 66 % of runs. Together they held it in at least 93 % for squares, magnitudes, exponentials and
reciprocals, under both laws. Where noise is small, both pairs are the same.

Cells must not be held to zero and above before a statistic is computed: fits would be biased by it. What is
shown may be held to its bounds afterwards.

For counts of people, who are each in one cell, `sampled` draws the people again too: each cell then varies as
a Poisson number does. For a statistic that does not depend on the number of all people, as shares, ratios and
ranks do not, this is the same as drawing so many people from the population.

The generator's seed is the SHA-256 of the released sums, so that a value is a function of these.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple

from sealroom.privacy.intervals import LEVEL
from sealroom.privacy.kind import Noises, Noisy
from sealroom.privacy.parts import Noise

if TYPE_CHECKING:
    import numpy as np

    from sealroom.privacy.people import Floats

DRAWS = 200
LARGEST = 1e30
"""What stands for a number that is larger, and what an interval reaches to where draws gave none."""
_TOGETHER = 2**20
"""Most noisy numbers in memory at a time."""
_CONTINUOUS = 2.0**40
"""From this width on, a Laplace draw in whole steps and one between them are the same double."""


class Renoised(NamedTuple):
    """A statistic of released sums, each an array of its numbers: all finite, and low <= value <= high."""

    value: Floats
    low: Floats
    high: Floats


Statistic = Callable[[Mapping[str, "Floats"]], "Floats"]
"""From the sums of each part, an array of (draws, length of the part) in steps of the part, to an array of
(draws, numbers). A row of it follows from the same row of the sums."""


def renoised(
    noisy: Noisy,
    noise: Noises,
    statistic: Statistic,
    *,
    draws: int = DRAWS,
    sampled: Collection[str] = (),
) -> Renoised:
    """The statistic of the noisy sums, and the 95 % interval of each of its numbers.

    `noise` is that of each part of `noisy`; `sampled` are the parts that count people, whose sampling the
    interval shall include. Nothing is raised for a number that is none: its interval has no limits then.
    """
    import numpy as np

    sums = {name: np.array([[float(each) for each in held]]) for name, held in noisy.items()}
    dice = np.random.Generator(np.random.Philox(int.from_bytes(_digest(noisy))))
    together = max(_TOGETHER // max(sum(held.shape[1] for held in sums.values()), 1), 1)
    again = []
    with np.errstate(all="ignore"):
        value = np.nan_to_num(statistic(sums)[0], nan=0.0, posinf=LARGEST, neginf=-LARGEST)
        value = np.clip(value, -LARGEST, LARGEST)
        for start in range(0, draws, together):
            count = min(together, draws - start)
            again.append(
                statistic(
                    {
                        name: held + _noise(noise[name], count, held, dice, sampled=name in sampled)
                        for name, held in sums.items()
                    }
                )
            )
        drawn = np.concatenate(again)
        unknown = np.isnan(drawn).any(axis=0)
        drawn = np.sort(np.clip(np.nan_to_num(drawn, nan=0.0), -LARGEST, LARGEST), axis=0)
        # the ranks for which a draw of the same kind lies between them with the chance LEVEL
        outside = max(math.floor((1 - LEVEL) / 2 * (draws + 1)), 1)
        low, high = drawn[outside - 1], drawn[draws - outside]
        low, high = np.minimum(low, 2 * value - high), np.maximum(high, 2 * value - low)
    low = np.where(unknown, -LARGEST, np.clip(np.minimum(low, value), -LARGEST, LARGEST))
    high = np.where(unknown, LARGEST, np.clip(np.maximum(high, value), -LARGEST, LARGEST))
    return Renoised(value, low, high)


def _noise(noise: Noise, count: int, held: Floats, dice: np.random.Generator, *, sampled: bool) -> Floats:
    """Fresh noise on so many copies of the sums, in steps of the part."""
    import numpy as np

    size = (count, held.shape[1])
    if noise.law == "gaussian":
        fresh = dice.normal(0.0, noise.sd, size)
    elif noise.width < _CONTINUOUS:
        stop = -math.expm1(-1 / noise.width)
        fresh = dice.geometric(stop, size).astype(np.float64) - dice.geometric(stop, size)
    else:
        fresh = dice.laplace(0.0, noise.width, size)
    if sampled:
        fresh = fresh + dice.normal(0.0, 1.0, size) * np.sqrt(np.maximum(held, 0.0))
    return fresh


def _digest(noisy: Noisy) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(noisy):
        digest.update(f"{name}:{','.join(str(each) for each in noisy[name])};".encode())
    return digest.digest()[:16]
