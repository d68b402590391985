# SPDX-License-Identifier: Apache-2.0
"""Private logistic regression: full-batch gradient descent with a noisy integer sum a step.

Each step sums one clipped gradient a person and adds discrete Gaussian noise; the steps compose as zCDP.
There is no sampling of batches, hence nothing to amplify and nothing to get wrong in accounting for it
(DP-17). Three details carry the guarantee:

* A person's gradient is a function of that person's row alone, *bit for bit*. Sums over features run
  feature by feature in elementwise operations, and the sigmoid is looked up in a table, because a matrix
  product or a vectorised exponential may round a row differently when another row is added, and would then
  change every person's gradient.
* Gradients become integers (quantum 2⁻²⁰, towards zero), and the L2 bound is checked again on the integers; a
  gradient that fails it counts as zero. The sensitivity given to OpenDP is therefore exact.
* Features are scaled by bounds written in the recipe, never by anything seen in the data (DP-03), and
  the gradient is averaged over a noisy count, since the true one is private too.

Runs on CUDA when present. The noise is always drawn by OpenDP on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np
import torch

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.privacy import noise
from sealroom.privacy.rows import Floats
from sealroom.privacy.zcdp import rho_for
from sealroom.recipe.outputs import MAX_CLIP, Feature

GRADIENT_QUANTUM = 2**20
"""Integer steps a unit of gradient."""

COUNT_SHARE = 20
"""One part in this many of ε goes to the count that gradients are averaged over."""

_SIGMOID_REACH, _SIGMOID_STEPS = 24, 4096
"""The sigmoid is tabulated on ±24 with 4,096 entries a unit; the error is below 1e-4."""


WEIGHT_LIMIT = 1e6
"""Weights are held within this, so that a careless learning rate ends in a
useless model and not in an overflow."""


@dataclass(frozen=True, kw_only=True)
class NoisyModel:
    """What one training run lets out."""

    coefficients: dict[str, float]
    """"intercept" and one a feature, per unit of that feature as the data has it."""
    people: int
    """The noisy count of people with all values."""
    count_scale: float
    count_micro: int
    gradient_scale: float
    """σ of the noise on a summed gradient, in units of the clip's scale
    (that is, of one person's gradient)."""
    gradient_micro: int
    delta: Decimal
    device: str


def noisy_logistic(
    columns: Sequence[Floats],
    label: Floats,
    *,
    features: Sequence[Feature],
    clip: Decimal,
    steps: int,
    learning_rate: Decimal,
    epsilon_micro: int,
    delta: Decimal,
) -> NoisyModel:
    """Train on the people who have every feature and the label; `columns` are as `features` lists them.

    A label above one half counts as 1. The whole release is (ε, δ)-DP by basic composition of the count
    (pure) and the steps (zCDP, Bun and Steinke 2016). Raises `PrivacyError` ("privacy-range") for a clip too
    large to be exact.
    """
    if clip > MAX_CLIP:
        raise PrivacyError(Code.PRIVACY_RANGE, f"the clip of a model is at most {MAX_CLIP}")
    whole = ~np.isnan(label)
    for column in columns:
        whole &= ~np.isnan(column)
    count_micro = max(epsilon_micro // COUNT_SHARE, 1)
    gradient_micro = epsilon_micro - count_micro
    noisy_count, count_scale = noise.laplace([int(whole.sum())], sensitivity=1, epsilon_micro=count_micro)
    people = max(noisy_count[0], 1)

    rho = rho_for(epsilon_micro=gradient_micro, delta=delta) / steps
    sensitivity = math.ceil(Fraction(clip) * GRADIENT_QUANTUM)
    scale = noise.gaussian_scale(sensitivity=sensitivity, rho=rho)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    inputs = _inputs([column[whole] for column in columns], features=features, device=device)
    target = torch.from_numpy((label[whole] > 0.5).astype(np.float64)).to(device)
    sigmoid = _sigmoid_table(device)
    weights = [0.0] * len(inputs)
    for _ in range(steps):
        exact = gradient_sum(
            inputs, target, weights, sigmoid=sigmoid, clip=float(clip), sensitivity=sensitivity
        )
        noisy = noise.gaussian(exact, sensitivity=sensitivity, rho=rho, scale=scale)
        weights = [
            min(
                max(weight - float(learning_rate) * total / GRADIENT_QUANTUM / people, -WEIGHT_LIMIT),
                WEIGHT_LIMIT,
            )
            for weight, total in zip(weights, noisy, strict=True)
        ]
    return NoisyModel(
        coefficients=_in_natural_units(weights, features=features),
        people=noisy_count[0],
        count_scale=count_scale,
        count_micro=count_micro,
        gradient_scale=scale / GRADIENT_QUANTUM,
        gradient_micro=gradient_micro,
        delta=delta,
        device=device.type,
    )


def gradient_sum(
    inputs: Sequence[torch.Tensor],
    target: torch.Tensor,
    weights: Sequence[float],
    *,
    sigmoid: torch.Tensor,
    clip: float,
    sensitivity: int,
) -> list[int]:
    """The exact integer sum of everyone's clipped gradient; one person moves
    it by at most `sensitivity` in L2."""
    score = torch.zeros_like(target)
    for column, weight in zip(inputs, weights, strict=True):
        score = score + column * weight
    reach = _SIGMOID_REACH * _SIGMOID_STEPS
    index = torch.clamp(torch.round(score * _SIGMOID_STEPS), -reach, reach).to(torch.int64) + reach
    error = sigmoid[index] - target
    parts = [error * column for column in inputs]
    length = torch.zeros_like(target)
    for part in parts:
        length = length + part * part
    shrink = torch.clamp(clip / torch.sqrt(length).clamp(min=1e-300), max=1.0) * GRADIENT_QUANTUM
    # .to(int64) cuts towards zero: a quantised gradient is never longer than the clipped one
    integers = [(part * shrink).to(torch.int64) for part in parts]
    squared = torch.zeros_like(target, dtype=torch.int64)
    for integer in integers:
        squared = squared + integer * integer
    within = (squared <= sensitivity * sensitivity).to(torch.int64)
    return [int((integer * within).sum().item()) for integer in integers]


def _inputs(
    columns: Sequence[Floats], *, features: Sequence[Feature], device: torch.device
) -> list[torch.Tensor]:
    """A column of ones, then each feature clamped to its bounds and scaled to ±1."""
    rows = len(columns[0])
    inputs = [torch.ones(rows, dtype=torch.float64, device=device)]
    for column, feature in zip(columns, features, strict=True):
        middle, half = _middle_and_half(feature)
        scaled = (np.clip(column, float(feature.lower), float(feature.upper)) - middle) / half
        inputs.append(torch.from_numpy(np.clip(scaled, -1.0, 1.0)).to(device))
    return inputs


def _in_natural_units(weights: Sequence[float], *, features: Sequence[Feature]) -> dict[str, float]:
    intercept = weights[0]
    slopes: dict[str, float] = {}
    for weight, feature in zip(weights[1:], features, strict=True):
        middle, half = _middle_and_half(feature)
        slopes[feature.name] = weight / half
        intercept -= weight * middle / half
    return {"intercept": intercept, **slopes}


def _middle_and_half(feature: Feature) -> tuple[float, float]:
    return float((feature.lower + feature.upper) / 2), float((feature.upper - feature.lower) / 2)


def _sigmoid_table(device: torch.device) -> torch.Tensor:
    reach = _SIGMOID_REACH * _SIGMOID_STEPS
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64) / _SIGMOID_STEPS
    return torch.sigmoid(steps).to(device)
