# SPDX-License-Identifier: Apache-2.0
"""What the fields of one study cost together: the composed (ε, δ), by one closed formula.

A field with Laplace noise is ε_i-differentially private, and no such mechanism tells more than randomised
response of ε_i (Kairouz, Oh, Viswanath 2015). Fields with Gaussian noise are together one Gaussian of
μ = √Σμ_i² (Dong, Roth, Su 2022). Both are dominating pairs, and these compose (Zhu, Dong, Wang 2022), so that
for all fields together::

    δ(ε) = Σ_s w_s · d(ε − L_s)            over the signs s of the Laplace fields,
    L_s  = Σ ±ε_i,   w_s = Π 1 / (1 + e^∓ε_i),
    d(e) = Φ(μ/2 − e/μ) − e^e Φ(−μ/2 − e/μ)          (Balle, Wang 2018);  max(0, 1 − e^e) without a Gaussian.

What a field asks may depend on what an earlier one answered; what it costs may not, and costs stand in the
recipe. `holds` is the check that enclave, gate, owner and verifier make alike. It computes in decimals of
enough digits, whose functions round correctly on every machine, and adds more than all rounding together to
the side of the owner. `estimate` is the same in floating point, for those who search.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal, getcontext, localcontext
from fractions import Fraction
from functools import lru_cache
from typing import TypeVar

from sealroom.model.units import MICRO
from sealroom.privacy.parts import NANO, Cost

ALONE = 8
"""Most Laplace fields that are composed each for itself; the cheapest of more are added up into one. That
many compose no better than they add up, at the sizes that studies have."""
GRID_MICRO = 1
"""Millionths of ε kept back for the step from the discrete Gaussian to the continuous one. On a grid of σ ≥
2²⁰ steps the two differ by a factor within 1 ± 1/(24σ²) a coordinate, so that 10⁷ coordinates take less than
this."""
MAX_COORDINATES = 10**7
"""Most integers that a study adds Gaussian noise to."""

_DIGITS = 50
"""Digits of all computing, on top of what cancellation takes."""
_ROUNDING = Decimal(1) + Decimal(10) ** -20
"""More than all rounding together: some thousands of operations, each right to 50 digits."""
_FAR = 20
"""Beyond so many standard deviations a tail is bounded, not computed: it is below 1e-89."""

_W = TypeVar("_W", float, Decimal)


def holds(costs: Sequence[Cost], *, epsilon: Decimal, delta: Decimal) -> bool:
    """Whether fields of these costs, together, are (ε, δ)-differentially private."""
    pure = [cost.amount for cost in costs if cost.law == "laplace"]
    squared = sum(cost.amount**2 for cost in costs if cost.law == "gaussian")
    if not squared and sum(pure) <= Fraction(epsilon) * MICRO:
        return True
    kept = Fraction(epsilon) - (Fraction(GRID_MICRO, MICRO) if squared else 0)
    if kept < 0 or delta <= 0:
        return False
    return delta_of(kept, pure_micro=tuple(sorted(pure)), mu_nano_squared=squared) <= delta


@lru_cache(maxsize=256)
def delta_of(epsilon: Fraction, *, pure_micro: tuple[int, ...], mu_nano_squared: int) -> Decimal:
    """The δ of all fields together at this ε, rounded up."""
    with localcontext(Context(prec=_DIGITS)):
        weights = _weights(_alone(pure_micro))
        mu = (Decimal(mu_nano_squared) / NANO**2).sqrt()
        target = Decimal(epsilon.numerator) / Decimal(epsilon.denominator)
        total = sum(
            (weight * _tail(target - Decimal(loss) / MICRO, mu) for loss, weight in weights.items()),
            Decimal(0),
        )
        return total * _ROUNDING


def estimate(epsilon: float, *, pure_micro: Sequence[int], mu: float) -> float:
    """`delta_of` in floating point, close but not rounded up."""
    losses = {0: 1.0}
    for each in _alone(pure_micro):
        up = 1 / (1 + math.exp(-each / MICRO))
        losses = _spread(losses, each, up, 1 - up)
    total = 0.0
    for loss, weight in losses.items():
        rest = epsilon - loss / MICRO
        if mu <= 0:
            total += weight * max(0.0, -math.expm1(rest))
        elif rest / mu - mu / 2 < 26:
            one = math.erfc((rest / mu - mu / 2) / math.sqrt(2))
            other = math.erfc((rest / mu + mu / 2) / math.sqrt(2))
            total += weight * (one - (math.exp(rest) * other if other else 0.0)) / 2
    return total


def _alone(pure_micro: Iterable[int]) -> list[int]:
    """The costs that are composed, the cheapest of too many added up."""
    rising = sorted(pure_micro)
    merged = len(rising) - ALONE + 1
    return rising if merged <= 1 else [sum(rising[:merged]), *rising[merged:]]


def _weights(pure_micro: Iterable[int]) -> dict[int, Decimal]:
    """The weight of each total of the Laplace fields' losses, which are whole millionths."""
    losses = {0: Decimal(1)}
    for each in pure_micro:
        up = 1 / (1 + (-Decimal(each) / MICRO).exp())
        losses = _spread(losses, each, up, 1 - up)
    return losses


def _spread(losses: dict[int, _W], each: int, up: _W, down: _W) -> dict[int, _W]:
    """One field more, which adds its ε to the loss or takes it off."""
    after: dict[int, _W] = {}
    for loss, weight in losses.items():
        for moved, part in ((loss + each, weight * up), (loss - each, weight * down)):
            after[moved] = after[moved] + part if moved in after else part
    return after


def _tail(rest: Decimal, mu: Decimal) -> Decimal:
    """d(e) of the Gaussian part, or an upper bound where it is next to nothing."""
    if not mu:
        return max(Decimal(0), 1 - rest.exp())
    one, other = mu / 2 - rest / mu, -mu / 2 - rest / mu
    if one < -_FAR:
        return _density(one) / -one
    # The second term shrinks the first by a small factor only: digits as for a value as small as it is.
    small = int(min(other, Decimal(0)) ** 2 / 4)
    with localcontext(Context(prec=_DIGITS + min(small, 2 * _FAR**2))):
        above = Decimal(1) if one > _FAR else _normal(one)
        if other > _FAR:
            below = 1 - _density(other) / other
        else:
            below = _normal(other) if other > -2 * _FAR else Decimal(0)
        return max(Decimal(0), above - rest.exp() * below)


def _normal(x: Decimal) -> Decimal:
    """Φ, by its series of positive terms around zero: Φ(x) = 1/2 + φ(x) · Σ x^(2n+1) / (2n+1)!!."""
    term = total = abs(x)
    square, odd = x * x, 1
    while term and term.adjusted() > total.adjusted() - _context_digits():
        odd += 2
        term = term * square / odd
        total += term
    half = _density(x) * total
    return Decimal("0.5") + (half if x >= 0 else -half)


def _density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / (2 * _pi(_context_digits())).sqrt()


def _context_digits() -> int:
    return getcontext().prec + 2


@lru_cache(maxsize=64)
def _pi(digits: int) -> Decimal:
    """π by Machin's formula."""
    with localcontext(Context(prec=digits + 5)):
        return 4 * (4 * _arctan_of_one_by(5) - _arctan_of_one_by(239))


def _arctan_of_one_by(n: int) -> Decimal:
    power = total = Decimal(1) / n
    odd = 1
    while power.adjusted() > -_context_digits():
        power, odd = -power / (n * n), odd + 2
        total += power / odd
    return total
