# SPDX-License-Identifier: Apache-2.0
"""Gradient descent with momentum, on noisy sums: post-processing, which costs no privacy.

Each weight is computed for itself, and held within what the grid of weights can say, so that a careless
learning rate ends in a useless model and not in an overflow. The weights of each step are chained by hash:
`sealroom.training.checkpoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from sealroom.training.checkpoints import first_head, next_head
from sealroom.training.graph import Graph
from sealroom.training.grids import WEIGHT_LIMIT
from sealroom.training.initial import STEP_BITS, initial

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights after a step, and what led to them."""

    weights: Floats
    velocity: Floats
    step: int
    """How many steps were made."""
    previous: bytes
    """Head of the hash chain before the last step, 32 bytes; the first one where none was made."""
    head: bytes
    """Head of the hash chain, 32 bytes."""

    @classmethod
    def first(cls, graph: Graph, seed: int) -> Checkpoint:
        import numpy as np

        weights = np.array(initial(graph, seed), dtype=np.float64) / 2.0**STEP_BITS
        head = first_head(graph, seed)
        return cls(weights=weights, velocity=np.zeros_like(weights), step=0, previous=head, head=head)

    def moved(
        self, sums: Sequence[Fraction], *, step: Fraction, learning_rate: float, momentum: float
    ) -> Checkpoint:
        """The next one: `sums` is the noisy sum of gradients, `step` what one of its steps is worth in the
        mean gradient."""
        import numpy as np

        # one division of whole numbers is rounded once, on every machine
        mean = np.array([float(each * step) for each in sums])
        most = float(2**40)  # a velocity that no weight survives, and that no sum overflows by
        velocity = np.clip(momentum * self.velocity + np.clip(mean, -most, most), -most, most)
        weights = np.clip(self.weights - learning_rate * velocity, -float(WEIGHT_LIMIT), float(WEIGHT_LIMIT))
        head = next_head(self.step + 1, self.head, packed(weights))
        return Checkpoint(
            weights=weights, velocity=velocity, step=self.step + 1, previous=self.head, head=head
        )


def packed(weights: Floats) -> bytes:
    """Weights as they leave, and as a file of tensors has them: multiples of 2⁻²⁴ as 32-bit little-endian
    floats. Those beyond ±1 are rounded once more, to what such a float holds."""
    import numpy as np

    # adding zero makes −0.0 zero
    return ((np.rint(weights * 2.0**STEP_BITS) + 0.0) / 2.0**STEP_BITS).astype("<f4").tobytes()
