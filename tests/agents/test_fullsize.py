# SPDX-License-Identifier: Apache-2.0
"""The studies of the checkout: each renders, and runs on a few made-up people as it does on millions."""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom
from tests import same_noise

from sealroom.privacy import release
from sealroom.privacy.kinds import KINDS
from sealroom.privacy.people import People
from sealroom.recipe import Field, Recipe, parse, render
from sealroom.schema import misfits
from sealroom.schema.arrow import columns_of
from sealroom_agents.fullsize import plain, whole
from sealroom_agents.fullsize.command import GENERATOR, STUDIES
from sealroom_agents.fullsize.compare import beside
from sealroom_agents.fullsize.made_up import Size, column, happens, normal, one_of, uniform, write
from sealroom_agents.plots.figure import drawn

FOLDERS = sorted(path.parent for path in STUDIES.glob(f"*/{GENERATOR}"))
NAMES = [folder.name for folder in FOLDERS]
PEOPLE = 600
"""About so many are made up."""


@lru_cache
def recipe_of(name: str) -> Recipe:
    """The study's recipe."""
    return parse(render(STUDIES / name))


def generator(name: str) -> ModuleType:
    """The study's `cohort.py` as a module."""
    spec = importlib.util.spec_from_file_location(f"cohort of {name}", STUDIES / name / GENERATOR)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_a_study_renders_and_its_owners_have_its_data(name: str) -> None:
    recipe = recipe_of(name)
    told = json.loads((STUDIES / name / "owners.json").read_text())
    owners = [owner["id"] for owner in told["owners"]]
    assert recipe.name == name and len(set(owners)) == len(owners)
    assert {spec.owner for spec in recipe.datasets} == set(owners)
    assert len(owners) // 2 < told["threshold"] <= len(owners)
    page = (STUDIES / name / "README.md").read_text()
    assert f"make study NAME={name}" in page


ENOUGH, MOST_RELEASES = 100, 20
"""Each field is released until so many of its intervals are seen, or so often."""


def judged(field: Field) -> bool:
    """Whether intervals of a field should hold what is known without privacy. Where bounds are found, they
    hold the mean of what was cut off at these. Training takes long for one number."""
    return field.kind.plain(field.spec).get("bounds") != "private" and field.kind.name != "model"


def fewest(of: int) -> int:
    """How many of so many intervals hold at least, for all seeds but one in a thousand, where each misses one
    time in twenty. With one seed for ever, this is no chance; of a few hundred that miss one time in five,
    fewer hold."""
    return int(binom.ppf(1e-3, of, 0.95))


class Handed:
    """What the kernel was handed by a run: it can release all of it again, with other noise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._people: dict[str, tuple[People, int]] = {}
        kernel = release.compute

        def noted(field: Field, people: People, *, cohort: int) -> dict[str, Any]:
            self._people[field.name] = people, cohort
            return kernel(field, people, cohort=cohort)

        monkeypatch.setattr(release, "compute", noted)
        self._kernel = kernel

    def again(self, field: Field, seed: int) -> dict[str, Any]:
        """The field's value."""
        people, cohort = self._people[field.name]
        with same_noise.drawn(seed):
            return self._kernel(field, people, cohort=cohort)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_runs_on_a_few_people(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(name)
    module = generator(name)
    size = Size(PEOPLE / module.PEOPLE, seed=7)
    rows = write(tmp_path, module.DATASETS, size)
    assert rows.keys() == {f"{spec.owner}/{spec.name}" for spec in recipe.datasets}
    files = {spec.path: tmp_path / f"{spec.owner}/{spec.name}.parquet" for spec in recipe.datasets}
    for spec in recipe.datasets:
        assert not list(misfits(spec.columns, columns_of(pq.read_schema(files[spec.path]))))
        whole.seal_dataset(files[spec.path], tmp_path / spec.path, spec.name)
    handed = Handed(monkeypatch)
    with same_noise.drawn(seed=1):
        ran = whole.run(recipe, {spec.path: tmp_path / spec.path for spec in recipe.datasets})
    answers, figures = plain.run(recipe, files, ran.fields)
    assert 0 < ran.people <= PEOPLE and figures.cpu > 0 and ran.figures.peak > 10_000_000
    assert all(answers[field.name] for field in recipe.output.fields), "a field without a plain answer"
    assert drawn(recipe, ran.fields).endswith("</svg>\n")

    held, of = Counter[str](), Counter[str]()
    fields = [field for field in recipe.output.fields if judged(field)]
    for seed in range(1, MOST_RELEASES + 1):
        again = {field.name: handed.again(field, seed) for field in fields}
        for one in beside(recipe, ran.fields | again, {name: answers[name] for name in again}):
            held[one.field] += one.held[0]
            of[one.field] += one.held[1]
        fields = [field for field in fields if 0 < of[field.name] < ENOUGH]
    assert max(of.values()) >= ENOUGH
    for told, these in (*((field, {field}) for field in of), ("all", set(of))):
        number, right = sum(of[field] for field in these), sum(held[field] for field in these)
        assert right >= fewest(number), f"{told}: {right} of {number} hold the answer without privacy"


@pytest.mark.parametrize("name", NAMES)
def test_made_up_files_are_the_same_each_time_and_people_are_at_several_owners(
    name: str, tmp_path: Path
) -> None:
    module = generator(name)
    recipe = recipe_of(name)
    size = Size(PEOPLE / module.PEOPLE, seed=3)
    for folder in ("one", "two"):
        write(tmp_path / folder, module.DATASETS, size)
    owners: dict[Any, set[str]] = {}
    for path in sorted((tmp_path / "one").glob("*/*.parquet")):
        table = pq.read_table(path)
        assert table.equals(pq.read_table(tmp_path / "two" / path.parent.name / path.name))
        for person in set(table[recipe.unit].to_pylist()):
            owners.setdefault(person, set()).add(path.parent.name)
    assert max(map(len, owners.values())) > 1, "nobody is known to two owners"


def test_every_kind_of_a_study_has_an_answer_without_privacy() -> None:
    used = {field.kind.name for name in NAMES for field in recipe_of(name).output.fields}
    assert used <= plain.ANSWERS.keys() <= KINDS.keys()


def test_genotypes_are_centred_on_the_panel_that_they_are_made_from() -> None:
    """And lists around it are no longer than the recipe says, but for a few."""
    recipe, module = recipe_of("rare-disease-genomics"), generator("rare-disease-genomics")
    field = recipe.output.field("allele_counts")
    assert field is not None and field.kind.plain(field.spec)["centre"] == module.centres()
    (collection, *_) = module.COLLECTIONS
    (table,) = module.arrays_of(collection, Size(0.005, seed=1))
    lists = np.array(table["dosages"].to_pylist(), dtype=float)
    around = np.nan_to_num(lists - np.array([float(each) for each in field.spec.centres]))
    lengths = np.sqrt((around**2).sum(axis=1))
    assert np.quantile(lengths, 0.99) < float(field.spec.clip.norm) < 1.5 * lengths.mean()
    assert 0.002 < np.isnan(lists).mean() < 0.01


def test_traits_are_the_persons_own() -> None:
    people = np.arange(1, 100_001)
    draws = uniform(people, "a")
    assert (draws == uniform(people[::-1], "a")[::-1]).all() and (draws != uniform(people, "b")).all()
    assert draws.min() > 0 and draws.max() < 1
    # five standard deviations of the mean of 100,000
    assert abs(draws.mean() - 0.5) < 5 * (1 / 12 / 1e5) ** 0.5
    tail = normal(people, "a")
    assert abs(tail.mean()) < 5 / 1e5**0.5 and abs(tail.std() - 1) < 5 * (0.5 / 1e5) ** 0.5
    assert abs(np.corrcoef(draws, uniform(people, "b"))[0, 1]) < 5 / 1e5**0.5
    assert abs(happens(people, "c", 0.1).mean() - 0.1) < 5 * (0.09 / 1e5) ** 0.5
    shares = {"x": 1, "y": 3}
    assert abs((one_of(people, "d", shares) == "y").mean() - 0.75) < 5 * (0.1875 / 1e5) ** 0.5


def test_decimals_are_exact_and_may_be_unknown() -> None:
    found = column(np.array([1.25, -0.01, 3.0]), pa.decimal128(6, 2), np.array([False, False, True]))
    assert [None if one is None else str(one) for one in found.to_pylist()] == ["1.25", "-0.01", None]
