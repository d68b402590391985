# SPDX-License-Identifier: Apache-2.0
"""Made-up people, rare variants and genotypes of three collections: 54,000 people, one in fourteen affected.

10,000 positions in 24 genes, most of them very rare: the frequency of a variant is about one over a uniform
number, as in sequenced populations. Who carries a damaging variant of a gene with a large effect is more
often affected, and has a lower ejection fraction. One in 25 is in two collections; echocardiography and
ancestry are missing at times.

An array reads 10,000 common variants of nine people in ten. Their frequencies differ by ancestry (Balding and
Nichols), neighbours go together, and one call in 200 failed::

    python enclave/studies/rare-disease-genomics/cohort.py --out files/ --scale 0.1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
ANCESTRIES = {"afr": 9, "amr": 8, "eas": 6, "eur": 68, "sas": 9}
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
COMMON = 10_000
"""Variants that the array reads, from the rarest to the most frequent in the public panel."""
PANEL = {"afr": 20, "amr": 14, "eas": 15, "eur": 41, "sas": 10}
"""Ancestries of the public panel."""
DRIFT = {"afr": 0.1, "amr": 0.05, "eas": 0.1, "eur": 0.06, "sas": 0.05}
"""How far frequencies of an ancestry are from those of all (F_ST)."""
LINKED = 0.4
"""The share of variants that go with the one before."""
FAILED = COMMON // 200
CHIP = 2000
"""People whose genotypes are made at once."""


class Array:
    """The common variants; the same for all collections."""

    @cached_property
    def frequencies(self) -> dict[str, Floats]:
        """Of the counted allele by ancestry: beta distributed around what all had once."""
        dice = np.random.default_rng(10)
        ancient = dice.uniform(0.05, 0.95, COMMON)
        drawn = {
            name: dice.beta(ancient * (1 - drift) / drift, (1 - ancient) * (1 - drift) / drift)
            for name, drift in DRIFT.items()
        }
        order = np.argsort(_mixed(drawn, PANEL), kind="stable")
        return {name: each[order] for name, each in drawn.items()}

    @cached_property
    def panel(self) -> Floats:
        """Frequencies in the public panel."""
        return _mixed(self.frequencies, PANEL)

    @cached_property
    def draws(self) -> Integers:
        """Which draw decides at each variant: its own, or that of the one before."""
        linked = uniform(np.arange(COMMON), "linked") < LINKED
        return np.maximum.accumulate(np.where(linked, 0, np.arange(COMMON)))

    def dosages(self, people: Integers, ancestry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counted alleles and failed calls, of shape (people, variants)."""
        found = np.empty((len(people), COMMON), np.int8)
        failed = np.zeros((len(people), COMMON), np.bool_)
        ends = {name: (2 * p - p * p, p * p) for name, p in self.frequencies.items()}
        ends = {name: (one.astype("f4"), two.astype("f4")) for name, (one, two) in ends.items()}
        for place, (person, name) in enumerate(zip(people.tolist(), ancestry, strict=True)):
            dice = np.random.Generator(np.random.PCG64(person))
            chance = dice.random(COMMON, dtype=np.float32)[self.draws]
            one, two = ends[name]
            np.add(chance < one, chance < two, out=found[place], dtype=np.int8)
            failed[place, dice.integers(0, COMMON, FAILED)] = True
        return found, failed


def _mixed(frequencies: Mapping[str, Floats], shares: Mapping[str, float]) -> Floats:
    """Frequencies among people of several ancestries."""
    return np.average([frequencies[name] for name in shares], axis=0, weights=list(shares.values()))


ARRAY = Array()


def centres() -> str:
    """What `study.yaml` declares: twice the panel's frequencies, to two places."""
    return " ".join(f"{2 * each:.2f}".rstrip("0").rstrip(".") for each in ARRAY.panel)


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
        ancestry = one_of(people, "ancestry", ANCESTRIES)
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


def arrays_of(collection: str, size: Size) -> Iterator[pa.Table]:
    for everybody in size.people(PEOPLE):
        there = everybody[is_in(everybody, collection) & happens(everybody, "array", 0.9)]
        for start in range(0, len(there), CHIP):
            people = there[start : start + CHIP]
            dosages, failed = ARRAY.dosages(people, one_of(people, "ancestry", ANCESTRIES))
            offsets = pa.array(np.arange(0, dosages.size + 1, COMMON, dtype=np.int32))
            values = column(dosages.reshape(-1), pa.int8(), failed.reshape(-1))
            yield pa.table(
                {
                    "person": column(people, pa.int64()),
                    "failed": column(failed.sum(axis=1).astype("int16"), pa.int16()),
                    "dosages": pa.ListArray.from_arrays(offsets, values),
                }
            )


DATASETS = {
    f"{collection}/{name}": (lambda size, collection=collection, pieces=pieces: pieces(collection, size))
    for collection in COLLECTIONS
    for name, pieces in (("people", people_of), ("variants", variants_of), ("arrays", arrays_of))
}

if __name__ == "__main__":
    main(DATASETS, "Write the people, rare variants and genotypes of three collections.")
