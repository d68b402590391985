# SPDX-License-Identifier: Apache-2.0
"""How well a score tells two outcomes apart, and whether it says how frequent they are: area under the ROC
curve, the curve itself, and calibration in bands of the score.

A row is in one range of the score and has one outcome: it adds one to one of twice as many cells, so L1 and
L2² are 1. Scores beyond the bounds count in the outer ranges; rows without a score or an outcome count
nowhere.

The area is the chance that a case has a higher score than a row of the other outcome, where two of one range
count one half (Mann and Whitney 1947; Hanley and McNeil 1982): with n ranges it is off by no more than half
of the chance that both are in one range. The score of a band is the mean of the middles of its ranges.
Intervals of all but the counts include noise and sampling, both drawn again on the released counts
(`renoise`). A model that was trained on other people is evaluated by this kind, on a column with its score.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text, rounded_text
from sealroom.privacy.clamped import ENOUGH, check_decimals
from sealroom.privacy.intervals import COUNTS_NOISE, half_width, people_around, within
from sealroom.privacy.kind import Bar, Columns, Counted, Kind, Least, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.renoise import renoised
from sealroom.privacy.shape import Label, Number, Row, Rows, Whole, table, with_interval

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
MAX_BINS = 256
MAX_BANDS = 64
_EXAMPLE = 1000
"""People of the band that the preview is about."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What is asked."""

    score: str
    label: str
    """Column of the outcome; above one half it counts as a case."""
    lower: Decimal
    upper: Decimal
    bins: int
    """Ranges of equal width between the bounds."""
    bands: int
    """Bands of equal width, of whole ranges each."""
    decimals: int

    @property
    def width(self) -> int:
        """Ranges of a band."""
        return self.bins // self.bands

    def edges(self) -> list[float]:
        """Of the ranges; rising."""
        low, high = float(self.lower), float(self.upper)
        return [low + (high - low) * place / self.bins for place in range(self.bins + 1)]

    def ends(self) -> list[str]:
        """Of the bands, as they are shown."""
        low, high = Fraction(self.lower), Fraction(self.upper)
        bounds: Value = {"decimals": self.decimals, "lower": self.lower, "upper": self.upper}
        return [
            rounded_text(low + (high - low) * place / self.bands, **bounds) for place in range(self.bands + 1)
        ]


class Auc(Kind[Scored]):
    name = "auc"
    member_names = ("score", "label", "lower", "upper", "bins", "bands", "decimals")
    units: ClassVar[Mapping[str, str]] = {"auc": "share, 0 to 1"}

    def read(self, members: Members, groups: Groups) -> Scored:
        (lower, upper), decimals = members.range(), members.decimals()
        spec = Scored(
            score=members.column("score"),
            label=members.column("label"),
            lower=lower,
            upper=upper,
            bins=members.integer("bins", 2, MAX_BINS),
            bands=members.integer("bands", 1, MAX_BANDS),
            decimals=decimals,
        )
        if spec.bins % spec.bands:
            bounds_error("bins must be a multiple of bands, so that a band has whole ranges")
        if any(low >= high for low, high in itertools.pairwise(spec.edges())):
            bounds_error("bounds of a score too close for real numbers to tell its ranges apart")
        check_decimals(lower, upper, decimals)
        if len(set(spec.ends())) <= spec.bands:
            bounds_error("bands of a score that are narrower than the declared decimals tell")
        return spec

    def plain(self, spec: Scored) -> Value:
        return {
            "bands": spec.bands,
            "bins": spec.bins,
            "decimals": spec.decimals,
            "label": spec.label,
            "lower": decimal_text(spec.lower),
            "score": spec.score,
            "upper": decimal_text(spec.upper),
        }

    def columns(self, spec: Scored) -> Columns:
        return Columns(numbers=tuple(dict.fromkeys((spec.score, spec.label))))

    def parts(self, spec: Scored, law: Law) -> tuple[Part, ...]:
        return (Part(name="people", length=2 * spec.bins, l1=1, l2_squared=1),)

    def aggregate(self, spec: Scored, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        score, label = people.numbers[spec.score], people.numbers[spec.label]
        kept = ~np.isnan(score) & ~np.isnan(label)
        place = np.searchsorted(spec.edges(), score[kept], side="right") - 1
        cell = np.clip(place, 0, spec.bins - 1) + spec.bins * (label[kept] > 0.5)
        return {"people": np.bincount(cell, minlength=2 * spec.bins).astype(np.int64)}

    def least(self, spec: Scored, law: Law, noise: Noises, of: Counted) -> tuple[Least, ...]:
        deviation = noise["people"].sd * math.sqrt(2 * spec.width)
        return (Least(of=f"{of.many} in a band of scores", count=ENOUGH * deviation),)

    def finish(self, spec: Scored, law: Law, state: Any, noise: Noises, cohort: int) -> Value:
        counts, sd, bands = state["people"], noise["people"].sd, spec.bands
        found = renoised(state, noise, lambda sums: _statistics(sums, spec), sampled=("people",))
        bounded = self._numbers(spec)

        def shown(name: str, place: int) -> dict[str, str]:
            return within(name, *(float(each[place]) for each in found), **vars(bounded[name]))

        half = half_width(noise["people"], of=2 * spec.width)
        spans = [{"from": low, "to": high} for low, high in itertools.pairwise(spec.ends())]
        rows: list[Value] = []
        for band, span in enumerate(spans):
            start, stop = band * spec.width, (band + 1) * spec.width
            people = sum(counts[start:stop], Fraction(0)) + sum(
                counts[spec.bins + start : spec.bins + stop], Fraction(0)
            )
            row: Value = people_around(people, half)
            few = row["people"] < cohort or people < ENOUGH * sd * math.sqrt(2 * spec.width)
            row |= shown("score", band) | shown("share", bands + band)
            rows.append(span | (dict.fromkeys(row) if few else row))
        enough = max(cohort, ENOUGH * sd * math.sqrt(spec.bins))
        few = min(sum(counts[: spec.bins]), sum(counts[spec.bins :])) < enough
        curve: list[Value] = []
        for band, span in enumerate(spans):
            row = shown("sensitivity", 2 * bands + band) | shown("false_positives", 3 * bands + band)
            curve.append({"threshold": span["from"], **(dict.fromkeys(row) if few else row)})
        area: Value = shown("auc", 4 * bands)
        return {
            "groups": rows,
            "interval": COUNTS_NOISE,
            "area": [dict.fromkeys(area) if few else area],
            "roc": curve,
        }

    def rows(self, spec: Scored) -> int:
        return 2 * spec.bands + 1

    def shape(self, spec: Scored) -> Row:
        ends, numbers = spec.ends(), self._numbers(spec)

        def several(*names: str) -> dict[str, Any]:
            return {k: v for name in names for k, v in with_interval(name, numbers[name]).items()}

        curve = several("sensitivity", "false_positives")
        return table(
            [{"from": low, "to": high} for low, high in itertools.pairwise(ends)],
            {**with_interval("people", Whole()), **several("score", "share")},
            interval=COUNTS_NOISE,
            more={
                "area": Rows([Row(several("auc"), hides=True)]),
                "roc": Rows([Row({"threshold": Label(end), **curve}, hides=True) for end in ends[:-1]]),
            },
        )

    def preview(self, spec: Scored, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        half = half_width(noise["people"], of=2 * spec.width)
        return (
            Bar(
                about=f"observed share in a band of {_EXAMPLE:,} {of.many}, in percent, without sampling",
                half_width=100 * half / _EXAMPLE / math.sqrt(2),
            ),
            Bar(about=f"{of.many} in a band", half_width=half),
        )

    def sentence(self, spec: Scored, of: Counted) -> str:
        return (
            f"How well {spec.score} tells {spec.label}: the ROC curve and its area, and the observed share in"
            f" {spec.bands} bands of the score, from the number of {of.many} by outcome in {spec.bins} ranges"
            f" between {spec.lower:f} and {spec.upper:f}. Each {of.one} adds one to one range of one outcome;"
            f" {of.many} without a score or an outcome count nowhere."
        )

    def _numbers(self, spec: Scored) -> dict[str, Number]:
        unit = Number(decimals=spec.decimals, lower=Decimal(0), upper=Decimal(1))
        score = Number(decimals=spec.decimals, lower=spec.lower, upper=spec.upper)
        return {
            **dict.fromkeys(("share", "sensitivity", "false_positives", "auc"), unit),
            "score": score,
        }


def _statistics(sums: Mapping[str, Floats], spec: Scored) -> Floats:
    """Of each band the mean score, the observed share, the sensitivity from its lower end on, and the share
    of the other outcome there; then the area."""
    import numpy as np

    counts = sums["people"].reshape(len(sums["people"]), 2, spec.bins)
    edges = np.array(spec.edges())
    middles = (edges[:-1] + edges[1:]) / 2
    both = counts.sum(axis=1)

    def by_band(each: Floats) -> Floats:
        return each.reshape(len(each), spec.bands, spec.width).sum(axis=2)

    people = np.maximum(by_band(both), 1.0)
    centre = middles.reshape(spec.bands, spec.width).mean(axis=1)
    away = (middles.reshape(spec.bands, spec.width) - centre[:, np.newaxis]).ravel()
    score = centre + by_band(both * away) / people
    share = by_band(counts[:, 1]) / people
    whole = np.maximum(counts.sum(axis=2, keepdims=True), 1.0)
    shares = counts / whole
    above = np.cumsum(shares[:, :, ::-1], axis=2)[:, :, ::-1][:, :, :: spec.width]
    below = np.cumsum(shares[:, 0], axis=1) - shares[:, 0] / 2
    area = (shares[:, 1] * below).sum(axis=1, keepdims=True)
    return np.concatenate([score, share, above[:, 1], above[:, 0], area], axis=1)


KIND = Auc()
