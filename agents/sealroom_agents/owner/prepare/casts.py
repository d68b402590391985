# SPDX-License-Identifier: Apache-2.0
"""Values of one column type as another, exactly or not at all.

Exactly means: cast back, each value is what it was. A number that would be rounded, an instant that would
lose its time, is refused with its place; what it is, is not told (OP-04).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sealroom.schema import Bool, ColumnType, Date, Decimal, Integer, Real, String, Timestamp
from sealroom.schema.types import bare
from sealroom_agents.owner.tables.csv_cells import CellError

_NUMBERS = (Integer, Real, Decimal)


def castable(given: ColumnType, wanted: ColumnType) -> bool:
    """Whether values of one type can be values of another. Text is read by the form it came in, not here."""
    given, wanted = bare(given), bare(wanted)
    match given, wanted:
        case _ if given == wanted:
            return True
        case (Integer(), Real() | Decimal() | Integer() | Bool() | String()):
            return True
        case (Real() | Decimal(), Integer() | Real() | Decimal()):
            return True
        case (Bool(), Integer() | String()) | (Date(), String()):
            return True
        case (Date(), Timestamp(zone=None)) | (Timestamp(zone=None), Date()):
            return True
        case (Timestamp(zone=one), Timestamp(zone=other)):
            return one == other
        case _:
            return False


def cast(values: Any, given: ColumnType, wanted: ColumnType) -> Any:
    """An Arrow array of `given` as `wanted`, of two types that are `castable`. Raises `CellError` for the
    first value that is not the same afterwards."""
    from sealroom.schema.arrow import arrow_type

    target = arrow_type(wanted)
    if values.type == target:
        return values
    found = _exactly(values, target)
    if found is None:
        index = first_unfit(values, lambda part: _exactly(part, target) is not None)
        raise CellError(index, f"the {given.name} is no {wanted.name} without a change")
    return found


def first_unfit(values: Any, fits: Callable[[Any], bool]) -> int:
    """Place of the first value for which a part of an array does not fit; the whole does not."""
    low, high = 0, len(values)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(values.slice(low, middle - low)) else (low, middle)
    return low


def _exactly(values: Any, target: Any) -> Any | None:
    """The values as another Arrow type; `None` where one is not the same when it is cast back."""
    import pyarrow
    import pyarrow.compute as pc

    try:
        wide = values
        if pyarrow.types.is_decimal(target) and pyarrow.types.is_integer(values.type):
            # Arrow asks for room for the largest integer of the type, not for those that are there.
            wide = pc.cast(values, pyarrow.decimal256(76, target.scale))
        found = pc.cast(wide, target)
        if pyarrow.types.is_string(target):
            return found
        back = pc.cast(found, values.type)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError):
        return None
    same = pc.equal(back, values)
    if pyarrow.types.is_floating(values.type):
        same = pc.or_(same, pc.and_(pc.is_nan(back), pc.is_nan(values)))
    return found if pc.all(same).as_py() is not False else None
