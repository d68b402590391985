# SPDX-License-Identifier: Apache-2.0
"""A relation over the Parquet files of six banks, beside the researcher's own text in plain DuckDB.

    python -m tests.bench relation             3 million rows
    python -m tests.bench.relation 78000000    as many as you like

Both run in processes of their own, over the same files, with the same settings of memory and threads. The
relation's result becomes columns; plain DuckDB keeps it as a table. Measured are CPU seconds and
the peak memory of each process.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROWS = 3_000_000
BANKS = 6
ROUNDS = 3
PEOPLE_SHARE = 48
"""Rows a person, about."""
THREADS = 1
MEMORY_BYTES = 4 * 2**30
QUERY = """
WITH near AS (
  SELECT customer, sum(amount) AS spent, count(*) AS n, max(amount) AS peak, count_if(flag) AS flags,
         count(DISTINCT country) AS lands
  FROM tx WHERE owner IN ('bank-0', 'bank-1', 'bank-2') GROUP BY customer
), far AS (
  SELECT customer, sum(amount) AS spent, count(*) AS n, max(ts) AS last, count_if(country = 'XX') AS odd
  FROM tx WHERE owner NOT IN ('bank-0', 'bank-1', 'bank-2') GROUP BY customer
)
SELECT customer, near.spent + far.spent AS spent, near.n + far.n AS n, peak, lands,
       date_diff('day', last, TIMESTAMP '2026-01-01 00:00:00') AS idle,
       CASE WHEN flags > 0 AND odd > 1 THEN 'risky' WHEN flags > 0 THEN 'watch' ELSE 'calm' END AS band
FROM near JOIN far USING (customer)
"""


def make(folder: Path, rows: int) -> None:
    """The files, one a bank, by DuckDB's generator."""
    import duckdb

    each = rows // BANKS
    people = max(1, rows // PEOPLE_SHARE)
    for bank in range(BANKS):
        duckdb.sql(
            f"COPY (SELECT CAST(hash(i * 7 + {bank}) % {people} AS BIGINT) * 7919 AS customer,"
            " CAST((hash(i + 1) % 5000000) / 100.0 AS DECIMAL(18, 2)) AS amount,"
            " TIMESTAMP '2025-01-01' + to_seconds(CAST(hash(i + 2) % 31000000 AS BIGINT)) AS ts,"
            " ['DE', 'FR', 'IT', 'XX'][1 + CAST(hash(i + 3) % 4 AS BIGINT)] AS country,"
            " hash(i + 4) % 50 = 0 AS flag"
            f" FROM range({bank * each}, {(bank + 1) * each}) r(i))"
            f" TO '{folder}/bank-{bank}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )


def plain(folder: Path) -> int:
    """The researcher's text in plain DuckDB; gives the number of people."""
    import duckdb

    connection = duckdb.connect(
        config={"threads": THREADS, "memory_limit": f"{MEMORY_BYTES}B", "preserve_insertion_order": False}
    )
    union = " UNION ALL ".join(
        f"SELECT *, 'bank-{bank}' AS owner FROM read_parquet('{folder}/bank-{bank}.parquet')"
        for bank in range(BANKS)
    )
    connection.execute(f"CREATE VIEW tx AS {union}")
    connection.execute(f"CREATE TEMP TABLE people AS {QUERY}").fetchall()
    ((count,),) = connection.execute("SELECT count(*) FROM people").fetchall()
    return int(count)


def compiled(folder: Path) -> int:
    """The compiled relation, with its result as columns; gives the number of people."""
    from sealroom.recipe.tables import DatasetSpec, Schema
    from sealroom.relation.compiled import compile_relation
    from sealroom.relation.engine import Engine
    from sealroom.relation.inputs import inputs_of
    from sealroom.schema import Bool, Column, Decimal, Integer, String, Timestamp

    columns = (
        Column("customer", Integer(64)),
        Column("amount", Decimal(18, 2)),
        Column("ts", Timestamp("us")),
        Column("country", String()),
        Column("flag", Bool()),
    )
    schema = Schema(name="tx", unit="customer", columns=columns)
    specs = [DatasetSpec(owner=f"bank-{bank}", name="tx", schema=schema) for bank in range(BANKS)]
    relation = compile_relation(QUERY, inputs_of([schema], specs))
    sources = {spec.path: [f"{folder}/{spec.owner}.parquet"] for spec in specs}
    return len(Engine(sources, threads=THREADS, memory_bytes=MEMORY_BYTES).run(relation.sql))


WAYS = {"plain DuckDB": plain, "relation": compiled}


def measure(way: str, folder: Path) -> dict[str, float]:
    """One way in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.relation", "--way", way, str(folder)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run(rows: int = ROWS, rounds: int = ROUNDS) -> Iterator[str]:
    """The table, line by line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, rows)
        taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                taken[way].append(measure(way, folder))
        yield f"{rows:,} rows of {BANKS} owners, {THREADS} thread\n"
        yield "| | people | CPU s | of plain | peak MB |"
        yield "|--|--|--|--|--|"
        base = statistics.median(each["cpu"] for each in taken["plain DuckDB"])
        for way, figures in taken.items():
            cpu = statistics.median(each["cpu"] for each in figures)
            peak = max(each["peak"] for each in figures)
            yield f"| {way} | {figures[0]['people']:,.0f} | {cpu:.1f} | {cpu / base:.2f} | {peak:.0f} |"


def _one(way: str, folder: Path) -> None:
    start = time.process_time()
    people = WAYS[way](folder)
    cpu = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"people": people, "cpu": cpu, "peak": peak}))


if __name__ == "__main__":
    if sys.argv[1] == "--way":
        _one(sys.argv[2], Path(sys.argv[3]))
    else:
        for line in run(int(sys.argv[1]), rounds=1):
            print(line, flush=True)
