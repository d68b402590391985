# SPDX-License-Identifier: Apache-2.0
"""Hazard ratios by declared group: proportional hazards (Cox 1972) where all covariates are groups, in
declared intervals of time.

Sensitivity: a row is in one cell of one group (`sealroom.privacy.follow_up`), and adds one to it: L1 and L2
are 1. All else is made of the noisy counts. Within an interval the hazard is taken to be constant (piecewise
exponential; Holford 1980, Laird and Olivier 1981), and who has the event or stops in it to be at risk for
half of it. The baseline hazard of each interval is solved for in closed form, which leaves Breslow's
equations: the sum over intervals of x of those with an event, less its mean over those at risk, weighted by
e^(xβ).

A person in a cell moves these equations by a vector J, the score residual of Cox regression. So sampling and
noise together have the variance sum of (count + variance of the noise) · J Jᵀ (Lin and Wei 1989, with one
term more). Intervals of time from the first one on in which few are at risk, beside the noise, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.privacy.follow_up import PART, FollowUp
from sealroom.privacy.intervals import half_width
from sealroom.privacy.kind import Bar, Columns, Counted, Noises
from sealroom.privacy.members import Groups, Members
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.ratios import EXAMPLE, Judged, Model, RatioKind, Ratios, preview_half_width

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
_AT_RISK = 10
"""Standard deviations of noise that must be at risk, in all groups together."""


@dataclass(frozen=True, kw_only=True)
class Proportional:
    """What is modelled."""

    counted: FollowUp
    ratios: Ratios


class Hazards(RatioKind[Proportional]):
    name = "hazards"
    member_names = ("time", "event", "by", "edges", "decimals")
    ratio: ClassVar[str] = "hazard_ratio"

    def read(self, members: Members, groups: Groups) -> Proportional:
        counted = FollowUp.read(members, groups)
        return Proportional(counted=counted, ratios=Ratios.of(counted.cells, members))

    def plain(self, spec: Proportional) -> Value:
        return {**spec.counted.plain(), **spec.ratios.plain()}

    def columns(self, spec: Proportional) -> Columns:
        return spec.counted.columns()

    def ratios(self, spec: Proportional) -> Ratios:
        return spec.ratios

    def parts(self, spec: Proportional, law: Law) -> tuple[Part, ...]:
        return (spec.counted.part(),)

    def aggregate(self, spec: Proportional, law: Law, people: People, state: Any) -> dict[str, Integers]:
        return spec.counted.count(people)

    def judged(self, spec: Proportional, law: Law, noise: Noises) -> Judged:
        """Events of as many intervals as there are: of fewer, where at the end few are at risk, there is less
        noise."""
        own, counted = noise[PART].sd, spec.counted
        at_risk = "people at risk", own * math.sqrt(counted.ends)
        return ("events", own * math.sqrt(counted.intervals)), at_risk

    def model(self, spec: Proportional, law: Law, state: Any, noise: Noises) -> Model:
        import numpy as np

        own, counted = noise[PART], spec.counted
        events, stopped, beyond = counted.split(state[PART])
        at_risk = np.cumsum((events + stopped)[:, ::-1], axis=1)[:, ::-1] + beyond
        later = np.arange(counted.intervals, 0, -1)
        least = _AT_RISK * own.sd * np.sqrt(counted.cells.count * (2 * later + 1))
        kept = int(np.cumprod(at_risk.sum(axis=0) >= least).sum())
        had = events[:, :kept].sum(axis=1)
        exposed = (at_risk - (events + stopped) / 2)[:, :kept]
        weights = [np.maximum(each, 0) + own.sd**2 for each in (events, stopped, beyond)]

        def equations(effects: Floats, used: Any, beta: Floats) -> tuple[Floats, Floats, Floats]:
            grown = np.exp(np.clip(effects @ beta, -50.0, 50.0))[:, np.newaxis]
            happened, at = events[used][:, :kept], exposed[used] * grown
            total = at.sum(axis=0)
            hazard = happened.sum(axis=0) / total
            mean = (effects.T @ at) / total  # (effects, intervals)
            away = effects[:, :, np.newaxis] - mean  # (cells, effects, intervals)
            score = (effects.T @ happened).sum(axis=1) - (mean * happened.sum(axis=0)).sum(axis=1)
            slope = np.einsum("gpk,gqk,gk->pq", away, away, at * hazard)
            lost = away * (hazard * grown)[:, np.newaxis]
            passed = np.cumsum(lost, axis=2)
            inside = lost / 2 - passed  # who ends in an interval was at risk for half of it
            final = passed[:, :, -1:]
            rest = counted.intervals - kept
            stop = np.concatenate([inside, np.repeat(-final, rest, axis=2)], axis=2)
            event = stop + np.concatenate([away, np.zeros((*away.shape[:2], rest))], axis=2)
            variance = np.zeros_like(slope)
            for moved, weight in zip((event, stop, -final), weights, strict=True):
                variance += np.einsum("gpk,gqk,gk->pq", moved, moved, weight[used])
            return score, slope, variance

        def nothing(effects: Floats, used: Any, beta: Floats) -> tuple[Floats, Floats, Floats]:
            empty = np.zeros((len(beta), len(beta)))
            return np.zeros(len(beta)), empty, empty

        return Model(
            people=at_risk[:, 0],
            people_half=lambda cells: half_width(own, of=cells * counted.ends),
            judged=(
                (had, own.sd * math.sqrt(max(kept, 1))),
                (at_risk[:, 0], own.sd * math.sqrt(counted.ends)),
            ),
            equations=equations if kept else nothing,
            level=None,
        )

    def preview(self, spec: Proportional, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        own, count, share = noise[PART], spec.counted.intervals, 0.2
        lost = [-math.log(1 - share) * (place + 0.5) / count for place in range(count)]
        moved = sum((1 - each) ** 2 + each**2 for each in lost) + math.log(1 - share) ** 2
        half = preview_half_width(spec.ratios, variance=own.sd**2 * moved, weight=EXAMPLE * share)
        people = half_width(own, of=spec.counted.ends * spec.ratios.of_label()[0])
        return (
            Bar(
                about=f"logarithm of a hazard ratio, of two labels with {EXAMPLE:,} {of.many} each and an"
                " event of a fifth",
                half_width=half,
            ),
            Bar(about=f"{of.many} with a label", half_width=people),
        )

    def sentence(self, spec: Proportional, of: Counted) -> str:
        counted = spec.counted
        return (
            f"Hazard ratios of the event {counted.event} by label{counted.cells.words()}, over"
            f" {counted.time}{counted.times()}. {counted.adds(of)}"
        )


KIND = Hazards()
