# SPDX-License-Identifier: Apache-2.0
"""What a transaction pays per gas, and how that rises. No IO.

Nodes replace a waiting transaction by one whose tip and whose maximum are both at least 10 % higher, some
12.5 %; a base fee (EIP-1559) rises by at most an eighth a block.
"""

from __future__ import annotations

from dataclasses import dataclass

GWEI = 10**9
"""Wei in one gwei."""
PRIORITY_FEE_WEI = GWEI
"""Tip per gas of the first attempt, wei."""


@dataclass(frozen=True)
class Fees:
    """What a transaction pays per gas, wei."""

    tip: int
    """To whoever makes the block."""
    most: int
    """Most of base fee and tip together."""

    @classmethod
    def first(cls, base_fee: int, limit: int | None) -> Fees | None:
        """What a first attempt pays: enough for six full blocks. `None` where `limit` is below that of the
        next block."""
        most = 2 * base_fee + PRIORITY_FEE_WEI
        if limit is None:
            return cls(tip=PRIORITY_FEE_WEI, most=most)
        if base_fee + PRIORITY_FEE_WEI > limit:
            return None
        return cls(tip=PRIORITY_FEE_WEI, most=min(most, limit))

    def raised(self, base_fee: int, limit: int) -> Fees | None:
        """An eighth more, or what the base fee asks for now if that is more, and never more than `limit`.
        `None` where the limit forbids an eighth more."""
        tip, most = _eighth_more(self.tip), _eighth_more(self.most)
        if max(tip, most) > limit:
            return None
        return Fees(tip=tip, most=min(max(most, 2 * base_fee + tip), limit))


def _eighth_more(fee: int) -> int:
    return fee + -(-fee // 8)
