# SPDX-License-Identifier: Apache-2.0
"""The weights that training starts from: a function of the recipe, the same on every machine.

Uniform within ±1/√(inputs of a number), from the seed in the recipe, by whole numbers alone.
"""

from __future__ import annotations

import hashlib
import math

from sealroom.encoding import length_prefixed
from sealroom.training.graph import Graph

STEP_BITS = 24
"""Weights leave in steps of 2⁻²⁴."""
_DOMAIN = b"sealroom initial weights v1"


def initial(graph: Graph, seed: int) -> list[int]:
    """The weights in steps of 2⁻²⁴, layer by layer: weights by rows, then biases."""
    steps: list[int] = []
    for place, layer in enumerate(graph.layers):
        if not layer.weighted:
            continue
        drawn = hashlib.shake_256(
            length_prefixed(_DOMAIN, seed.to_bytes(8, "big"), place.to_bytes(8, "big"))
        ).digest(4 * layer.weights)
        most = math.isqrt((1 << 2 * STEP_BITS) // layer.fan_in)
        for at in range(0, len(drawn), 4):
            steps.append(int.from_bytes(drawn[at : at + 4], "big") * (2 * most + 1) // 2**32 - most)
    return steps
