# SPDX-License-Identifier: Apache-2.0
"""Made-up people for the files of a study, in pieces that fit into memory.

Whatever is a person's own (age, illness, habits) is a function of the person's number and a word: `uniform`
and `normal` mix both. So two owners who know the same person agree on it, pieces need not know of each other,
and a machine makes the same files each time. Nothing here is random in any deeper sense, and nobody's data
is in it.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sealroom.files import PUBLIC, atomic_output

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
PIECE = 1_000_000
"""Rows that are made at once, about."""
_STEP = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Size:
    """How much is made."""

    scale: float
    """1 is the study's full size."""
    seed: int

    def of(self, full: int) -> int:
        """So many of what are `full` at full size."""
        return max(1, round(full * self.scale))

    def people(self, full: int, what: str = "") -> Iterator[Integers]:
        """The numbers of all persons, in pieces. Another seed or word makes other persons."""
        base = int.from_bytes(hashlib.sha256(f"{self.seed}/{what}".encode()).digest()[:4], "big") << 28
        count = self.of(full)
        for start in range(0, count, PIECE):
            yield np.arange(base + start + 1, base + min(start + PIECE, count) + 1, dtype=np.int64)


def uniform(numbers: Integers, what: str) -> Floats:
    """For each number one between 0 and 1, the same for the same number and word (splitmix64)."""
    word = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big")
    with np.errstate(over="ignore"):
        mixed = numbers.astype(np.uint64) * _STEP + np.uint64(word)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) / 2.0**53


def normal(numbers: Integers, what: str) -> Floats:
    """For each number one of the standard normal distribution (Box and Muller)."""
    radius = np.sqrt(-2 * np.log(uniform(numbers, what + "/radius")))
    found: Floats = radius * np.cos(2 * np.pi * uniform(numbers, what + "/angle"))
    return found


def happens(numbers: Integers, what: str, chance: Floats | float) -> npt.NDArray[np.bool_]:
    """For each number whether something of this chance happens."""
    found: npt.NDArray[np.bool_] = uniform(numbers, what) < chance
    return found


def one_of(numbers: Integers, what: str, shares: Mapping[str, float]) -> npt.NDArray[Any]:
    """For each number one of the labels, as often as its share says."""
    ends = np.cumsum(list(shares.values()))
    place = np.searchsorted(ends / ends[-1], uniform(numbers, what), side="right")
    return np.array(list(shares), dtype=object)[np.minimum(place, len(shares) - 1)]


def logistic(score: Floats) -> Floats:
    """The chance that a score in log odds stands for."""
    found: Floats = 1 / (1 + np.exp(-score))
    return found


def column(
    values: npt.NDArray[Any], kind: pa.DataType, unknown: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """A column of a type; null where `unknown`."""
    if pa.types.is_decimal(kind):
        units = np.round(values.astype(np.float64) * 10**kind.scale).astype(np.int64)
        return _decimals(units, kind, unknown)
    return pa.array(values, type=kind, mask=unknown)


def _decimals(units: Integers, kind: pa.DataType, unknown: npt.NDArray[np.bool_] | None) -> pa.Array:
    """Decimals from their units: 128 bits each, little-endian, in two's complement."""
    halves = np.empty((len(units), 2), dtype="<i8")
    halves[:, 0], halves[:, 1] = units, units >> 63
    valid = None if unknown is None else pa.array(~unknown).buffers()[1]
    return pa.Array.from_buffers(kind, len(units), [valid, pa.py_buffer(halves)])


Pieces = Callable[[Size], Iterator[pa.Table]]
"""The rows of a dataset, piece by piece."""


def write(folder: Path, datasets: Mapping[str, Pieces], size: Size) -> dict[str, int]:
    """Write `OWNER/NAME.parquet` for each dataset, by `OWNER/NAME`; gives the rows of each."""
    rows: dict[str, int] = {}
    for name, pieces in datasets.items():
        target = folder / f"{name}.parquet"
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_output(target, mode=PUBLIC, replace=True) as stream:
            writer = None
            for piece in pieces(size):
                if writer is None:
                    writer = pq.ParquetWriter(stream, piece.schema, compression="zstd")
                writer.write_table(piece)
                rows[name] = rows.get(name, 0) + piece.num_rows
            if writer is None:
                raise ValueError(f"{name} has no rows")
            writer.close()
    return rows


def main(datasets: Mapping[str, Pieces], what: str) -> None:
    """The command of a `cohort.py`: `--out FOLDER [--scale S] [--seed N]`."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--out", type=Path, required=True, help="folder for OWNER/NAME.parquet")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is the full size")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for name, rows in write(given.out, datasets, Size(given.scale, given.seed)).items():
        print(f"{given.out / name}.parquet  {rows:,} rows")
