# SPDX-License-Identifier: Apache-2.0
"""From the privacy policy to exact numbers: zCDP for a given (ε, δ), the one rounding, and release slots."""

from __future__ import annotations

import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from sealroom.decimals import MICRO
from sealroom.errors import PrivacyError

_DIGITS = 40
_RHO_DIGITS = 15


def rho_for(*, epsilon_micro: int, delta: Decimal) -> Fraction:
    """The largest ρ, rounded down, such that ρ-zCDP implies (ε, δ)-DP.

    ρ = (√(ε + L) − √L)² with L = ln(1/δ): the inverse of ε = ρ + 2√(ρ L), Bun and Steinke 2016, proposition
    1.3. OpenDP's own conversion is tighter, so that the ε stated here is never too small.
    """
    if not 0 < delta < 1:
        raise PrivacyError("privacy-range", "δ must lie between 0 and 1")
    with localcontext(Context(prec=_DIGITS)):
        epsilon = Decimal(epsilon_micro) / MICRO
        logarithm = -delta.ln()
        rho = ((epsilon + logarithm).sqrt() - logarithm.sqrt()) ** 2
        scaled = int(rho.scaleb(_RHO_DIGITS))
    if scaled <= 0:
        raise PrivacyError("privacy-range", "ε is too small for this δ")
    return Fraction(scaled, 10**_RHO_DIGITS)


def rounded_text(value: Fraction, *, decimals: int, lower: Decimal, upper: Decimal) -> str:
    """`value` rounded once, half to even, to `decimals` places and held within the bounds."""
    unit = 10**decimals
    lowest = math.ceil(Fraction(lower) * unit)
    highest = math.floor(Fraction(upper) * unit)
    whole = min(max(round(value * unit), lowest), highest)
    sign, digits = "-" if whole < 0 else "", str(abs(whole)).rjust(decimals + 1, "0")
    return sign + (digits if decimals == 0 else f"{digits[:-decimals]}.{digits[-decimals:]}")


def seconds_to_slot(elapsed: float, *, slot_seconds: int) -> tuple[int, float]:
    """The next release slot (counted from the grant, from 1) and how long until it begins.

    Results leave only on whole slots, so that the time of leaving tells nothing finer about sizes or drawn
    noise (DP-10, DP-11, OU-06).
    """
    slot = math.floor(elapsed / slot_seconds) + 1
    return slot, slot * slot_seconds - elapsed
