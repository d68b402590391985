# SPDX-License-Identifier: Apache-2.0
"""Gradient descent with momentum, on noisy sums: post-processing, which costs no privacy.

Each weight is computed for itself, and held within what the grid of weights can say, so that a careless
learning rate ends in a useless model and not in an overflow. The weights of each step are chained by hash::

    head₀ = SHA-256(lp("sealroom checkpoints v1", network, weights₀))
    headₜ = SHA-256(lp("sealroom checkpoints v1", headₜ₋₁, weightsₜ))

with `lp` of `sealroom.encoding`, the network in canonical JSON and weights as they leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from sealroom.encoding import canonical, lp, sha256
from sealroom.training.graph import Graph
from sealroom.training.grids import WEIGHT_LIMIT
from sealroom.training.initial import STEP_BITS, initial

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats

_DOMAIN = "sealroom checkpoints v1"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Weights after a step, and what led to them."""

    weights: Floats
    velocity: Floats
    head: bytes
    """Head of the hash chain, 32 bytes."""

    @classmethod
    def first(cls, graph: Graph, seed: int) -> Checkpoint:
        import numpy as np

        weights = np.array(initial(graph, seed), dtype=np.float64) / 2.0**STEP_BITS
        head = sha256(lp(_DOMAIN, canonical(graph.plain()), packed(weights)))
        return cls(weights=weights, velocity=np.zeros_like(weights), head=head)

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
        return Checkpoint(
            weights=weights, velocity=velocity, head=sha256(lp(_DOMAIN, self.head, packed(weights)))
        )


def packed(weights: Floats) -> bytes:
    """Weights as they leave: 32-bit little-endian whole numbers of steps of 2⁻²⁴."""
    import numpy as np

    return np.rint(weights * 2.0**STEP_BITS).astype("<i4").tobytes()
