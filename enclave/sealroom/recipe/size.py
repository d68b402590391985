# SPDX-License-Identifier: Apache-2.0
"""The largest result that an output contract can lead to.

A limit below it would refuse some results and let others pass, by the length of what the noise made of the
data; so it is refused in the recipe. Errors: `RecipeError` with `recipe-bounds`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import rounded_text
from sealroom.encoding import MAX_INTEGER, canonical
from sealroom.errors import RecipeError
from sealroom.privacy.groups import cell_names
from sealroom.recipe.outputs import MAX_OUTPUT_BYTES, CountField, FieldSpec, LogisticField, MeanField

_CELL_BYTES = len('{"people":null},')
"""No group takes less."""


def check_size(limit_bytes: int, fields: Sequence[FieldSpec], groups: Mapping[str, Sequence[str]]) -> None:
    """Check that every result of these fields fits."""
    cells = sum(
        math.prod(len(groups[name]) for name in field.by)
        for field in fields
        if not isinstance(field, LogisticField)
    )
    if cells * _CELL_BYTES > MAX_OUTPUT_BYTES:  # they may be very many, so they are not spelt out
        raise RecipeError(
            Code.RECIPE_BOUNDS,
            f"the fields have {cells} groups together, more than {MAX_OUTPUT_BYTES} bytes hold",
            "declare fewer groups",
        )
    most = len(canonical({field.name: _largest(field, groups) for field in fields}))
    if most > limit_bytes:
        raise RecipeError(
            Code.RECIPE_BOUNDS,
            f"limit_bytes is {limit_bytes}, and the fields can take {most} bytes",
            f"set limit_bytes to {most}"
            if most <= MAX_OUTPUT_BYTES
            else f"declare fewer groups: results have at most {MAX_OUTPUT_BYTES} bytes",
        )


def _largest(field: FieldSpec, groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The longest value that can be released for a field; `sealroom.recipe.result` has its shape."""
    if isinstance(field, CountField):
        return {"groups": [name | {"people": MAX_INTEGER} for name in cell_names(field.by, groups)]}
    number = _longest_number(field)
    if isinstance(field, MeanField):
        names = cell_names(field.by, groups)
        return {"groups": [name | {"mean": number, "people": MAX_INTEGER} for name in names]}
    names_of_model = ("intercept", *(feature.name for feature in field.features))
    return {"coefficients": dict.fromkeys(names_of_model, number), "people": MAX_INTEGER}


def _longest_number(field: MeanField | LogisticField) -> str:
    ends = (
        rounded_text(Fraction(end), decimals=field.decimals, lower=field.lower, upper=field.upper)
        for end in (field.lower, field.upper)
    )
    return max(ends, key=len)
