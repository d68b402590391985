# SPDX-License-Identifier: Apache-2.0
"""Made-up stays in intensive care and laboratory values of five hospitals: 320,000 people.

One in nine of those who leave alive comes back within 30 days, more of the old, of those ventilated, of those
discharged by night, and of those whose lactate and creatinine are high and haemoglobin low on the last day.
One readmission in four is to another hospital. Laboratory values are correlated by how ill a person is, and
some were not taken. The discharge score in use knows age and the length of the stay, and no laboratory::

    python enclave/studies/icu-readmission/cohort.py --out files/ --scale 0.1
"""

from __future__ import annotations

from collections.abc import Iterator
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

PEOPLE = 320_000
HOSPITALS = {"hospital-A": 30, "hospital-B": 24, "hospital-C": 20, "hospital-D": 15, "hospital-E": 11}
UNITS = {"medical": 36, "surgical": 27, "cardiac": 19, "neuro": 11, "trauma": 7}
RISK_OF_UNIT = {"medical": 0.25, "surgical": -0.1, "cardiac": 0.1, "neuro": 0.0, "trauma": -0.35}
DAY = 86_400_000_000
START = int(np.datetime64("2021-01-01", "us").astype(np.int64))
YEARS = 5
MOST_STAYS = 3


class Ill:
    """What is true of people at their first stay, and how likely each comes back within 30 days."""

    def __init__(self, people: Integers) -> None:
        self.age = np.clip(np.round(64 + 15 * normal(people, "age")), 18, 97)
        self.unit = one_of(people, "unit", UNITS)
        self.ventilated = happens(people, "ventilated", 0.38)
        self.severity = normal(people, "severity") + 0.5 * self.ventilated
        self.days = np.exp(0.9 + 0.45 * self.severity + 0.6 * normal(people, "days"))
        self.by_night = happens(people, "night", 0.14)
        self.lactate = np.exp(0.15 + 0.3 * self.severity + 0.3 * normal(people, "lactate"))
        self.creatinine = np.exp(
            0.05 + 0.008 * (self.age - 64) + 0.2 * self.severity + 0.4 * normal(people, "kidney")
        )
        self.haemoglobin = 10.8 - 0.5 * self.severity + 1.5 * normal(people, "blood")
        offset = np.select([self.unit == name for name in RISK_OF_UNIT], list(RISK_OF_UNIT.values()))
        self.chance = logistic(
            -2.55 + offset + 0.022 * (self.age - 64) + 0.3 * self.ventilated + 0.4 * self.by_night
            + 0.55 * np.log(self.lactate) + 0.4 * np.log(self.creatinine) - 0.16 * (self.haemoglobin - 10.8)
            + 0.02 * np.minimum(self.days, 30)
        )  # fmt: skip


def times(people: Integers, ill: Ill, stay: int) -> tuple[Floats, Floats, np.ndarray[Any, Any]]:
    """Begin and end of a stay in days since the start, and who has it."""
    begin = uniform(people, "begin") * YEARS * 365
    end = begin + ill.days
    there = np.ones(len(people), dtype=bool)
    for number in range(1, stay + 1):
        soon = happens(people, f"back {number}", ill.chance)
        late = happens(people, f"late {number}", 0.06)
        gap = np.where(
            soon, 30 * uniform(people, f"gap {number}") ** 1.7, 30 + 500 * uniform(people, f"gap {number}")
        )
        begin, there = end + gap, there & (soon | late)
        end = begin + np.exp(1.0 + 0.7 * normal(people, f"days {number}"))
    return begin, end, there & (end < YEARS * 365)


def at(people: Integers, stay: int) -> np.ndarray[Any, Any]:
    """The hospital of a stay: one of four readmissions is to another one."""
    first = one_of(people, "hospital", HOSPITALS)
    if stay == 0:
        return first
    return np.where(
        happens(people, f"elsewhere {stay}", 0.3), one_of(people, f"hospital {stay}", HOSPITALS), first
    )


def _instants(days: Floats) -> pa.Array:
    return column((START + days * DAY).astype(np.int64), pa.int64()).cast(pa.timestamp("us"))


def stays(owner: str, size: Size) -> Iterator[pa.Table]:
    for everybody in size.people(PEOPLE):
        ill = Ill(everybody)
        for stay in range(MOST_STAYS):
            begin, end, there = times(everybody, ill, stay)
            here = np.flatnonzero(there & (at(everybody, stay) == owner))
            people = everybody[here]
            key = people * 4 + stay
            score = logistic(
                -2.2
                + 0.02 * (ill.age[here] - 64)
                + 0.03 * np.minimum(ill.days[here], 30)
                + 0.4 * normal(key, "score")
            )
            yield pa.table(
                {
                    "patient": column(people, pa.int64()),
                    "admitted": _instants(begin[here]),
                    "discharged": _instants(end[here]),
                    "unit": column(ill.unit[here], pa.string(), happens(key, "no unit", 0.005)),
                    "age": column(ill.age[here].astype("int16"), pa.int16(), happens(key, "no age", 0.002)),
                    "sex": column(
                        one_of(people, "sex", {"F": 43, "M": 57}), pa.string(), happens(key, "no sex", 0.003)
                    ),
                    "ventilated": column(ill.ventilated[here], pa.bool_(), happens(key, "no word", 0.01)),
                    "alive": column(~happens(key, "died", 0.09), pa.bool_()),
                    "by_night": column(ill.by_night[here], pa.bool_()),
                    "score": column(score.astype("float32"), pa.float32(), happens(key, "no score", 0.04)),
                }
            )


def labs(owner: str, size: Size) -> Iterator[pa.Table]:
    """About four samples of the first stay, the last of them within its last day."""
    for everybody in size.people(PEOPLE):
        ill = Ill(everybody)
        _, end, there = times(everybody, ill, 0)
        here = np.flatnonzero(there & (at(everybody, 0) == owner))
        for sample in range(4):
            taken = end[here] - 0.05 - 0.9 * uniform(everybody[here], f"hour {sample}") - sample
            kept = here[(taken > end[here] - ill.days[here])]
            key = everybody[kept] * 8 + sample
            worse = 1 + 0.15 * sample
            yield pa.table(
                {
                    "patient": column(everybody[kept], pa.int64()),
                    "taken": _instants(taken[taken > end[here] - ill.days[here]]),
                    "lactate": _value(
                        ill.lactate[kept] * worse * np.exp(0.1 * normal(key, "l")), happens(key, "no l", 0.3)
                    ),
                    "creatinine": _value(
                        ill.creatinine[kept] * np.exp(0.05 * normal(key, "c")), happens(key, "no c", 0.06)
                    ),
                    "haemoglobin": _value(
                        ill.haemoglobin[kept] + 0.2 * normal(key, "h"), happens(key, "no h", 0.05)
                    ),
                }
            )


def _value(values: Floats, unknown: np.ndarray[Any, Any]) -> pa.Array:
    return column(values.astype("float32"), pa.float32(), unknown)


DATASETS = {
    f"{owner}/{name}": (lambda size, owner=owner, pieces=pieces: pieces(owner, size))
    for owner in HOSPITALS
    for name, pieces in (("stays", stays), ("labs", labs))
}

if __name__ == "__main__":
    main(DATASETS, "Write the stays and laboratory values of five hospitals.")
