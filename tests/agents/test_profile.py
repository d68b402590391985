# SPDX-License-Identifier: Apache-2.0
"""An owner sees before sealing what stands in a table, and what a study would refuse or not count."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from tests.agents.shell import forked
from tests.agents.worked import STUDY_YAML, fresh_platform, make_card, make_gate, render_recipe, write_cohort

from sealroom.errors import SealroomError
from sealroom.recipe import Recipe, parse
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.distinct import Distinct
from sealroom_agents.owner.looking import Held, Looked, look_through
from sealroom_agents.owner.needs import Needs, needs_of
from sealroom_agents.owner.profile import profile
from sealroom_agents.owner.source import look

RELATION = """\
version: 2
name: by-sql
question: How old are they?
image: ghcr.io/sealroom/enclave@sha256:1111111111111111111111111111111111111111111111111111111111111111
gpu: none
guarantee: by-construction
schemas:
  cohort:
    unit: person_id
    columns:
      {person_id: int64, age: float64, weight: "decimal(5, 1)", ward: {type: category, values: [A, B]}}
datasets:
  - {owner: hospital-A, name: cohort-A, schema: cohort}
relation:
  rows: 1
  sql: |
    SELECT person_id, age, weight * 2 AS weight
    FROM cohort
    QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY age) = 1
privacy: {adjacency: add-remove, epsilon: "1", delta: "1e-6", minimum_cohort: 20, release_after_seconds: 60}
output:
  limit_bytes: 4096
  groups: {}
  fields:
    - {name: age, kind: mean, column: age, by: [], lower: "0", upper: "120", decimals: 1}
    - {name: weight, kind: mean, column: weight, by: [], lower: "0", upper: "300", decimals: 1}
"""


def small(folder: Path) -> Recipe:
    return parse(render_recipe(folder / "small"))


def by_sql(folder: Path, text: str = RELATION) -> Recipe:
    from sealroom.recipe import render

    (folder / "sql").mkdir(exist_ok=True)
    (folder / "sql" / "study.yaml").write_text(text)
    return parse(render(folder / "sql"))


def looked(path: Path, needs: Needs | None = None, *, people: str | None = None) -> Looked:
    source = look(path, kind=None, declared=() if needs is None else needs.columns)
    return look_through(source, needs, people=people)


def column(found: Looked, name: str) -> Held:
    return next(each for each in found.columns if each.name == name)


def test_a_cohort_that_fits_is_told_with_its_people(tmp_path: Path) -> None:
    path = write_cohort(tmp_path / "cohort-A.parquet")
    needs = needs_of(small(tmp_path), owner=None, name="cohort-A")
    assert (needs.dataset, needs.table, needs.unit) == ("hospital-A/cohort-A", "cohort", "person_id")
    found = looked(path, needs)
    assert found.fits and found.rows == 200
    assert found.people is not None and (found.people.different, found.people.exact) == (200, True)
    assert [each.state for each in found.columns] == ["fits"] * 3


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str, str]] = {
    "a column that lacks": (lambda t: t.pop("age"), "age", "lacking"),
    "one too many": (lambda t: t.update(name=pa.array(["Ada"] * 4)), "name", "undeclared"),
    "another type": (lambda t: t.update(age=pa.array([1, 2, 3, 4])), "age", "other type"),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_sealing_would_refuse_is_told_with_a_remedy(what: str, tmp_path: Path) -> None:
    change, name, state = FAULTS[what]
    table = {
        "person_id": pa.array([1, 2, 3, 4]),
        "age": pa.array([1.0, 2.0, 3.0, 4.0]),
        "sex": pa.array(["F", "M", "F", "F"]),
    }
    needs = needs_of(small(tmp_path), owner="hospital-A", name="cohort-A")
    pq.write_table(pa.table(table), tmp_path / "cohort-A.parquet")
    assert looked(tmp_path / "cohort-A.parquet", needs).fits
    change(table)
    pq.write_table(pa.table(table), tmp_path / "cohort-A.parquet")
    found = looked(tmp_path / "cohort-A.parquet", needs)
    assert not found.fits
    assert [each.name for each in found.columns if each.wrong] == [name]
    held = column(found, name)
    assert held.state == state and held.remedy


def test_cells_of_a_csv_that_do_not_fit_are_told_by_line_and_the_rest_is_read(tmp_path: Path) -> None:
    """OP-04: told are line and shape."""
    needs = needs_of(small(tmp_path), owner=None, name="cohort-A")
    path = tmp_path / "cohort-A.csv"
    path.write_text("person_id,age,sex\n1,50,F\n2,sixty,M\n3,6x,F\n")
    found = looked(path, needs)
    age = column(found, "age")
    assert found.rows == 3 and not found.fits and age.state == "other cells" and age.seen is None
    assert "line 3:" in str(age.wrong) and "sixty" not in str(age.wrong)
    assert column(found, "sex").seen is not None
    path.write_text("person_id,age,sex\n1,50,F\n2,60,M\n3,6,F\n")
    assert looked(path, needs).fits


def test_values_beyond_the_bounds_of_a_field_and_labels_that_do_not_count_are_counted(tmp_path: Path) -> None:
    needs = needs_of(small(tmp_path), owner=None, name="cohort-A")
    ages = pa.array([-1.0, None, 120.0, 121.0, 130.0])
    sexes = pa.array(["F", "x", None, "M", ""])
    write_cohort(tmp_path / "t.parquet", columns={"person_id": pa.array(range(5)), "age": ages, "sex": sexes})
    found = looked(tmp_path / "t.parquet", needs)
    (outside,) = column(found, "age").outside
    assert (outside.bounds.by, outside.below, outside.above) == ("age", 1, 2)
    assert column(found, "sex").unlabelled == 2
    assert found.fits, "what is clipped or not counted is no reason to refuse"


def test_bounds_are_told_of_columns_that_sql_hands_on_and_of_no_others(tmp_path: Path) -> None:
    needs = needs_of(by_sql(tmp_path), owner=None, name="cohort-A")
    assert [each.by for each in needs.wanted["age"].bounds] == ["age"]
    assert needs.wanted["weight"].bounds == (), "the field clips twice the weight"
    assert needs.wanted["ward"].labels == ("A", "B")
    inner = (
        "    SELECT person_id, age, weight FROM (SELECT person_id, -age AS age, weight FROM cohort) AS c\n"
    )
    first = RELATION.index("    SELECT person_id, age, weight * 2")
    other = RELATION[:first] + inner + RELATION[RELATION.index("    QUALIFY") :]
    nested = needs_of(by_sql(tmp_path, other), owner=None, name="cohort-A")
    assert nested.wanted["age"].bounds == ()


def test_decimals_and_categories_of_a_csv_are_held_against_the_recipe(tmp_path: Path) -> None:
    needs = needs_of(by_sql(tmp_path), owner=None, name="cohort-A")
    path = tmp_path / "cohort-A.csv"
    path.write_text("person_id,age,weight,ward\n1,130,70.5,A\n1,40,71.0,Intensive\n2,,,B\n")
    found = looked(path, needs)
    assert found.fits and column(found, "ward").unlabelled == 1
    assert column(found, "age").outside[0].above == 1
    assert found.people is not None and found.people.different == 2
    ward = column(found, "ward").seen
    assert ward is not None and (ward.least, ward.most) == (1, 9), "lengths, and no text"


def test_no_value_of_a_person_is_printed_but_the_ends_of_numbers(tmp_path: Path) -> None:
    """OP-04: ids, texts, days, instants and clock times."""
    table = pa.table(
        {
            "id": pa.array([4711, 4712]),
            "name": pa.array(["Ada Lovelace", "Bo"]),
            "born": pa.array([date(1931, 12, 24), date(2004, 2, 29)]),
            "seen": pa.array([datetime(2020, 1, 2, 3, 4, 5), datetime(2021, 1, 2, 3, 4, 5)]),
            "at": pa.array([time(3, 14, 15), time(3, 14, 16)]),
            "cost": pa.array([Decimal("12.50"), Decimal("99.25")]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    for options in ("", " --json"):
        done = forked(f"sealroom profile t.parquet --person id{options}", tmp_path)
        assert done.returncode == 0, done.stdout
        assert not re.search("4711|4712|Ada|Bo|12-24|02-29|01-02|03:14|03:04", done.stdout), done.stdout
        assert "12.50" in done.stdout and "1931" in done.stdout and "2004" in done.stdout
    assert json.loads(done.stdout)["people"] == {"column": "id", "different": 2, "exact": True}


def test_arrow_and_folders_are_looked_through_like_parquet(tmp_path: Path) -> None:
    needs = needs_of(small(tmp_path), owner=None, name="cohort-A")
    table = pq.read_table(write_cohort(tmp_path / "parts" / "a.parquet"))
    write_cohort(tmp_path / "parts" / "b.parquet", rows=10)
    dictionary = table.set_column(2, "sex", table["sex"].dictionary_encode())
    with pa.ipc.new_file(tmp_path / "t.arrow", dictionary.schema) as writer:
        writer.write_table(dictionary, max_chunksize=7)
    for path, rows in ((tmp_path / "t.arrow", 200), (tmp_path / "parts", 210)):
        found = looked(path, needs)
        assert found.fits and found.rows == rows
        assert found.people is not None and found.people.different == 200


def test_which_table_is_meant_is_said_or_refused(tmp_path: Path) -> None:
    one = small(tmp_path)
    assert needs_of(one, owner=None, name="export").dataset is None, "all datasets are of one table"
    two = STUDY_YAML.replace(
        "datasets:",
        "  visits:\n    unit: person_id\n    columns: {person_id: int64, age: float64}\ndatasets:",
    ).replace("cohort-B, schema: cohort", "cohort-B, schema: visits")
    recipe = parse(render_recipe(tmp_path / "two", study=two))
    assert needs_of(recipe, owner=None, name="cohort-B").table == "visits"
    assert needs_of(recipe, owner="hospital-B", name="export").table == "visits"
    with pytest.raises(ToolError) as error:
        needs_of(recipe, owner=None, name="export")
    assert error.value.code == "dataset-not-in-recipe"
    assert "hospital-A/cohort-A, hospital-B/cohort-B" in str(error.value.hint)


def test_different_values_are_counted_exactly_and_beyond_that_nearly() -> None:
    few, many = Distinct(most=1_000), Distinct(most=1_000)
    for start in range(0, 800, 100):
        few.add(pa.array([*range(start, start + 200), None]))
    assert (few.count, few.exact) == (900, True)
    for start in range(0, 100_000, 5_000):
        many.add(pa.array([f"person {number}" for number in range(start, start + 7_500)]))
    assert not many.exact and abs(many.count - 102_500) < 102_500 * 0.2


def test_a_csv_without_a_study_is_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,age\n1,50\n1,\n")
    found = looked(tmp_path / "t.csv", people="id")
    assert [each.seen.type.name for each in found.columns if each.seen] == ["string", "string"]
    assert found.people is not None and found.people.different == 1


def test_the_command_reads_cards_recipes_and_folders_alike(tmp_path: Path) -> None:
    recipe = render_recipe(tmp_path / "study")
    (tmp_path / "app-compose.json").write_bytes(recipe)
    (tmp_path / "study.json").write_bytes(make_card(make_gate(fresh_platform()), recipe).encode())
    table = pq.read_table(write_cohort(tmp_path / "cohort-A.parquet"))
    pyarrow.csv.write_csv(table.drop_columns("sex"), tmp_path / "cohort-A.csv")
    for study in ("app-compose.json", "study.json", "study", "study/study.yaml"):
        done = forked(f"sealroom profile cohort-A.parquet --study {study}", tmp_path)
        assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "it fits"), done.stdout
        assert "people  200 different person_id" in done.stdout
        done = forked(f"sealroom profile cohort-A.csv --study {study} --owner hospital-A", tmp_path)
        assert done.returncode == 1 and "MISSING sex" in done.stdout, done.stdout
    renamed = table.rename_columns([f"{name}_x" for name in table.column_names])
    pq.write_table(renamed, tmp_path / "cohort-A.parquet")
    done = forked("sealroom profile cohort-A.parquet --study study.json", tmp_path)
    assert done.stdout.count("write a file with exactly") == 1, "one remedy of many columns stands once"
    assert "sealroom prepare renames" in done.stdout.splitlines()[-1]
    done = forked("sealroom seal --owner hospital-A --study study --in cohort-A.parquet 2>&1", tmp_path)
    assert done.returncode == 2 and "sealroom card writes its card" in done.stdout
    done = forked("sealroom profile cohort-A.csv --study study.json --json", tmp_path)
    told = json.loads(done.stdout)
    assert (done.returncode, told["ok"], told["dataset"]) == (1, False, "hospital-A/cohort-A")
    assert told["columns"][-1] == {
        "name": "sex",
        "need": {
            "state": "lacking", "type": "string", "wrong": "lacks sex (string)",
            "remedy": "add the column, or take it out of the schema", "outside": [], "unlabelled": 0,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    "options", ["--owner hospital-A", "--person nobody", "--study study --person age", "--name cohort-A"]
)
def test_options_that_contradict_are_a_usage_error(options: str, tmp_path: Path) -> None:
    render_recipe(tmp_path / "study")
    write_cohort(tmp_path / "cohort-A.parquet")
    assert forked(f"sealroom profile cohort-A.parquet {options}", tmp_path).returncode == 2


def test_nothing_is_left_and_nothing_written(tmp_path: Path) -> None:
    write_cohort(tmp_path / "cohort-A.parquet")
    tmp_path.chmod(0o500)
    try:
        assert forked("sealroom profile cohort-A.parquet", tmp_path).returncode == 0
        assert [path.name for path in tmp_path.iterdir()] == ["cohort-A.parquet"]
    finally:
        tmp_path.chmod(0o700)


def test_a_broken_page_is_refused_as_sealing_refuses_it(tmp_path: Path) -> None:
    path = write_cohort(tmp_path / "t.parquet")
    assert looked(path).rows == 200
    data = bytearray(path.read_bytes())
    data[10:200] = b"\xff" * 190
    path.write_bytes(data)
    with pytest.raises(SealroomError) as error:
        looked(path)
    assert error.value.code == "table-malformed"
    assert "the column person" in error.value.message


TEXTS = ["", "NA", "ä", None, "two\nlines", "ä", "x" * 300]


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("limit", [1 << 20, 40])
def test_texts_are_counted_alike_however_the_file_keeps_them(
    limit: int, version: str, tmp_path: Path
) -> None:
    """As values, as numbers of a dictionary, and as both, where its dictionary became too large."""
    table = pa.table({"t": TEXTS * 50, "u": [*map(str, range(len(TEXTS) * 50))]})
    found = []
    for dictionary in (False, True):
        path = tmp_path / f"{dictionary}.parquet"
        pq.write_table(
            table, path, use_dictionary=dictionary, dictionary_pagesize_limit=limit, write_batch_size=20,
            data_page_size=100, row_group_size=200, data_page_version=version,
        )  # fmt: skip
        found.append(profile(path, name=path))
    plain, kept = ([replace(column, ends=[]) for column in each.columns] for each in found)
    assert plain == kept
    texts = kept[0]
    assert (texts.nulls, texts.least, texts.most) == (50, 0, 300)
    assert texts.counts == {"empty": 50, "missing-words": 50, "line-breaks": 50}
    assert texts.distinct == {text for text in TEXTS if text is not None}


def test_texts_of_a_dictionary_that_are_no_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"t": ["MARK", "b"] * 9}), path, compression="none", write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xff\xfeRK"))
    with pytest.raises(ToolError) as refused:
        profile(path, name=path)
    assert refused.value.code == "table-malformed" and "MARK" not in refused.value.message
