# SPDX-License-Identifier: Apache-2.0
"""Means of lists without privacy, by numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sealroom.recipe.outputs import Field
from sealroom_agents.fullsize.answers import Key

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 256
"""Lists that are turned into real numbers at a time."""


def vector_mean(field: Field, people: pd.DataFrame, value: Mapping[str, Any]) -> Iterator[tuple[Key, float]]:
    """The mean of each entry over all rows whose list has the declared length; what is missing counts as the
    centre there, as the recipe says."""
    spec = field.spec
    centres = np.array([float(each) for each in spec.centres])
    column = pa.chunked_array(pa.array(people[spec.column]))
    column = column.filter(pc.equal(pc.list_value_length(column), spec.length))
    total = np.zeros(spec.length)
    for piece in column.chunks:
        for start in range(0, len(piece), _ROWS):
            found = piece.slice(start, _ROWS).flatten().to_numpy(zero_copy_only=False)
            lists = found.reshape(-1, spec.length)
            total += np.where(np.isnan(lists), centres, lists).sum(axis=0)
    for place, mean in enumerate(total / max(len(column), 1), 1):
        yield ("means", "", (str(place),)), float(mean)
