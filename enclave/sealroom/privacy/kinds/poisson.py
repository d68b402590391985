# SPDX-License-Identifier: Apache-2.0
"""Rate ratios by declared group: events over exposure, in a log-linear (Poisson) model on groups.

Sensitivity: a row is in at most one cell. There it adds one to the people, its events to the events (a whole
number held to 0 and `events_upper`), and its exposure to the exposure (held to 0 and `exposure_upper`, in
2²⁰ steps); and the square of its events to one number for all cells. Each part is bounded by the largest of
these, in L1 and in L2, and they share the field's cost. The equations sum x · (events − exposure · rate) over
cells, which is linear in the sums.

Counts of people vary more than a Poisson number does. The interval allows for that (quasi-likelihood;
Wedderburn 1974): the variance of a row's events is φ times its expectation. From the sum of squares follows a
φ that is no smaller than the true one: what lies between people of one cell and different exposure counts as
variance too. It is at least 1, and has one standard deviation of its noise on top.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, ClassVar

from sealroom.decimals import decimal_text
from sealroom.privacy.intervals import half_width
from sealroom.privacy.kind import Bar, Columns, Counted, Noises
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Law, Part
from sealroom.privacy.ratios import (
    EXAMPLE,
    Judged,
    Model,
    RatioKind,
    Ratios,
    beside,
    preview_half_width,
    summed,
)

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

Value = dict[str, Any]
MAX_EVENTS = 1000
"""Most events of one row."""
STEPS = 2**20
"""Steps of the longest exposure."""
MAX_RATE = Decimal(10) ** 6
"""The rate at the reference is held to this."""
_SHARES = {
    "people": Fraction(1, 10), "events": Fraction(6, 10), "exposure": Fraction(2, 10),
    "squares": Fraction(1, 10),
}  # fmt: skip
"""Of the field's cost. Events are few beside what one person may have, so their noise tells most."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What is modelled."""

    events: str
    most: int
    """Most events of one row."""
    exposure: str
    longest: Decimal
    """Largest exposure of one row."""
    ratios: Ratios


class Poisson(RatioKind[Rates]):
    name = "poisson"
    member_names = ("events", "events_upper", "exposure", "exposure_upper", "by", "decimals")
    ratio: ClassVar[str] = "rate_ratio"
    at_reference: ClassVar[str] = "rate"

    def read(self, members: Members, groups: Groups) -> Rates:
        spec = Rates(
            events=members.column("events"),
            most=members.integer("events_upper", 1, MAX_EVENTS),
            exposure=members.column("exposure"),
            longest=members.decimal("exposure_upper"),
            ratios=Ratios.read(members, groups),
        )
        if not float(Fraction(spec.longest) / STEPS) > 0:
            bounds_error("an exposure must be allowed to be above zero")
        return spec

    def plain(self, spec: Rates) -> Value:
        return {
            **spec.ratios.plain(),
            "events": spec.events,
            "events_upper": spec.most,
            "exposure": spec.exposure,
            "exposure_upper": decimal_text(spec.longest),
        }

    def columns(self, spec: Rates) -> Columns:
        return Columns(
            numbers=tuple(dict.fromkeys((spec.events, spec.exposure))), groups=spec.ratios.cells.by
        )

    def ratios(self, spec: Rates) -> Ratios:
        return spec.ratios

    def reference(self, spec: Rates) -> tuple[Decimal, Decimal]:
        return Decimal(0), MAX_RATE

    def parts(self, spec: Rates, law: Law) -> tuple[Part, ...]:
        most = {"people": 1, "events": spec.most, "exposure": STEPS, "squares": spec.most**2}
        return tuple(
            Part(
                name=name, length=1 if name == "squares" else spec.ratios.cells.count, l1=most[name],
                l2_squared=most[name] ** 2, share=share,
            )
            for name, share in _SHARES.items()
        )  # fmt: skip

    def aggregate(self, spec: Rates, law: Law, people: People, state: Any) -> dict[str, Integers]:
        import numpy as np

        from sealroom.privacy.quanta import quantise, totals

        cell, cells = spec.ratios.cells.of(people), spec.ratios.cells.count
        events, exposure = people.numbers[spec.events], people.numbers[spec.exposure]
        kept = (cell >= 0) & ~np.isnan(events) & ~np.isnan(exposure)
        cell, zero = cell[kept], Fraction(0)
        had = np.maximum(quantise(events[kept], centre=zero, quantum=Fraction(1), bound=spec.most), 0)
        quantum = Fraction(spec.longest) / STEPS
        exposed = np.maximum(quantise(exposure[kept], centre=zero, quantum=quantum, bound=STEPS), 0)
        return {
            "people": totals(cell, np.ones_like(had), cells=cells),
            "events": totals(cell, had, cells=cells),
            "exposure": totals(cell, exposed, cells=cells),
            "squares": np.array([(had * had).sum()], dtype=np.int64),
        }

    def judged(self, spec: Rates, law: Law, noise: Noises) -> Judged:
        unit = float(spec.longest) / STEPS
        exposed = noise["exposure"].sd * unit
        own = noise["people"].sd, noise["events"].sd, exposed
        return tuple(zip(("people", spec.events, spec.exposure), own, strict=True))

    def model(self, spec: Rates, law: Law, state: Any, noise: Noises) -> Model:
        import numpy as np

        sums = {name: np.array([float(each) for each in noisy]) for name, noisy in state.items()}
        people, events, unit = sums["people"], sums["events"], float(spec.longest) / STEPS
        exposure, fresh = sums["exposure"] * unit, noise["exposure"].sd * unit

        def equations(effects: Floats, used: Any, beta: Floats) -> tuple[Floats, Floats, Floats]:
            rate = np.exp(np.clip(effects @ beta, -50.0, 50.0))
            expected = exposure[used] * rate
            alike = (expected**2 / np.maximum(people[used], 1)).sum()
            # squares of cells that are left out only make it larger
            spread = max(sums["squares"][0] - alike, 0.0) + noise["squares"].sd
            dispersion = max(1.0, spread / max(expected.sum(), 1e-9))
            variance = dispersion * np.maximum(expected, 0)
            variance = variance + noise["events"].sd ** 2 + (rate * fresh) ** 2
            return summed(effects, events[used] - expected, expected, variance)

        def level(used: Any) -> float:
            return math.log(events[used].sum() / exposure[used].sum())

        return Model(
            people=people,
            people_half=lambda cells: half_width(noise["people"], of=cells),
            judged=beside((people, events, exposure), self.judged(spec, law, noise)),
            equations=equations,
            level=level,
        )

    def preview(self, spec: Rates, law: Law, noise: Noises, of: Counted) -> tuple[Bar, ...]:
        few, cells = EXAMPLE / 5, spec.ratios.of_label()[0]
        rate = few / EXAMPLE / float(spec.longest)
        variance = noise["events"].sd ** 2 + (rate * noise["exposure"].sd * float(spec.longest) / STEPS) ** 2
        half = preview_half_width(spec.ratios, variance=variance, weight=few)
        return (
            Bar(
                about=f"logarithm of a rate ratio, of two labels with {EXAMPLE:,} {of.many} of full exposure"
                f" and {few:.0f} events each",
                half_width=half,
            ),
            Bar(about=f"{of.many} with a label", half_width=half_width(noise["people"], of=cells)),
        )

    def sentence(self, spec: Rates, of: Counted) -> str:
        return (
            f"Rate ratios of {spec.events} per {spec.exposure} by label{spec.ratios.cells.words()}. Each"
            f" {of.one} is in at most one group, with at most {spec.most} events and an exposure of at most"
            f" {spec.longest:f}; {of.many} without both count nowhere."
        )


KIND = Poisson()
