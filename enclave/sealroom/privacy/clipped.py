# SPDX-License-Identifier: Apache-2.0
"""Vectors of one length, one a row, that are clipped in L2 and summed: for `vector_sum` and `vector_mean`.

Each entry is centred on a declared value and held within ±`entry` of it, in whole steps; then the whole
vector is shortened until it is no longer than `norm`. That is the L2 sensitivity, and `norm` · √length bounds
the magnitudes. An author learns a good norm from public knowledge, never from these data. A missing entry
says nothing: it is the centre.

Lengths are compared as exact squares, so that the clip is exact: entries are whole numbers of at most 2¹⁰
steps, and the squares of 2¹⁴ of them have a sum below 2⁵³, which floating point finds exactly in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import check_decimals
from sealroom.privacy.intervals import Z, half_width
from sealroom.privacy.kind import Bar, Counted, Noises
from sealroom.privacy.members import Members, bounds_error
from sealroom.privacy.parts import Part
from sealroom.privacy.shape import Number

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers

MAX_LENGTH = 2**14
STEPS = 1024
"""Whole steps from the centre to the farthest that an entry may be."""
MAX_NORM = 1024
"""Longest vector, in the farthest that an entry may be."""
_PEOPLE = Fraction(1, 20)
"""Share of μ² that the number of people gets."""
_EXAMPLE = 1000
"""People that the preview is about."""
_ENTRIES = 2**17
"""Entries that are clipped at a time: they stay in the processor's cache, and long vectors take no more
memory than short ones."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """How vectors are held and shortened."""

    entry: Decimal
    """How far an entry may be from its centre, in the entry's unit."""
    norm: Decimal
    """How long a vector may be, in the entries' unit."""
    decimals: int
    """Of a mean."""

    @classmethod
    def read(cls, members: Members, centres: Iterable[Decimal]) -> Clip:
        """Take `entry`, `norm` and `decimals`; means around each of the centres must have so many digits."""
        clip = cls(entry=members.decimal("entry"), norm=members.decimal("norm"), decimals=members.decimals())
        if clip.entry <= 0 or not float(clip.quantum) > 0:
            bounds_error("an entry must be allowed to be away from its centre")
        if not clip.entry <= clip.norm <= MAX_NORM * clip.entry:
            bounds_error(f"the norm is at least entry, and at most {MAX_NORM} times as large")
        for centre in centres:
            check_decimals(*clip.bounds(centre), clip.decimals)
        return clip

    def plain(self) -> dict[str, Any]:
        """The members again."""
        return {
            "decimals": self.decimals,
            "entry": decimal_text(self.entry),
            "norm": decimal_text(self.norm),
        }

    @property
    def quantum(self) -> Fraction:
        """One step, in the entries' unit."""
        return Fraction(self.entry) / STEPS

    @property
    def reach(self) -> int:
        """The norm in whole steps, rounded down: a vector is never longer than declared."""
        return math.floor(Fraction(self.norm) / self.quantum)

    def bounds(self, centre: Decimal) -> tuple[Decimal, Decimal]:
        """The least and the greatest that an entry of this centre may be, and so its mean."""
        return centre - self.entry, centre + self.entry

    def number(self, centre: Decimal) -> Number:
        """The shape of a mean."""
        lower, upper = self.bounds(centre)
        return Number(decimals=self.decimals, lower=lower, upper=upper)

    def parts(self, length: int) -> tuple[Part, ...]:
        """What a row adds: one to the people, and its vector."""
        squared = self.reach**2
        return (
            Part(name="people", length=1, l1=1, l2_squared=1, share=_PEOPLE),
            Part(
                name="vector", length=length, l1=math.isqrt(length * squared) + 1, l2_squared=squared,
                share=1 - _PEOPLE,
            ),
        )  # fmt: skip

    def total(self, count: int, values: Callable[[int, int], Floats], centres: Floats) -> Integers:
        """The sum of the vectors of `count` rows, in whole steps. `values` gives the entries of the rows from
        one place to another, NaN where one is missing, in an array that is changed here."""
        import numpy as np

        found = np.zeros(len(centres), dtype=np.int64)
        steps = 1 / float(self.quantum)
        block = _ENTRIES // len(centres)
        for start in range(0, count, block):  # sums of whole numbers do not tell where a block ends
            held = values(start, min(start + block, count))
            with np.errstate(over="ignore"):
                held -= centres
                held *= steps
            np.rint(held, out=held)
            np.clip(held, -STEPS, STEPS, out=held)
            np.copyto(held, 0.0, where=np.isnan(held))
            found += _shortened(held, self.reach).sum(axis=0).astype(np.int64)
        return found

    def mean(self, total: Fraction, people: Fraction) -> Fraction:
        """The mean of an entry from its noisy sum and number of people, in steps from its centre."""
        return max(min(total / max(people, Fraction(1)), Fraction(STEPS)), Fraction(-STEPS))

    def half_width(self, mean: Fraction, people: Fraction, noise: Noises) -> float:
        """Half of the interval around such a mean, in the entries' unit."""
        wide = Z * math.hypot(noise["vector"].sd, float(mean) * noise["people"].sd)
        return wide / float(max(people, Fraction(1))) * float(self.quantum)

    def preview(self, what: str, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        """How wide intervals will be; `what` an entry is."""
        each = half_width(noise["vector"]) * float(self.quantum) / _EXAMPLE
        return (
            Bar(about=f"mean of {what} over {_EXAMPLE:,} {of.many}", half_width=each),
            Bar(about=of.many, half_width=half_width(noise["people"])),
        )

    def sentence(self, of: Counted) -> str:
        """What one of them adds."""
        return (
            f"Each {of.one} adds one vector: each entry within {self.entry:f} of a declared value, and all"
            f" together no longer than {self.norm:f}; longer vectors are shortened."
        )


def _shortened(vectors: Floats, reach: int) -> Floats:
    """Rows of whole numbers, those longer than `reach` cut towards zero in place until they are not. A row
    that is still too long, by the rounding of its factor, counts as zero."""
    import numpy as np

    most = float(reach) ** 2
    squared = np.einsum("ij,ij->i", vectors, vectors)
    long = squared > most
    if long.any():
        cut = np.trunc(vectors[long] * (reach / np.sqrt(squared[long]))[:, np.newaxis])
        cut[np.einsum("ij,ij->i", cut, cut) > most] = 0
        vectors[long] = cut
    return vectors
