# SPDX-License-Identifier: Apache-2.0
"""Writes `crosscheck.json`: what other accountants say of the costs that `test_accountant` tries.

Needs dp-accounting 0.6.0, which the tests do not: run it where that is installed, from the root of the
project::

    python tests/enclave/crosscheck.py

Its privacy loss distributions share no code with our closed formula. They are computed twice: with randomised
response in the place of each Laplace field, where they must agree with the formula, and with the true Laplace
pair, which must come out lower. Its accountant of Rényi differential privacy must come out higher.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from dp_accounting import GaussianDpEvent, LaplaceDpEvent
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant

TARGET = Path(__file__).with_name("crosscheck.json")
STEP = 1e-4
"""Width of a cell of a privacy loss distribution."""
CASES: list[tuple[list[int], list[int], float]] = [
    ([262_500] * 4, [91_000_000] * 2, 1e-6),
    ([412_500] * 2, [173_375_108], 1e-6),
    ([], [344_000_000], 1e-6),
    ([], [20_000_000, 30_000_000], 1e-9),
    ([1_000_000], [50_000_000], 1e-6),
    ([50_000, 100_000, 200_000, 400_000], [100_000_000], 1e-5),
    ([100_000] * 8, [200_000_000], 1e-4),
    ([3_000_000], [1_000_000_000], 1e-6),
]
"""ε of Laplace fields in millionths, μ of Gaussian ones in parts of 10⁹, δ."""


def epsilons(pure: list[float], mu: float, delta: float) -> dict[str, float]:
    """ε at this δ, by each accountant."""
    pairs = {
        "response": [
            pld.from_randomized_response(2 / (1 + math.exp(e)), 2, value_discretization_interval=STEP)
            for e in pure
        ],
        "laplace": [pld.from_laplace_mechanism(1 / e, value_discretization_interval=STEP) for e in pure],
    }
    found = {}
    for name, parts in pairs.items():
        total = pld.from_gaussian_mechanism(1 / mu, value_discretization_interval=STEP)
        for part in parts:
            total = total.compose(part)
        found[name] = total.get_epsilon_for_delta(delta)
    accountant = RdpAccountant()
    for e in pure:
        accountant.compose(LaplaceDpEvent(1 / e))
    accountant.compose(GaussianDpEvent(1 / mu))
    return {**found, "renyi": accountant.get_epsilon(delta)}


def main() -> None:
    cases = []
    for pure, gaussian, delta in CASES:
        mu = math.sqrt(sum(each**2 for each in gaussian)) / 1e9
        found = epsilons([each / 1e6 for each in pure], mu, delta)
        rounded = {name: round(value, 7) for name, value in found.items()}
        cases.append({"laplace": pure, "gaussian": gaussian, "delta": delta, "epsilon": rounded})
    TARGET.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
