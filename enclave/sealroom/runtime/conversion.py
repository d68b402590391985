# SPDX-License-Identifier: Apache-2.0
"""Columns on their way through the analysis: out of Arrow into pandas, and from there to the custodian.

Both ways, each value is turned by itself. No type, code or label depends on another row, and no
value makes this module raise: with one person more or less, everybody else's values are the same,
bit for bit. That is why whole numbers stay whole beside a missing one, and why nothing here looks
for the distinct values of a column.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from sealroom.runtime.known_people import IDENTITY_BYTES, digest

_UTF_8 = ("utf-8", "surrogatepass")
"""How a script's text becomes bytes, whatever is in it."""

_DTYPES: Mapping[pa.DataType, Any] = {
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype("pyarrow", na_value=np.nan),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}
"""pandas types that have room for a missing value. Real numbers need none: there it is NaN."""


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A dataset as pandas; each column's dtype follows from its declared type alone, without rows too.

    Whole numbers are `Int8` to `UInt64`, bool is `boolean`, real numbers `float16` to `float64`, string is
    `str`. A category is `category` with the declared values. A date is `datetime64[s]`, a timestamp
    `datetime64` of its unit, with its zone, a time `timedelta64` since midnight. Decimals, bytes, lists and
    structs are Python's `Decimal`, `bytes`, `list` and `dict`; within these, dates and times are numpy's.
    """
    columns = {
        name: _series(column.combine_chunks() if column.num_chunks != 1 else column.chunk(0))
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pd.DataFrame(
        columns, index=pd.RangeIndex(table.num_rows), columns=pd.Index(list(columns)), copy=False
    )


def _series(column: Any) -> pd.Series[Any]:
    """One column. What Python cannot hold of some value (a day after the year 9999) must not fail here."""
    if isinstance(column, pa.ChunkedArray):  # it has more text than one array holds
        return pd.concat([_series(piece) for piece in column.chunks], ignore_index=True)
    kind = column.type
    if pa.types.is_date(kind):
        return pd.Series(_moments(column), copy=False)
    if pa.types.is_time(kind):
        return pd.Series(_moments(column), copy=False)
    if pa.types.is_list(kind) or pa.types.is_struct(kind):
        cells = np.empty(len(column), dtype=object)
        cells[:] = _cells(column)
        return pd.Series(cells, dtype=object)
    if pa.types.is_decimal(kind) or pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pd.Series(column.to_pylist(), dtype=object)
    series: pd.Series[Any] = column.to_pandas(types_mapper=_DTYPES.get)
    return series


def _moments(column: Any) -> npt.NDArray[Any]:
    """Dates, times and timestamps as numpy's, from the integers that they are stored as."""
    kind = column.type
    if pa.types.is_date(kind):
        days = pc.fill_null(column.cast(pa.int32()).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        found = (days * 86_400).astype("datetime64[s]")
    else:
        width = pa.int32() if kind.bit_width == 32 else pa.int64()
        ticks = pc.fill_null(column.cast(width).cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
        what = "timedelta64" if pa.types.is_time(kind) else "datetime64"
        found = ticks.astype(f"{what}[{kind.unit}]")
    if column.null_count:
        found[column.is_null().to_numpy(zero_copy_only=False)] = "NaT"
    return found


def _cells(column: Any) -> list[Any]:
    """The values of a list or struct, or of what is in one, as Python has them; `None` for a missing one."""
    kind = column.type
    if pa.types.is_list(kind):
        inner, offsets = _cells(column.values), column.offsets.to_pylist()
        there = column.is_valid().to_pylist()
        return [inner[offsets[row] : offsets[row + 1]] if valid else None for row, valid in enumerate(there)]
    if pa.types.is_struct(kind):
        names = [kind.field(place).name for place in range(kind.num_fields)]
        parts = [_cells(column.field(place)) for place in range(kind.num_fields)]
        there = column.is_valid().to_pylist()
        return [
            dict(zip(names, values, strict=True)) if valid else None
            for valid, values in zip(there, zip(*parts, strict=True), strict=True)
        ]
    if pa.types.is_temporal(kind):
        valid = column.is_valid().to_pylist()
        return [each if there else None for each, there in zip(_moments(column), valid, strict=True)]
    found: list[Any] = column.to_pylist()
    return found


def handed_over(
    table: pd.DataFrame,
    *,
    unit: str,
    numbers: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    vectors: Sequence[tuple[str, int]] = (),
) -> tuple[dict[str, Any], list[memoryview]]:
    """A table as `sealroom.privacy.rows.parse_rows` reads it: the head of a request, and a payload.

    Rows without a person are not among them, nor rows without a list of the length that one of `vectors`
    declares. A column that the table lacks is left out; the custodian says
    so. `groups` are the declared labels of each grouping column.
    """
    kind, units, named = identities(table[unit]) if unit in table.columns else ("", None, None)
    if units is None or named is None:
        return {"rows": 0, "columns": []}, []
    columns: list[tuple[str, str, npt.NDArray[Any]]] = [(unit, kind, units)]
    columns += [(name, "f8", reals(table[name])) for name in numbers if name in table.columns]
    columns += [(name, "i4", places(table[name], groups[name])) for name in groups if name in table.columns]
    told: list[dict[str, Any]] = [{"name": name, "type": wire} for name, wire, _ in columns]
    values = [each for _, _, each in columns]
    for name, width in vectors:
        if name in table.columns:
            there, lists = reals_of_lists(table[name], width)
            named = named & there
            told.append({"name": name, "type": "f4", "width": int(width)})
            values.append(lists)
    head = {"rows": int(named.sum()), "columns": told}
    return head, [(each if named.all() else each[named]).data for each in values]


def identities(column: pd.Series[Any]) -> tuple[str, npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Who each row is about: the type on the wire, the ids, and which rows have one.

    "i8" are the whole numbers themselves; "b16" are digests, one row each of shape (rows, 16). Text is taken
    as it is, without Unicode normalisation: what an owner wrote in two ways are two people.
    """
    if pd.api.types.is_integer_dtype(column.dtype):
        kind = "uint64" if "uint" in str(column.dtype).lower() else "int64"
        ids = column.to_numpy(dtype=kind, na_value=0).astype("<i8", copy=False)
        return "i8", ids, column.notna().to_numpy(dtype=bool)
    texts = [
        b"str " + value.encode(*_UTF_8) if type(value) is str else _identity(value)
        for value in _objects(column)
    ]
    named = np.fromiter(map(len, texts), np.int64, count=len(texts)) > 0
    digests = b"".join([digest(text) for text in texts])
    return "b16", np.frombuffer(digests, np.uint8).reshape(-1, IDENTITY_BYTES), named


def reals(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Each value as the nearest real number; NaN where one is missing or is no number."""
    if pd.api.types.is_any_real_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        return column.to_numpy(dtype="float64", na_value=math.nan)
    return np.fromiter(map(_number, _objects(column)), np.float64, count=len(column))


def reals_of_lists(
    column: pd.Series[Any], width: int
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
    """Of each row whether it has a list of this length, and its numbers; NaN where one is none."""
    there = np.zeros(len(column), np.bool_)
    made = np.zeros((len(column), width), dtype="<f4")
    for row, value in enumerate(_objects(column)):
        if isinstance(value, list | tuple | np.ndarray) and len(value) == width:
            there[row] = True
            with np.errstate(over="ignore"):
                made[row] = np.fromiter(map(_number, value), np.float64, count=width)
    return there, made


def places(column: pd.Series[Any], keys: Sequence[str]) -> npt.NDArray[np.int32]:
    """For each value its place among the declared `keys`; −1 where it is missing or none of them."""
    place = {key: number for number, key in enumerate(keys)}
    # A recipe may write truth values as JSON does or as Python does.
    true, false = ("true", "false") if {"true", "false"} & place.keys() else ("True", "False")
    if isinstance(column.dtype, pd.CategoricalDtype):  # as `pandas.cut` makes it
        known = [place.get(_label(each, true, false), -1) for each in _objects(column.cat.categories)]
        return np.array([*known, -1], np.int32)[column.cat.codes.to_numpy()]  # −1, the last, is missing
    found = (
        place.get(value if type(value) is str else _label(value, true, false), -1)
        for value in _objects(column)
    )
    return np.fromiter(found, np.int32, count=len(column))


def _objects(column: Any) -> npt.NDArray[np.object_]:
    values: npt.NDArray[np.object_] = column.astype(object).to_numpy(dtype=object)
    return values


def _plain(value: Any) -> Any:
    """numpy's scalars as Python's, and real numbers that are whole as whole numbers."""
    if isinstance(value, np.generic):
        value = value.item()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> float:
    plain = _plain(value)
    if not isinstance(plain, bool | int | float | Decimal | Fraction):
        return math.nan
    try:
        return float(plain)
    except (OverflowError, ValueError):  # beyond every real number; a signalling NaN
        return math.nan


def _identity(value: Any) -> bytes:
    """What tells a person from all others: an id and its type ("1" and 1 are two); empty without one."""
    plain = _plain(value)
    text = _text(plain)
    return f"{type(plain).__name__} {text}".encode(*_UTF_8) if text else b""


def _label(value: Any, true: str, false: str) -> str:
    plain = _plain(value)
    if isinstance(plain, bool):
        return true if plain else false
    return _text(plain)


def _text(value: Any) -> str:
    """A value as text; empty, which no declared key is, where it is missing or has none."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return ""
    try:
        return str(value)
    except ValueError:  # more digits than Python writes
        return ""
