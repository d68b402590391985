# SPDX-License-Identifier: Apache-2.0
"""Columns of lists: from a relation or a script to the custodian, and the means of ten thousand entries.

DP-02, DP-03, DP-12: whoever has no list, or one of another length, is nowhere, and changes nobody else.
"""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from tests.enclave.kinds import kit
from tests.enclave.relation.test_run import run
from tests.enclave.relation.world import TABLES, engine, neighbours, world
from tests.formats.test_recipe_relation import STUDY

from sealroom import recipe
from sealroom.decimals import decimal_text
from sealroom.encoding import canonical
from sealroom.errors import PrivacyError, RecipeError
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.members import Members
from sealroom.privacy.people import MISSING, People
from sealroom.privacy.plan import Draft, plan
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows, parse_rows
from sealroom.privacy.shape import longest
from sealroom.recipe import Field, Recipe
from sealroom.recipe.result import build_result, check_result
from sealroom.recipe.size import MAX_OUTPUT_BYTES
from sealroom.relation.compiled import compile_relation
from sealroom.runtime.conversion import handed_over
from sealroom.runtime.lists import entries, has_length
from sealroom.runtime.relation_job import Result

KIND = KINDS["vector_mean"]
WIDTH = 5
RELATION = """\
    SELECT person, max(sex) AS sex, first(g ORDER BY age) AS g
    FROM visits
    GROUP BY person
"""
FIELDS = """\
    - {name: people, kind: count, by: [sex], epsilon: 0.5}
    - {name: dose, kind: vector_mean, column: g, length: 5, centre: 1, entry: 2, norm: 3, decimals: 3}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    begin, end = STUDY.index("    -- one row"), STUDY.index("privacy:")
    text = STUDY.replace(STUDY[begin:end], RELATION).partition("    - {name: people")[0] + FIELDS
    text = text.replace("scans: {type: list, of: int64}", "g: {type: list, of: uint8}")
    text = text.replace("delta: 0,", "delta: 1e-6,")
    folder = tmp_path_factory.mktemp("lists")
    (folder / "study.yaml").write_text(text)
    return recipe.parse(recipe.render(folder))


def visits(letter: str, odd: Mapping[int, Any] | None = None) -> pa.Table:
    """One visit of each of 300 people at each owner; some have odd lists at both."""
    people = [*range(300), None]
    usual: list[Any] = [[n % 3, 2, 1, None, 255] for n in range(301)]
    for person, value in (odd or {}).items():
        usual[person] = value
    return pa.table(
        {
            "person": pa.array(people, pa.int64()),
            "age": pa.array([30.0] * 301),
            "sex": ["FM"[n % 2] for n in range(301)],
            "Größe (cm)": pa.array([None] * 301, pa.decimal128(6, 2)),
            "g": pa.array(usual, pa.list_(pa.uint8())),
        }
    )


ODD = {3: None, 5: [], 7: [1] * 4, 11: [1] * 6, 13: [9] * 20_000, 17: [None] * 5}


def test_lists_go_from_a_sealed_file_through_the_sandbox_into_one_release(study: Recipe) -> None:
    """OU-06: nobody's list, however long, fails the run."""
    fields, rows, _ = run(study, tables=lambda letter: visits(letter, ODD))
    check_result(build_result(fields, study), study)
    assert len(fields["dose"]["means"]) == WIDTH and fields["dose"]["half_width"]
    assert len(rows["people"]) == 300 and len(rows["dose"]) == 300 - 5
    _, all_of_them, _ = run(study, tables=visits)
    kept = [person for person in range(300) if person not in ODD]
    usual = [[n % 3, 2, 1, MISSING, 255] for n in kept]
    assert sorted(rows["dose"].vectors["g"].tolist()) == sorted([*usual, [MISSING] * 5])
    assert len(all_of_them["dose"]) == 300


def test_what_a_field_may_read_as_a_list_is_said_before_a_run(study: Recipe) -> None:
    compose = study.compose
    for old, new, code in (
        (b"column: g", b"column: sex", "recipe-column"),
        (b"column: g", b"column: h", "recipe-column"),
        (b"length: 5", b"length: 16385", "recipe-field"),
        (b'centre: \\"1\\"', b'centre: \\"1 2\\"', "recipe-field"),
        (b'entry: \\"2\\"', b'entry: \\"0\\"', "recipe-bounds"),
    ):
        assert old in compose, old
        with pytest.raises(RecipeError) as caught:
            recipe.parse(compose.replace(old, new))
        assert caught.value.code == code, new


# -- on the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "wire"),
    [(pa.uint8(), "i2"), (pa.int16(), "i2"), (pa.bool_(), "i2"), (pa.int64(), "f4"), (pa.float64(), "f4")],
)
def test_each_list_is_turned_by_itself(inner: pa.DataType, wire: str) -> None:
    """In pieces, beside longer ones, and cut out of a longer column."""
    lists: list[Any] = [[1, 0, None], None, [1, 1], [], [0, None, 1], [1, 1, 1, 1], [None] * 3]
    whole = pa.array(lists, pa.list_(pa.int8())).cast(pa.list_(inner))
    column = pa.chunked_array([whole.slice(0, 2), whole.slice(2, 0), whole.slice(2, 5)])
    kept = has_length(column, 3)
    assert kept.tolist() == [True, False, False, False, True, False, True]
    found = entries(column, 3, kept)
    assert found.dtype.str == "<" + wire and found.shape == (3, 3)
    for place, row in enumerate((0, 4, 6)):
        alone = pa.chunked_array([pa.array([lists[row]], pa.list_(pa.int8())).cast(pa.list_(inner))])
        assert entries(alone, 3, np.ones(1, np.bool_)).tobytes() == found[place].tobytes()
    people = People(count=3, numbers={}, groups={}, vectors={"g": found})
    expected = [[1, 0, math.nan], [0, math.nan, 1], [math.nan] * 3]
    assert np.array_equal(people.entries("g", 0, 3), np.array(expected, float), equal_nan=True)
    assert entries(column.slice(0, 0), 3, np.zeros(0, np.bool_)).shape == (0, 3)


def lists_of(of: Any) -> dict[object, bytes]:
    """By person the list that a relation over this world hands over."""
    longest = "row_number() OVER (PARTITION BY customer ORDER BY length(g) DESC) = 1"
    relation = compile_relation(f"SELECT customer, g FROM gen QUALIFY {longest}", TABLES, rows=1)
    on = engine(of, 2)
    table = on.run(relation.sql)
    on.close()
    ids = {each.name: each.id for each in relation.columns}
    person = relation.unit.id
    result = Result(table, unit="customer", person=person, rows=1, columns=ids, groups={})
    head, payload = result.handed_over(numbers=(), groups=(), vectors=[("g", 3)])
    rows = parse_rows(head, memoryview(b"".join(part.tobytes() for part in payload)), unit="customer")
    kept = has_length(table.column(ids["g"]), 3)
    names = [name for name, has in zip(table.column(person).to_pylist(), kept, strict=True) if has]
    return {name: row.tobytes() for name, row in zip(names, rows.vectors["g"], strict=True)}


def test_a_neighbour_changes_nobody_elses_list() -> None:
    """DP-02: whoever comes or goes, with lists of any length."""
    own = lists_of(world())
    assert len(own) == 41  # and nobody's row, which has no person, is in none
    for _, neighbour, changed, alone in neighbours():
        found = lists_of(neighbour)
        if alone is not None:
            assert found == {name: each for name, each in own.items() if name == alone}
            continue
        assert {name: each for name, each in found.items() if name not in changed} == {
            name: each for name, each in own.items() if name not in changed
        }


def test_a_value_that_is_kept_for_missing_ones_is_the_next() -> None:
    column = pa.chunked_array([pa.array([[MISSING, 2**15 - 1, None]], pa.list_(pa.int16()))])
    assert entries(column, 3, np.ones(1, np.bool_)).tolist() == [[MISSING + 1, 2**15 - 1, MISSING]]


def test_a_script_hands_lists_over_and_what_is_no_number_is_missing() -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3, 4, 5, None],
            "g": [[1, 2.5], None, [1], (3, "x"), np.array([1e300, None], object), [7, 7]],
        }
    ).astype({"id": "Int64"})
    head, payload = handed_over(frame, unit="id", numbers=[], groups={}, vectors=[("g", 2)])
    rows = parse_rows(head, memoryview(b"".join(part.tobytes() for part in payload)), unit="id")
    assert rows.units.tolist() == [1, 4, 5]
    expected = [[1, 2.5], [3, math.nan], [math.inf, math.nan]]
    assert np.array_equal(rows.vectors["g"], np.array(expected, np.float32), equal_nan=True)


def test_a_table_without_the_lists_that_a_field_reads_is_refused(study: Recipe) -> None:
    releases = Releases(study.privacy, study.output, epsilon_micro=study.epsilon_micro)
    units = np.arange(40)
    for vectors in ({}, {"g": np.zeros((40, 4), np.int16)}, {"h": np.zeros((40, WIDTH), np.int16)}):
        with pytest.raises(PrivacyError) as caught:
            releases.release("vector_mean", "dose", Rows(units=units, numbers={}, groups={}, vectors=vectors))
        assert caught.value.code == "schema-mismatch"
    right = Rows(units=units, numbers={}, groups={}, vectors={"g": np.ones((40, WIDTH), np.int16)})
    value = releases.release("vector_mean", "dose", right)
    assert releases.release("vector_mean", "dose", right) == value
    other = Rows(units=units, numbers={}, groups={}, vectors={"g": np.zeros((40, WIDTH), np.int16)})
    with pytest.raises(PrivacyError) as caught:
        releases.release("vector_mean", "dose", other)
    assert caught.value.code == "budget-exceeded"


# -- the value ----------------------------------------------------------------------------------------------


def panel(count: int, length: int, norm: str) -> tuple[Field, People, Any]:
    """Genotypes of a panel with public frequencies, at ε 1.5, and the true means."""
    dice = np.random.default_rng(0)
    rate = np.clip(dice.beta(0.3, 1.2, length), 0.005, 0.995)
    held = dice.binomial(2, rate, (count, length)).astype(np.int16)
    centre = " ".join(decimal_text(Decimal(f"{2 * each:.3f}")) for each in rate)
    members = {"column": "g", "length": length, "centre": centre, "entry": "2", "norm": norm, "decimals": 5}
    spec = kit.spec_of(KIND, members)
    (cost,) = plan([Draft(name="g", kind=KIND, spec=spec)], epsilon=Decimal("1.5"), delta=Decimal("1e-6"))
    people = People(count=count, numbers={}, groups={}, vectors={"g": held})
    return Field(name="g", kind=KIND, spec=spec, cost=cost), people, held.mean(axis=0)


def test_means_of_a_thousand_entries_are_as_near_as_their_noise_says() -> None:
    """Beside the answer without noise; 95 % of them lie within the one half-width."""
    field, people, truth = panel(4_000, 1_000, "26")
    value = kit.released(field, people)
    off = np.abs(np.array([float(each) for each in value["means"]]) - truth)
    half = float(value["half_width"])
    noise = field.noise(1)["vector"].sd * float(field.spec.clip.quantum) / people.count
    assert half == pytest.approx(1.96 * noise, rel=0.02)
    assert (off <= half).mean() > 0.95 - 6 * math.sqrt(0.95 * 0.05 / 1_000)
    assert math.sqrt((off**2).mean()) == pytest.approx(noise, rel=0.2)


def test_long_lists_are_clipped_a_few_at_a_time() -> None:
    """OU-03. Beside their table they take as much as the custodian's limit of a table counts on."""
    members = {"column": "g", "length": 2**14, "centre": "0", "entry": "1", "norm": "5", "decimals": 3}
    spec = KIND.read(Members(members, "field"), {})
    lists = np.ones((512, 2**14), dtype=np.int16)
    people = People(count=512, numbers={}, groups={}, vectors={"g": lists})
    tracemalloc.start()
    try:
        found = KIND.aggregate(spec, "gaussian", people, None)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert set(found["vector"]) == {512 * int(5 * 1024 / 2**7)}
    assert most < 7 * lists.nbytes


def test_ten_thousand_means_fit_a_result_and_a_recipe() -> None:
    field, _, _ = panel(2, 10_000, "75")
    assert longest(field.shape(1)) < 128 * 1024 < MAX_OUTPUT_BYTES
    assert len(canonical(field.plain())) < 96 * 1024
    assert field.preview(1)[0].half_width > 0


def test_noise_that_says_nothing_is_shown_as_wide_as_means_can_be_apart() -> None:
    """And of too few people nothing is shown."""
    field, people, _ = panel(3, 10, "2")
    value = kit.released(field, people, cohort=1_000_000)
    assert all(each is None for name, each in value.items() if name != "interval")
    state = {"people": [field.noise(1)["people"].sd * 1000], "vector": [2**60] * 10}
    shown = KIND.finish(field.spec, "gaussian", state, field.noise(1), 1)
    assert float(shown["half_width"]) <= 5
