# SPDX-License-Identifier: Apache-2.0
"""Reads of a table through the sealed file and of the plain file, in turns, within one process.

python -m tests.bench.sealing_reads PLAIN SEALED ROUNDS warm|cold

prints rows of the table of `tests.bench.sealing`. If cold, what is read is not in the system's cache.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from tests.bench.sealing_process import DATA_KEY

from sealroom.sealed import SealedFile, inspect, open_sealed

TWO = ["measure_02", "measure_11"]
"""Two columns that do not lie beside one another."""
QUERY = "select sex, count(*), sum(measure_00), avg(measure_11) from t group by sex"
FULL = "select count(columns(*)), max(columns(*)) from t"
"""Reads every cell."""


def drop(path: Path) -> None:
    """Bring all to the disk, and have the kernel forget this file's pages."""
    os.sync()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def main(plain: Path, sealed: Path, rounds: int, *, cold: bool) -> None:
    info = inspect(sealed)  # in place of the chain, which tells a reader what is registered

    def opened() -> SealedFile:
        return open_sealed(
            sealed,
            dek=DATA_KEY,
            header_digest=info.header_digest,
            index_digest=info.index_digest,
            key_commitment=info.index.key_commitment,
        )

    def sealed_columns(columns: list[str] | None) -> None:
        with opened() as file:
            file.to_arrow(columns)

    def sealed_scan() -> None:
        with opened() as file:
            for _ in file.scan().to_batches():
                pass

    def sealed_query(query: str) -> None:
        with opened() as file, duckdb.connect() as connection:
            t = file.to_duckdb(connection)
            t.query("t", query).fetchall()

    def plain_scan() -> None:
        for _ in ds.dataset(plain).to_batches():
            pass

    def plain_query(query: str) -> None:
        with duckdb.connect() as connection:
            connection.from_arrow(ds.dataset(plain)).query("t", query).fetchall()

    reads: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        (
            "2 of 30 columns, pyarrow",
            lambda: pq.read_table(plain, columns=TWO),
            lambda: sealed_columns(TWO),
        ),
        ("all columns in memory, pyarrow", lambda: pq.read_table(plain), lambda: sealed_columns(None)),
        ("full scan, pyarrow.dataset", plain_scan, sealed_scan),
        ("group by over 3 columns, DuckDB on Arrow", lambda: plain_query(QUERY), lambda: sealed_query(QUERY)),
        ("full scan, DuckDB on Arrow", lambda: plain_query(FULL), lambda: sealed_query(FULL)),
    ]
    for name, read_plain, read_sealed in reads:
        _row(name, {plain: read_plain, sealed: read_sealed}, rounds, cold=cold)
    if cold:
        return
    metadata = pq.ParquetFile(plain).metadata
    needed = sum(
        metadata.row_group(group).column(place).total_compressed_size
        for group in range(metadata.num_row_groups)
        for place in range(metadata.num_columns)
        if metadata.row_group(group).column(place).path_in_schema in TWO
    )
    with opened() as file:
        file.to_arrow(TWO)
        decrypted = file.parts_opened * file.info.header.part_size
    print(
        f"| decrypted for 2 of 30 columns | {needed / 1e6:.0f} MB needed | {decrypted / 1e6:.0f} MB | ",
        end="",
    )
    print(f"{decrypted / needed:.2f} | |")


def _row(name: str, acts: dict[Path, Callable[[], object]], rounds: int, *, cold: bool) -> None:
    """Time both acts, each on its file."""
    taken: list[tuple[float, float, float, float]] = []
    for number in range(rounds + 1):
        values = []
        for path, act in acts.items():
            if cold:
                drop(path)
            wall, cpu = time.perf_counter(), time.process_time()
            act()
            values += [time.perf_counter() - wall, time.process_time() - cpu]
        if number:  # the first fills caches
            taken.append((values[0], values[1], values[2], values[3]))
    ratio = statistics.median(after / before for before, _, after, _ in taken)
    work = statistics.median(after / before for _, before, _, after in taken)
    plain_wall, sealed_wall = (statistics.median(each[place] for each in taken) for place in (0, 2))
    print(f"| {name} | {plain_wall:.3f} s | {sealed_wall:.3f} s | {ratio:.2f} | {work:.2f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), cold=sys.argv[4] == "cold")
