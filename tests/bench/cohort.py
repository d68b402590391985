# SPDX-License-Identifier: Apache-2.0
"""Writes the Parquet file that the benchmarks of sealing use: people of a cohort, the same for each run.

python -m tests.bench.cohort FILE [MILLIONS OF ROWS]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MILLIONS = 5.8
"""Rows, in millions: 1.2 GB."""
ROWS_PER_GROUP = 1_000_000
MEASURES = 24
"""Columns of measured values. They are noise to the last bit, so Snappy makes nothing of them."""


def write(path: Path, millions: float = MILLIONS) -> None:
    """Write the file, one row group after another."""
    left, first, draw = round(millions * 1e6), 0, np.random.default_rng(7)
    writer = None
    while left > 0:
        rows = min(left, ROWS_PER_GROUP)
        table = _rows(draw, first, rows)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
        first, left = first + rows, left - rows
    if writer is not None:
        writer.close()


def _rows(draw: np.random.Generator, first: int, rows: int) -> pa.Table:
    columns: dict[str, pa.Array] = {"person": pa.array(np.arange(first, first + rows))}
    columns |= {f"measure_{number:02}": pa.array(draw.normal(size=rows)) for number in range(MEASURES)}
    columns["visits"] = pa.array(draw.integers(0, 5000, rows))
    columns["smoker"] = pa.array(draw.random(rows) < 0.3)
    for name, labels in {
        "sex": ["F", "M"],
        "site": [f"site-{number:03}" for number in range(200)],
        "drug": [f"drug {number}" for number in range(3000)],
    }.items():
        columns[name] = pa.array(np.array(labels, dtype=object)[draw.integers(0, len(labels), rows)])
    return pa.table(columns)


if __name__ == "__main__":
    write(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else MILLIONS)
