# SPDX-License-Identifier: Apache-2.0
"""Every kind of released value keeps its promises, under every law, with one row a person or several.

DP-02 (sensitivity in integers), DP-03 (no bound from the data), DP-12 (nothing refused or shaped by the
data).
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.cases import CASES, EACH

from sealroom.encoding import canonical
from sealroom.errors import JobError, PrivacyError, RecipeError
from sealroom.privacy.kind import Kind
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import Law, noise_of
from sealroom.privacy.release import compute
from sealroom.privacy.shape import Number, Row, Rows, check, counting_rows, longest
from sealroom.recipe import Field
from sealroom.recipe.contract import OutputContract
from sealroom.recipe.size import MAX_OUTPUT_BYTES
from sealroom.schema import MAX_ROWS

ROOT = Path(__file__).resolve().parents[3]


def field(name: str, law: Law) -> Field:
    kind = KINDS[CASES[name].kind]
    spec = kit.spec_of(kind, CASES[name].members)
    return Field(name="field", kind=kind, spec=spec, cost=kit.paid(kind, spec, law))


@pytest.mark.parametrize(("name", "law"), EACH)
@pytest.mark.parametrize("rows", [1, 3])
def test_neighbours_differ_by_one_bounded_vector_and_nothing_else(name: str, law: Law, rows: int) -> None:
    one = field(name, law)
    cases = 120 if rows == 1 else 40
    tried = kit.exact(one.kind, one.spec, law, bounds=CASES[name].bounds, cases=cases, rows=rows)
    assert tried == 3 * cases


@pytest.mark.parametrize(("name", "law"), EACH)
@pytest.mark.parametrize("count", [0, 1, 500])
def test_a_release_has_the_declared_shape_however_many_people_there_are(
    name: str, law: Law, count: int
) -> None:
    one = field(name, law)
    people = kit.table(one.kind, one.spec, count, np.random.default_rng(1), CASES[name].bounds)
    value = compute(one, people, cohort=kit.COHORT)
    shape = one.kind.shape(one.spec)
    check(value, shape, "field")
    largest = kit.largest(shape)
    assert len(canonical(value)) <= len(canonical(largest)) <= longest(shape)
    assert longest(shape) <= len(canonical(largest)) + 4 * canonical(largest).count(b",")
    check(largest, shape, "field")


@pytest.mark.parametrize(("name", "law"), EACH)
def test_a_kind_tells_owners_what_it_is_and_what_its_noise_does(name: str, law: Law) -> None:
    one = field(name, law)
    assert one.sentence().endswith(".")
    for bar in one.preview(1):
        assert 0 <= bar.half_width < 1e12 and bar.about
    more = [bar.half_width for bar in one.preview(3)]
    assert all(wide > bar.half_width for wide, bar in zip(more, one.preview(1), strict=True))


def test_owners_read_that_weights_are_released_and_what_a_label_is_held_to() -> None:
    told = {name: field(name, "gaussian").sentence() for name in ("model", "model of a number")}
    assert all("weights are released" in each for each in told.values())
    assert "tells w (0 to 1) from" in told["model of a number"] and "tells w from" in told["model"]
    of_lists = field("model of lists", "gaussian").sentence()
    assert "from x (0 to 100), y (-1 to 0.001), the 5 numbers of g (0 to 255), the 3 numbers of h" in of_lists


def counting(value: Any) -> set[str]:
    """The members that count, at any depth."""
    if isinstance(value, list):
        return set().union(*map(counting, value))
    if not isinstance(value, dict):
        return set()
    names = {name for name in value if name.partition("_")[0] in ("people", "rows")}
    return names.union(*map(counting, value.values()))


@pytest.mark.parametrize(("name", "law"), EACH)
def test_rows_are_not_called_people(name: str, law: Law) -> None:
    """Of three rows a person, in what owners read, and in the value, which has the shape it must have."""
    one = field(name, law)
    told = {rows: one.sentence(rows) + " ".join(bar.about for bar in one.preview(rows)) for rows in (1, 3)}
    assert not re.search(r"\brows?\b", told[1])
    if one.kind.of_blocks:
        return
    assert "A person may have 3 rows." in told[3]
    assert not re.search(r"\b(people|person)\b", told[3].replace("A person may have 3 rows.", ""))
    people = kit.table(one.kind, one.spec, 600, np.random.default_rng(1), CASES[name].bounds, rows=3)
    people = replace(people, persons=np.arange(600) // 3)  # whose coins a sampled part needs
    value = compute(one, people, cohort=kit.COHORT)
    check(value, one.shape(3), "field")
    named = counting(kit.largest(one.shape(1)))
    assert counting(value) == {each.replace("people", "rows") for each in named}
    assert named or one.kind.name in ("quantiles", "survival", "cdf")
    with pytest.raises(JobError):
        check(value if named else {}, one.shape(1), "field")


@pytest.mark.parametrize(("name", "law"), EACH)
def test_no_sum_overflows_on_its_grid(name: str, law: Law) -> None:
    for part in kit.parts_of(KINDS[CASES[name].kind], field(name, law).spec, law).values():
        bits = noise_of(part, kit.COSTS[law]).bits
        assert (min(part.l1, int(part.l2_squared**0.5) + 1) * MAX_ROWS) << bits < 2**62


@pytest.mark.parametrize(("name", "law"), EACH)
def test_members_of_a_kind_are_read_strictly(name: str, law: Law) -> None:
    kind, members = KINDS[CASES[name].kind], CASES[name].members
    plain = kind.plain(kit.spec_of(kind, members))
    assert {key: value for key, value in plain.items() if key in members} == members
    for key in members:
        less = {other: value for other, value in members.items() if other != key}
        if key == CASES[name].optional:
            assert kit.spec_of(kind, less) != kit.spec_of(kind, members)
        else:
            with pytest.raises(Exception, match=r"lacks|must have features"):
                kit.spec_of(kind, less)
        for wrong in (None, True, " x", -1, [[]], {}):
            if wrong != members[key]:
                with pytest.raises(Exception, match=r".") as caught:
                    kit.spec_of(kind, {**members, key: wrong})
                assert type(caught.value).__name__ == "RecipeError", (key, wrong)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.members.get("by")])
def test_no_group_is_named_as_something_else_in_its_rows(name: str) -> None:
    """Its labels would be hidden by a number, or by another label, and the rows would be of nobody knows
    whom."""
    _, members, _, _ = CASES[name]
    kind = KINDS[CASES[name].kind]
    head, by = {"name": "field", "kind": kind.name, "law": "gaussian", "mu_nano": 10**8}, members["by"]
    shape = kind.shape(kit.spec_of(kind, members)).members["groups"]
    assert isinstance(shape, Rows)
    others = {*shape.rows[0].members, *counting_rows(shape.rows[0]).members} - set(by)
    assert others

    def read() -> None:
        groups = {name: list(labels) for name, labels in renamed.items()}
        OutputContract.read({"limit_bytes": MAX_OUTPUT_BYTES, "groups": groups, "fields": [field]})

    for other in [*others, "band"]:
        renamed = {**kit.GROUPS, other: kit.GROUPS[by[0]]}
        field = {**head, **members, "by": [other, *(each for each in by[1:] if each != other)]}
        if other == "band":
            read()
        else:
            with pytest.raises(RecipeError, match=f"is by {other}, which"):
                read()


def test_a_strangers_fields_of_too_many_rows_are_refused_before_any_row_is_spelt_out() -> None:
    """OU-03: gate, desk and console read recipes of strangers. Names of members, which all rows tell, are
    judged after the number of rows."""
    points = [str(point) for point in range(200)]
    field = {
        "name": "field", "kind": "cdf", "by": ["share"], "column": "x", "points": points, "decimals": 3,
        "law": "laplace", "epsilon_micro": 100,
    }  # fmt: skip
    groups = {"share": [f"label {number}" for number in range(256)]}
    contract = {"limit_bytes": MAX_OUTPUT_BYTES, "groups": groups, "fields": [field, {**field, "name": "g"}]}
    with pytest.raises(RecipeError, match="rows together"):
        OutputContract.read(contract)


def test_numbers_of_too_few_people_count_as_long_as_null() -> None:
    short = Number(decimals=0, lower=Decimal(0), upper=Decimal(1))
    shape = Row({"a": short, "b": short}, hides=True)
    assert longest(shape) == len(canonical({"a": None, "b": None})) > len(canonical({"a": "1", "b": "1"}))


def test_every_kind_has_a_case() -> None:
    assert {case.kind for case in CASES.values()} == set(KINDS)


def test_a_kind_that_asks_for_more_sums_than_it_costs_is_refused() -> None:
    """DP-07: a round too many would be an answer for nothing."""
    one = field("logistic", "gaussian")

    class Greedy(type(one.kind)):  # type: ignore[misc]
        def rounds(self, spec: Any) -> int:
            return int(spec.steps) + 1

    people = kit.table(one.kind, one.spec, 9, np.random.default_rng(1), (0.0, 100.0))
    with pytest.raises(PrivacyError) as caught:
        compute(Field(name="field", kind=Greedy(), spec=one.spec, cost=one.cost), people, cohort=1)
    assert caught.value.code == "budget-exceeded"


# --- one file a kind ---------------------------------------------------------------------------------------


def strings(path: Path) -> set[str]:
    """Text that the code of a file compares or looks up: every literal of Python, every quoted word
    elsewhere."""
    text = path.read_text()
    if path.suffix == ".py":
        tree = ast.parse(text)
        found = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
        return {each for each in found if isinstance(each, str)}
    return set(re.findall(r"""["']([a-z_]+)["']""", text))


ORDINARY = {"count", "linear", "mean", "model", "sum", "survival"}
"""Words that code has for other things too; for these, only what is imported is searched."""


def test_nothing_but_its_module_knows_a_kind() -> None:
    """Adding a kind is one file: no other file of the product names one, or imports one.

    Left out are SQL, which has functions of such names; the demonstration, which prints its own study's
    result; what computes studies a second time without privacy, by other libraries; and the bundles of the
    pages, whose readers of recipes are second ones on purpose (`tests/face` holds them against these).
    """
    files = [
        path
        for folder in ("enclave/sealroom", "agents/sealroom_agents")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".js", ".html"}
        and not {"kinds", "demo", "relation", "fullsize", "built"} & set(path.relative_to(ROOT).parts)
    ]
    assert len(files) > 200
    for path in files:
        assert not strings(path) & (set(KINDS) - ORDINARY), path
        assert "privacy.kinds." not in path.read_text(), path


def test_the_kinds_are_read_without_numpy() -> None:
    """Owners and verifiers install no numpy; recipes and results are theirs to read."""
    program = (
        "import json, sys; sys.modules.update(numpy=None, torch=None, opendp=None);"
        " import sealroom.recipe.result, sealroom.envelope.noise;"
        " from sealroom.recipe.outputs import read_field; from sealroom.privacy.kinds import KINDS;"
        " fields, groups, blocks = json.load(sys.stdin);"
        " read = [read_field(each, groups, blocks if KINDS[each['kind']].of_blocks else None)"
        " for each in fields];"
        " told = [(each.sentence(), each.preview(1), each.shape(1), each.columns) for each in read];"
        " print(json.dumps(sorted({each.kind.name for each in read} & set(KINDS))))"
    )
    fields = [{**field(name, law).plain(), "name": "field"} for name, law in EACH]
    told = json.dumps([fields, kit.GROUPS, kit.BLOCKS])
    done = subprocess.run(
        [sys.executable, "-c", program], input=told, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == sorted(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_names_all_its_members_and_no_other(kind: Kind[Any]) -> None:
    """Whoever misspells one is told the right one of these."""
    written: set[str] = set()
    for case in CASES.values():
        if case.kind == kind.name:
            written |= kind.plain(kit.spec_of(kind, case.members)).keys()
    assert written == set(kind.member_names)
