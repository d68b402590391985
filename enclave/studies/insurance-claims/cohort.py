# SPDX-License-Identifier: Apache-2.0
"""Made-up policies and claims of two motor insurers: 4 million people, of whom some changed the insurer.

Frequencies and sizes have the shape of motor portfolios: a claim in about 14 policy years, more often of the
young and in cities; sizes lognormal by cause, with a Pareto tail (index 1.6) of injuries up to the policies'
limit of 20 million; one claim in eight is closed without payment; vehicle and region are missing at times::

    python enclave/studies/insurance-claims/cohort.py --out files/ --scale 0.01
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from sealroom_agents.fullsize.made_up import (
    Integers,
    Size,
    column,
    happens,
    main,
    normal,
    one_of,
    uniform,
)

PEOPLE = 4_000_000
CHANGED = 0.06
"""Share of people with a policy at both insurers."""
FIRST_DAY = np.datetime64("2021-01-01").astype(int)
DAYS = 5 * 365
LIMIT = 20_000_000
CAUSES = {"glass": 0.34, "collision": 0.41, "weather": 0.12, "theft": 0.05, "injury": 0.08}
SIZES = {
    "glass": (6.2, 0.5),
    "collision": (7.9, 0.9),
    "weather": (7.6, 1.0),
    "theft": (8.9, 0.9),
    "injury": (8.6, 1.2),
}
"""Mean and standard deviation of the logarithm."""


def is_at(people: Integers, owner: str) -> np.ndarray:
    """Who has a policy at this insurer: three in five at A, the others at B, and some at both."""
    at_a = happens(people, "insurer", 0.6)
    return (at_a if owner == "insurer-A" else ~at_a) | happens(people, "changed", CHANGED)


def birth_year(people: Integers) -> np.ndarray:
    return np.clip(np.round(1974 + 17 * normal(people, "born")), 1930, 2008)


def years(people: Integers, owner: str) -> np.ndarray:
    """Insured years of five: many all five, the others a part of them; shared by who changed."""
    whole = np.where(happens(people, "five", 0.55), 5.0, 0.05 + 4.95 * uniform(people, "years"))
    part = uniform(people, "changed when")
    share = np.where(happens(people, "changed", CHANGED), part if owner == "insurer-A" else 1 - part, 1.0)
    return np.round(whole * share, 2)


def policies(owner: str, size: Size) -> Iterator[pa.Table]:
    for everybody in size.people(PEOPLE):
        people = everybody[is_at(everybody, owner)]
        born = birth_year(people)
        vehicle = one_of(
            people, "vehicle", {"small": 31, "medium": 38, "large": 17, "van": 8, "motorcycle": 6}
        )
        region = one_of(people, "region", {"city": 34, "suburb": 41, "country": 25})
        since = np.minimum(2026 - born - 18, -9 * np.log(uniform(people, "driving well")))
        start = FIRST_DAY + DAYS * uniform(people, f"start {owner}")
        yield pa.table(
            {
                "person": column(people, pa.int64()),
                "start": column(start.astype("int32"), pa.int32()).cast(pa.date32()),
                "years": column(years(people, owner), pa.decimal128(4, 2)),
                "birth_year": column(
                    born.astype("int16"), pa.int16(), happens(people, "no birth year", 0.004)
                ),
                "vehicle": column(vehicle, pa.string(), happens(people, "no vehicle", 0.01)),
                "region": column(region, pa.string(), happens(people, f"no region {owner}", 0.05)),
                "no_claims_years": column(np.clip(since, 0, 40).astype("int16"), pa.int16()),
            }
        )


def claims(owner: str, size: Size) -> Iterator[pa.Table]:
    for everybody in size.people(PEOPLE):
        people = everybody[is_at(everybody, owner)]
        young = np.clip((1995 - birth_year(people)) / -10, 0, 1.5)
        city = one_of(people, "region", {"city": 34, "suburb": 41, "country": 25}) == "city"
        # a person's own risk is gamma, so that the number of claims is negative binomial
        risk = np.clip(-np.log(uniform(people, "risk")), 0, 6)
        rate = 0.055 * risk * np.exp(0.55 * young + 0.3 * city) * years(people, owner)
        number = _poisson(uniform(people, f"claims {owner}"), rate)
        who = np.repeat(people, number)
        which = np.arange(len(who)) - np.repeat(np.cumsum(number) - number, number)
        key = who * 64 + which + (0 if owner == "insurer-A" else 32)
        cause = one_of(key, "cause", CAUSES)
        middle, spread = (
            np.select([cause == name for name in SIZES], [each[n] for each in SIZES.values()]) for n in (0, 1)
        )
        paid = np.exp(middle + spread * normal(key, "size"))
        tail = (cause == "injury") & happens(key, "tail", 0.08)
        paid = np.where(tail, 40_000 * uniform(key, "pareto") ** (-1 / 1.6), paid)
        paid = np.where(happens(key, "closed without payment", 0.125), 0.0, np.minimum(paid, LIMIT))
        day = FIRST_DAY + DAYS * uniform(key, "day")
        yield pa.table(
            {
                "person": column(who, pa.int64()),
                "day": column(day.astype("int32"), pa.int32()).cast(pa.date32()),
                "cause": column(cause, pa.string(), happens(key, "no cause", 0.02)),
                "paid": column(paid, pa.decimal128(12, 2), happens(key, "open", 0.01)),
            }
        )


def _poisson(chance: np.ndarray, rate: np.ndarray) -> Integers:
    """The number whose share of a Poisson law this chance reaches; at most 12."""
    term = np.exp(-rate)
    below, number = term.copy(), np.zeros(len(rate), dtype=np.int64)
    for place in range(1, 13):
        number += chance > below
        term = term * rate / place
        below += term
    return number


DATASETS = {
    f"{owner}/{name}": (lambda size, owner=owner, pieces=pieces: pieces(owner, size))
    for owner in ("insurer-A", "insurer-B")
    for name, pieces in (("policies", policies), ("claims", claims))
}

if __name__ == "__main__":
    main(DATASETS, "Write the policies and claims of two insurers.")
