# SPDX-License-Identifier: Apache-2.0
"""Integer noise from OpenDP. The only place where noise is drawn.

Every measurement is asked for its privacy map before it is used, and refused if the map says more than was
booked: so a wrong scale here can make a run fail, and cannot make it leak. OpenDP draws from the operating
system's generator and samples discrete distributions without floating-point arithmetic (Canonne, Kamath,
Steinke 2020), so that DP-01 does not arise; there is no seed to set (DP-09). Only OpenDP's "contrib" feature
is enabled: its constructors are documented by proofs that not all have been vetted. Sampling time is not
constant (DP-10); results leave in slots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

# Not opendp.prelude: it imports scikit-learn wherever that is installed, which takes longer than the noise.
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian, make_laplace
from opendp.metrics import l1_distance, l2_distance
from opendp.mod import enable_features

from sealroom.codes import Code
from sealroom.errors import PrivacyError
from sealroom.model.units import MICRO

enable_features("contrib")

_NUDGE = 1 + 2.0**-40
"""The step by which a scale grows until floating-point rounding no longer puts
its privacy map above the target."""


def laplace(values: Sequence[int], *, sensitivity: int, epsilon_micro: int) -> tuple[list[int], float]:
    """Discrete Laplace noise on a vector that one person changes by at most `sensitivity` in L1.

    Returns the noisy integers and the scale; the release is ε-DP, pure.
    """
    epsilon = Fraction(epsilon_micro, MICRO)
    scale = float(sensitivity / epsilon)
    space = vector_domain(atom_domain(T="i64")), l1_distance(T="i64")
    measurement: Any = make_laplace(*space, scale=scale)
    while Fraction(measurement.map(sensitivity)) > epsilon:
        scale *= _NUDGE
        measurement = make_laplace(*space, scale=scale)
    return [int(value) for value in measurement(list(values))], scale


def gaussian_scale(*, sensitivity: int, rho: Fraction) -> float:
    """The scale σ of the discrete Gaussian that gives ρ-zCDP at this L2
    sensitivity: Δ / √(2ρ), rounded up."""
    scale = sensitivity / math.sqrt(2 * float(rho))
    while Fraction(_gaussian(scale).map(float(sensitivity))) > rho:
        scale *= _NUDGE
    return scale


def gaussian(values: Sequence[int], *, sensitivity: int, rho: Fraction, scale: float) -> list[int]:
    """Discrete Gaussian noise on a vector that one person changes by at most `sensitivity` in L2; ρ-zCDP."""
    measurement = _gaussian(scale)
    if Fraction(measurement.map(float(sensitivity))) > rho:
        raise PrivacyError(Code.BUDGET_EXCEEDED, "the noise scale is below what the privacy policy needs")
    return [int(value) for value in measurement(list(values))]


def _gaussian(scale: float) -> Any:
    space = vector_domain(atom_domain(T="i64")), l2_distance(T=float)
    return make_gaussian(*space, scale=scale)
