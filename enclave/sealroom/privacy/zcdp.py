# SPDX-License-Identifier: Apache-2.0
"""Zero-concentrated differential privacy: the ρ that a given (ε, δ) allows."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from fractions import Fraction

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.model.units import MICRO

_DIGITS = 40
_RHO_DIGITS = 15


def rho_for(*, epsilon_micro: int, delta: Decimal) -> Fraction:
    """The largest ρ, rounded down, such that ρ-zCDP implies (ε, δ)-DP.

    ρ = (√(ε + L) − √L)² with L = ln(1/δ): the inverse of ε = ρ + 2√(ρ L), Bun and Steinke 2016, proposition
    1.3. OpenDP's own conversion is tighter, so that the ε stated here is never too small.
    """
    if not 0 < delta < 1:
        raise PrivacyError(Code.PRIVACY_RANGE, "δ must lie between 0 and 1")
    with localcontext(Context(prec=_DIGITS)):
        epsilon = Decimal(epsilon_micro) / MICRO
        logarithm = -delta.ln()
        rho = ((epsilon + logarithm).sqrt() - logarithm.sqrt()) ** 2
        scaled = int(rho.scaleb(_RHO_DIGITS))
    if scaled <= 0:
        raise PrivacyError(Code.PRIVACY_RANGE, "ε is too small for this δ")
    return Fraction(scaled, 10**_RHO_DIGITS)
