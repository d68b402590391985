# SPDX-License-Identifier: Apache-2.0
"""Writes `crosscheck.json`: what other accountants say of the costs that `test_accountant` tries.

Needs dp-accounting 0.6.0, which the tests do not: run it where that is installed, from the root of the
project::

    python tests/enclave/crosscheck.py

Its privacy loss distributions share no code with our closed formula. They are computed twice: with randomised
response in the place of each Laplace field, where they must agree with the formula, and with the true Laplace
pair, which must come out lower. Its accountant of Rényi differential privacy must come out higher.

Of draws over a random part of the people, distributions are rounded up (pessimistic) and down (optimistic):
the truth lies between. Rényi accounting is done at our whole orders and at all of the library's. Opacus
1.6.0 is asked too; its wheel, unpacked on the path, is enough, since only its module of formulas is imported.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

from dp_accounting import GaussianDpEvent, LaplaceDpEvent, PoissonSampledDpEvent, SelfComposedDpEvent
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant
from opacus.accountants.analysis import rdp as opacus

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


SAMPLED: list[tuple[int, str, float, int, list[int], list[int], float]] = [
    (344_000_000, "1", 0.01, 1000, [], [], 1e-6),
    (344_000_000, "1", 0.1, 200, [], [], 1e-6),
    (344_000_000, "19/20", 0.05, 300, [], [50_000_000], 1e-6),
    (91_000_000, "1", 0.05, 100, [262_500, 262_500], [], 1e-6),
    (200_000_000, "9/10", 0.02, 500, [400_000], [50_000_000], 1e-6),
    (500_000_000, "1", 0.01, 500, [], [], 1e-5),
    (30_000_000, "1", 0.1, 50, [], [], 1e-9),
    (344_000_000, "1", 0.5, 40, [], [], 1e-6),
]
"""μ of a field in parts of 10⁹, the share of its μ² that its sampled draws have, rate, number of draws; ε of
Laplace fields, μ of Gaussian ones, δ. What is left of the share is one draw over everybody."""
ORDERS = [*range(2, 33), *(math.ceil(32 * 1.1**n) for n in range(1, 37))]


def sampled_epsilons(
    mu: float, share: float, rate: float, draws: int, pure: list[float], gaussian: float, delta: float
) -> dict[str, float]:
    """ε at this δ, by each accountant, and the noise that the field's draws have in units of sensitivity."""
    noise = math.log1p(mu**2 * share / draws / rate**2) ** -0.5
    rest = math.sqrt(gaussian**2 + mu**2 * (1 - share))
    found = {}
    for name, up in (("pessimistic", True), ("optimistic", False)):
        total = pld.from_gaussian_mechanism(
            noise, sampling_prob=rate, value_discretization_interval=STEP, pessimistic_estimate=up
        ).self_compose(draws)
        if rest:
            total = total.compose(
                pld.from_gaussian_mechanism(
                    1 / rest, value_discretization_interval=STEP, pessimistic_estimate=up
                )
            )
        for e in pure:
            flip = 2 / (1 + math.exp(e))
            total = total.compose(
                pld.from_randomized_response(
                    flip, 2, value_discretization_interval=STEP, pessimistic_estimate=up
                )
            )
        found[name] = total.get_epsilon_for_delta(delta)
    for name, orders in (("renyi", None), ("whole orders", ORDERS)):
        accountant = RdpAccountant(orders)
        for e in pure:
            accountant.compose(LaplaceDpEvent(1 / e))
        if rest:
            accountant.compose(GaussianDpEvent(1 / rest))
        event = PoissonSampledDpEvent(rate, GaussianDpEvent(noise))
        accountant.compose(SelfComposedDpEvent(event, draws))
        found[name] = accountant.get_epsilon(delta)
    if not pure and not rest:
        orders = [1 + x / 10 for x in range(1, 100)] + list(range(12, 256))
        curve = opacus.compute_rdp(q=rate, noise_multiplier=noise, steps=draws, orders=orders)
        found["opacus"] = opacus.get_privacy_spent(orders=orders, rdp=curve, delta=delta)[0]
    return found


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
    sampled = []
    for mu_nano, share, rate, draws, pure, gaussian, delta in SAMPLED:
        threshold = math.floor(rate * 2**32)
        mu = math.sqrt(sum(each**2 for each in gaussian)) / 1e9
        parts = share.split("/")
        part = int(parts[0]) / int(parts[-1])
        found = sampled_epsilons(
            mu_nano / 1e9, part, threshold / 2**32, draws, [each / 1e6 for each in pure], mu, delta
        )
        sampled.append(
            {
                "mu_nano": mu_nano, "share": share, "rate": threshold, "draws": draws, "laplace": pure,
                "gaussian": gaussian, "delta": delta,
                "epsilon": {name: round(float(value), 7) for name, value in found.items()},
            }
        )  # fmt: skip
    TARGET.write_text(json.dumps({"full": cases, "sampled": sampled}, indent=1) + "\n")


if __name__ == "__main__":
    main()
