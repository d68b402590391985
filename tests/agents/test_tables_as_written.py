# SPDX-License-Identifier: Apache-2.0
"""What polars, DuckDB and pandas write with their own defaults is sealed and read back as they read it, or
the column that cannot be is named, with what to write instead."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sealroom.errors import SealroomError
from sealroom.keys import Secret
from sealroom.sealed import open_sealed, seal
from sealroom_agents.owner.source import look, ready
from sealroom_agents.owner.tables import parquet_batches
from sealroom_agents.owner.tables.parquet_rows import READ_BYTES, ParquetRows

OWNER = "0x" + 40 * "1"
Refused = tuple[str, str]
"""The type in the message, and a word of the hint."""


def round_trip(path: Path) -> tuple[list[str], list[Any]]:
    """The types of an input's columns, and the values of the first, once it was looked through, sealed and
    opened as an enclave opens it."""
    source = look(path, kind=None, declared=None)
    key, target = Secret.generate(), path.parent / "sealed.tar"
    with ready(source) as made:
        with made.path.open("rb", buffering=0) as file:
            for _ in ParquetRows(file, name=path):
                pass
        done = seal(
            made.path, target, recipient=None, owner=OWNER, name="t", dek=key, media_type=source.media_type,
            overwrite=True,
        )  # fmt: skip
    with open_sealed(
        target,
        dek=key,
        header_digest=done.header_digest,
        index_digest=done.index_digest,
        key_commitment=done.key_commitment,
    ) as opened:
        table = opened.to_arrow()
    assert [str(name) for name in table.column_names] == [name for name, _ in source.columns or ()]
    return [kind.name for _, kind in source.columns or ()], table.column(0).to_pylist()


def expect(path: Path, wanted: str | Refused, values: list[Any]) -> None:
    """That it is read as this type with these values, or refused with these words."""
    if isinstance(wanted, str):
        kinds, found = round_trip(path)
        assert kinds == [wanted]
        assert repr(found) == repr(values)
        return
    with pytest.raises(SealroomError) as refused:
        round_trip(path)
    error = refused.value
    assert error.code in ("schema-unsupported", "table-malformed", "not-parquet")
    assert "the column c" in error.message and wanted[0] in error.message
    assert wanted[1] in (error.hint or "")


UTC = dt.UTC
SERIES: dict[str, tuple[pl.Series, str | Refused, str | Refused]] = {
    # What it is, and what becomes of it as Parquet and as Arrow.
    "text": (pl.Series(["a", None, "ä" * 40]), "string", "string"),
    "categorical": (pl.Series(["a", None, "b"], dtype=pl.Categorical), "string", "string"),
    "enum": (pl.Series(["a", None, "b"], dtype=pl.Enum(["b", "a"])), "string", "string"),
    "int8": (pl.Series([1, None, -1], dtype=pl.Int8), "int8", "int8"),
    "uint64": (pl.Series([1, None, 2**64 - 1], dtype=pl.UInt64), "uint64", "uint64"),
    "int128": (pl.Series([1, 2**100], dtype=pl.Int128), *2 * (("integer of 128 bits", "decimal(38, 0)"),)),
    "float16": (pl.Series([1.0, None, 2.5], dtype=pl.Float16), "float16", "float16"),
    "float32": (pl.Series([1.0, None, 2.5], dtype=pl.Float32), "float32", "float32"),
    "bool": (pl.Series([True, None, False]), "bool", "bool"),
    "decimal": (
        pl.Series([decimal.Decimal("1.50"), None, decimal.Decimal("-2.25")], dtype=pl.Decimal(5, 2)),
        *2 * ("decimal(5, 2)",),
    ),
    "date": (pl.Series([dt.date(2020, 1, 1), None, dt.date(1, 1, 1)]), "date", "date"),
    "time": (pl.Series([dt.time(1, 2, 3), None, dt.time(23, 59, 59, 999_999)]), "time(ns)", "time(ns)"),
    "datetime": (pl.Series([dt.datetime(2020, 1, 1), None]), "timestamp(us)", "timestamp(us)"),
    "nanoseconds": (
        pl.Series([dt.datetime(2020, 1, 1), None], dtype=pl.Datetime("ns")),
        *2 * ("timestamp(ns)",),
    ),
    "zoned": (
        pl.Series([dt.datetime(2020, 7, 1, 2, tzinfo=UTC)]).dt.convert_time_zone("Europe/Berlin"),
        *2 * ("timestamp(us, UTC)",),
    ),
    "duration": (pl.Series([dt.timedelta(1), None]), "int64", ("duration", "microseconds")),
    "binary": (pl.Series([b"a", None, b"\xff"]), "binary", "binary"),
    "list": (pl.Series([[1], None, [], [None]]), "list of int64", "list of int64"),
    "array": (
        pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int64, 2)),
        "list of int64",
        "list of int64",
    ),
    "struct": (
        pl.Series([{"a": 1, "b": "x"}, {"a": None, "b": "y"}]),
        *2 * ("struct of a int64, b string",),
    ),
    "list of categories": (
        pl.Series([["a", "b"], None, [], ["a"]], dtype=pl.List(pl.Categorical)),
        *2 * ("list of string",),
    ),
    "struct of categories": (
        pl.Series([{"a": "x"}, {"a": None}, {"a": "x"}], dtype=pl.Struct({"a": pl.Categorical})),
        *2 * ("struct of a string",),
    ),
    "nothing": (pl.Series([None, None]), ("without a type", "as a column of nulls"), ("null", "of nulls")),
    "no rows": (pl.Series([], dtype=pl.Int64), "int64", "int64"),
}
WAYS: dict[str, tuple[str, Callable[[pl.DataFrame, Path], Any]]] = {
    "parquet": (".parquet", lambda frame, path: frame.write_parquet(path)),
    "parquet, other pages": (
        ".parquet",
        lambda frame, path: frame.write_parquet(path, compression="lz4", row_group_size=2, statistics="full"),
    ),
    "ipc": (".arrow", lambda frame, path: frame.write_ipc(path)),
    "ipc, zstd": (".arrow", lambda frame, path: frame.write_ipc(path, compression="zstd")),
    "ipc, sunk": (".arrow", lambda frame, path: frame.lazy().sink_ipc(path)),
    "stream": (".arrow", lambda frame, path: frame.write_ipc_stream(path)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", SERIES)
def test_polars(tmp_path: Path, what: str, way: str) -> None:
    series, *wanted = SERIES[what]
    suffix, write = WAYS[way]
    path = tmp_path / f"t{suffix}"
    write(series.alias("c").to_frame(), path)
    values = series.to_list()
    if what == "duration":
        values = [None if each is None else each // dt.timedelta(microseconds=1) for each in values]
    if what == "zoned":
        values = [each.astimezone(UTC).replace(tzinfo=None) for each in values]
    if what == "nanoseconds":
        values = [None if each is None else pd.Timestamp(each) for each in values]
    expect_same(path, wanted[suffix == ".arrow"], values)


def expect_same(path: Path, wanted: str | Refused, values: list[Any]) -> None:
    """As `expect`, with instants told without their zone, which is UTC."""
    if wanted != "timestamp(us, UTC)":
        expect(path, wanted, values)
        return
    kinds, found = round_trip(path)
    assert kinds == [wanted]
    assert [None if each is None else each.replace(tzinfo=None) for each in found] == values


DUCK: dict[str, tuple[str, str | Refused, str | Refused, Any]] = {
    # What it is, what becomes of it as Parquet and as Arrow, and the value.
    "HUGEINT": ("1::HUGEINT", "float64", "decimal(38, 0)", None),
    "HUGEINT of 39 digits": (
        "170141183460469231731687303715884105727::HUGEINT",
        "float64",
        ("holds a value that its type decimal(38, 0)", "within its digits"),
        1.7014118346046923e38,
    ),
    "BIGINT": ("-1::BIGINT", "int64", "int64", -1),
    "UTINYINT": ("255::UTINYINT", "uint8", "uint8", 255),
    **{
        f"DECIMAL({p},1)": (f"1.5::DECIMAL({p},1)", *2 * (f"decimal({p}, 1)",), decimal.Decimal("1.5"))
        for p in (4, 9, 18, 38)
    },
    "UUID": (
        "'7b0e4c5e-8c11-4a5c-9d0f-1d0f6d5a9f00'::UUID",
        "binary(16)",
        "string",
        None,
    ),
    "TIMETZ": ("'10:00:00+02'::TIMETZ", "time(us)", "time(us)", None),
    "TIME": ("'10:00:00'::TIME", "time(us)", "time(us)", dt.time(10)),
    "TIMESTAMP": ("'2020-01-01'::TIMESTAMP", *2 * ("timestamp(us)",), dt.datetime(2020, 1, 1)),
    "TIMESTAMPTZ": (
        "'2020-01-01 00:00:00+02'::TIMESTAMPTZ",
        *2 * ("timestamp(us, UTC)",),
        dt.datetime(2019, 12, 31, 22),
    ),
    "TIMESTAMP_S": (
        "'2020-01-01'::TIMESTAMP_S",
        "timestamp(us)",
        "timestamp(ms)",
        dt.datetime(2020, 1, 1),
    ),
    "TIMESTAMP_NS": ("'2020-01-01'::TIMESTAMP_NS", *2 * ("timestamp(ns)",), pd.Timestamp("2020-01-01")),
    "INTERVAL": ("INTERVAL 3 DAY", "binary(12)", ("interval", "columns of whole numbers"), None),
    "ENUM": ("'a'::ENUM('a','b')", "string", "string", "a"),
    "BLOB": ("'\\xff'::BLOB", "binary", "binary", b"\xff"),
    "JSON": ("'{}'::JSON", "string", "string", "{}"),
    "MAP": ("MAP{'a':1}", *2 * (("map", "list of structs"),), None),
    "STRUCT": ("{'a':1,'b':'x'}", *2 * ("struct of a int32, b string",), {"a": 1, "b": "x"}),
    "LIST": ("[1,2]", *2 * ("list of int32",), [1, 2]),
    "ARRAY with nulls": (
        "[1,2]::INTEGER[2]",
        ("holds a page that cannot be read", "a list of any"),
        "list of int32",
        [1, 2],
    ),
    "UNION": ("union_value(a:=1)", "struct of element1 uint8, a int32", ("union", "as a column"), None),
    "BIGNUM": ("1::BIGNUM", "string", ("extension type arrow.opaque", "as text"), None),
    "NULL": ("NULL", ("without a type", "of nulls"), ("null", "of nulls"), None),
    "DATE": ("DATE '2020-01-01'", "date", "date", dt.date(2020, 1, 1)),
    "FLOAT": ("1.5::FLOAT", "float32", "float32", 1.5),
}


@pytest.mark.parametrize("way", ["", ", PARQUET_VERSION v2, CODEC zstd", "arrow"])
@pytest.mark.parametrize("what", DUCK)
def test_duckdb(tmp_path: Path, what: str, way: str) -> None:
    """Bloom filters and statistics are among what it writes without being asked."""
    expression, as_parquet, as_arrow, value = DUCK[what]
    query = f"SELECT {expression} AS c UNION ALL SELECT NULL"
    with duckdb.connect() as connection:
        if way == "arrow":
            path, wanted = tmp_path / "t.arrows", as_arrow
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                table = connection.sql(query).to_arrow_table()
            with pa.ipc.new_stream(path, table.schema) as writer:
                writer.write_table(table)
        else:
            path, wanted = tmp_path / "t.parquet", as_parquet
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet{way})")
    if value is None and isinstance(wanted, str):
        assert round_trip(path)[0] == [wanted]
    else:
        expect_same(path, wanted, [value, None])


def test_what_duckdb_changes_when_it_writes_is_as_the_page_says(tmp_path: Path) -> None:
    """docs/inputs.md: these are other values before Sealroom sees them."""
    for number, (expression, value) in enumerate(
        {
            "(2::HUGEINT ** 53 + 1)::HUGEINT": 2.0**53,
            "'10:00:00+02'::TIMETZ": dt.time(8),
            "'7b0e4c5e-8c11-4a5c-9d0f-1d0f6d5a9f00'::UUID": uuid.UUID(
                "7b0e4c5e-8c11-4a5c-9d0f-1d0f6d5a9f00"
            ).bytes,
        }.items()
    ):
        path = tmp_path / f"{number}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY (SELECT {expression} AS c) TO '{path}' (FORMAT parquet)")
        assert round_trip(path)[1] == [value]


STAMPS = ["2020-01-01", None]
FRAMES: dict[str, tuple[Any, str | Refused, str | Refused, list[Any]]] = {
    # A column, what becomes of it as Parquet and as Feather, and its values.
    "int": ([1, 2], "int64", "int64", [1, 2]),
    "float with nulls": ([1.5, None], "float64", "float64", [1.5, None]),
    "text": (["a", None], "string", "string", ["a", None]),
    "objects": (pd.Series(["a", None], dtype=object), "string", "string", ["a", None]),
    "decimals": ([decimal.Decimal("1.5"), None], *2 * ("decimal(2, 1)",), [decimal.Decimal("1.5"), None]),
    "days": ([dt.date(2020, 1, 1), None], "date", "date", [dt.date(2020, 1, 1), None]),
    "nanoseconds": (
        pd.to_datetime(STAMPS).as_unit("ns"), *2 * ("timestamp(ns)",), [pd.Timestamp("2020-01-01"), None],
    ),
    "seconds": (
        pd.to_datetime(STAMPS).as_unit("s"), *2 * ("timestamp(ms)",), [dt.datetime(2020, 1, 1), None],
    ),
    "zoned": (
        pd.to_datetime(STAMPS).as_unit("us").tz_localize("Europe/Berlin"),
        *2 * ("timestamp(us, UTC)",),
        [dt.datetime(2019, 12, 31, 23), None],
    ),
    "category": (pd.Categorical(["a", None]), "string", "string", ["a", None]),
    "category of numbers": (pd.Categorical([7, None]), "int64", "int64", [7, None]),
    "masked": (pd.array([1, None], dtype="Int64"), "int64", "int64", [1, None]),
    "bytes": ([b"a", None], "binary", "binary", [b"a", None]),
    "durations": (
        pd.to_timedelta(["1D", None]), "int64", ("duration", "microseconds"), [86_400_000_000, None],
    ),
    "periods": (
        pd.period_range("2020", periods=2, freq="M"), *2 * (("extension type pandas.period", "as text"),), [],
    ),
    "intervals": (pd.interval_range(0, 2), *2 * (("extension type pandas.interval", "storage"),), []),
    "UUIDs": ([uuid.uuid4()], *2 * (("extension type arrow.uuid", "as text"),), []),
    "nothing": ([None, None], ("without a type", "of nulls"), ("null", "of nulls"), []),
}  # fmt: skip


@pytest.mark.parametrize("way", ["parquet", "feather"])
@pytest.mark.parametrize("what", FRAMES)
def test_pandas(tmp_path: Path, what: str, way: str) -> None:
    column, as_parquet, as_feather, values = FRAMES[what]
    frame = pd.DataFrame({"c": column})
    path = tmp_path / f"t.{way}"
    frame.to_parquet(path) if way == "parquet" else frame.to_feather(path)
    expect_same(path, as_parquet if way == "parquet" else as_feather, values)


@pytest.mark.parametrize("index", ["", "k"])
def test_an_index_of_pandas_is_a_column(tmp_path: Path, index: str) -> None:
    """It is not dropped: a study that does not declare it refuses it by name."""
    frame = pd.DataFrame({"c": [1, 2]}, index=pd.Index(["x", "y"], name=index or None))
    for write in (frame.to_parquet, frame.to_feather):
        write(tmp_path / "t")
        source = look(tmp_path / "t", kind=None, declared=None)
        assert [name for name, _ in source.columns or ()] == ["c", index or "__index_level_0__"]
        assert round_trip(tmp_path / "t")[0] == ["int64", "string"]


class Asked(io.FileIO):
    """A file that notes how many bytes each read asks for."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and self.tell() < 4_000_000:  # before the footer, which is read at once
            self.most = max(self.most, size)
        return super().read(size) or b""


def test_no_column_is_read_beyond_its_next_pages(tmp_path: Path) -> None:
    """A row group of a gigabyte takes no gigabyte of memory."""
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"v": range(600_000)}), path, use_dictionary=False, compression="none")
    with Asked(path) as file:
        rows = [batch.num_rows for batch in ParquetRows(file, name=path)]
    assert pq.ParquetFile(path).num_row_groups == 1 and sum(rows) == 600_000
    assert 0 < file.most <= 2 * READ_BYTES


def test_a_wide_table_has_batches_of_fewer_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_batches, "BATCH_BYTES", 240)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({name: range(15) for name in "abc"}), path)
    with path.open("rb", buffering=0) as file:
        assert [batch.num_rows for batch in ParquetRows(file, name=path)] == [8, 7]
