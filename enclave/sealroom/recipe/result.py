# SPDX-License-Identifier: Apache-2.0
"""The output contract: what a result may look like, to the last character.

A result is built of integers, decimal strings with a declared number of places, declared labels
and null; there is no free text in it, no float, and no choice of order or spelling, since its
bytes are canonical JSON. So the analysis has nothing to hide a message in (OU-01). Refusals never
repeat what the analysis sent (OU-03).

One value a field, by kind::

    count     {"groups": [{"age_band": "50-59", "sex": "F", "people": 1093}, …]}
    mean      {"groups": [{"age_band": "50-59", "sex": "F", "mean": "0.97", "people": 878}, …]}
    logistic  {"coefficients": {"intercept": "-10.738", "age": "0.125", …}, "people": 7824}

`people` is a noisy count, so it may be a little off in either direction. A group smaller than the policy's
minimum cohort, by its noisy count, has null for every number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sealroom.codes import Code
from sealroom.decimals import decimal_text
from sealroom.encoding import MAX_INTEGER, canonical
from sealroom.errors import FormatError, JobError
from sealroom.privacy.groups import cell_names
from sealroom.recipe import Recipe
from sealroom.recipe.contract import OutputContract
from sealroom.recipe.outputs import CountField, FieldSpec, LogisticField, MeanField

_DECIMAL = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?")


def check_output(fields: Any, contract: OutputContract) -> dict[str, Any]:
    """The fields as they are, if they are exactly what the contract declares.

    Raises `JobError`: "undeclared-field", "missing-field", "wrong-type", "out-of-bounds", "output-too-large".
    """
    if not isinstance(fields, dict):
        raise JobError(Code.WRONG_TYPE, "a result is a mapping from field to value")
    declared = {field.name: field for field in contract.fields}
    if not fields.keys() <= declared.keys():
        raise JobError(
            Code.UNDECLARED_FIELD,
            f"the result has a field that the recipe does not declare; declared: {_list(declared)}",
        )
    for name, field in declared.items():
        if name not in fields:
            # What is left out could tell as much as what is said.
            raise JobError(Code.MISSING_FIELD, f"the result lacks the declared field {name}")
        if isinstance(field, CountField):
            _check_count(fields[name], field, contract)
        elif isinstance(field, MeanField):
            _check_mean(fields[name], field, contract)
        else:
            _check_logistic(fields[name], field)
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
    fields = check_output(result["fields"], recipe.output)
    if result != build_result(fields, recipe):
        raise JobError(Code.WRONG_TYPE, "the result names another study, ε or δ than the recipe")


def _check_count(value: Any, field: CountField, contract: OutputContract) -> None:
    for group in _groups(value, field, contract, numbers=("people",)):
        _people(group["people"], field)


def _check_mean(value: Any, field: MeanField, contract: OutputContract) -> None:
    for group in _groups(value, field, contract, numbers=("mean", "people")):
        _people(group["people"], field)
        if (group["mean"] is None) != (group["people"] is None):
            raise _wrong(field, "a suppressed group has null for the mean and for the people")
        if group["mean"] is not None:
            _decimal(group["mean"], field)


def _check_logistic(value: Any, field: LogisticField) -> None:
    if not isinstance(value, dict) or value.keys() != {"coefficients", "people"}:
        raise _wrong(field, "it has the members coefficients and people")
    _people(value["people"], field)
    coefficients = value["coefficients"]
    if coefficients is None and value["people"] is None:
        return
    expected = {"intercept", *(feature.name for feature in field.features)}
    if not isinstance(coefficients, dict) or coefficients.keys() != expected or value["people"] is None:
        raise _wrong(field, "it has one coefficient for each feature and the intercept")
    for coefficient in coefficients.values():
        _decimal(coefficient, field)


def _groups(
    value: Any, field: CountField | MeanField, contract: OutputContract, *, numbers: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The groups, if they are the declared ones in declared order."""
    names = cell_names(field.by, contract.groups)
    if not isinstance(value, dict) or value.keys() != {"groups"} or not isinstance(value["groups"], list):
        raise _wrong(field, "it has the one member groups, a list")
    groups = value["groups"]
    if len(groups) != len(names) or not all(isinstance(group, dict) for group in groups):
        raise _wrong(field, f"it has {len(names)} groups")
    for group, name in zip(groups, names, strict=True):
        if group.keys() != {*name, *numbers}:
            raise _wrong(field, f"a group has the members {_list([*name, *numbers])}")
        if any(group[key] != label for key, label in name.items()):
            raise _wrong(field, "its groups are the declared ones in declared order")
    return groups


def _people(value: Any, field: FieldSpec) -> None:
    if value is None:
        return
    if type(value) is not int:
        raise _wrong(field, "people is a whole number or null")
    if not 0 <= value <= MAX_INTEGER:
        raise _outside(field)


def _decimal(value: Any, field: MeanField | LogisticField) -> None:
    if not isinstance(value, str) or _DECIMAL.fullmatch(value) is None:
        raise _wrong(field, "its numbers are decimal strings")
    number = Decimal(value)
    if len(value.partition(".")[2]) != field.decimals or (number.is_zero() and value.startswith("-")):
        raise _wrong(field, f"its numbers have {field.decimals} decimal places")
    if not field.lower <= number <= field.upper:
        raise _outside(field)


def _wrong(field: FieldSpec, rule: str) -> JobError:
    return JobError(Code.WRONG_TYPE, f"the field {field.name} does not have its declared shape: {rule}")


def _outside(field: FieldSpec) -> JobError:
    return JobError(
        Code.OUT_OF_BOUNDS, f"a number of the field {field.name} lies outside its declared bounds"
    )


def _list(names: Any) -> str:
    return ", ".join(names)
