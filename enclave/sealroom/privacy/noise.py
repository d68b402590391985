# SPDX-License-Identifier: Apache-2.0
"""Integer noise from OpenDP. The only place where noise is drawn.

The scale follows from the recipe (`parts.noise_of`). Every measurement is asked for its own privacy map
before it draws, and refused if the map says more than the part may cost: so a wrong scale can make a run
fail, and cannot make it leak. OpenDP draws from the operating system's generator and samples discrete
distributions without floating-point arithmetic (Canonne, Kamath, Steinke 2020), so that DP-01 does not arise;
there is no seed to set (DP-09). Only OpenDP's "contrib" feature is enabled: its constructors are documented
by proofs that not all have been vetted. Sampling time is not constant (DP-10); outcomes leave at one instant.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

# Not opendp.prelude: it imports scikit-learn wherever that is installed, which takes longer than the noise.
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian, make_laplace
from opendp.metrics import l1_distance, l2_distance
from opendp.mod import enable_features

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.model.units import MICRO
from sealroom.privacy.parts import Cost, Noise, Part, once_squared
from sealroom.privacy.people import Integers

enable_features("contrib")

_ROUNDING = 1 + Fraction(1, 2**40)
"""OpenDP rounds its maps up in doubles; a scale that is wrong is wrong by more."""


def add_noise(exact: Integers, part: Part, cost: Cost, noise: Noise) -> list[Fraction]:
    """One draw: exact integers in, exact multiples of 2^-bits out.

    Raises `PrivacyError` ("budget-exceeded") when OpenDP's map puts the draw above its cost, and
    ("privacy-range") for integers that are not what the part declares.
    """
    if exact.shape != (part.length,) or exact.dtype != np.int64:
        raise PrivacyError(Code.PRIVACY_RANGE, "a part of a release has another shape or type than declared")
    scale = float(noise.scale)
    measurement: Any
    if noise.law == "laplace":
        measurement = make_laplace(vector_domain(atom_domain(T="i64")), l1_distance(T="i64"), scale=scale)
        allowed = Fraction(cost.amount, MICRO) * part.share / part.draws
        spent = measurement.map(part.l1 << noise.bits)
    else:
        # μ-Gaussian differential privacy of a Gaussian is μ²/2-zCDP, which is what OpenDP accounts in.
        measurement = make_gaussian(vector_domain(atom_domain(T="i64")), l2_distance(T=float), scale=scale)
        reach = math.nextafter(math.sqrt(part.l2_squared), math.inf) * 2**noise.bits
        allowed = once_squared(cost.amount, part.share, part.draws, part.rate) / 2
        spent = measurement.map(reach)
    if noise.law != cost.law or Fraction(spent) > allowed * _ROUNDING:
        raise PrivacyError(Code.BUDGET_EXCEEDED, "the noise scale is below what the field's cost needs")
    drawn = measurement([int(value) << noise.bits for value in exact])
    return [Fraction(int(value), 2**noise.bits) for value in drawn]
