# SPDX-License-Identifier: Apache-2.0
"""Made-up people of five sources: 200,000, whom a hospital, a radiology centre, an insurer, a biobank and a
laboratory know in part.

One in eight of the hospital's has a heart attack or stroke within five years: more of the old, of smokers,
of those with high pressure, and of those with what the other sources alone see: calcium in the arteries and
what a network makes of the images, inherited risk, inflammation, and no statins at the pharmacy. Costs are
lognormal, the ill are in more sources than the well, images and assays come several times, and values are
missing everywhere::

    python enclave/studies/cohort-risk/cohort.py --out files/ --scale 0.1
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from sealroom_agents.fullsize.made_up import (
    Floats,
    Integers,
    Size,
    column,
    happens,
    logistic,
    main,
    normal,
    one_of,
    uniform,
)

PEOPLE = 200_000
EMBEDDING = 8
"""Numbers that the radiology centre's network makes of a scan."""
ANALYTES = {"crp": 0.85, "ldl": 0.9, "hba1c": 0.7, "troponin": 0.5}
"""How likely each was measured when blood was taken."""
LIMITS = {"crp": 0.3, "ldl": 0.3, "hba1c": 4.0, "troponin": 3.0}
"""Below them a laboratory says nothing but that it is below."""
MOST_CLAIMS = 60
YEAR = 365.25
START = int(np.datetime64("2019-01-01", "D").astype(np.int64))
"""Follow-up begins; what sources know is from the two years before."""
Booleans = np.ndarray[Any, Any]


class Facts:
    """What is true of people, whoever knows it."""

    def __init__(self, people: Integers) -> None:
        self.age = np.clip(np.round(61 + 11 * normal(people, "age")), 35, 92)
        self.male = happens(people, "male", 0.49)
        self.smoker = happens(people, "smoker", 0.19)
        years = (self.age - 61) / 11
        self.ill = normal(people, "ill")  # what all measurements share
        self.diabetes = happens(people, "diabetes", logistic(-2.1 + 0.35 * years + 0.6 * self.ill))
        self.pressure = 132 + 5 * years + 6 * self.ill + 13 * normal(people, "pressure")
        self.inherited = normal(people, "inherited")
        self.vessels = 0.5 * years + 0.4 * self.ill + 0.3 * self.inherited + 0.8 * normal(people, "vessels")
        self.inflamed = 0.5 * self.ill + 0.4 * self.smoker + 0.9 * normal(people, "inflamed")
        self.statins = happens(people, "statins", logistic(-1.0 + 0.5 * self.diabetes + 0.5 * years))
        score = (
            0.55 * years + 0.35 * self.male + 0.5 * self.smoker + 0.016 * (self.pressure - 132)
            + 0.45 * self.diabetes + 0.5 * self.vessels + 0.35 * self.inherited + 0.3 * self.inflamed
            - 0.35 * self.statins
        )  # fmt: skip
        self.chance = logistic(-2.9 + score)
        self.event = happens(people, "event", self.chance)
        self.until = 5 * YEAR * np.where(self.event, uniform(people, "when") ** 0.8, 1.0)
        left = happens(people, "left", 0.15)
        self.left = 5 * YEAR * np.where(left, uniform(people, "left when"), 1.0)


def _known(people: Integers, what: str, facts: Facts, often: float) -> Booleans:
    """Who is known to a source: the ill are more often."""
    found: Booleans = happens(people, what, logistic(np.log(often / (1 - often)) + 0.3 * facts.ill))
    return found


def _days(people: Integers, what: str) -> pa.Array:
    """Days within the two years before follow-up."""
    days = START - 1 - (730 * uniform(people, what)).astype(np.int64)
    return column(days.astype("int32"), pa.int32()).cast(pa.date32())


def _value(values: Floats, unknown: Booleans | None = None) -> pa.Array:
    return column(values.astype("float32"), pa.float32(), unknown)


def records(people: Integers, facts: Facts) -> Iterator[pa.Table]:
    """One or two visits at the hospital, and what came of it."""
    known = _known(people, "at the hospital", facts, 0.7)
    followed = np.minimum(facts.until, facts.left)
    score = logistic(
        -2.6 + 0.05 * (facts.age - 61) + 0.3 * facts.male + 0.4 * facts.smoker
        + 0.012 * (facts.pressure - 132) + 0.4 * facts.diabetes + 0.25 * normal(people, "read")
    )  # fmt: skip
    for visit in range(2):
        here = np.flatnonzero(known & happens(people, f"visit {visit}", 1 if visit == 0 else 0.35))
        key = people[here] * 2 + visit
        pressure = np.round(facts.pressure[here] + 6 * normal(key, "pressure"))
        yield pa.table(
            {
                "person": column(people[here], pa.int64()),
                "visit": _days(key, "visit"),
                "age": column(facts.age[here].astype("int16"), pa.int16(), happens(key, "no age", 0.004)),
                "male": column(facts.male[here], pa.bool_()),
                "smoker": column(facts.smoker[here], pa.bool_(), happens(key, "no word", 0.08)),
                "diabetes": column(facts.diabetes[here], pa.bool_()),
                "systolic": column(pressure.astype("int16"), pa.int16(), happens(key, "no pressure", 0.06)),
                "score": _value(score[here], happens(key, "no score", 0.05)),
                "followed": column(followed[here].astype("int32"), pa.int32()),
                "event": column(facts.event[here] & (facts.until <= facts.left)[here], pa.bool_()),
            }
        )


def images(people: Integers, facts: Facts) -> Iterator[pa.Table]:
    """Scans, of some two, as what the centre's network makes of them."""
    known = _known(people, "at radiology", facts, 0.32)
    dice = np.random.default_rng(8)
    weights = dice.standard_normal((EMBEDDING, 3)) / np.sqrt(3)
    for scan in range(2):
        here = np.flatnonzero(known & happens(people, f"scan {scan}", 1 if scan == 0 else 0.2))
        key = people[here] * 2 + scan
        seen = np.stack([facts.vessels[here], facts.ill[here], (facts.age[here] - 61) / 11])
        agatston = np.where(
            facts.vessels[here] < -0.2, 0, np.expm1(3.2 + 1.1 * facts.vessels[here] + 0.3 * normal(key, "ct"))
        )
        yield pa.table(
            {
                "person": column(people[here], pa.int64()),
                "taken": _days(key, "taken"),
                "calcium": _value(np.round(agatston), happens(key, "not gated", 0.1)),
                **{
                    f"e{number + 1}": _value(
                        np.tanh(weights[number] @ seen + 0.4 * normal(key, f"e{number}"))
                    )
                    for number in range(EMBEDDING)
                },
            }
        )


def claims(people: Integers, facts: Facts) -> Iterator[pa.Table]:
    """What pharmacies and doctors billed: heavy tails, both in number and in cost."""
    known = np.flatnonzero(_known(people, "insured", facts, 0.8))
    often = np.exp(1.9 + 0.5 * facts.ill[known] + 0.6 * normal(people[known], "often"))
    count = np.minimum(np.round(often), MOST_CLAIMS).astype(np.int64)
    who = np.repeat(known, count)
    number = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
    key = people[who] * MOST_CLAIMS + number
    kind = one_of(key, "kind", {"pharmacy": 62, "outpatient": 33, "inpatient": 5})
    cost = np.exp(
        np.select([kind == "pharmacy", kind == "outpatient"], [3.4, 4.8], 8.6) + normal(key, "cost")
    )
    usual = one_of(key, "drug", {"antihypertensive": 30, "antidiabetic": 8, "other": 62})
    drug = np.where(facts.statins[who] & happens(key, "refill", 0.35), "statin", usual)
    yield pa.table(
        {
            "person": column(people[who], pa.int64()),
            "day": _days(key, "day"),
            "kind": column(kind, pa.string()),
            "drug": column(drug, pa.string(), (kind != "pharmacy") | happens(key, "no code", 0.02)),
            "cost": column(cost, pa.decimal128(10, 2)),
        }
    )


def samples(people: Integers, facts: Facts) -> Iterator[pa.Table]:
    """Blood and saliva in the biobank's freezers, with the score of what is inherited."""
    here = np.flatnonzero(_known(people, "at the biobank", facts, 0.28))
    key = people[here]
    inherited = facts.inherited[here] + 0.3 * normal(key, "genotyped")
    yield pa.table(
        {
            "person": column(key, pa.int64()),
            "collected": _days(key, "collected"),
            "tissue": column(one_of(key, "tissue", {"blood": 83, "saliva": 17}), pa.string()),
            "polygenic": _value(inherited, happens(key, "not genotyped", 0.07)),
        }
    )


def assays(people: Integers, facts: Facts) -> Iterator[pa.Table]:
    """One row a value that a laboratory measured, up to three times."""
    known = _known(people, "at the laboratory", facts, 0.6)
    means: dict[str, Callable[[np.ndarray[Any, Any]], Floats]] = {
        "crp": lambda at: np.exp(0.6 + 0.8 * facts.inflamed[at]),
        "ldl": lambda at: np.exp(1.2 + 0.1 * facts.vessels[at] - 0.3 * facts.statins[at]),
        "hba1c": lambda at: 5.4 + 0.2 * facts.ill[at] + 1.4 * facts.diabetes[at],
        "troponin": lambda at: np.exp(1.5 + 0.5 * facts.vessels[at]),
    }
    for draw in range(3):
        taken = known & happens(people, f"draw {draw}", 0.55**draw)
        for analyte, often in ANALYTES.items():
            here = np.flatnonzero(taken & happens(people, f"{analyte} {draw}", often))
            key = people[here] * 3 + draw
            value = means[analyte](here) * np.exp(0.12 * normal(key, analyte))
            yield pa.table(
                {
                    "person": column(people[here], pa.int64()),
                    "drawn": _days(key, "drawn"),
                    "analyte": column(np.full(len(here), analyte, dtype=object), pa.string()),
                    "value": column(value, pa.decimal128(10, 2), value < LIMITS[analyte]),
                }
            )


SOURCES = {
    "hospital-A/records": records,
    "radiology-B/images": images,
    "insurer-C/claims": claims,
    "biobank-D/samples": samples,
    "laboratory-E/assays": assays,
}


def _pieces(size: Size, source: Callable[[Integers, Facts], Iterator[pa.Table]]) -> Iterator[pa.Table]:
    for people in size.people(PEOPLE):
        yield from source(people, Facts(people))


DATASETS = {name: (lambda size, source=source: _pieces(size, source)) for name, source in SOURCES.items()}

if __name__ == "__main__":
    main(DATASETS, "Write what five sources know of the same people.")
