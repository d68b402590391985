# SPDX-License-Identifier: Apache-2.0
"""A relation over the Parquet files of six banks, beside the researcher's own text in plain DuckDB.

    python -m tests.bench relation             3 million rows
    python -m tests.bench.relation 78000000    as many as you like

Each way runs in a process of its own, over the same rows. Plain DuckDB keeps its result as a table, with one
thread. The relation's result becomes columns, with one thread. A run is what an enclave does between the keys
and the signature: it opens the sealed files, computes the relation in a sealed job with its threads, and
releases six fields. Measured are CPU seconds of all processes, those of opening apart, and the most memory
that all of them hold at once: pages of their own, their part of shared ones, and the files in memory. To look
at the pages takes seconds itself, which do not count. Beside them stands the memory that a machine must have
before it may run it, which follows from the recipe and the sealed headers.
"""

from __future__ import annotations

import json
import os
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
"""Rows a person, about. The recipe says a quarter more people."""
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
    from tests.bench.sealing_process import main as seal_bench

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
        seal_bench("seal", folder / f"bank-{bank}.parquet", folder / f"bank-{bank}.tar")


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
    from sealroom.schema import Bool, Category, Column, Decimal, Integer, Timestamp

    columns = (
        Column("customer", Integer(64)),
        Column("amount", Decimal(18, 2)),
        Column("ts", Timestamp("us")),
        Column("country", Category(("DE", "FR", "IT", "XX"))),
        Column("flag", Bool()),
    )
    schema = Schema(name="tx", unit="customer", columns=columns)
    specs = [DatasetSpec(owner=f"bank-{bank}", name="tx", schema=schema) for bank in range(BANKS)]
    relation = compile_relation(QUERY, inputs_of([schema], specs))
    sources = {spec.path: [os.open(folder / f"{spec.owner}.parquet", os.O_RDONLY)] for spec in specs}
    return len(Engine(sources, threads=THREADS, memory_bytes=MEMORY_BYTES).run(relation.sql))


STUDY = """\
version: 2
name: bench
question: How do people of each band spend?
image: registry.example/sealroom/enclave@sha256:{digest}
gpu: none
guarantee: by-construction
schemas:
  tx:
    unit: customer
    columns:
      customer: int64
      amount: decimal(18, 2)
      ts: timestamp(us)
      country: {{type: category, values: [DE, FR, IT, XX]}}
      flag: bool
datasets:
{datasets}
relation:
  rows: 1
  people: {people}
  sql: |
{sql}
privacy: {{adjacency: add-remove, epsilon: 1.5, delta: 1e-6, minimum_cohort: 20, release_after_seconds: 600}}
output:
  limit_bytes: 16384
  groups: {{band: [calm, watch, risky]}}
  fields:
    - {{name: people, kind: count, by: [band]}}
    - {{name: spent, kind: mean, column: spent, by: [band], lower: 0, upper: 5000000, decimals: 0}}
    - {{name: payments, kind: mean, column: n, by: [band], lower: 0, upper: 200, decimals: 1}}
    - {{name: peak, kind: mean, column: peak, by: [band], lower: 0, upper: 50000, decimals: 0}}
    - {{name: lands, kind: mean, column: lands, by: [band], lower: 0, upper: 4, decimals: 2}}
    - {{name: idle, kind: histogram, column: idle, by: [band], edges: [0, 7, 30, 90, 365]}}
"""


def whole(folder: Path) -> dict[str, float]:
    """A run over the sealed files; gives the number of people, CPU seconds without and of opening, memory."""
    from sealroom import recipe
    from sealroom.sealed import inspect
    from sealroom_agents.fullsize.whole import run as run_whole

    (folder / "study").mkdir(exist_ok=True)
    listed = "\n".join(f"  - {{owner: bank-{bank}, name: tx, schema: tx}}" for bank in range(BANKS))
    sql = "".join(f"    {line}\n" for line in QUERY.strip().splitlines())
    rows = sum(inspect(folder / f"bank-{bank}.tar").header.rows or 0 for bank in range(BANKS))
    people = rows // PEOPLE_SHARE * 5 // 4
    text = STUDY.format(digest="0" * 64, datasets=listed, sql=sql.rstrip(), people=people)
    (folder / "study" / "study.yaml").write_text(text)
    parsed = recipe.parse(recipe.render(folder / "study"))
    ran = run_whole(parsed, {spec.path: folder / f"{spec.owner}.tar" for spec in parsed.datasets})
    return {
        "people": ran.people,
        "cpu": ran.figures.cpu - ran.opening,
        "opening": ran.opening,
        "peak": ran.figures.peak / 2**20,
        "estimate": ran.estimate / 2**20,
    }


WAYS = {"plain DuckDB": plain, "relation": compiled, "a whole run": whole}


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
        yield f"{rows:,} rows of {BANKS} owners\n"
        yield "| | people | CPU s | of plain | opening, CPU s | peak MB | admitted for, MB |"
        yield "|--|--|--|--|--|--|--|"
        base = statistics.median(each["cpu"] for each in taken["plain DuckDB"])
        for way, figures in taken.items():
            cpu = statistics.median(each["cpu"] for each in figures)
            peak = max(each["peak"] for each in figures)
            opening = statistics.median(each.get("opening", 0.0) for each in figures)
            people = f"{figures[0]['people']:,.0f}"
            estimate = f"{figures[0]['estimate']:.0f}" if "estimate" in figures[0] else ""
            times = f"{cpu:.1f} | {cpu / base:.2f} | {opening:.1f}"
            yield f"| {way} | {people} | {times} | {peak:.0f} | {estimate} |"


def _one(way: str, folder: Path) -> None:
    start = time.process_time()
    found = WAYS[way](folder)
    own = {
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "cpu": time.process_time() - start,
    }
    print(json.dumps(own | (found if isinstance(found, dict) else {"people": found})))


if __name__ == "__main__":
    if sys.argv[1] == "--way":
        _one(sys.argv[2], Path(sys.argv[3]))
    else:
        for line in run(int(sys.argv[1]), rounds=1):
            print(line, flush=True)
