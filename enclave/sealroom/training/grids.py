# SPDX-License-Identifier: Apache-2.0
"""The grids that a network is computed on, and why every sum over them is exact.

All numbers of a forward and of a backward pass are whole numbers of steps, held in doubles. A double holds
each whole number up to 2⁵³, and a sum of such numbers whose magnitudes add up to no more is the same in any
order, in any blocks, with or without fused multiply-add. In bits, the sign apart:

=====================  ======================  ============================================================
what                   step, magnitude         sums that it is in
=====================  ======================  ============================================================
inputs, activations x  2⁻¹⁶, 20 (16.0)         x·w over 2,047 inputs and the bias: 20 + 22 + 11 = 53
weights w              2⁻¹⁶, 22 (64.0)         e·w over the outputs: b + 22 + log₂ outputs ≤ 53
errors e               2²⁻ᵇ, b ≤ 24 (4.0)      e² over the outputs: 2b + log₂ outputs ≤ 53
what a row adds        2⁻ᵍ, 36 (the clip)      e·x over 2¹⁶ rows of a chunk: 36 + 16 = 52
all that rows add      2⁻ᵍ, in 64-bit integers 36 + log₂ of the most rows of a table (25.6) < 62
=====================  ======================  ============================================================

What is left is operations on one number or on two, which IEEE 754 rounds in one way: products with a power of
two, one product, one quotient, one square root, rounding to whole numbers. No two of them that round are
fused, since each is an operation of its own. Exponentials and the like are looked up by whole numbers in
tables that are computed once: vector instructions and the rest of a vector may round them differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any

from sealroom.training.graph import Layer

INPUT_BITS = 16
"""Inputs and activations have steps of 2⁻¹⁶."""
INPUT_MOST = 16 << INPUT_BITS
"""Largest magnitude of an input or an activation, in steps."""
WEIGHT_BITS = 16
WEIGHT_LIMIT = 64
"""Largest magnitude of a weight."""
WEIGHT_MOST = WEIGHT_LIMIT << WEIGHT_BITS
ERROR_LIMIT = 4
"""Largest magnitude of an error that is propagated back."""
REACH_BITS = 36
"""The clip has at most 2³⁶ steps."""
COARSE_BITS = 10
"""What a row adds to kernels of convolutions is a multiple of 2¹⁰ steps: squares of 26 bits sum exactly."""
KERNEL_BITS = 12
"""Gradients of kernels are measured in steps of 2⁻¹²."""
KERNEL_MOST = 1 << 20
LOSS_STEPS = 1024
"""Steps a unit of loss."""
LOSS_LIMIT = 4
"""Largest loss of one row."""
LOSS_MOST = LOSS_STEPS * LOSS_LIMIT
MAX_CHUNK = 1 << 16
"""Most rows that are summed in doubles."""
MIN_CLIP, MAX_CLIP = Fraction(1, 1024), 1024

TABLE_BITS = 10
"""Tables have 2¹⁰ entries a unit ..."""
TABLE_REACH = 16
"""... within ±16; the slope at an entry takes care of what lies between."""
SLOPE_BITS = 16
PROBABILITY_BITS = 20
"""Entries of the exponential, of which probabilities are made."""


def error_bits(layer: Layer) -> int:
    """Bits after the binary point of the errors of what this layer computes."""
    if layer.name == "linear":
        wide = (layer.after[0] - 1).bit_length()
        return min(24, (53 - wide) // 2, 31 - wide) - 2
    _, height, width = layer.after
    wide, places = (layer.after[0] * layer.kernel**2 - 1).bit_length(), (height * width - 1).bit_length()
    return min(24, 31 - wide, 33 - places) - 2


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The longest gradient of one row, on the grid of what rows add."""

    value: Decimal

    @property
    def bits(self) -> int:
        """Bits after the binary point of what a row adds: as many as let the clip have 2³⁶ steps."""
        over = 0
        while Fraction(2) ** over < Fraction(self.value):
            over += 1
        while Fraction(2) ** (over - 1) >= Fraction(self.value):
            over -= 1
        return REACH_BITS - over

    @property
    def reach(self) -> int:
        """The clip in whole steps, rounded down."""
        return math.floor(Fraction(self.value) * 2**self.bits)


@dataclass(frozen=True)
class Table:
    """A function of a score, and its slope, by whole numbers."""

    values: tuple[float, ...]
    """In steps of the table's own."""
    slopes: tuple[float, ...]
    """In steps of 2⁻¹⁶."""


def _made(function: Callable[[float], float], slope: Callable[[float], float], bits: int) -> Table:
    reach = TABLE_REACH << TABLE_BITS
    at = [place / (1 << TABLE_BITS) for place in range(-reach, reach + 1)]
    return Table(
        tuple(float(round(function(x) * (1 << bits))) for x in at),
        tuple(float(round(slope(x) * (1 << SLOPE_BITS))) for x in at),
    )


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _normal(x: float) -> float:
    return math.erfc(-x / math.sqrt(2)) / 2


def _density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


_FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "tanh": (math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "sigmoid": (_sigmoid, lambda x: _sigmoid(x) * (1 - _sigmoid(x))),
    "gelu": (lambda x: x * _normal(x), lambda x: _normal(x) + x * _density(x)),
    "silu": (lambda x: x * _sigmoid(x), lambda x: _sigmoid(x) * (1 + x * (1 - _sigmoid(x)))),
}


@lru_cache(maxsize=16)
def table(name: str, bits: int = INPUT_BITS) -> Table:
    """The table of an activation, values in steps of 2⁻ᵇⁱᵗˢ."""
    return _made(*_FUNCTIONS[name], bits)


@lru_cache(maxsize=1)
def exponential() -> Table:
    """e to the score, for scores of zero and less; in steps of 2⁻²⁰."""
    return _made(lambda x: math.exp(min(x, 0.0)), lambda x: math.exp(min(x, 0.0)), PROBABILITY_BITS)


@lru_cache(maxsize=1)
def surprise() -> tuple[float, ...]:
    """−ln p in steps of the loss, by p in steps of 2⁻¹⁶, none above the largest loss."""
    return tuple(
        float(LOSS_MOST if p == 0 else min(LOSS_MOST, round(-math.log(p / 65536) * LOSS_STEPS)))
        for p in range(65537)
    )


Tensor = Any
"""A torch tensor; torch is imported only where it computes."""
