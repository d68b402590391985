# SPDX-License-Identifier: Apache-2.0
"""The declared groups of a field, in declared order. Free of numpy, since verifiers read results too."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence


def cell_names(by: Sequence[str], declared: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Every declared group, in declared order; one empty name when nothing is grouped."""
    return [
        dict(zip(by, labels, strict=True)) for labels in itertools.product(*(declared[name] for name in by))
    ]
