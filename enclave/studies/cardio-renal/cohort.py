# SPDX-License-Identifier: Apache-2.0
"""Make the four hospitals' files of the demonstration study from real, public data.

The 7,874 people are those of the flchain study of Olmsted County, Minnesota (Dispenzieri et al., Mayo Clinic
Proceedings 2012; Kyle et al., New England Journal of Medicine 2006). `.ci/setup` reads their table out of the
package scikit-survival; that package is under the GPL and is not installed. Creatinine is missing for 1,350
people, and stays missing. Who goes to which hospital is drawn by a hash of the person's number, so that every
machine makes the same four files::

    python enclave/studies/cardio-renal/cohort.py --out homes/

With a scale, it makes a larger cohort up instead: 1.6 million people at scale 1, of the same columns and
about the same distributions, of whom one in eight is known to two hospitals::

    python enclave/studies/cardio-renal/cohort.py --out homes/ --scale 0.1
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from sealroom.files import PUBLIC, atomic_output
from sealroom_agents.fullsize.made_up import Size, column, happens, normal, one_of, uniform, write

SOURCE = Path(sys.prefix) / "share" / "sealroom" / "flchain.arff"
"""Where `.ci/setup` puts the table."""
SOURCE_SHA256 = "bf2600ec437dd19071f73bdad82de681780457d1141ec36ed551b0026e6e5773"

SHARES = {"A": 35, "B": 28, "C": 22, "D": 15}
"""Percent of the people in each hospital."""


def load(source: Path = SOURCE) -> pa.Table:
    """All people as plain Arrow columns; creatinine in mg/dL is null where unknown, futime is in days."""
    if not source.is_file():
        raise SystemExit(f"error: {source} is not there\nhint: run .ci/setup, which fetches it")
    content = source.read_bytes()
    if hashlib.sha256(content).hexdigest() != SOURCE_SHA256:
        raise SystemExit(f"error: {source} is not the expected table\nhint: remove it, and run .ci/setup")
    head, _, body = content.decode("ascii").partition("@data\n")
    names = [line.split()[1] for line in head.splitlines() if line.startswith("@attribute")]
    rows = list(csv.DictReader(body.splitlines(), names))

    def reals(name: str) -> pa.Array:
        return pa.array([None if row[name] == "?" else float(row[name]) for row in rows], type=pa.float64())

    return pa.table(
        {
            "person_id": pa.array(range(1, len(rows) + 1), type=pa.int64()),
            "age": reals("age"),
            "sex": pa.array([row["sex"] for row in rows], type=pa.string()),
            "creatinine": reals("creatinine"),
            "kappa": reals("kappa"),
            "lambda_": reals("lambda"),
            "flc_grp": pa.array([int(row["flc.grp"]) for row in rows], type=pa.int64()),
            "mgus": pa.array([row["mgus"] == "yes" for row in rows], type=pa.bool_()),
            "futime": reals("futime"),
            "death": pa.array([row["death"] == "dead" for row in rows], type=pa.bool_()),
        }
    )


def hospital(person: int) -> str:
    """The letter of the hospital that this person goes to."""
    draw = int.from_bytes(hashlib.sha256(b"cardio-renal/%d" % person).digest()[:8], "big") % 100
    for letter, share in SHARES.items():
        if draw < share:
            return letter
        draw -= share
    raise ValueError("the shares do not sum to 100")


def split(people: pa.Table) -> dict[str, pa.Table]:
    """The people of each hospital."""
    letters = [hospital(person) for person in people["person_id"].to_pylist()]
    return {letter: people.filter(pa.array([each == letter for each in letters])) for letter in SHARES}


PEOPLE = 1_600_000
"""People at scale 1."""
TWICE = 0.13
"""Share of people whom a second hospital knows, too."""
DAYS = 5200
"""Longest observation."""


def made_up(letter: str, size: Size) -> Iterator[pa.Table]:
    """People of one hospital. Light chains rise with age and creatinine, and with both the risk of death."""
    for everybody in size.people(PEOPLE):
        here = one_of(everybody, "hospital", SHARES) == letter
        here |= happens(everybody, "twice", TWICE) & (one_of(everybody, "second hospital", SHARES) == letter)
        people = everybody[here]
        age = np.minimum(50 + 16 * (-np.log(uniform(people, "age"))) ** 0.9, 101).round()
        male = happens(people, "male", 0.45)
        kidney = 0.006 * (age - 64) + 0.2 * male + 0.25 * normal(people, "kidney")
        creatinine = 0.95 * np.exp(kidney)
        chains = np.exp(0.25 + 0.012 * (age - 64) + 0.6 * kidney + 0.35 * normal(people, "chains"))
        part = np.clip(0.47 + 0.06 * normal(people, "kappa"), 0.1, 0.9)
        rate = 4.5e-5 * np.exp(0.095 * (age - 64) + 0.25 * male + 0.16 * (chains - 1.5))
        died = -np.log(uniform(people, "death")) / rate
        left = DAYS * (0.55 + 0.45 * uniform(people, "left"))
        yield pa.table(
            {
                "person_id": column(people, pa.int64()),
                "age": column(age, pa.float64()),
                "sex": column(np.where(male, "M", "F").astype(object), pa.string()),
                "creatinine": column(
                    creatinine.round(1), pa.float64(), happens(people, "no creatinine", 0.17)
                ),
                "kappa": column((chains * part).round(3), pa.float64()),
                "lambda_": column((chains * (1 - part)).round(3), pa.float64()),
                "flc_grp": column(np.clip(chains * 3, 1, 10).astype(np.int64), pa.int64()),
                "mgus": column(happens(people, "mgus", 0.015), pa.bool_()),
                "futime": column(np.minimum(died, left).round(), pa.float64()),
                "death": column(died < left, pa.bool_()),
            }
        )


DATASETS = {
    f"hospital-{letter}/cohort-{letter}": (lambda size, letter=letter: made_up(letter, size))
    for letter in SHARES
}
"""What is made up, by owner and name."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the four hospitals' files.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    parser.add_argument("--scale", type=float, help="make so much up; 1 is 1.6 million people")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    folder: Path = given.out
    folder.mkdir(parents=True, exist_ok=True)
    if given.scale is not None:
        for name, rows in write(folder, DATASETS, Size(given.scale, given.seed)).items():
            print(f"{folder / name}.parquet  {rows:,} people")
        return
    for letter, table in split(load()).items():
        target = folder / f"cohort-{letter}.parquet"
        with atomic_output(target, mode=PUBLIC, replace=True) as stream:
            pq.write_table(table, stream)
        print(f"{target}  {table.num_rows:,} people")


if __name__ == "__main__":
    main()
