# SPDX-License-Identifier: Apache-2.0
"""The product's own kernel, with coins and noise that are the same at every run.

Whatever is released draws from two places outside of the project: OpenDP's measurements, and for coins the
operating system's generator. Neither takes a seed, and the product has no way to be given one. So a test
replaces these two, inside its own process, and nothing of the product: sums, the coins' threshold, the check
of each measurement's privacy map, rounds, and what a kind makes of noisy sums are those of an enclave.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sealroom.privacy import noise

# The module; the package's name for it may be the function.
coins = importlib.import_module("sealroom.privacy.coins")


def laplace(dice: np.random.Generator, scale: float, count: int) -> list[int]:
    """Integers of the discrete Laplace law: the difference of two geometric ones."""
    stop = -math.expm1(-1 / scale)
    return [int(each) for each in dice.geometric(stop, count) - dice.geometric(stop, count)]


def gaussian(dice: np.random.Generator, scale: float, count: int) -> list[int]:
    """Rounded normal numbers, which at these scales nobody tells from the discrete Gaussian law."""
    return [int(each) for each in np.rint(dice.normal(0, scale, count)).astype(np.int64)]


LAWS: Mapping[str, Callable[[np.random.Generator, float, int], list[int]]] = {
    "laplace": laplace,
    "gaussian": gaussian,
}


class Measurement:
    """One of OpenDP's, with its privacy map, that draws with a seed."""

    def __init__(self, real: Any, draw: Callable[[int], list[int]]) -> None:
        self.map = real.map
        self._draw = draw

    def __call__(self, exact: Sequence[int]) -> list[int]:
        return [each + more for each, more in zip(exact, self._draw(len(exact)), strict=True)]


@contextmanager
def drawn(seed: int) -> Iterator[None]:
    """All that this process releases meanwhile has its coins and its noise from this seed, in order."""
    dice = np.random.default_rng(seed)

    def seeded(make: Callable[..., Any], law: Callable[..., list[int]]) -> Callable[..., Measurement]:
        def made(*spaces: Any, scale: float) -> Measurement:
            return Measurement(make(*spaces, scale=scale), lambda count: law(dice, scale, count))

        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "make_laplace", seeded(noise.make_laplace, laplace))
        patch.setattr(noise, "make_gaussian", seeded(noise.make_gaussian, gaussian))
        patch.setattr(coins, "os", SimpleNamespace(urandom=dice.bytes))
        yield
