# SPDX-License-Identifier: Apache-2.0
"""A recipe whose relation computes: its two members, its SQL, and the columns that its fields read."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from sealroom.codes import Code, Stage
from sealroom.encoding import canonical
from sealroom.errors import RecipeError
from sealroom.privacy.kind import Columns
from sealroom.recipe import parse, render, yamltext
from sealroom.recipe.column_use import Use, check_columns
from sealroom.recipe.tables import Schema
from sealroom.schema import Column, Integer, String

STUDY = """\
version: 2
name: visits
question: How many people come, and how old are they?
image: ghcr.io/sealroom/enclave@sha256:5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de5eedc0de
gpu: none
guarantee: by-construction
schemas:
  visits:
    unit: person
    columns:
      person: int64
      age: float64
      sex: {type: category, values: [F, M]}
      "Größe (cm)": decimal(6, 2)
      scans: {type: list, of: int64}
  people:
    unit: id
    columns: {id: int64, born: date}
datasets:
  - {owner: hospital-A, name: visits-A, schema: visits}
  - {owner: hospital-B, name: visits-B, schema: visits}
  - {owner: hospital-B, name: people-B, schema: people}
relation:
  rows: 1
  sql: |
    -- one row a person, over both hospitals
    SELECT person, max(age) AS age, max(sex) AS sex, count(*) AS visits, avg("Größe (cm)") AS height
    FROM visits
    WHERE owner <> 'nobody'
    GROUP BY person
privacy: {adjacency: add-remove, epsilon: 1.5, delta: 0, minimum_cohort: 20, release_after_seconds: 600}
output:
  limit_bytes: 4096
  groups:
    sex: [F, M]
  fields:
    - {name: people, kind: count, by: [sex], epsilon: 0.5}
    - {name: age, kind: mean, column: age, by: [sex], lower: 0, upper: 120, decimals: 1, epsilon: 1}
"""


Change = Callable[[dict[str, Any]], object]


@cache
def by_construction() -> bytes:
    """The study's recipe."""
    with TemporaryDirectory() as folder:
        (Path(folder) / "study.yaml").write_text(STUDY)
        return render(Path(folder))


def changed(change: Change) -> bytes:
    """The recipe's bytes with a member of its section changed."""
    frame = json.loads(by_construction())
    compose = yamltext.load(frame["docker_compose_file"])
    change(compose["x-sealroom"])
    return canonical({**frame, "docker_compose_file": yamltext.dump(compose)})


def test_a_text_where_a_number_is_needed_says_how_its_owner_gives_it_a_type() -> None:
    with pytest.raises(RecipeError, match="ill, a number of the field risk, is string") as caught:
        check_columns(
            [Schema(name="scans", unit="id", columns=(Column("id", Integer(64)), Column("ill", String())))],
            [Use("the field risk", Columns(numbers=("ill",)))],
            {},
        )
    assert "sealroom images writes it with --type ill=bool" in str(caught.value.hint)


def test_a_study_with_a_relation_renders_and_reads_back() -> None:
    recipe = parse(by_construction())
    assert recipe.analysis == "" and recipe.guarantee.name == "by-construction"
    assert recipe.relation is not None and recipe.relation.rows == 1
    assert recipe.relation.sql.startswith("-- one row a person")
    assert recipe.compiled is not None and recipe.unit == "person"
    assert recipe.compiled.datasets == ("hospital-A/visits-A.tar", "hospital-B/visits-B.tar")
    assert recipe.compiled.reads == {"visits": ("person", "age", "sex", "Größe (cm)", "owner")}
    assert changed(lambda section: None) == recipe.compose


def for_people(section: dict[str, Any]) -> None:
    section["relation"] = {"rows": 1, "people": 2_000_000, "sql": section["relation"]["sql"]}


def test_how_many_people_the_memory_is_for_may_be_said_and_changes_nothing_else() -> None:
    """DP-06: whoever approves a recipe approves the number, too."""
    with_people, without = parse(changed(for_people)), parse(by_construction())
    assert with_people.relation is not None and without.relation is not None
    assert (with_people.relation.people, without.relation.people) == (2_000_000, None)
    assert with_people.compiled == without.compiled and with_people.compose != without.compose


def test_a_script_beside_a_relation_is_refused(tmp_path: Path) -> None:
    """DP-03: nobody reads a script that does not run."""
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "analysis.py").write_text("print()\n")
    with pytest.raises(RecipeError) as caught:
        render(tmp_path)
    assert caught.value.code == "recipe-analysis"


GROUPED = "SELECT person, {} AS age, max(sex) AS sex FROM visits{} GROUP BY person"


def with_sql(text: str) -> Change:
    return lambda section: section["relation"].update(sql=text + "\n")


def with_column(name: str) -> Change:
    return lambda section: section["output"]["fields"][1].update(column=name)


def ids_of_another_type(section: dict[str, Any]) -> None:
    section["schemas"]["people"]["columns"]["id"] = "string"
    with_sql(GROUPED.format("max(age)", " JOIN people ON person = id"))(section)


WRONG: dict[str, tuple[str, Change]] = {
    "two_ways_to_compute": ("recipe-unknown-field", lambda section: section.update(analysis="print()\n")),
    "no_relation": ("recipe-malformed", lambda section: section.pop("relation")),
    "another_guarantee": ("recipe-malformed", lambda section: section.update(guarantee="by-reading")),
    "no_rows": ("recipe-malformed", lambda section: section["relation"].update(rows=0)),
    "too_many_rows": ("recipe-malformed", lambda section: section["relation"].update(rows=10**6)),
    "no_people": ("recipe-malformed", lambda section: section["relation"].update(people=0)),
    "too_many_people": ("recipe-malformed", lambda section: section["relation"].update(people=10**10 + 1)),
    "more_in_it": ("recipe-unknown-field", lambda section: section["relation"].update(python="x")),
    "one_line": ("recipe-malformed", lambda section: section["relation"].update(sql="SELECT 1")),
    "no_text": ("recipe-malformed", lambda section: section["relation"].update(sql=["SELECT 1"])),
    "a_column_that_it_lacks": ("recipe-column", with_column("Age")),
    "a_column_of_a_schema_alone": ("recipe-column", with_column("born")),
    "a_text_as_a_number": ("recipe-column", with_column("sex")),
    "unit_type": ("relation-unit-type", ids_of_another_type),
}
"""What is wrong in the section: the code, and the change."""
QUERIES = {
    "too-large": GROUPED.format("max(" + "abs(" * 120 + "age" + ")" * 120 + ")", ""),
    "syntax": GROUPED.format("max(age)", "") + "; SELECT id FROM people",
    "no-rule": GROUPED.format("max(age)", " TABLESAMPLE 10%"),
    "table": "SELECT person, age, sex FROM strangers",
    "name": GROUPED.format("max(weight)", ""),
    "column-type": GROUPED.format("max(scans)", ""),
    "type": GROUPED.format("sum(sex)", ""),
    "constant": GROUPED.format("count_if(sex LIKE sex)", ""),
    "text-size": GROUPED.format(f"max(sex || '{'x' * 4096}')", ""),
    "function": GROUPED.format("max(random())", ""),
    "aggregate": GROUPED.format("mode(age)", ""),
    "inexact": GROUPED.format("avg(age)", ""),
    "list": GROUPED.format("list(age)[1]", ""),
    "window": "SELECT person, percent_rank() OVER (PARTITION BY person ORDER BY age) AS age, sex FROM visits",
    "frame": "SELECT person, sex, max(age) OVER (PARTITION BY person ORDER BY age"
    " RANGE BETWEEN 1 PRECEDING AND CURRENT ROW) AS age FROM visits",
    "key": "SELECT person, age, max(sex) AS sex FROM visits GROUP BY person, age",
    "grouping": "SELECT person, age, sex FROM visits GROUP BY person",
    "no-unit": "SELECT max(age) AS age, sex FROM visits GROUP BY sex",
    "across-people": GROUPED.format("max(age)", "") + " ORDER BY age LIMIT 1",
    "subquery": GROUPED.format("max(age)", " WHERE age > (SELECT max(age) FROM visits)"),
    "join-unit": GROUPED.format("max(age)", " JOIN people ON id > person"),
    "join-kind": GROUPED.format("max(age)", " RIGHT JOIN people ON id = person"),
    "fan-out": "SELECT person, age, sex FROM visits JOIN people ON person = id",
    "public": "SELECT * FROM (VALUES (1, 2.0, 'F')) v(person, age, sex)",
    "set": "SELECT person FROM visits EXCEPT SELECT id FROM people",
    "union": "SELECT person, age FROM visits UNION ALL SELECT id FROM people",
    "rows": "SELECT person, age, sex FROM visits",
}
"""SQL that is refused, by the code without `relation-`."""
WRONG |= {name.replace("-", "_"): (f"relation-{name}", with_sql(sql)) for name, sql in QUERIES.items()}


@pytest.mark.parametrize("case", WRONG)
def test_a_relation_that_breaks_a_rule_is_refused_by_name(case: str) -> None:
    """DP-03, OU-08."""
    code, change = WRONG[case]
    with pytest.raises(RecipeError) as caught:
        parse(changed(change))
    assert caught.value.code == code


def test_each_refusal_of_a_relation_has_a_case() -> None:
    """All but the parser's version, which no recipe decides."""
    codes = {code for code, _ in WRONG.values() if code.startswith("relation-")}
    assert codes == {code for code in Code if code.stage is Stage.RECIPE and code.startswith("relation-")} - {
        Code.RELATION_PARSER
    }
