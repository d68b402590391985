# SPDX-License-Identifier: Apache-2.0
"""Make the four hospitals' files of the demonstration study from real, public data.

The 7,874 people are those of the flchain study of Olmsted County, Minnesota (Dispenzieri et al., Mayo Clinic
Proceedings 2012; Kyle et al., New England Journal of Medicine 2006), as scikit-survival ships them.
Creatinine is missing for 1,350 of them, and stays missing. Who goes to which hospital is drawn by a hash of
the person's number, so that every machine makes the same four files::

    python enclave/studies/cardio-renal/cohort.py --out homes/
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sksurv.datasets import load_flchain

from sealroom.files import PUBLIC, atomic_output

SHARES = {"A": 35, "B": 28, "C": 22, "D": 15}
"""Percent of the people in each hospital."""


def load() -> pa.Table:
    """All people as plain Arrow columns; creatinine in mg/dL is null where unknown, futime is in days."""
    people, outcome = load_flchain()
    return pa.table(
        {
            "person_id": pa.array(np.arange(1, len(people) + 1, dtype=np.int64)),
            "age": pa.array(people["age"].to_numpy(), type=pa.float64()),
            "sex": pa.array(people["sex"].astype(str).to_list(), type=pa.string()),
            "creatinine": pa.array(people["creatinine"].to_numpy(), type=pa.float64(), from_pandas=True),
            "kappa": pa.array(people["kappa"].to_numpy(), type=pa.float64()),
            "lambda_": pa.array(people["lambda"].to_numpy(), type=pa.float64()),
            "flc_grp": pa.array(people["flc.grp"].astype(int).to_list(), type=pa.int64()),
            "mgus": pa.array((people["mgus"] == "yes").to_list(), type=pa.bool_()),
            "futime": pa.array(outcome["futime"].astype(np.float64), type=pa.float64()),
            "death": pa.array(outcome["death"].astype(bool), type=pa.bool_()),
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
