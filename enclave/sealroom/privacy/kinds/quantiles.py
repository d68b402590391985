# SPDX-License-Identifier: Apache-2.0
"""Quantiles of one column by declared group, from one noisy tree of counts over 256 ranges.

A row is in one range, and in a wider one of 16: it adds two, in L1 and in L2², whatever its value (`tree`).
The number of people below each edge, and the noise on it, are known exactly. A quantile is where that count
passes its share of all, and its interval holds every edge whose count the noise, and the chance of who is in
the data, could have moved there. Values beyond the bounds count in the outer ranges.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.bounds import Bounded, Bounds, Search, between, bounds_shape, shown_bounds
from sealroom.privacy.cells import MAX_CELLS, Cells
from sealroom.privacy.clamped import ENOUGH, check_decimals
from sealroom.privacy.intervals import NOISE_AND_SAMPLING, Z, within
from sealroom.privacy.kind import Bar, Columns, Counted, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.shape import Number, Row, table, with_interval
from sealroom.privacy.tree import PART, Tree

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
LEAVES = 256
"""Ranges between the bounds."""
TREE = Tree(LEAVES)
MAX_SHARES = 32
_EXAMPLE = 1000
"""People of the group that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Quantiles:
    """What is asked."""

    column: str
    cells: Cells
    shares: tuple[Decimal, ...]
    """The quantiles: 0.5 is the median."""
    lower: Decimal
    upper: Decimal
    decimals: int
    scale: str
    """`linear` or `log`: how the ranges lie between the bounds."""
    search: Search | None
    """How the bounds are found, where they are private; `lower` and `upper` are then their limits."""

    def edges(self, bounds: Bounds) -> list[float]:
        """The 257 edges. None is below the one before, whatever bounds were found: where a value falls would
        otherwise depend on the values that were looked up with it."""
        low, high = float(bounds.lower), float(bounds.upper)
        if self.scale == "log":
            one, other = math.log(low), math.log(high)
            inner = [math.exp(one + (other - one) * place / LEAVES) for place in range(1, LEAVES)]
        else:
            inner = [low + (high - low) * place / LEAVES for place in range(1, LEAVES)]
        return [low, *sorted(min(max(edge, low), high) for edge in inner), high]

    def known(self, people: People) -> tuple[Integers, Floats]:
        """Group and value of the rows that count: rows without a value count nowhere."""
        import numpy as np

        cell, values = self.cells.of(people), people.numbers[self.column]
        kept = (cell >= 0) & ~np.isnan(values)
        return cell[kept], values[kept]

    def names(self) -> list[dict[str, str]]:
        shares = [decimal_text(share) for share in self.shares]
        return [name | {"quantile": share} for name in self.cells.names() for share in shares]


class QuantilesKind(Bounded[Quantiles]):
    """`column`, `by`, `quantiles`, `lower`, `upper`, `decimals`, `scale`, and perhaps `bounds`."""

    name = "quantiles"

    def read(self, members: Members, groups: Groups) -> Quantiles:
        column, cells = members.column("column"), Cells.read(members, groups)
        (lower, upper), decimals = members.range(), members.decimals()
        spec = Quantiles(
            column=column,
            cells=cells,
            shares=members.decimal_list("quantiles", limit=MAX_SHARES),
            lower=lower,
            upper=upper,
            decimals=decimals,
            scale=members.text("scale", limit=6),
            search=Search.read(members, lower=lower, upper=upper, decimals=decimals),
        )
        if spec.scale not in ("linear", "log"):
            members.fail("has a scale that is neither linear nor log")
        if not spec.shares or len(set(spec.shares)) != len(spec.shares):
            members.fail("must have quantiles, each once")
        if not all(0 < share < 1 for share in spec.shares):
            bounds_error("a quantile lies between 0 and 1")
        if spec.scale == "log" and lower <= 0:
            bounds_error("a logarithmic scale needs a lower bound above 0")
        edges = spec.edges(Bounds(lower=lower, upper=upper))
        if any(low >= high for low, high in itertools.pairwise(edges)):
            bounds_error("bounds too close for real numbers to tell 256 ranges apart")
        if cells.count * TREE.nodes > 16 * MAX_CELLS:
            bounds_error(f"quantiles by more than {16 * MAX_CELLS // TREE.nodes} groups")
        check_decimals(lower, upper, spec.decimals)
        return spec

    def plain(self, spec: Quantiles) -> Value:
        return {
            "by": list(spec.cells.by),
            "column": spec.column,
            "decimals": spec.decimals,
            "lower": decimal_text(spec.lower),
            "quantiles": [decimal_text(share) for share in spec.shares],
            "scale": spec.scale,
            "upper": decimal_text(spec.upper),
            **({"bounds": "private"} if spec.search else {}),
        }

    def columns(self, spec: Quantiles) -> Columns:
        return Columns(numbers=(spec.column,), groups=spec.cells.by)

    def own_parts(self, spec: Quantiles, law: Law) -> tuple[Part, ...]:
        return (TREE.part(spec.cells.count),)

    def known(self, spec: Quantiles, people: People) -> Floats:
        return spec.known(people)[1]

    def sums(self, spec: Quantiles, law: Law, people: People, bounds: Bounds) -> dict[str, Integers]:
        import numpy as np

        cell, values = spec.known(people)
        leaf = np.clip(np.searchsorted(spec.edges(bounds), values, side="right") - 1, 0, LEAVES - 1)
        return TREE.count(cell, leaf, spec.cells.count)

    def finish(self, spec: Quantiles, law: Law, state: Bounds, noise: Noises, cohort: int) -> Value:
        edges, sd = spec.edges(state), noise[PART].sd
        limits = float(spec.lower), float(spec.upper)
        numbers: Value = {"decimals": spec.decimals, "lower": spec.lower, "upper": spec.upper}
        rows: list[Value] = []
        for place, name in enumerate(spec.cells.names()):
            below = TREE.below(state.noisy[PART], place)
            total = below[-1]
            few = total < max(cohort, ENOUGH * sd * math.sqrt(TREE.variance(LEAVES)))
            for share in spec.shares:
                label = name | {"quantile": decimal_text(share)}
                found = (0.0,) * 3 if few else _quantile(below, float(share), edges, sd, limits)
                shown = within("value", *found, **numbers)
                rows.append(label | (dict.fromkeys(shown) if few else shown))
        bounds = shown_bounds(spec.search, state, noise, cohort)
        return {"groups": rows, "interval": NOISE_AND_SAMPLING, **bounds}

    def rows(self, spec: Quantiles) -> int:
        return spec.cells.count * len(spec.shares) + (spec.search is not None)

    def shape(self, spec: Quantiles) -> Row:
        number = Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)
        return table(
            spec.names(), with_interval("value", number), interval=NOISE_AND_SAMPLING,
            more=bounds_shape(spec.search),
        )  # fmt: skip

    def preview(self, spec: Quantiles, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        worst = max(TREE.variance(edge) for edge in range(1, LEAVES + 1))
        people = Z * noise[PART].sd * math.sqrt(worst)
        return (
            Bar(
                about=f"rank of a quantile in a group of {_EXAMPLE:,} {of.many}, in percent",
                half_width=people / 10,
            ),
            Bar(about=f"{of.many} below an edge", half_width=people),
        )

    def sentence(self, spec: Quantiles, of: Counted) -> str:
        shares = ", ".join(decimal_text(share) for share in spec.shares)
        return (
            f"Quantiles {shares} of {spec.column}{spec.cells.words()}, from the number of {of.many} in"
            f" {LEAVES} ranges {between(spec.search, spec.lower, spec.upper, of)}. Each {of.one} is counted"
            " in one range, and in a wider one around it."
        )


def _quantile(
    below: list[float], share: float, edges: list[float], sd: float, limits: tuple[float, float]
) -> tuple[float, float, float]:
    """A quantile and its interval. Values beyond the outer edges count in the outer ranges: an interval that
    holds one of these goes on to the limit."""
    total = below[-1]
    rising, highest = [0.0], 0.0
    for each in below:
        highest = max(highest, min(max(each, 0.0), total))
        rising.append(highest)
    target = share * total
    place = next((n for n in range(1, LEAVES + 1) if rising[n] >= target), LEAVES)
    step = rising[place] - rising[place - 1]
    inside = (target - rising[place - 1]) / step if step > 0 else 0.5
    value = edges[place - 1] + inside * (edges[place] - edges[place - 1])
    near = []
    for edge in range(1, LEAVES + 1):
        band = Z * math.sqrt(sd * sd * TREE.spread(edge, share) + total * share * (1 - share))
        if abs(below[edge - 1] - target) <= band:
            near.append(edge)
    low, high = (near[0] - 1, min(near[-1] + 1, LEAVES)) if near else (place - 1, place)
    lowest = edges[low] if low else limits[0]
    highest = edges[high] if high < LEAVES else limits[1]
    return value, min(lowest, value), max(highest, value)


KIND = QuantilesKind()
