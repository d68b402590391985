# SPDX-License-Identifier: Apache-2.0
"""Survival by declared group: the share who had no event until each of the declared times (Kaplan and Meier
1958, in intervals: the actuarial life table), how many are at risk, and the median.

Sensitivity: a row is in one cell of one group (`sealroom.privacy.follow_up`), and adds one to it: L1 and L2
are 1. All else is made of the noisy counts. With d events, c ends of observation and n at risk in an
interval, 1 − d / (n − c / 2) of those survive it, and the product over intervals is S(t). Noisy counts below
zero go into it as they are: holding them to zero would add events that nobody had. Only what is shown is held
between 0 and 1.

Intervals have a closed form. ln S(t) is a smooth function of the counts, and one person in a cell moves it
by the derivative J there; so its variance is the sum over cells of (count + variance of the noise) · J². The
first term is Greenwood's formula (1926), the second one the noise. The interval is formed for ln(−ln S), as
is usual (Kalbfleisch and Prentice 1980), since S itself is skewed near 1. The interval of a median holds the
times at which that of S(t) holds one half (Brookmeyer and Crowley 1982). Intervals of numbers at risk are of
the noise alone. From the first interval on in which fewer than 10 standard deviations of their noise, or
fewer than the cohort, are at risk, a group has null.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.clamped import check_decimals
from sealroom.privacy.follow_up import PART, FollowUp
from sealroom.privacy.intervals import COUNTS_NOISE, Z, half_width, people_around, within
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Noise, Part
from sealroom.privacy.shape import Label, Number, Row, Rows, Whole, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
ENOUGH = 10
"""Standard deviations of noise that must be at risk."""
_EXAMPLE = 1000
"""People of the group that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """What is released."""

    counted: FollowUp
    decimals: int


@dataclass(frozen=True)
class Estimates:
    """Survival; arrays of shape (groups, intervals)."""

    at_risk: Floats
    """At the start of the interval."""
    survival: Floats
    """At its end."""
    deviation: Floats
    """Standard deviation of its logarithm."""


class Survival(Kind[Curves]):
    name = "survival"
    member_names = ("time", "event", "by", "edges", "decimals")

    def read(self, members: Members, groups: Groups) -> Curves:
        counted, decimals = FollowUp.read(members, groups), members.decimals()
        check_decimals(counted.edges[0], counted.edges[-1], decimals)
        return Curves(counted=counted, decimals=decimals)

    def plain(self, spec: Curves) -> Value:
        return {**spec.counted.plain(), "decimals": spec.decimals}

    def columns(self, spec: Curves) -> Columns:
        return spec.counted.columns()

    def parts(self, spec: Curves, law: Law) -> tuple[Part, ...]:
        return (spec.counted.part(),)

    def aggregate(self, spec: Curves, law: Law, people: People, state: Any) -> dict[str, Integers]:
        return spec.counted.count(people)

    def least(self, spec: Curves, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        first, last = (
            ENOUGH * noise[PART].sd * math.sqrt(2 * left + 1) for left in (spec.counted.intervals, 1)
        )
        return (
            Least(of=f"{of.many} at risk in the first interval", count=first),
            Least(of=f"{of.many} at risk in the last one", count=last),
        )

    def finish(self, spec: Curves, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        counted, own = spec.counted, noise[PART]
        edges = [float(edge) for edge in counted.edges]
        unit: Value = {"decimals": spec.decimals, "lower": Decimal(0), "upper": Decimal(1)}
        time: Value = {"decimals": spec.decimals, "lower": counted.edges[0], "upper": counted.edges[-1]}
        found = estimates(*counted.split(state[PART]), sd=own.sd)
        low, high = ends(found)
        enough = enough_at_risk(found, own, cohort)
        rows: list[Value] = []
        medians: list[Value] = []
        spans = _spans(counted)
        for group, name in enumerate(counted.cells.names()):
            curve = [each[group].tolist() for each in (found.survival, low, high)]
            for place, span in enumerate(spans):
                half = half_width(own, of=2 * (counted.intervals - place) + 1)
                shown: Value = _at_risk(Fraction(float(found.at_risk[group, place])), half)
                shown |= within("survival", *(each[place] for each in curve), **unit)
                rows.append(name | span | (shown if place < enough[group] else dict.fromkeys(shown)))
            median = _median(edges, *(each[: enough[group]] for each in curve))
            shown = within("median", *(median or (0.0, 0.0, 0.0)), **time)
            medians.append(name | (shown if median else dict.fromkeys(shown)))
        return {"groups": rows, "interval": COUNTS_NOISE, "medians": medians}

    def rows(self, spec: Curves) -> int:
        return spec.counted.cells.count * (spec.counted.intervals + 1)

    def shape(self, spec: Curves) -> Row:
        counted = spec.counted
        unit = Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1))
        time = Number(decimals=spec.decimals, lower=counted.edges[0], upper=counted.edges[-1])
        medians = [
            Row({**{k: Label(v) for k, v in name.items()}, **with_interval("median", time)}, hides=True)
            for name in counted.cells.names()
        ]
        return table(
            [name | span for name in counted.cells.names() for span in _spans(counted)],
            {**with_interval("at_risk", Whole()), **with_interval("survival", unit)},
            interval=COUNTS_NOISE,
            more={"medians": Rows(medians)},
        )

    def preview(self, spec: Curves, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        own, count = noise[PART], spec.counted.intervals
        # a fifth of them have the event, evenly over time, and nobody leaves before
        left = [_EXAMPLE * (1 - 0.2 * place / count) for place in range(count + 1)]
        lived = [1 / each - 1 / _EXAMPLE for each in left]
        moved = sum((now - 1 / here) ** 2 for now, here in zip(lived[1:], left[1:], strict=True))
        moved += sum(((before + now) / 2) ** 2 for before, now in itertools.pairwise(lived)) + lived[-1] ** 2
        half = Z * 0.8 * own.sd * math.sqrt(moved)
        return (
            Bar(about=f"survival until the last time in a group of {_EXAMPLE:,} {of.many}", half_width=half),
            Bar(about=f"{of.many} at risk at the first time", half_width=half_width(own, of=2 * count + 1)),
        )

    def sentence(self, spec: Curves, of: Counted) -> str:
        counted = spec.counted
        return (
            f"Survival: {of.many} without the event {counted.event} until a time"
            f" {counted.time}{counted.cells.words()},{counted.times()}. {counted.adds(of)}"
        )


def _spans(counted: FollowUp) -> list[dict[str, str]]:
    texts = [decimal_text(edge) for edge in counted.edges]
    return [{"from": low, "to": high} for low, high in itertools.pairwise(texts)]


def _at_risk(value: Fraction, half: float) -> dict[str, int]:
    return {f"at_risk{key.removeprefix('people')}": n for key, n in people_around(value, half).items()}


def estimates(events: Floats, stopped: Floats, beyond: Floats, *, sd: float) -> Estimates:
    """Survival from noisy counts, and the standard deviation of ln S."""
    import numpy as np

    at_risk = np.cumsum((events + stopped)[:, ::-1], axis=1)[:, ::-1] + beyond
    exposed = np.maximum(at_risk - stopped / 2, 1.0)
    left = np.maximum(exposed - events, 1e-6)
    log = np.cumsum(np.log(left) - np.log(exposed), axis=1)
    # ln S is a sum of ln(left) − ln(exposed): one person more moves it by 1/left and −1/exposed where at risk
    each = 1 / left - 1 / exposed
    so_far = np.cumsum(each, axis=1)
    count = events.shape[1]
    until, of = np.arange(count)[:, np.newaxis], np.arange(count)[np.newaxis]
    # [group, until which interval, of which interval's person]
    lived = so_far[:, np.minimum(until, of)]
    died = lived - (of <= until) * (1 / left)[:, np.newaxis]
    half = lived - (of <= until) * (each / 2)[:, np.newaxis]
    variance = np.einsum("gmj,gj->gm", died**2, np.maximum(events, 0) + sd**2)
    variance += np.einsum("gmj,gj->gm", half**2, np.maximum(stopped, 0) + sd**2)
    variance += so_far**2 * (np.maximum(beyond, 0) + sd**2)
    return Estimates(at_risk, np.exp(np.minimum(log, 50.0)), np.sqrt(variance))


def ends(found: Estimates) -> tuple[Floats, Floats]:
    """Both ends of the intervals of S: S to the power exp(±z · sd(ln(−ln S)))."""
    import numpy as np

    inner = np.clip(found.survival, 1e-12, 1 - 1e-12)
    spread = np.exp(np.minimum(Z * found.deviation / -np.log(inner), 50.0))
    # where the noise leaves nobody with an event, or nobody without, ln(−ln S) says nothing
    usual, straight = found.survival == inner, Z * inner * found.deviation
    low = np.where(usual, inner**spread, found.survival - straight)
    return low, np.where(usual, inner ** (1 / spread), found.survival + straight)


def enough_at_risk(found: Estimates, noise: Noise, cohort: int) -> list[int]:
    """How many intervals of each group, from the first one on, have enough people at risk."""
    import numpy as np

    later = np.arange(found.at_risk.shape[1], 0, -1)
    least = np.maximum(ENOUGH * noise.sd * np.sqrt(2 * later + 1), cohort)
    return [int(each) for each in np.cumprod(found.at_risk >= least, axis=1).sum(axis=1)]


def _median(
    edges: Sequence[float], survival: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> tuple[float, float, float] | None:
    """The median and its interval, each where a curve first comes down to one half; none unless all do."""
    found = [_reached(edges, curve) for curve in (survival, low, high)]
    value, first, last = found
    if value is None or first is None or last is None:
        return None
    return value, min(first, value), max(last, value)


def _reached(edges: Sequence[float], curve: Sequence[float]) -> float | None:
    """Where a curve first comes down to one half, in a straight line within an interval."""
    before = 1.0
    for place, after in enumerate(curve):
        if after <= 0.5:
            part = (before - 0.5) / (before - after)
            return edges[place] + part * (edges[place + 1] - edges[place])
        before = after
    return None


KIND = Survival()
