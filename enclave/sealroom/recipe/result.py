# SPDX-License-Identifier: Apache-2.0
"""The output contract: what a result may look like, to the last character.

A result is built of integers, decimal strings with a declared number of places, declared labels and null, in
the shape that each field's kind declares (`sealroom.privacy.shape`); its bytes are canonical JSON. So the
analysis has nothing to hide a message in (OU-01). Refusals never repeat what the analysis sent (OU-03).

Most kinds have one row a group, with a 95 % interval beside each number and a word on what it includes::

    {"groups": [{"sex": "F", "people": 1093, "people_low": 1083, "people_high": 1103}, …], "interval":
    "noise"}

`people` is a noisy count, so it may be a little off in either direction. Where a person may have several
rows, it counts rows, and is called `rows`. A group smaller than the policy's minimum cohort, by its noisy
count, has null for every number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.encoding import canonical
from sealroom.errors import FormatError, JobError
from sealroom.privacy.shape import check
from sealroom.recipe import Recipe
from sealroom.recipe.contract import OutputContract


def check_output(fields: Any, contract: OutputContract, *, rows: int) -> dict[str, Any]:
    """The fields as they are, if they are exactly what the contract declares for people of at most so many
    rows.

    Raises `JobError`: "undeclared-field", "missing-field", "wrong-type", "out-of-bounds", "output-too-large".
    """
    if not isinstance(fields, dict):
        raise JobError(Code.WRONG_TYPE, "a result is a mapping from field to value")
    declared = {field.name: field for field in contract.fields}
    if not fields.keys() <= declared.keys():
        raise JobError(
            Code.UNDECLARED_FIELD,
            f"the result has a field that the recipe does not declare; declared: {', '.join(declared)}",
        )
    for name, field in declared.items():
        if name not in fields:
            # What is left out could tell as much as what is said.
            raise JobError(Code.MISSING_FIELD, f"the result lacks the declared field {name}")
        check(fields[name], field.shape(rows), name)
    try:
        size = len(canonical(fields))
    except FormatError:
        raise JobError(Code.WRONG_TYPE, "the result holds a value that canonical JSON has not") from None
    if size > contract.limit_bytes:
        raise JobError(
            Code.OUTPUT_TOO_LARGE, f"the result is larger than the {contract.limit_bytes} bytes declared"
        )
    return fields


def build_result(fields: Mapping[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The result JSON: checked fields with the study's name and the (ε, δ) that they cost together."""
    return {
        "study": recipe.name,
        "fields": dict(fields),
        "epsilon": decimal_text(recipe.privacy.epsilon),
        "delta": decimal_text(recipe.privacy.delta),
    }


def check_result(result: Any, recipe: Recipe) -> None:
    """Check a whole result against the recipe it claims, as a verifier does.

    Raises `JobError` like `check_output`.
    """
    if not isinstance(result, dict) or result.keys() != {"study", "fields", "epsilon", "delta"}:
        raise JobError(Code.WRONG_TYPE, "a result has the members study, fields, epsilon and delta")
    fields = check_output(result["fields"], recipe.output, rows=recipe.rows)
    if result != build_result(fields, recipe):
        raise JobError(Code.WRONG_TYPE, "the result names another study, ε or δ than the recipe")
