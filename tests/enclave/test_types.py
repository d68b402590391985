# SPDX-License-Identifier: Apache-2.0
"""Columns of every type, on their way into the analysis: nobody's value depends on anybody else's."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from tests.enclave.conftest import STUDY

from sealroom import recipe
from sealroom.errors import JobError
from sealroom.privacy.release import Releases
from sealroom.recipe import Recipe
from sealroom.runtime.conversion import to_frame
from sealroom.runtime.custodian import Custodian, declared_columns
from sealroom.runtime.sandbox import Sandbox
from sealroom.schema import Column, parse_type
from sealroom.schema.arrow import arrow_type

LAST = 2**31 - 1
WIDTHS = (8, 16, 32, 64)
VISITS = {
    "type": "list",
    "of": {"type": "struct", "fields": {"day": "date", "codes": {"type": "list", "of": "string"}}},
}
TYPES: dict[str, tuple[Any, str, list[Any]]] = {
    # name: (type, dtype, four values: a usual one, none, and two that no other value of a column expects)
    **{f"i{bits}": (f"int{bits}", f"Int{bits}", [1, None, 0, 2 ** (bits - 1) - 1]) for bits in WIDTHS},
    **{f"u{bits}": (f"uint{bits}", f"UInt{bits}", [1, None, 0, 2**bits - 1]) for bits in WIDTHS},
    "f32": ("float32", "float32", [1.5, None, float("inf"), float("nan")]),
    "f64": ("float64", "float64", [1.5, None, 5e-324, -0.0]),
    "dec": ("decimal(38, 4)", "object", [Decimal("1.5"), None, Decimal("9" * 34 + ".9999"), Decimal(0)]),
    "yes": ("bool", "boolean", [True, None, False, True]),
    "s": ("string", "str", ["a", None, "", "\U0001d6c6"]),
    "cat": ({"type": "category", "values": ["M", "F"]}, "category", ["F", None, "other", "M"]),
    "bytes": ("binary", "object", [b"a", None, b"", b"\xff" * 9]),
    "four": ("binary(4)", "object", [b"abcd", None, bytes(4), b"\xff" * 4]),
    "day": ("date", "datetime64[s]", [0, None, LAST, -LAST - 1]),
    "time": ("time(ns)", "timedelta64[ns]", [1, None, 2**62, -1]),
    "at": ("timestamp(us)", "datetime64[us]", [0, None, 2**63 - 1, -(2**62)]),
    "utc": ("timestamp(ms, UTC)", "datetime64[ms, UTC]", [0, None, 2**62, -1]),
    "numbers": ({"type": "list", "of": "int64"}, "object", [[1, 2], None, [None, 2**63 - 1], []]),
    "visits": (
        VISITS, "object",
        [[{"day": 1, "codes": ["x"]}], None, [{"day": LAST, "codes": [None]}, None], [{"day": None}]],
    ),
}  # fmt: skip


def column(name: str, rows: list[int]) -> pa.Array:
    """Days and times as the integers that a file has."""
    kind, _, values = TYPES[name]
    wanted = arrow_type(parse_type(kind, column=name))
    raw = _raw(wanted)
    array = pa.array([values[row] for row in rows], raw)
    return array if raw == wanted else array.cast(wanted)


def _raw(kind: Any) -> Any:
    if pa.types.is_temporal(kind):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    if pa.types.is_list(kind):
        return pa.list_(_raw(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(each.name, _raw(each.type)) for each in kind])
    return kind


def table(rows: list[int]) -> pa.Table:
    ids = pa.array([100 + row for row in rows], pa.uint32())
    return pa.table({"id": ids} | {name: column(name, rows) for name in TYPES})


ANALYSIS = """
import pandas as pd
from sealroom import emit_signed, private, unwrap
people = pd.concat([unwrap("hospital-A/cohort.tar"), unwrap("hospital-B/cohort.tar")], ignore_index=True)
expected = {EXPECTED}
found = {name: str(kind) for name, kind in people.dtypes.items()}
assert found == expected, found
assert people["visits"][0][0]["codes"] == ["x"] and people["numbers"][1] is None
assert str(people["day"][0]) == "1970-01-01 00:00:00" and people["cat"].isna().sum() == 4
people["sex"] = people["cat"]
emit_signed(private(people).count("people").summary())
"""


@pytest.fixture(scope="module")
def parsed(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    study: dict[str, Any] = copy.deepcopy(STUDY)
    kinds = {"id": "uint32"} | {name: kind for name, (kind, _, _) in TYPES.items()}
    study["schemas"]["cohort"] = {"unit": "id", "columns": kinds}
    study["output"]["fields"] = study["output"]["fields"][:1]
    study["privacy"] |= {"epsilon": "1", "delta": "0", "minimum_cohort": 1}
    expected = {"id": "UInt32"} | {name: dtype for name, (_, dtype, _) in TYPES.items()}
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.yaml").write_text(json.dumps(study))
    (folder / "analysis.py").write_text(ANALYSIS.strip().replace("{EXPECTED}", repr(expected)) + "\n")
    return recipe.parse(recipe.render(folder))


def test_every_type_reaches_an_analysis_in_the_sandbox(parsed: Recipe) -> None:
    custodian = Custodian(
        parsed,
        open_dataset=lambda spec: table([0, 1, 2, 3] if spec.owner == "hospital-A" else [1, 2, 0]),
        releases=Releases(parsed.privacy, parsed.output, epsilon_micro=parsed.epsilon_micro),
        check_lease=lambda: None,
    )
    with Sandbox.start() as sandbox:
        assert list(custodian.serve(sandbox)) == ["people"]


@pytest.mark.parametrize("more", [0, 1, 2, 3])
@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("name", TYPES)
def test_a_row_more_changes_no_other_and_no_dtype(parsed: Recipe, name: str, place: str, more: int) -> None:
    """DP-19: whatever another person's value is, or that there is none."""
    spec = parsed.datasets[0]
    few = [0, 1, 3]
    many = [more, *few] if place == "before" else [*few, more]
    one, other = (to_frame(declared_columns(table(rows), spec))[name] for rows in (few, many))
    shared = other.iloc[1:] if place == "before" else other.iloc[:-1]
    assert one.dtype == other.dtype == to_frame(declared_columns(table([]), spec))[name].dtype
    assert [repr(each) for each in one.astype(object)] == [repr(each) for each in shared.astype(object)]


def test_a_category_takes_what_is_declared_in_the_declared_order(parsed: Recipe) -> None:
    frame = to_frame(declared_columns(table([0, 2, 3]), parsed.datasets[0]))
    assert list(frame["cat"].cat.categories) == ["M", "F"] and list(frame["cat"].cat.codes) == [1, -1, 0]
    assert isinstance(frame["cat"].dtype, pd.CategoricalDtype)


def test_a_column_with_nulls_where_none_are_declared_is_refused(parsed: Recipe, tmp_path: Path) -> None:
    spec = parsed.datasets[0]
    strict = tuple(
        Column(name, parse_type({"type": kind.name, "nullable": False}, column=name))
        if name == "s"
        else Column(name, kind)
        for name, kind in spec.columns
    )
    schema = type(spec.schema)(name="cohort", unit="id", columns=strict)
    with pytest.raises(JobError) as caught:
        declared_columns(table([0]), type(spec)(owner="a", name="b", schema=schema))
    assert caught.value.code == "schema-mismatch" and "string without nulls" in caught.value.message
