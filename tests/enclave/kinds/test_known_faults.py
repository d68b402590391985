# SPDX-License-Identifier: Apache-2.0
"""Faults that libraries of differential privacy had, and that no kind of ours shares.

`FAULTS` names each of them by its public issue, with the tests that would see it here; those of this module
stand below. Wherever a fault is one of kinds, the test is of every kind: a new one is covered by its case.
"""

from __future__ import annotations

import ast
import importlib.metadata
import math
import tracemalloc
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds import kit
from tests.enclave.kinds.cases import CASES, EACH

from sealroom.errors import RecipeError
from sealroom.privacy import noise as drawing
from sealroom.privacy import release
from sealroom.privacy.accountant import delta_of, holds
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.members import Members
from sealroom.privacy.parts import Cost, Law, Part, noise_of
from sealroom.privacy.people import People
from sealroom.privacy.release import compute
from sealroom.recipe import Field

TESTS = Path(__file__).resolve().parents[2]
HERE = "enclave/kinds/test_known_faults.py"
NEIGHBOURS = (
    "enclave/kinds/test_kinds.py::test_neighbours_differ_by_one_bounded_vector_and_nothing_else",
    "enclave/kinds/test_mutants.py::test_a_broken_kind_is_caught_by_the_rule_that_it_breaks",
)
ACCOUNTANTS = "enclave/test_accountant.py::test_the_formula_agrees_with_three_accountants_of_others"

FAULTS: dict[str, tuple[str, ...]] = {
    # a threshold on unknown keys states too small a δ
    "opendp#2922": (
        f"{HERE}::test_no_noise_but_of_two_mechanisms_without_thresholds",
        f"{HERE}::test_labels_that_nobody_has_are_released_as_any_others",
    ),
    # squared deviations from the data's own mean, in floating point
    "opendp#2923": NEIGHBOURS,
    # a noisy maximum that costs four times what its map says
    "opendp#2911": (
        f"{HERE}::test_opendp_is_not_older_than_its_mended_maps",
        f"{HERE}::test_no_noise_but_of_two_mechanisms_without_thresholds",
        "enclave/kinds/test_mutants.py::test_noise_is_what_the_cost_says_and_nine_tenths_of_it_is_caught",
    ),
    # the noisy maximum is the minimum
    "opendp#2912": (f"{HERE}::test_the_most_frequent_is_the_most_frequent",),
    # an integer sensitivity is cut to a whole number below it
    "opendp#314": (f"{HERE}::test_a_bound_is_rounded_up", *NEIGHBOURS),
    # the lower bound is used twice: no noise where it equals zero or the upper one
    "diffprivlib#104": (f"{HERE}::test_noise_depends_on_the_distance_of_bounds_and_not_on_where_they_lie",),
    "diffprivlib#105": (f"{HERE}::test_noise_depends_on_the_distance_of_bounds_and_not_on_where_they_lie",),
    # quantiles crash where all values are alike
    "diffprivlib#107": (f"{HERE}::test_people_who_are_all_alike_are_no_error",),
    "smartnoise-sdk#572": (f"{HERE}::test_people_who_are_all_alike_are_no_error",),
    # a clipped copy is made, and the raw data are used
    "smartnoise-sdk#622": (f"{HERE}::test_one_person_out_of_all_bounds_stays_within_the_stated_ones",),
    # no bounds mean no noise
    "smartnoise-sdk#317": (
        f"{HERE}::test_a_field_without_its_bounds_is_refused",
        "enclave/test_accountant.py::test_a_part_without_bounds_cannot_be_made",
    ),
    # values are clamped before an expression makes new ones of them
    "smartnoise-sdk#201": (f"{HERE}::test_one_person_out_of_all_bounds_stays_within_the_stated_ones",),
    # a wrong formula for the sum of costs
    "smartnoise-sdk#621": (
        ACCOUNTANTS,
        "enclave/test_accountant.py::test_a_dearer_field_or_one_more_never_costs_less",
    ),
    # the sensitivity of a mean takes the number of people for public
    "smartnoise-core#356": (f"{HERE}::test_noise_is_the_same_however_many_people_there_are", *NEIGHBOURS),
    # a sum is divided by a size that is private
    "opacus#571": (f"{HERE}::test_a_value_follows_from_the_noisy_sums_alone", *NEIGHBOURS),
    "opacus#819": (f"{HERE}::test_a_value_follows_from_the_noisy_sums_alone", *NEIGHBOURS),
    # empty batches are skipped, or get no noise
    "opacus#161": (f"{HERE}::test_nobody_gets_as_much_noise_as_everybody",),
    "opacus#420": (f"{HERE}::test_nobody_gets_as_much_noise_as_everybody",),
    # an approximation of the cost that is below it
    "opacus#384": (ACCOUNTANTS, f"{HERE}::test_a_whole_gaussian_costs_what_the_exact_formula_says"),
    "opacus#400": (ACCOUNTANTS, f"{HERE}::test_a_whole_gaussian_costs_what_the_exact_formula_says"),
    # a multiplier for one neighbouring relation is used for the other, which moves twice as far
    "google/differential-privacy#378": (f"{HERE}::test_who_is_exchanged_moves_a_block_by_all_of_its_bound",),
    # the accountant's grid takes all memory where ε is small
    "google/dpsynth#71": (f"{HERE}::test_a_tiny_budget_is_judged_in_little_memory",),
}


def test_each_fault_is_covered_by_tests_that_are_there() -> None:
    for fault, tests in FAULTS.items():
        assert tests, fault
        for test in tests:
            file, _, function = test.partition("::")
            tree = ast.parse((TESTS / file).read_text())
            names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert function in names, (fault, test)


def made(name: str, law: Law) -> Field:
    kind = KINDS[CASES[name].kind]
    spec = kit.spec_of(kind, CASES[name].members)
    return Field(name="field", kind=kind, spec=spec, cost=kit.paid(kind, spec, law))


def people_of(name: str, count: int, seed: int = 21) -> People:
    field = made(name, KINDS[CASES[name].kind].laws[0])
    return kit.table(field.kind, field.spec, count, np.random.default_rng(seed), CASES[name].bounds)


def test_no_noise_but_of_two_mechanisms_without_thresholds() -> None:
    """opendp#2922, #2911: what a recipe does not declare is never looked for, and no maximum is drawn."""
    tree = ast.parse(Path(str(drawing.__file__)).read_text())
    used = {
        each.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("opendp.measurements")
        for each in node.names
    }
    assert used == {"make_laplace", "make_gaussian"}
    folder = Path(str(release.__file__)).parent
    for path in folder.rglob("*.py"):
        if path.name != "noise.py":
            assert "import opendp" not in path.read_text() and "from opendp" not in path.read_text(), path


def test_opendp_is_not_older_than_its_mended_maps() -> None:
    """opendp#2911, #2922, #2923 are mended in 0.16."""
    assert tuple(map(int, importlib.metadata.version("opendp").split(".")[:2])) >= (0, 16)


@pytest.mark.parametrize(("name", "law"), EACH)
def test_labels_that_nobody_has_are_released_as_any_others(name: str, law: Law) -> None:
    """opendp#2922, DP-12: the value has the same rows when groups are empty, and when labels are unknown."""
    field, people = made(name, law), people_of(name, 60)
    shape = field.kind.shape(field.spec)
    first = {group: np.zeros(60, np.int64) for group in people.groups}
    unknown = {group: np.full(60, 10**6) for group in people.groups}

    def names(value: Any) -> Any:
        """All but the numbers."""
        if isinstance(value, dict):
            return {key: names(item) for key, item in value.items()}
        return [names(item) for item in value] if isinstance(value, list) else None

    found = [
        compute(field, replace(people, groups=groups), cohort=10**9)
        for groups in (people.groups, first, unknown)
    ]
    kit.check_shape(found[0], shape, "field")
    assert names(found[0]) == names(found[1]) == names(found[2])


@pytest.mark.parametrize("by", [["band"], ["band", "sex"]])
def test_the_most_frequent_is_the_most_frequent(by: list[str]) -> None:
    """opendp#2912: with hardly any noise, the answer is the known one."""
    kind = KINDS["top_k"]
    spec, dice = kit.spec_of(kind, {"by": by, "k": 3}), np.random.default_rng(3)
    band, sex = dice.choice(3, 5000, p=[0.2, 0.5, 0.3]), dice.choice(2, 5000, p=[0.6, 0.4])
    groups = {"band": band, "sex": sex}
    people = People(count=5000, numbers={}, groups={name: groups[name] for name in by})
    cost = Cost(law="laplace", amount=20 * 10**6)
    value = compute(Field(name="field", kind=kind, spec=spec, cost=cost), people, cohort=1)
    counts = Counter(zip(*(groups[name].tolist() for name in by), strict=True))
    expected = [
        [kit.GROUPS[g][place] for g, place in zip(by, at, strict=True)] for at, _ in counts.most_common(3)
    ]
    assert [[row[name] for name in by] for row in value["groups"]] == expected


@pytest.mark.parametrize("kind", ["mean", "sum", "block_mean"])
def test_a_bound_is_rounded_up(kind: str) -> None:
    """opendp#314: a distance of bounds that is no whole number of steps costs a whole one more."""
    members = {"by": [], "column": "x", "lower": "0", "upper": "1.00001", "decimals": 2}
    if KINDS[kind].of_blocks:
        members = {key: members[key] for key in ("lower", "upper", "decimals")}
    spec = kit.spec_of(KINDS[kind], members)
    assert spec.bound == math.ceil(Fraction("1.00001") / 2 * 10**4) == 5001


SCALED = [
    (name, law)
    for name, law in EACH
    if {"lower", "upper", "column"} <= CASES[name].members.keys() and "bounds" not in CASES[name].members
    and CASES[name].members.get("scale") != "log"
]  # fmt: skip


@pytest.mark.parametrize(("name", "law"), SCALED)
def test_noise_depends_on_the_distance_of_bounds_and_not_on_where_they_lie(name: str, law: Law) -> None:
    """diffprivlib#104, #105: bounds from zero, below it, around it and far from it; and neighbours with
    each."""
    kind, members = KINDS[CASES[name].kind], {**CASES[name].members, "decimals": 1}
    noises = []
    for lower, upper in ((0, 4), (-4, 0), (-1, 3), (-3, 1), (1000, 1004)):
        try:
            spec = kit.spec_of(kind, {**members, "lower": str(lower), "upper": str(upper)})
        except RecipeError:  # of kinds whose values are never below zero
            assert lower < 0
            continue
        parts = kit.parts_of(kind, spec, law)
        kit.exact(kind, spec, law, bounds=(float(lower), float(upper)), cases=12)
        moved = kit.moves(kind, spec, law, bounds=(float(lower), float(upper)))
        assert all(l1 > 0 for l1, _ in moved.values())
        noises.append({part: (each.l1, each.l2_squared) for part, each in parts.items()})
    assert len(noises) > 1 and all(each == noises[0] for each in noises)


@pytest.mark.parametrize(("name", "law"), EACH)
def test_people_who_are_all_alike_are_no_error(name: str, law: Law) -> None:
    """diffprivlib#107, smartnoise-sdk#572, DP-12: heaped at a bound, between them, far away, or missing."""
    field = made(name, law)
    for value in (*CASES[name].bounds, sum(CASES[name].bounds) / 2, 1e308, -math.inf, math.nan):
        people = kit.take(kit.one_person(field.kind, field.spec, value), np.zeros(70, np.int64))
        found = compute(field, people, cohort=kit.COHORT)
        kit.check_shape(found, field.kind.shape(field.spec), "field")


@pytest.mark.parametrize(("name", "law"), EACH)
def test_one_person_out_of_all_bounds_stays_within_the_stated_ones(name: str, law: Law) -> None:
    """smartnoise-sdk#622, #201, DP-02: products and squares too are made of what is held to its bounds."""
    field = made(name, law)
    parts = field.parts(1)
    for value in (1e308, -1e308, math.inf, -math.inf, 2.0**63, 1e160, -5e-324):
        person = kit.one_person(field.kind, field.spec, value)
        for part, sums in kit._sums(field.kind, field.spec, law, person, parts, None).items():
            own = sums.astype(object)
            assert abs(own).sum() <= parts[part].l1
            assert (own * own).sum() <= parts[part].l2_squared


@pytest.mark.parametrize(("name", "law"), EACH)
def test_a_field_without_its_bounds_is_refused(name: str, law: Law) -> None:
    """smartnoise-sdk#317: also where they are null, or say that there is none."""
    kind, members = KINDS[CASES[name].kind], CASES[name].members
    bounding = {"lower", "upper", "edges", "points", "clip", "entry", "norm", "by", "features", "columns"}
    held = bounding & members.keys()
    assert held
    for each in held:
        for wrong in (None, "inf", "-inf", "nan", ""):
            with pytest.raises(RecipeError):
                kind.read(Members({**members, each: wrong}, "field", blocks=kit.BLOCKS), kit.GROUPS)
        less = {key: value for key, value in members.items() if key != each}
        with pytest.raises(RecipeError, match="lacks"):
            kind.read(Members(less, "field", blocks=kit.BLOCKS), kit.GROUPS)


class Drawn:
    """What the kernel asks noise for, in place of its sampler's call; the noise is drawn all the same."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: Counter[tuple[str, Fraction]] = Counter()
        monkeypatch.setattr(release, "add_noise", self._add)

    def _add(self, exact: Any, part: Part, cost: Cost, noise: Any) -> Any:
        self.asked[part.name, noise.scale] += len(exact)
        return drawing.add_noise(exact, part, cost, noise)


@pytest.mark.parametrize(("name", "law"), EACH)
def test_noise_is_the_same_however_many_people_there_are(
    name: str, law: Law, monkeypatch: pytest.MonkeyPatch
) -> None:
    """smartnoise-core#356: their number sets neither how much noise falls nor how often."""
    field, asked = made(name, law), []
    for count in (1, 5, 300):
        drawn = Drawn(monkeypatch)
        compute(field, people_of(name, count), cohort=kit.COHORT)
        asked.append(drawn.asked)
    assert asked[0] == asked[1] == asked[2]


@pytest.mark.parametrize(("name", "law"), EACH)
def test_nobody_gets_as_much_noise_as_everybody(name: str, law: Law, monkeypatch: pytest.MonkeyPatch) -> None:
    """opacus#161, #420: each draw of each part has its noise, over an empty table as well."""
    field, drawn = made(name, law), Drawn(monkeypatch)
    compute(field, people_of(name, 0), cohort=kit.COHORT)
    parts, noise = field.parts(1), field.noise(1)
    assert drawn.asked == {
        (part.name, noise[part.name].scale): part.length * part.draws for part in parts.values()
    }


@pytest.mark.parametrize(("name", "law"), EACH)
def test_a_value_follows_from_the_noisy_sums_alone(name: str, law: Law) -> None:
    """opacus#571, #819: the same noisy sums give the same value, whoever was summed before."""
    field, values = made(name, law), []
    kind, spec, noise = field.kind, field.spec, field.noise(1)
    parts, dice = field.parts(1), np.random.default_rng(4)
    sums = {
        part: [Fraction(int(each)) for each in dice.integers(0, 10**6, held.length)]
        for part, held in parts.items()
    }
    for count in (3, 400):
        prepared, state = kind.prepare(spec, law, people_of(name, count)), None
        for _ in range(kind.rounds(spec)):
            asked = kind.aggregate(spec, law, prepared, state)
            state = kind.advance(spec, law, state, {part: sums[part] for part in asked}, noise)
        values.append(kind.finish(spec, law, state, noise, kit.COHORT))
    assert values[0] == values[1]


def test_a_whole_gaussian_costs_what_the_exact_formula_says() -> None:
    """opacus#384, #400: δ of μ-Gaussian differential privacy, as Balle and Wang have it, and never below."""
    for mu, epsilon in ((0.1, 0.2), (0.344, 1.5), (1.0, 3.0)):

        def normal(x: float) -> float:
            return math.erfc(-x / math.sqrt(2)) / 2

        exact = normal(mu / 2 - epsilon / mu) - math.exp(epsilon) * normal(-mu / 2 - epsilon / mu)
        nano = round(mu * 10**9)
        found = float(delta_of(Fraction(str(epsilon)), pure_micro=(), mu_nano_squared=nano**2))
        assert exact * (1 - 1e-6) <= found <= exact * (1 + 1e-3)


def test_who_is_exchanged_moves_a_block_by_all_of_its_bound() -> None:
    """google/differential-privacy#378: a block is always there, so its bound is the distance of both ends; a
    person comes or goes, and the bound of a mean is half of that around the middle."""
    bounds = {"lower": "0", "upper": "8", "decimals": 0}
    blocks, mean = KINDS["block_mean"], KINDS["mean"]
    [block] = blocks.parts(kit.spec_of(blocks, bounds), "gaussian")
    people, values = mean.parts(kit.spec_of(mean, {"by": [], "column": "x", **bounds}), "gaussian")
    assert block.l1 == 2 * values.l1 == 800 and people.l1 == 1


def test_a_tiny_budget_is_judged_in_little_memory() -> None:
    """google/dpsynth#71: the sum of costs is a formula, without a grid whose size grows as ε falls."""
    costs = [Cost(law="laplace", amount=1)] * 3 + [Cost(law="gaussian", amount=100)] * 3
    tracemalloc.start()
    try:
        assert holds(costs, epsilon=Decimal("0.00001"), delta=Decimal("1e-6"))
        assert not holds(costs, epsilon=Decimal("0.000002"), delta=Decimal("1e-12"))
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()
    assert noise_of(Part(name="p", length=1, l1=1, l2_squared=1), costs[0]).width == 10**6
