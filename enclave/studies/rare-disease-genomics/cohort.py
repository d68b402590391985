# SPDX-License-Identifier: Apache-2.0
"""Made-up people and rare variants of three collections: 54,000 people, of whom one in fourteen is affected.

10,000 positions in 24 genes, most of them very rare: the frequency of a variant is about one over a uniform
number, as in sequenced populations. Who carries a damaging variant of a gene with a large effect is more
often affected, and has a lower ejection fraction. One in 25 is in two collections; echocardiography and
ancestry are missing at times::

    python enclave/studies/rare-disease-genomics/cohort.py --out files/ --scale 0.1
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

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

PEOPLE = 54_000
COLLECTIONS = {"biobank-A": 62, "registry-B": 23, "clinic-C": 15}
TWICE = 0.04
LENGTHS = {
    "ACTC1": 377, "ACTN2": 894, "BAG3": 575, "CSRP3": 194, "DES": 470, "DMD": 3685, "DSP": 2871,
    "FLNC": 2725, "JPH2": 696, "LMNA": 664, "MYBPC3": 1274, "MYH7": 1935, "MYL2": 166, "MYL3": 195,
    "PLN": 52, "RBM20": 1227, "SCN5A": 2016, "TAZ": 292, "TNNC1": 161, "TNNI3": 210, "TNNT2": 298,
    "TPM1": 284, "TTN": 34350, "VCL": 1134,
}  # fmt: skip
"""Amino acids: so long is a gene, and so many variants it has."""
EFFECTS = {
    "TTN": 1.9,
    "LMNA": 2.8,
    "BAG3": 2.6,
    "RBM20": 2.4,
    "FLNC": 2.2,
    "DSP": 1.8,
    "MYH7": 1.7,
    "TNNT2": 1.6,
}
"""Log odds of being affected, of who carries a damaging variant."""
POSITIONS = 10_000
KINDS = {"synonymous": 26, "missense": 62, "splice": 3, "stop": 4, "frameshift": 5}


class Catalogue:
    """All positions; the same for all collections."""

    @cached_property
    def places(self) -> Integers:
        return np.arange(1, POSITIONS + 1, dtype=np.int64)

    @cached_property
    def gene(self) -> np.ndarray:
        return one_of(self.places, "gene", {name: length**0.75 for name, length in LENGTHS.items()})

    @cached_property
    def effect(self) -> np.ndarray:
        return one_of(self.places, "effect", KINDS)

    @cached_property
    def frequency(self) -> Floats:
        """Between one in 100,000 and one in 100; of damaging ones at most one in 2,000."""
        usual = 1e-5 * 1000 ** (uniform(self.places, "frequency") ** 2)
        return np.where(self.damaging, np.minimum(usual, 4e-5), usual)

    @cached_property
    def score(self) -> Floats:
        return uniform(self.places, "score") ** 0.5

    @cached_property
    def damaging(self) -> np.ndarray:
        hard = np.isin(self.effect, ["splice", "stop", "frameshift"])
        return hard | ((self.effect == "missense") & (self.score >= 0.9))


CATALOGUE = Catalogue()


MOST = 256
"""Most variants of a person."""


def carried(people: Integers) -> tuple[Integers, Integers]:
    """Place of the person and number of the position, one row for each that is carried."""
    ends = np.cumsum(2 * CATALOGUE.frequency)
    usual = float(ends[-1])
    count = np.round(usual + np.sqrt(usual) * normal(people, "carried")).astype(np.int64).clip(0, MOST - 1)
    who = np.repeat(np.arange(len(people)), count)
    which = np.arange(len(who)) - np.repeat(np.cumsum(count) - count, count)
    what = np.searchsorted(ends, uniform(people[who] * MOST + which, "position") * usual)
    pairs = np.unique(who * POSITIONS + np.minimum(what, POSITIONS - 1))  # each position once
    return pairs // POSITIONS, pairs % POSITIONS


class Facts:
    """People with what they carry."""

    def __init__(self, people: Integers) -> None:
        self.who, self.what = carried(people)
        self.score = np.zeros(len(people))
        for gene, effect in EFFECTS.items():
            kept = CATALOGUE.damaging[self.what] & (CATALOGUE.gene[self.what] == gene)
            self.score[np.unique(self.who[kept])] += effect
        self.male = happens(people, "male", 0.5)
        self.affected = happens(people, "affected", logistic(-2.9 + 0.35 * self.male + self.score))
        self.age = np.clip(np.round(57 + 14 * normal(people, "age")), 18, 92)
        ejection = 61 - 0.04 * (self.age - 57) - 2 * self.male - 1.2 * self.score - 22 * self.affected
        self.ejection = np.clip(ejection + 5 * normal(people, "echo"), 8, 80)


def is_in(people: Integers, collection: str) -> np.ndarray:
    first = one_of(people, "collection", COLLECTIONS) == collection
    return first | (happens(people, "twice", TWICE) & (one_of(people, "second", COLLECTIONS) == collection))


def people_of(collection: str, size: Size) -> Iterator[pa.Table]:
    for everybody in size.people(PEOPLE):
        people = everybody[is_in(everybody, collection)]
        facts = Facts(people)
        ancestry = one_of(people, "ancestry", {"afr": 9, "amr": 8, "eas": 6, "eur": 68, "sas": 9})
        yield pa.table(
            {
                "person": column(people, pa.int64()),
                "affected": column(facts.affected, pa.bool_()),
                "male": column(facts.male, pa.bool_()),
                "age": column(facts.age.astype("int16"), pa.int16()),
                "ancestry": column(ancestry, pa.string(), happens(people, "no ancestry", 0.03)),
                "ejection_fraction": column(
                    facts.ejection.astype("float32"),
                    pa.float32(),
                    happens(people, f"no echo {collection}", 0.2),
                ),
            }
        )


def variants_of(collection: str, size: Size) -> Iterator[pa.Table]:
    for everybody in size.people(PEOPLE):
        people = everybody[is_in(everybody, collection)]
        who, what = carried(people)
        key = people[who] * 16384 + what
        score = CATALOGUE.score[what].astype("float32")
        yield pa.table(
            {
                "person": column(people[who], pa.int64()),
                "position": column(30_000_000 + what * 97, pa.int64()),
                "gene": column(CATALOGUE.gene[what], pa.string()),
                "frequency": column(CATALOGUE.frequency[what].astype("float32"), pa.float32()),
                "effect": column(CATALOGUE.effect[what], pa.string()),
                "score": column(score, pa.float32(), CATALOGUE.effect[what] != "missense"),
                "dosage": column(np.where(happens(key, "both", 0.003), 2, 1).astype("int8"), pa.int8()),
            }
        )


DATASETS = {
    f"{collection}/{name}": (lambda size, collection=collection, pieces=pieces: pieces(collection, size))
    for collection in COLLECTIONS
    for name, pieces in (("people", people_of), ("variants", variants_of))
}

if __name__ == "__main__":
    main(DATASETS, "Write the people and rare variants of three collections.")
