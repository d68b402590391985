# SPDX-License-Identifier: Apache-2.0
"""The front end: it makes nothing itself, reads strictly and within bounds, and means what DuckDB means."""

from __future__ import annotations

import ast
import copy
import datetime
import sys
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.enclave.relation.attacks import ACCEPTED, ATTACKS
from tests.enclave.relation.world import NOBODY, SCHEMAS, TABLES, column, engine

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.relation import compiled, front, making, relations, terms
from sealroom.relation.compiled import compile_relation
from sealroom.relation.front import Front
from sealroom.relation.inputs import Input
from sealroom.relation.terms import INT

MADE = {"Term", "Column", "Relation", "Step", "Aggregate", "Window"}
TRUSTED = {"terms.py", "functions.py", "calculus.py", "leaves.py", "pairs.py", "making.py"}
FRONT = {path.name: ast.parse(path.read_text()) for path in Path(front.__file__).parent.glob("*.py")}
"""The modules of the front end."""


# --- it makes nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", sorted(FRONT))
def test_the_front_end_constructs_no_term_no_relation_and_no_sql(module: str) -> None:
    """DP-03: by its text. It imports what rules make for annotations alone, and reads nobody's `sql`."""
    tree = FRONT[module]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func).split(".")[-1] not in MADE, ast.unparse(node)
        if isinstance(node, ast.Attribute):
            assert node.attr not in {"sql", "safe", "body", "steps"}, ast.unparse(node)
    typing_only = [node for node in tree.body if isinstance(node, ast.If)]
    inside = {id(each) for node in typing_only for each in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in inside:
            assert not MADE & {each.name for each in node.names}, ast.unparse(node)


def test_the_front_end_changes_nothing_that_rules_made() -> None:
    """DP-03: `replace` is for its own scopes and names."""
    changed = {
        ast.unparse(node.args[0])
        for tree in FRONT.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "replace"
    }
    assert changed == {
        "scope",
        "scope.table",
        "scope.grouped",
        "scope.grouped.before",
        "made",
        "each",
        "table",
    }


def _maker() -> str:
    """The module that constructs, dataclasses' own code passed over."""
    frame = sys._getframe(2)
    while frame.f_code.co_filename.endswith("dataclasses.py") or frame.f_code.co_filename == "<string>":
        assert frame.f_back is not None
        frame = frame.f_back
    return Path(frame.f_code.co_filename).name


def test_only_the_calculus_constructs_while_queries_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """DP-03: by what happens, over the whole attack table."""
    makers: set[str] = set()
    for owner, name in ((terms, "Term"), (terms, "Column"), (terms, "Aggregate"), (terms, "Window"),
                        (relations, "Relation"), (relations, "Step")):  # fmt: skip
        made = getattr(owner, name)
        real = made.__init__

        def watched(self: object, *given: Any, real: Any = real, **named: Any) -> None:
            makers.add(_maker())
            real(self, *given, **named)

        monkeypatch.setattr(made, "__init__", watched)
    for attack in ATTACKS:
        try:
            compile_relation(attack.sql, TABLES, rows=attack.rows)
        except RecipeError:
            continue
    assert makers == TRUSTED


# --- it reads strictly --------------------------------------------------------------------------------------


def _tree(sql: str) -> dict[str, Any]:
    return copy.deepcopy(compiled.parse_sql(sql))


def _read(tree: dict[str, Any], rows: int = 9) -> str:
    return Front({table.name: table for table in TABLES}).read(tree, rows).relation.sql


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from _nodes(each)
    elif isinstance(value, list):
        for each in value:
            yield from _nodes(each)


RICH = (
    "WITH a AS (SELECT customer, n, sum(n) OVER (PARTITION BY customer ORDER BY ts) AS s FROM tx t"
    " WHERE n > 1),"
    " b AS (SELECT customer, count(*) FILTER (WHERE flag) AS f, CASE WHEN max(n) > 3 THEN 1 ELSE 2 END AS c"
    " FROM tx GROUP BY customer HAVING count(*) > 1) SELECT customer, n, s, f, coalesce(c, -c) AS c FROM a"
    " JOIN b"
    " USING (customer) LEFT JOIN (VALUES (1, 'x')) v(k, l) ON k = n AND f BETWEEN 1 AND 9 AND l IN ('x', 'y')"
)


def _typed(tree: Any) -> list[dict[str, Any]]:
    # An empty ORDER BY of an aggregate is a node, too, and says nothing.
    return [each for each in _nodes(tree) if "type" in each and each["type"] != "ORDER_MODIFIER"]


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("SELECT customer,\n  max(missing) AS x\nFROM tx\nGROUP BY customer", 2),
        ("WITH é AS (\n  SELECT n FROM tx\n  WHERE flag\n  GROUP BY n\n)\nSELECT n FROM é", 4),
        ("SELECT customer, n\nFROM tx\nWHERE n = 1\n  OR 'x' = n", 4),
        ("SELECT customer,\n  n,\n  rank() OVER (ORDER BY n) AS r\nFROM tx", 3),
        ("SELECT customer, count(*) AS n,\n  stddev(n) AS s\nFROM tx\nGROUP BY customer", 2),
        ("SELECT customer, abs(n) + 1 AS n\nFROM tx\nJOIN nowhere USING (customer)", 3),
        ("SELECT customer, n\nFROM tx\n\nORDER BY n", 4),
        ("SELECT customer, n\nFROM tx\nLIMIT\n  3", 4),
    ],
)
def test_a_refusal_names_the_line_of_what_it_refuses(sql: str, line: int) -> None:
    """Its parser counts bytes, not characters."""
    with pytest.raises(RecipeError, match=rf", in line {line} of the query$"):
        compile_relation(sql, TABLES, rows=9)


def test_a_refusal_shows_columns_as_sql_writes_them_and_knows_the_clock() -> None:
    columns = (column("customer", INT, unit=True), column("Kosten (€)", INT))
    table = Input(name="tx", columns=columns, sources=TABLES[0].sources, unreadable={})
    with pytest.raises(RecipeError) as raised:
        compile_relation("SELECT x FROM tx", [table])
    assert '"Kosten (€)"' in str(raised.value.hint)
    with pytest.raises(RecipeError, match="current_date has no rule: a run reads no clock"):
        compile_relation("SELECT customer, current_date AS d FROM tx", TABLES, rows=9)


def test_a_field_that_is_not_read_is_refused_in_every_node() -> None:
    """DP-03: whatever a later DuckDB adds to any node is refused, until somebody has read what it means."""
    count = len(_typed(_tree(RICH)))
    assert _read(_tree(RICH)) and count > 40
    for place in range(count):
        tree = _tree(RICH)
        node = _typed(tree)[place]
        node["something_new"] = {"value": 1}
        with pytest.raises(RecipeError) as raised:
            _read(tree)
        assert raised.value.code == Code.RELATION_NO_RULE, node


def test_a_hint_names_the_person_s_column() -> None:
    with pytest.raises(RecipeError) as raised:
        tables = [table for table in TABLES if table.name == "tx"]
        compiled.compile_relation("SELECT DISTINCT ON (n) customer, n FROM tx", tables)
    assert raised.value.hint and "PARTITION BY customer ORDER BY" in raised.value.hint


EMPTY = "SELECT customer, CASE WHEN flag AND n > 1 THEN 1 ELSE 2 END AS c, n IN (1, 2) AS i FROM tx"


@pytest.mark.parametrize("member", ["case_checks", "children"])
def test_an_expression_of_no_terms_is_refused(member: str) -> None:
    """DP-03: written as SQL it would mean something else (a row of none) or be no SELECT."""
    found = [node for node in _nodes(_tree(EMPTY)) if node.get(member) and "class" in node]
    assert found
    for place in range(len(found)):
        tree = _tree(EMPTY)
        [node for node in _nodes(tree) if node.get(member) and "class" in node][place][member] = []
        with pytest.raises(RecipeError) as raised:
            _read(tree)
        assert raised.value.code == Code.RELATION_NO_RULE


FORMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "n", "customer", "tx", "sum", "STAR"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "class", "x"]), inner)
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ACCEPTED), st.integers(0, 10**6), FORMS)
def test_a_hostile_tree_is_refused_or_means_something_else(attack: Any, place: int, form: Any) -> None:
    """DP-03: one value of a real tree is replaced by another of any shape. What comes of it is a refusal, a
    Python error of a tree that is none, or a relation whose SQL is whole."""
    tree = _tree(attack.sql)
    nodes = list(_nodes(tree))
    node = nodes[place % len(nodes)]
    name = sorted(node)[place % len(node)] if node else ""
    node[name] = form
    try:
        sql = _read(tree, attack.rows)
    except (RecipeError, KeyError, TypeError, AttributeError, ValueError, IndexError, AssertionError):
        return
    engine({source: [] for source in SCHEMAS}, 1).run(sql)


# --- within bounds ------------------------------------------------------------------------------------------

HUGE = {
    "characters": "SELECT customer FROM tx WHERE n = 1" + " " * compiled.MAX_CHARACTERS,
    "brackets": f"SELECT customer, {'(' * 3000}n{')' * 3000} AS n FROM tx",
    "operators": f"SELECT customer, {'-' * 1}n {'+ n ' * 3000} AS n FROM tx",
    "functions": f"SELECT customer, {'abs(' * 2000}n{')' * 2000} AS n FROM tx",
    "not": f"SELECT customer FROM tx WHERE {'NOT ' * 3000} flag",
    "subqueries": f"{'SELECT * FROM (' * 300}SELECT customer FROM tx{')' * 300}",
    "joins": "SELECT count(*) FROM tx " + "SEMI JOIN pt USING (customer) " * 600,
    "steps": "WITH a0 AS (FROM tx SELECT *), "
    + ", ".join(f"a{n + 1} AS (FROM a{n} SELECT *)" for n in range(299))
    + " SELECT * FROM a299",
    "aliases": "SELECT customer, n + n AS a0, " + ", ".join(f"a{n} + a{n} AS a{n + 1}" for n in range(60))
    + " FROM tx",
    "ctes": "WITH a0 AS (SELECT customer, n FROM tx), " + ", ".join(
        f"a{n + 1} AS (FROM a{n} SELECT customer, n UNION ALL FROM a{n} SELECT customer, n)"
        for n in range(40)
    ) + " SELECT * FROM a40",
    "between": "SELECT customer FROM tx WHERE " + "(" * 80 + "n" + " BETWEEN 1 AND 2)" * 80,
    "values": "SELECT customer FROM tx JOIN (VALUES " + ", ".join(["(1)"] * 4900) + ") v(k) ON k = n",
    "tries": f"SELECT customer, {'TRY(1 / ' * 90}x{')' * 90} AS x FROM tx",
    "case": "SELECT customer, " + "CASE WHEN flag THEN " * 200 + "1" + " END" * 200 + " AS c FROM tx",
}  # fmt: skip


@pytest.mark.parametrize("name", HUGE)
def test_a_query_without_bounds_is_refused_or_small(name: str) -> None:
    """OU-02, OU-06: depth, length, steps and what aliases multiply are bounded; nothing is exhausted."""
    try:
        relation = compile_relation(HUGE[name], TABLES, rows=9)
    except RecipeError as refusal:
        assert refusal.code in (
            Code.RELATION_TOO_LARGE, Code.RELATION_SYNTAX, Code.RELATION_TYPE, Code.RELATION_NO_UNIT,
        )  # fmt: skip
    else:
        assert len(relation.sql) <= making.MAX_WRITTEN * 2
        engine(NOBODY, 1).run(relation.sql)


@pytest.mark.parametrize(
    "sql, says",
    [
        ("SELECT customer\nFROM tx\nGRUOP BY customer", 'line 3 of the query: syntax error at or near "BY"'),
        ("SELECT 'é\né' AS x,\nFROM FROM tx", "line 3 of the query"),
        ("SELECT", "cannot read the query"),
        ("DROP TABLE tx", "not one query that reads"),
    ],
)
def test_a_mistake_of_syntax_is_told_with_its_line(sql: str, says: str) -> None:
    with pytest.raises(RecipeError) as raised:
        compile_relation(sql, TABLES, rows=1)
    assert raised.value.code == Code.RELATION_SYNTAX
    assert says in raised.value.message and "one SELECT" in (raised.value.hint or "")


WORDS = Path(__file__).with_name("words.txt").read_text().split()


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    try:
        compile_relation(text, TABLES, rows=3)
    except RecipeError as refusal:
        assert str(refusal.code).startswith("relation-") and refusal.hint


def test_the_compiled_bytes_are_the_same_each_time() -> None:
    """A pure function: owners, researchers and the enclave see one text."""
    for attack in ACCEPTED:
        first, second = (compile_relation(attack.sql, TABLES, rows=attack.rows) for _ in range(2))
        assert first == second


def test_no_byte_of_the_query_is_copied() -> None:
    """DP-03: names are made up, constants are written anew, comments are gone."""
    relation = compile_relation(
        "SELECT customer AS wer, max(n) /* c'est */ AS höchst -- ende\n"
        "FROM tx AS tab WHERE note = 'o''k' GROUP BY 1",
        TABLES,
    )
    for word in ("wer", "höchst", "tab ", "ende", "c'est", "max(n)"):
        assert word not in relation.sql
    assert "'o''k'::VARCHAR" in relation.sql
    assert [each.name for each in relation.columns] == ["wer", "höchst"]


# --- it means what DuckDB means -----------------------------------------------------------------------------

ROWS = [
    (person, Decimal(amount) / 100, datetime.datetime(2024, month, day, hour), country, flag, n, x, note)
    for number, (person, amount, month, day, hour, country, flag, n, x, note) in enumerate(
        (f"p{i % 7}", 137 * i % 5000, 1 + i % 12, 1 + i % 28, i % 24, "DEFRXX"[i % 3 * 2 :][:2], i % 5 < 2,
         i * 17 % 101, i / 8, f"n-{i % 4}")
        for i in range(90)
    )
]  # fmt: skip
PEOPLE = [(f"p{i}", datetime.date(1950 + i, 1, 2), "mf"[i % 2], i * 3) for i in range(0, 9, 2)]
SAME = Path(__file__).with_name("benign.txt").read_text().splitlines()
"""Queries whose result is the same in plain DuckDB."""


def _plain(value: Any) -> Any:
    return round(float(value), 9) if isinstance(value, float | Decimal) else value


@pytest.mark.parametrize("sql", SAME)
def test_benign_data_gives_what_duckdb_gives(sql: str) -> None:
    """The same rows as the researcher's own text in plain DuckDB, and the same names."""
    # One row a person in `pt`: said in SQL, as a join needs it.
    sql = sql.replace("JOIN pt AS", "JOIN (SELECT customer, max(k) AS k FROM pt GROUP BY customer) AS")
    sql = sql.replace(
        "LEFT JOIN pt USING", "LEFT JOIN (SELECT customer, max(k) AS k FROM pt GROUP BY 1) USING"
    )
    relation = compile_relation(sql, TABLES, rows=100)
    of = {**NOBODY, "a/tx": ROWS[:40], "b/tx": ROWS[40:], "a/pt": PEOPLE}
    ours = engine(of, 1).run(relation.sql)
    on = duckdb.connect(":memory:")
    on.execute(
        "CREATE TABLE tx (customer VARCHAR, amount DECIMAL(18, 2), ts TIMESTAMP, country VARCHAR, flag BOOL,"
        " n BIGINT, x DOUBLE, note VARCHAR, owner VARCHAR)"
    )
    on.execute("CREATE TABLE pt (customer VARCHAR, born DATE, sex VARCHAR, k BIGINT)")
    owned = [(*row, "a" if place < 40 else "b") for place, row in enumerate(ROWS)]
    on.executemany("INSERT INTO tx VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", owned)
    on.executemany("INSERT INTO pt VALUES (?, ?, ?, ?)", PEOPLE)
    theirs = on.sql(sql)
    assert [each.name for each in relation.columns] == theirs.columns
    got = Counter(tuple(map(_plain, row)) for row in zip(*(c.to_pylist() for c in ours.columns), strict=True))
    assert got == Counter(tuple(map(_plain, row)) for row in theirs.fetchall())


def test_names_in_any_script() -> None:
    given = Input(
        name="daten",
        columns=(column("Person Nr", INT, unit=True), column('Größe "cm"', INT), column("体重", INT)),
        sources=(("a/d", "a"),),
        unreadable={},
    )
    relation = compile_relation(
        'SELECT d."person nr", max(d."größe ""cm""") AS "größte Größe", min("体重") AS 最小'
        " FROM Daten AS d GROUP BY 1",
        [given],
    )
    assert [each.name for each in relation.columns] == ["person nr", "größte Größe", "最小"]
    assert relation.reads == {"daten": ("Person Nr", 'Größe "cm"', "体重")}


def test_the_result_says_type_nullability_and_rows() -> None:
    relation = compile_relation(
        "SELECT customer, count(*) AS c, sum(amount) AS s, coalesce(max(n), 0) AS m, avg(n) AS a"
        " FROM tx GROUP BY 1",
        TABLES,
    )
    shown = [(each.name, str(each.type), each.nullable, each.unit) for each in relation.columns]
    assert shown == [
        ("customer", "text of at most 4096 characters", False, True),
        ("c", "whole number (64 bits)", False, False),
        ("s", "decimal(18, 2)", True, False),
        ("m", "whole number (64 bits)", False, False),
        ("a", "binary fraction (64 bits)", True, False),
    ]
    assert relation.rows == 1


def test_every_kind_of_node_that_is_written_is_read_back() -> None:
    """The table of functions and the check before a run do not drift apart."""
    on = engine(NOBODY, 1)
    for attack in ACCEPTED:
        on.check(compile_relation(attack.sql, TABLES, rows=attack.rows).sql)
