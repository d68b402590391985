# SPDX-License-Identifier: Apache-2.0
"""What a relation may take of memory: foretold from public numbers, and enough."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.bench.relation import QUERY
from tests.enclave.relation.world import TABLES, TEXT, column, in_memory

from sealroom.relation.compiled import BASE_BYTES, compile_relation
from sealroom.relation.engine import Engine
from sealroom.relation.inputs import Input
from sealroom.relation.terms import BOOL, INT, TIMESTAMP, decimal_type, text_type

ROWS = 300_000
SLACK_BYTES = 16 * 2**20
"""Beside what is foretold, in place of what is foretold for DuckDB itself."""
T = Input(
    name="t",
    columns=(column("p", INT, unit=True), column("a", INT), column("b", INT), column("s", TEXT, "text")),
    sources=(("a/t", "a"),),
    unreadable={},
)
KEEPING = {
    "count": "SELECT p, count(*) AS x FROM t GROUP BY p",
    "sums": "SELECT p, sum(a) AS x, count(*) AS y, max(b) AS z, avg(a) AS w, count_if(a > 1) AS v FROM t"
    " GROUP BY p",
    "texts": "SELECT p, max(s) AS x FROM t GROUP BY p",
    "distinct": "SELECT p, count(DISTINCT s) AS x, count(DISTINCT b) AS y FROM t GROUP BY p",
    "median": "SELECT p, median(b) AS x FROM t GROUP BY p",
    "max_by": "SELECT p, max_by(s, a) AS x FROM t GROUP BY p",
    "first": "SELECT p, first(a ORDER BY b) AS x FROM t GROUP BY p",
    "two groups": "SELECT p, max(x) AS x FROM (SELECT p, s, count(*) AS x FROM t GROUP BY p, s) GROUP BY p",
    "window": "SELECT p, max(x) AS x FROM (SELECT p, a - lag(a) OVER (PARTITION BY p ORDER BY b) AS x FROM t)"
    " GROUP BY p",
    "list": "SELECT p, list(a) AS x FROM (SELECT p, a FROM t QUALIFY row_number() OVER (PARTITION BY p"
    " ORDER BY b) <= 4) GROUP BY p",
    "join": "WITH x AS (SELECT p, sum(a) AS a FROM t GROUP BY p), y AS (SELECT p, max(b) AS b FROM t GROUP BY"
    " p) SELECT p, a, b FROM x JOIN y USING (p)",
    "join of many": "WITH x AS (SELECT p, sum(a) AS m FROM t GROUP BY p)"
    " SELECT p, max(a - m) AS a FROM t JOIN x USING (p) GROUP BY p",
    "union": "SELECT p, max(a) AS x FROM (SELECT p, a FROM t UNION ALL SELECT p, b FROM t) GROUP BY p",
    "one step twice": "WITH x AS (SELECT p, a, b FROM t QUALIFY row_number() OVER (PARTITION BY p ORDER BY b)"
    " <= 3) SELECT p, max(a) AS x FROM (SELECT p, a FROM x UNION ALL SELECT p, b FROM x) GROUP BY p",
    "first rows": "SELECT p, a FROM t QUALIFY row_number() OVER (PARTITION BY p ORDER BY a) <= 1",
}
"""SQL whose steps keep rows, each in its own way."""


@cache
def table(people: int) -> int:
    """A file of this many people: with one row each, or with many."""
    random = np.random.default_rng(people)
    person = random.permutation(ROWS) % people
    return in_memory(
        _parquet(
            p=person,
            a=random.integers(0, 10**6, ROWS),
            b=random.integers(0, 10**6, ROWS),
            s=[f"code {code:04}" for code in random.integers(0, 1000, ROWS)],
        )
    )


def _parquet(**columns: object) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream, compression="zstd", row_group_size=20_000)
    return stream.getvalue()


@pytest.mark.parametrize("query", KEEPING)
def test_what_is_foretold_is_enough(query: str) -> None:
    """DP-06, OU-06: DuckDB computes within it, with many people and few, with one thread and four."""
    relation = compile_relation(KEEPING[query], [T])
    for people in (ROWS, ROWS // 100):
        for threads in (1, 4):
            needed = relation.memory({"a/t": ROWS}, people=people, threads=threads)
            needed -= relation.result({"a/t": ROWS}, people=people)
            engine = Engine(
                {"a/t": [table(people)]}, threads=threads, memory_bytes=needed - BASE_BYTES + SLACK_BYTES
            )
            assert len(engine.run(relation.sql)) == people
            engine.close()


def test_the_estimate_follows_from_public_numbers_alone() -> None:
    """DP-06: rows of each dataset, and how many people the recipe says that there are."""
    relation = compile_relation("SELECT customer, sum(n) AS s FROM tx GROUP BY customer", TABLES)

    def estimate(rows: int, people: int | None = None, threads: int = 1) -> int:
        return relation.memory({"a/tx": rows, "b/tx": rows}, people=people, threads=threads)

    assert estimate(1000) < 300 * 2**20 < estimate(10_000_000)
    assert estimate(10_000_000) == estimate(10_000_000, 20_000_000) == estimate(10_000_000, 10**10)
    assert estimate(10**9, 1000) < 300 * 2**20 < estimate(10**9, 10_000_000)
    assert estimate(10**9, 10_000_000, threads=4) > estimate(10**9, 10_000_000)
    assert estimate(1000, threads=4) == estimate(1000)  # no group is twice where no person has two rows


def test_the_estimate_of_many_rows_is_near_what_they_took() -> None:
    """The bench's query: 78 million rows of 1.6 million people took 1.6 to 2.7 GB, and not what as
    many people as rows might; 5.8 million took 0.4."""
    columns = (
        column("customer", INT, unit=True), column("amount", decimal_type(2)), column("ts", TIMESTAMP),
        column("country", text_type(2), "labels"), column("flag", BOOL),
    )  # fmt: skip
    sources = tuple((f"bank-{bank}/tx", f"bank-{bank}") for bank in range(6))
    relation = compile_relation(QUERY, [Input(name="tx", columns=columns, sources=sources, unreadable={})])

    def estimate(rows: int, people: int | None) -> int:
        return relation.memory({path: rows // 6 for path, _ in sources}, people=people, threads=2)

    assert 2.7e9 < estimate(78_000_000, 2_000_000) < 9e9
    assert 0.4e9 < estimate(5_800_000, 150_000) < 1.2e9
    assert estimate(78_000_000, None) > 2 * estimate(78_000_000, 2_000_000)


@pytest.mark.parametrize("letter", ["x", "\N{MUSICAL SYMBOL G CLEF}"])
def test_a_text_that_is_bounded_fits_the_memory_that_was_asked_for(letter: str) -> None:
    """OU-06, DP-11: the longest texts, however small the file, take no more than the estimate."""
    count = 50_000
    table = pa.table(
        {
            "p": [f"{number}" for number in range(count)],
            "x": [f"{number:05}".ljust(2000, letter) for number in range(count)],
        }
    )
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", row_group_size=2000)
    given = Input(
        name="t",
        columns=(column("p", TEXT, "text", unit=True), column("x", TEXT, "text")),
        sources=(("a/t", "a"),),
        unreadable={},
    )
    relation = compile_relation("SELECT p, max(left(x, 1500)) AS x FROM t GROUP BY p", [given])
    needed = relation.memory({"a/t": count})
    file = in_memory(stream.getvalue())
    assert needed > len(stream.getvalue()) and needed > count * 1500 * len(letter.encode())
    assert len(Engine({"a/t": [file]}, memory_bytes=needed).run(relation.sql)) == count
