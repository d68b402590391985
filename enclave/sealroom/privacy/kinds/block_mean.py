# SPDX-License-Identifier: Apache-2.0
"""The mean, over disjoint blocks of people, of a number that a script makes of one block at a time.

A row here is a block, and not a person. One person is in one block, and may change whatever that block's run
does: its number, or whether there is one. So the noise is for one block that is exchanged for any other, from
one bound to the other. A block without a number has the fixed middle of the bounds, so that the number of
blocks is public and a block that fails is not seen (sample and aggregate; Nissim, Raskhodnikova, Smith 2007).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import GUARD_DIGITS, MAX_BOUND, check_decimals
from sealroom.privacy.intervals import NOISE, around, half_width
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

NUMBER = "number of the block"
"""The column of the table of blocks."""
Value = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """What is averaged."""

    blocks: int
    """How many there are, by the recipe."""
    lower: Decimal
    upper: Decimal
    decimals: int

    @property
    def step(self) -> Fraction:
        """One step, in the number's unit."""
        return Fraction(1, 10 ** (self.decimals + GUARD_DIGITS))

    @property
    def bound(self) -> int:
        """Steps from the middle to a bound, rounded up."""
        return math.ceil((Fraction(self.upper) - Fraction(self.lower)) / 2 / self.step)

    @property
    def middle(self) -> Fraction:
        return (Fraction(self.lower) + Fraction(self.upper)) / 2


class BlockMean(Kind[Blocks]):
    name = "block_mean"
    member_names = ("lower", "upper", "decimals")
    of_blocks = True

    def read(self, members: Members, groups: Groups) -> Blocks:
        (lower, upper), decimals = members.range(), members.decimals()
        assert members.blocks is not None  # of a kind of blocks
        spec = Blocks(blocks=members.blocks, lower=lower, upper=upper, decimals=decimals)
        if spec.bound > MAX_BOUND:
            bounds_error("the bounds of a block's number are too wide for so many decimal places")
        check_decimals(lower, upper, decimals)
        return spec

    def plain(self, spec: Blocks) -> Value:
        return {
            "decimals": spec.decimals,
            "lower": decimal_text(spec.lower),
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Blocks) -> Columns:
        return Columns(numbers=(NUMBER,))

    def parts(self, spec: Blocks, law: Law) -> tuple[Part, ...]:
        most = 2 * spec.bound  # from one bound to the other
        return (Part(name="values", length=1, l1=most, l2_squared=most**2),)

    def aggregate(self, spec: Blocks, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        from sealroom.privacy.quanta import quantise, totals

        values = people.numbers[NUMBER]
        missing = np.isnan(values)
        held = np.where(missing, float(spec.middle), values)
        steps = quantise(held, centre=spec.middle, quantum=spec.step, bound=spec.bound)
        steps[missing] = 0
        return {"values": totals(np.zeros_like(steps), steps, cells=1)}

    def finish(self, spec: Blocks, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        mean = spec.middle + state["values"][0] * spec.step / spec.blocks
        number = self._number(spec)
        shown = around(
            "mean",
            mean,
            self._half_width(spec, noise),
            decimals=spec.decimals,
            lower=number.lower,
            upper=number.upper,
        )
        return {"groups": [shown], "interval": NOISE}

    def rows(self, spec: Blocks) -> int:
        return 1

    def shape(self, spec: Blocks) -> Row:
        return table([{}], with_interval("mean", self._number(spec)), interval=NOISE)

    def preview(self, spec: Blocks, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        return (Bar(about="mean of the blocks", half_width=self._half_width(spec, noise)),)

    def sentence(self, spec: Blocks, of: Counted) -> str:
        return (
            f"Mean of a number of each of {spec.blocks:,} blocks of people, which the script makes of one"
            f" block alone, held between {decimal_text(spec.lower)} and {decimal_text(spec.upper)}. Each"
            " person is in one block and can change its number at will; a block without one has the middle."
        )

    def _number(self, spec: Blocks) -> Number:
        return Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)

    def _half_width(self, spec: Blocks, noise: Noises) -> float:
        return half_width(noise["values"]) * float(spec.step) / spec.blocks


KIND = BlockMean()
