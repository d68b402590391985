# SPDX-License-Identifier: Apache-2.0
"""The largest result that an output contract can lead to.

A limit below it would refuse some results and let others pass, by the length of what the noise made of the
data; so it is refused in the recipe. Errors: `RecipeError` with `recipe-bounds`.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.privacy.members import bounds_error
from sealroom.privacy.shape import Row, longest
from sealroom.recipe.outputs import Field

MAX_OUTPUT_BYTES = 2**20
"""Room for ten thousand numbers, or for the weights of a large model. Every result takes its recipe's
`limit_bytes` in the file that leaves; an envelope has room for six times this."""
_ROW_BYTES = len('{"people":null},')
"""No row takes less."""


def check_size(limit_bytes: int, fields: Sequence[Field]) -> None:
    """Check that every result of these fields fits; one about rows of people is shorter by some letters."""
    rows = sum(field.kind.rows(field.spec) for field in fields)
    if rows * _ROW_BYTES > MAX_OUTPUT_BYTES:  # they may be very many, so they are not spelt out
        bounds_error(
            f"the fields have {rows} rows together, more than {MAX_OUTPUT_BYTES} bytes hold",
            "declare fewer groups",
        )
    most = longest(Row({field.name: field.shape(1) for field in fields}))
    if most > limit_bytes:
        bounds_error(
            f"limit_bytes is {limit_bytes}, and the fields can take {most} bytes",
            f"set limit_bytes to {most}"
            if most <= MAX_OUTPUT_BYTES
            else f"declare fewer groups: results have at most {MAX_OUTPUT_BYTES} bytes",
        )
