# SPDX-License-Identifier: Apache-2.0
"""The hash chain of a network's checkpoints: one head a step, which binds all weights so far::

    head₀ = SHA-256(lp("sealroom checkpoints v2", network, weights₀))
    headₜ = SHA-256(lp("sealroom checkpoints v2", t, headₜ₋₁, weightsₜ))

with `lp` of `sealroom.encoding`, the network in canonical JSON, and weights as they leave: 32-bit
little-endian floats. head₀ follows from the recipe. Of the others the last two are released, so that whoever
has the last weights computes the last one again. Spec: `enclave/spec/recipe.md`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sealroom.encoding import canonical, lp, sha256
from sealroom.training.graph import Graph
from sealroom.training.initial import STEP_BITS, initial

_DOMAIN = "sealroom checkpoints v2"


def first_head(graph: Graph, seed: int) -> bytes:
    """The head of the weights that training starts from, 32 bytes."""
    steps = initial(graph, seed)
    weights = struct.pack(f"<{len(steps)}f", *(step / 2.0**STEP_BITS for step in steps))
    return sha256(lp(_DOMAIN, canonical(graph.plain()), weights))


def next_head(step: int, previous: bytes, weights: bytes) -> bytes:
    """The head after a step, counted from 1, 32 bytes."""
    return sha256(lp(_DOMAIN, step, previous, weights))


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What is released of the chain."""

    first: bytes
    """Head of the weights that training started from."""
    steps: int
    """How many steps were made, at least one."""
    previous: bytes
    """Head before the last step."""
    head: bytes
    """Head after the last step."""

    def bind(self, weights: bytes) -> bool:
        """Whether the chain, as far as it is known, ends in these weights."""
        if self.steps == 1 and self.previous != self.first:
            return False
        return next_head(self.steps, self.previous, weights) == self.head
