# SPDX-License-Identifier: Apache-2.0
"""A model without privacy, beside the one that is released: the same inputs, layers and loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.enclave.kinds import kit
from tests.enclave.test_training import MEMBERS, NAMES, people

from sealroom.privacy.kinds import model
from sealroom.privacy.parts import Cost, sampled_of
from sealroom.privacy.people import People
from sealroom.recipe import Field
from sealroom_agents.fullsize import plain_model
from sealroom_agents.fullsize.answers import PLAIN_AUC, RELEASED_AUC

OTHERS: dict[str, dict[str, Any]] = {
    "classes": {
        "loss": "classes",
        "label": "sex",
        "groups": [],
        "layers": [{"linear": 8}, "tanh", {"linear": 2}],
    },
    "squared": {"loss": "squared", "lower": "0", "upper": "1"},
}


def frame(count: int) -> pd.DataFrame:
    """The same people as a researcher has them, a few values missing."""
    table, _, _ = people(count)
    columns = {name: each.copy() for name, each in table.numbers.items()}
    columns["x0"][:5] = np.nan
    columns["event"][5:9] = np.nan
    labels = np.array(kit.GROUPS["sex"], dtype=object)[table.groups["sex"]]
    labels[9:12] = "other"
    return pd.DataFrame({**columns, "sex": labels})


@pytest.mark.parametrize("loss", ["binary", *OTHERS])
def test_inputs_and_labels_are_those_of_the_enclave(loss: str) -> None:
    spec = kit.spec_of(model.KIND, {**MEMBERS, **OTHERS.get(loss, {})})
    told, (table, _, _) = frame(400), people(400)
    places = np.array([kit.GROUPS["sex"].index(each) if each != "other" else -1 for each in told["sex"]])
    numbers = {name: told[name].to_numpy() for name in table.numbers}
    there = People(count=400, numbers=numbers, groups={"sex": places})
    inside = model.KIND.prepare(spec, "gaussian", there)
    plain = plain_model.table_of(spec, told)
    for rows, (inputs, targets) in ((inside.train, plain.train), (inside.held, plain.held)):
        assert rows.count == len(inputs)
        theirs, told_there = rows.chunk(0, rows.count)
        assert np.abs(theirs.numpy() / 2**16 - inputs.numpy()).max() < 1e-4
        unit = 2**16 if loss == "squared" else 1
        assert np.abs(told_there.numpy() / unit - targets.numpy()).max() < 1e-4


def test_released_weights_are_put_beside_those_without_privacy() -> None:
    spec = kit.spec_of(model.KIND, MEMBERS)
    table, _, _ = people(6000)
    cost = Cost(law="gaussian", amount=10**9, sampled=sampled_of(model.KIND.parts(spec, "gaussian")))
    field = Field(name="risk", kind=model.KIND, spec=spec, cost=cost)
    value = kit.released(field, table)
    sex = np.array(kit.GROUPS["sex"], dtype=object)[table.groups["sex"]]
    told = pd.DataFrame({**{name: table.numbers[name] for name in (*NAMES, "event", "held")}, "sex": sex})
    found = dict(plain_model.model(field, told, value))
    assert found[PLAIN_AUC] > 0.72 and abs(found[PLAIN_AUC] - found[RELEASED_AUC]) < 0.04
    [held] = value["held_out"]
    assert float(held["auc_low"]) <= found[RELEASED_AUC] <= float(held["auc_high"])
    assert found["people", "people", ()] == (table.numbers["held"] <= 0.5).sum()


@pytest.mark.parametrize("loss", OTHERS)
def test_other_losses_fall(loss: str) -> None:
    spec = kit.spec_of(model.KIND, {**MEMBERS, **OTHERS[loss]})
    field = Field(name="risk", kind=model.KIND, spec=spec, cost=Cost(law="gaussian", amount=1))
    found = dict(plain_model.model(field, frame(2000), {}))
    guessed = np.log(2) if loss == "classes" else 0.5
    assert found["held_out", "loss", ()] < guessed + 0.1
