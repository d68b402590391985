# SPDX-License-Identifier: Apache-2.0
"""The privacy budget of one run: basic composition of (ε, δ), in exact numbers.

The chain has booked the whole ε of the run before any key was released, and never refunds. This budget is
the second lock: whatever the analysis asks for, the sum of what leaves stays within what was booked.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from sealroom.codes import Code
from sealroom.errors import PrivacyError


class Budget:
    """ε in millionths and δ, spent field by field; never given back."""

    def __init__(self, *, epsilon_micro: int, delta: Decimal) -> None:
        self._epsilon_micro = epsilon_micro
        self._delta = Fraction(delta)
        self._spent_micro = 0
        self._spent_delta = Fraction(0)

    @property
    def spent_micro(self) -> int:
        return self._spent_micro

    @property
    def left_micro(self) -> int:
        return self._epsilon_micro - self._spent_micro

    def spend(self, *, epsilon_micro: int, delta: Decimal = Decimal(0)) -> None:
        """Book before noise is drawn, so that no failure after this line is a free retry (DP-06).

        Raises `PrivacyError` ("budget-exceeded"), and books nothing, when either sum would pass its bound.
        """
        if epsilon_micro <= 0 or delta < 0:
            raise PrivacyError(Code.PRIVACY_RANGE, "a release must cost a positive ε and no negative δ")
        if self._spent_micro + epsilon_micro > self._epsilon_micro:
            raise PrivacyError(
                Code.BUDGET_EXCEEDED,
                f"this release costs {epsilon_micro} micro-ε and {self.left_micro} are left of the run's"
                f" {self._epsilon_micro}",
            )
        if self._spent_delta + Fraction(delta) > self._delta:
            raise PrivacyError(Code.BUDGET_EXCEEDED, "this release would pass the δ of the run")
        self._spent_micro += epsilon_micro
        self._spent_delta += Fraction(delta)
