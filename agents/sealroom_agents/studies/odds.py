# SPDX-License-Identifier: Apache-2.0
"""What (ε, δ) lets an adversary conclude about one person, in odds.

A mechanism is (ε, δ)-differentially private if and only if whatever it gives can be had from one that tells
everything with chance δ, and else answers yes or no, the right one e^ε times as often as the wrong one
(Kairouz, Oh, Viswanath 2015). So who gives even odds that a person is in the data comes to odds of at most
e^ε, but with chance δ; and guesses right with chance (e^ε + δ) / (e^ε + 1) at most.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, localcontext


@dataclass(frozen=True)
class Odds:
    """Bounds, rounded up."""

    to_one: Decimal
    """Most odds that a person is in the data, starting from even ones, to one decimal place."""
    right: Decimal
    """Most chance of guessing right, in percent, to one decimal place."""
    exception: int | None
    """One in so many is the chance that more is told; `None` for never. Rounded down."""


def odds(epsilon: Decimal, delta: Decimal) -> Odds:
    """The bounds of one run."""
    with localcontext(Context(prec=40, rounding=ROUND_CEILING)):
        factor = epsilon.exp() * (1 + Decimal("1e-30"))
        right = min(100 * (1 - (1 - delta) / (factor + 1)), Decimal(100))
        return Odds(
            to_one=factor.quantize(Decimal("0.1"), ROUND_CEILING),
            right=right.quantize(Decimal("0.1"), ROUND_CEILING),
            exception=int(1 / delta) if delta else None,
        )
