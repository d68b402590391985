# SPDX-License-Identifier: Apache-2.0
"""People by declared group, each count with discrete Laplace noise.

One person is in at most one group, so adding or removing a person changes the whole vector by at most one in
L1: the groups compose in parallel, and the vector costs ε once.
"""

from __future__ import annotations

import numpy as np

from sealroom.privacy import noise
from sealroom.privacy.rows import Integers


def noisy_counts(cells: Integers, *, groups: int, epsilon_micro: int) -> tuple[list[int], float]:
    """Noisy number of people in each of `groups` groups (may be negative), and the noise scale in people."""
    inside = cells[cells >= 0]
    exact = np.bincount(inside, minlength=groups)
    return noise.laplace([int(value) for value in exact], sensitivity=1, epsilon_micro=epsilon_micro)
