# SPDX-License-Identifier: Apache-2.0
"""Make the four hospitals' files of the demonstration study from real, public data.

The 7,874 people are those of the flchain study of Olmsted County, Minnesota (Dispenzieri et al., Mayo Clinic
Proceedings 2012; Kyle et al., New England Journal of Medicine 2006). `.ci/setup` reads their table out of the
package scikit-survival; that package is under the GPL and is not installed. Creatinine is missing for 1,350
people, and stays missing. Who goes to which hospital is drawn by a hash of the person's number, so that every
machine makes the same four files::

    python enclave/studies/cardio-renal/cohort.py --out homes/
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from sealroom.files import PUBLIC, atomic_output

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


def main() -> None:
    parser = argparse.ArgumentParser(description="Write cohort-A.parquet … cohort-D.parquet.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the four files")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for letter, table in split(load()).items():
        target = folder / f"cohort-{letter}.parquet"
        with atomic_output(target, mode=PUBLIC, replace=True) as stream:
            pq.write_table(table, stream)
        print(f"{target}  {table.num_rows:,} people")


if __name__ == "__main__":
    main()
