# SPDX-License-Identifier: Apache-2.0
"""A small study that releases a network, worked through like the one of `worked`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from tests.agents.worked import STUDY_YAML, WorkedGate, WorkedRun, make_run, render_recipe

from sealroom.privacy.people import People
from sealroom.privacy.release import compute
from sealroom.recipe import Recipe, parse
from sealroom.recipe.result import build_result
from sealroom_agents.simulator import SimulatedPlatform

FIELD = """\
    - name: risk
      kind: model
      features: [{name: age, lower: 20, upper: "90"}]
      groups: [sex]
      layers: [{linear: 3}, tanh, {linear: 1}]
      loss: binary
      label: ill
      held_out: held
      batch: 1
      clip: 1
      steps: 2
      learning_rate: "0.5"
      momentum: 0
      seed: 7
      curve: 2
      decimals: 3
"""
STUDY = (
    STUDY_YAML.partition("  fields:")[0].replace('delta: "0"', 'delta: "1e-6"')
    + "  fields:\n" + FIELD
).replace("sex: string}", "sex: string, ill: bool, held: bool}")  # fmt: skip


def train(recipe: Recipe, *, seed: int = 1) -> dict[str, Any]:
    """The fields of a result of this study, of people who are drawn."""
    dice = np.random.default_rng(seed)
    people = People(
        count=4000,
        numbers={
            "age": dice.uniform(20, 90, 4000),
            **{name: dice.integers(0, 2, 4000).astype(np.float64) for name in ("ill", "held")},
        },
        groups={name: dice.integers(0, 2, 4000) for name in ("sex", "ward")},
    )
    return {field.name: compute(field, people, cohort=20) for field in recipe.output.fields}


def model_run(
    folder: Path, platform: SimulatedPlatform, gate: WorkedGate, *, study: str = STUDY
) -> WorkedRun:
    """A run of it that holds."""
    compose = render_recipe(folder, study=study)
    recipe = parse(compose)
    run = make_run(platform, gate, compose)
    return replace(run, result=build_result(train(recipe), recipe))
