# SPDX-License-Identifier: Apache-2.0
"""What the fields of one study cost together: the composed (ε, δ), by one closed formula.

A field with Laplace noise is ε_i-differentially private, and no such mechanism tells more than randomised
response of ε_i (Kairouz, Oh, Viswanath 2015). Fields with Gaussian noise are together one Gaussian of
μ = √Σμ_i² (Dong, Roth, Su 2022). Both are dominating pairs, and these compose (Zhu, Dong, Wang 2022), so that
for all fields together::

    δ(ε) = Σ_s w_s · d(ε − L_s)            over the signs s of the Laplace fields,
    L_s  = Σ ±ε_i,   w_s = Π 1 / (1 + e^∓ε_i),
    d(e) = Φ(μ/2 − e/μ) − e^e Φ(−μ/2 − e/μ)          (Balle, Wang 2018);  max(0, 1 − e^e) without a Gaussian.

Where fields have Gaussian draws over a random part of the people, d(e) is instead what Rényi differential
privacy proves of them and of all other Gaussian draws together. T draws with noise of z times the
sensitivity, over people who are each in one with chance q, have at a whole order α, for a person more and for
a person less (Mironov, Talwar, Zhang 2019)::

    (α − 1) ρ(α) = T ln Σ_k C(α, k) (1 − q)^(α−k) q^k e^(k(k−1) / 2z²),    and α (α − 1) μ² / 2 without coins,
    d(e) ≤ e^((α−1)(ρ(α) − e)) (1 − 1/α)^α / (α − 1)   (Balle et al. 2020; Canonne, Kamath, Steinke 2020),

for each α and each e, and d(e) ≤ 1 − e^e + e^e d(−e), since both bounds are of either direction. Signs may
be averaged over, since randomised response can be drawn before everything else, and such an average of the
true d, which is convex in e^e, is largest for it. A draw over a random part tells no more than one over
everybody, so that the first formula, of all draws as if nobody was left out, bounds δ as well.

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
from sealroom.privacy.parts import EVERYBODY, NANO, WORKING, Cost, once_squared

ALONE = 8
"""Most Laplace fields that are composed each for itself; the cheapest of more are added up into one. That
many compose no better than they add up, at the sizes that studies have."""
GRID_MICRO = 1
"""Millionths of ε kept back for the step from the discrete Gaussian to the continuous one. On a grid of σ ≥
2²⁰ steps the two differ by a factor within 1 ± 1/(24σ²) a coordinate, so that 10⁷ coordinates take less than
this."""
MAX_COORDINATES = 10**7
"""Most integers that a study adds Gaussian noise to."""

_ROUNDING = Decimal(1) + Decimal(10) ** -20
"""More than all rounding together: some thousands of operations, each right to 50 digits, on top of what
cancellation takes."""
_FAR = 20
"""Beyond so many standard deviations a tail is bounded, not computed: it is below 1e-89."""

_ORDERS = (*range(2, 33), *(math.ceil(32 * 1.1**n) for n in range(1, 37)))
"""Orders of Rényi differential privacy, up to 1,000, the best of which counts."""

Draws = tuple[tuple[int, int, Fraction], ...]
"""Draws over a random part of the people: the rate of each sort, their number, and 1/z²."""
_W = TypeVar("_W", float, Decimal)


def holds(costs: Sequence[Cost], *, epsilon: Decimal, delta: Decimal) -> bool:
    """Whether fields of these costs, together, are (ε, δ)-differentially private."""
    pure = [cost.amount for cost in costs if cost.law == "laplace"]
    gaussian = [cost for cost in costs if cost.law == "gaussian"]
    squared = math.ceil(
        sum(cost.amount**2 * (1 - sum(one.share for one in cost.sampled)) for cost in gaussian)
    )
    sampled = tuple(
        (one.rate, one.draws, once_squared(cost.amount, one.share, one.draws, one.rate))
        for cost in gaussian
        for one in cost.sampled
    )
    if not gaussian and sum(pure) <= Fraction(epsilon) * MICRO:
        return True
    kept = Fraction(epsilon) - (Fraction(GRID_MICRO, MICRO) if gaussian else 0)
    if kept < 0 or delta <= 0:
        return False
    found = delta_of(kept, pure_micro=tuple(sorted(pure)), mu_nano_squared=squared, sampled=sampled)
    return found <= delta


@lru_cache(maxsize=256)
def delta_of(
    epsilon: Fraction, *, pure_micro: tuple[int, ...], mu_nano_squared: int, sampled: Draws = ()
) -> Decimal:
    """The δ of all fields together at this ε, rounded up."""
    with localcontext(WORKING):
        target = _decimal(epsilon)
        rests = [
            (target - Decimal(loss) / MICRO, weight) for loss, weight in _weights(_alone(pure_micro)).items()
        ]
        apart = Fraction(mu_nano_squared, NANO**2)
        mu = _decimal(apart + sum(draws * once for _, draws, once in sampled)).sqrt()
        most = max(abs(rest) for rest, _ in rests)
        moments = _moments(_decimal(apart), sampled, most) if sampled else {}
        total = sum(
            (weight * min(_tail(rest, mu), _renyi_tail(rest, moments)) for rest, weight in rests),
            Decimal(0),
        )
        return total * _ROUNDING


def estimate(
    epsilon: float,
    *,
    pure_micro: Sequence[int],
    mu: float,
    sampled: Sequence[tuple[int, int, float]] = (),
) -> float:
    """`delta_of` in floating point, close but not rounded up."""
    losses = {0: 1.0}
    for each in _alone(pure_micro):
        up = 1 / (1 + math.exp(-each / MICRO))
        losses = _spread(losses, each, up, 1 - up)
    rests = [(epsilon - loss / MICRO, weight) for loss, weight in losses.items()]
    everybody = math.sqrt(mu**2 + sum(draws * once for _, draws, once in sampled))
    most = max(abs(rest) for rest, _ in rests)
    moments = _near_moments(mu**2, sampled, most) if sampled else {}
    return sum(
        weight * min(_near_tail(rest, everybody), _near_renyi_tail(rest, moments)) for rest, weight in rests
    )


def _near_tail(rest: float, mu: float) -> float:
    if mu <= 0:
        return max(0.0, -math.expm1(rest))
    if rest / mu - mu / 2 >= 26:
        return 0.0
    one = math.erfc((rest / mu - mu / 2) / math.sqrt(2))
    other = math.erfc((rest / mu + mu / 2) / math.sqrt(2))
    return (one - (math.exp(rest) * other if other else 0.0)) / 2


def _near_moments(squared: float, sampled: Sequence[tuple[int, int, float]], most: float) -> dict[int, float]:
    moments: dict[int, float] = {}
    before = math.inf
    for order in _ORDERS:
        moment = order * (order - 1) * squared / 2
        for rate, draws, once in sampled:
            part = rate / EVERYBODY
            if rate >= EVERYBODY:
                moment += draws * order * (order - 1) * once / 2
                continue
            # The chances of all k sum to one: what is left is without cancellation.
            grown, rate_log, rest_log = 0.0, math.log(part), math.log1p(-part)
            for k in range(2, order + 1):
                chance = math.lgamma(order + 1) - math.lgamma(k + 1) - math.lgamma(order - k + 1)
                chance += k * rate_log + (order - k) * rest_log
                power = k * (k - 1) * once / 2
                if chance + power > 700:
                    return moments
                grown += math.exp(chance + power) - math.exp(chance)
            moment += draws * math.log1p(grown)
        moments[order] = moment
        exponent = moment - (order - 1) * most + _near_of_order(order)
        if exponent > before:
            break
        before = exponent
    return moments


def _near_of_order(order: int) -> float:
    return order * math.log1p(-1 / order) - math.log(order - 1)


def _near_renyi_tail(rest: float, moments: dict[int, float]) -> float:
    logs = (moment - (order - 1) * abs(rest) + _near_of_order(order) for order, moment in moments.items())
    found = math.exp(min(0.0, min(logs, default=0.0)))
    return found if rest >= 0 else -math.expm1(rest) + math.exp(rest) * found


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
    with localcontext(Context(prec=WORKING.prec + min(small, 2 * _FAR**2))):
        above = Decimal(1) if one > _FAR else _normal(one)
        if other > _FAR:
            below = 1 - _density(other) / other
        else:
            below = _normal(other) if other > -2 * _FAR else Decimal(0)
        return max(Decimal(0), above - rest.exp() * below)


def _moments(squared: Decimal, sampled: Draws, most: Decimal) -> dict[int, Decimal]:
    """(α − 1) ρ(α) of all Gaussian draws by order, up to the first that bounds d(`most`) worse than the one
    before it. The exponent of the bound is convex in α, and for a smaller e it is least at a smaller α, so
    that no later one is of use."""
    moments: dict[int, Decimal] = {}
    before = Decimal("Infinity")
    for order in _ORDERS:
        moment = order * (order - 1) * squared / 2
        for rate, draws, once in sampled:
            moment += draws * _log_moment(order, rate, once)
        moments[order] = moment
        exponent = moment - (order - 1) * most + _of_order(order)
        if exponent > before:
            break
        before = exponent
    return moments


@lru_cache(maxsize=256)
def _of_order(order: int) -> Decimal:
    """ln of (1 − 1/α)^α / (α − 1)."""
    return order * (1 - 1 / Decimal(order)).ln() - Decimal(order - 1).ln()


@lru_cache(maxsize=1024)
def _log_moment(order: int, rate: int, once: Fraction) -> Decimal:
    """The logarithm of the sum over k at order α, for q = `rate` / 2³² and 1/z² = `once`."""
    if rate >= EVERYBODY:
        return order * (order - 1) * _decimal(once) / 2
    part = Decimal(rate) / EVERYBODY
    odds, grows = part / (1 - part), _decimal(once).exp()
    term = total = (1 - part) ** order
    power = Decimal(1)
    for k in range(1, order + 1):
        # from k − 1 to k, k (k − 1) / 2 grows by k − 1
        term = term * (order - k + 1) / k * odds * power
        power *= grows
        total += term
    return total.ln()


def _renyi_tail(rest: Decimal, moments: dict[int, Decimal]) -> Decimal:
    """d(e) by the best of these orders."""
    logs = (moment - (order - 1) * abs(rest) + _of_order(order) for order, moment in moments.items())
    found = min(logs, default=Decimal(0)).min(0).exp()
    return found if rest >= 0 else 1 - rest.exp() * (1 - found)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


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
