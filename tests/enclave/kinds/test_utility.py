# SPDX-License-Identifier: Apache-2.0
"""What is released at ε 1.5 beside what numpy, scipy or scikit-learn make of the same few thousand people.

The noise has a seed; each limit is about twice the error that the noise explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from tests.enclave.kinds import kit

from sealroom.privacy.kinds import KINDS
from sealroom.privacy.parts import LAWS, Cost, Law, noise_of
from sealroom.privacy.people import People
from sealroom.privacy.shape import check

COSTS = {
    "laplace": Cost(law="laplace", amount=1_500_000),
    "gaussian": Cost(law="gaussian", amount=344_000_000),
}
"""ε 1.5, and the μ of (1.5, 1e-6)."""
COUNT = 4000


def released(
    kind: str,
    members: Mapping[str, Any],
    law: Law,
    numbers: Mapping[str, Any],
    groups: Mapping[str, Any] | None = None,
    seed: int = 1,
) -> Any:
    """A field's value, of all of these people."""
    made, dice = KINDS[kind], np.random.default_rng(seed)
    spec = kit.spec_of(made, members)
    count = len(next(iter([*numbers.values(), *(groups or {}).values()])))
    people = People(count=count, numbers=dict(numbers), groups=dict(groups or {}))
    noise = {name: noise_of(part, COSTS[law]) for name, part in kit.parts_of(made, spec, law).items()}
    state = None
    for _ in range(made.rounds(spec)):
        exact = made.aggregate(spec, law, made.prepare(spec, law, people), state)
        noisy = {name: kit.seeded(sums, noise[name], dice) for name, sums in exact.items()}
        state = made.advance(spec, law, state, noisy, noise)
    value = made.finish(spec, law, state, noise, kit.COHORT)
    check(value, made.shape(spec), "field")
    return value


def near(rows: Any, name: str, plain: Any, limit: float) -> None:
    """A number of every row is no farther from the plain one than the limit, and than twice its interval."""
    shown, low, high = (
        np.array([float(row[each]) for row in rows]) for each in (name, f"{name}_low", f"{name}_high")
    )
    assert np.abs(shown - plain).max() < limit, (name, shown, plain)
    assert ((2 * low - shown <= plain) & (plain <= 2 * high - shown)).all(), (name, low, plain, high)


@pytest.mark.parametrize("law", LAWS)
def test_variance(law: Law) -> None:
    dice = np.random.default_rng(2)
    sex, values = dice.integers(0, 2, COUNT), dice.normal(1.2, 0.3, COUNT)
    members = {"by": ["sex"], "column": "x", "lower": "0.3", "upper": "3", "decimals": 4}
    value = released("variance", members, law, {"x": values}, {"sex": sex})
    held = [np.clip(values[sex == place], 0.3, 3.0) for place in (0, 1)]
    for name, statistic in (
        ("mean", np.mean),
        ("variance", lambda each: np.var(each, ddof=1)),
        ("standard_deviation", lambda each: np.std(each, ddof=1)),
    ):
        plain = np.array([statistic(each) for each in held])
        near(value["groups"], name, plain, 0.006 if law == "laplace" else 0.02)
