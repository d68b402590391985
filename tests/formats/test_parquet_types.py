# SPDX-License-Identifier: Apache-2.0
"""Every type that a column may have, in Parquet files as owners have them: the header says what Arrow reads.

Files are written by pyarrow in all its ways, by pandas and DuckDB, and, stored as vectors, by polars and
fastparquet. Each is sealed, opened and compared with what plain pyarrow reads of it (AR-06, AR-07, AR-09).
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sealroom.errors import SealError
from sealroom.keys import Secret
from sealroom.schema import plain_type
from sealroom.schema.arrow import arrow_schema
from sealroom.sealed import inspect, open_sealed, seal
from sealroom.sealed.parquet import parse_footer
from sealroom.sealed.parquet_pages import walk_pages
from tests.formats.test_sealed_table import opened, refusal
from tests.formats.worked import NAME, OWNER

VECTORS = Path(__file__).parent.parent / "vectors" / "parquet"
CORPUS = Path(os.environ.get("PARQUET_TESTING", "parquet-testing")) / "data"
"""A checkout of the apache/parquet-testing repository."""


def sealed_and_opened(data: bytes, folder: Path) -> pa.Table:
    """These bytes, once round."""
    source, target = folder / "a.parquet", folder / "a.tar"
    source.write_bytes(data)
    key = Secret.generate(32)
    done = seal(source, target, recipient=None, owner=OWNER, name=NAME, dek=key, overwrite=True)
    with open_sealed(
        target,
        dek=key,
        header_digest=done.header_digest,
        index_digest=done.index_digest,
        key_commitment=done.key_commitment,
    ) as file:
        assert file.read() == data, "sealing changes no bit"
        table = file.to_arrow()
        assert file.schema == table.schema == arrow_schema(inspect(target).header.columns or ())
        assert file.scan().to_table().num_rows == table.num_rows
    return table


def plain(data: bytes) -> pa.Table:
    """What pyarrow reads, without the notes of its writer."""
    return (
        pq.ParquetFile(io.BytesIO(data), arrow_extensions_enabled=False).read().replace_schema_metadata(None)
    )


def same(found: pa.Table, wanted: pa.Table) -> bool:
    """Whether two tables hold the same, as `repr` shows it: NaN is NaN, and large text is text."""
    return found.column_names == wanted.column_names and all(
        repr(one.to_pylist()) == repr(other.to_pylist())
        for one, other in zip(found.columns, wanted.columns, strict=True)
    )


def written(table: pa.Table, **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def integers(bits: int, sign: str) -> pa.Array:
    least, most = (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return pa.array([least, None, most, 7], getattr(pa, f"{sign}int{bits}")())


def ticks(kind: pa.DataType) -> pa.Array:
    return pa.array([0, None, 1, 86_399], pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)


SOME = [Decimal("1.5"), None, Decimal("-2"), Decimal(0)]
COLUMNS: dict[str, pa.Array] = {
    **{f"{sign}int{bits}": integers(bits, sign) for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float16": pa.array(np.array([1, 2, 65504, -0.0], np.float16)),
    "float32": pa.array([1.5, None, float("inf"), -0.0], pa.float32()),
    "float64": pa.array([1.5, None, float("nan"), 1e300]),
    **{f"decimal({p}, 1)": pa.array(SOME, pa.decimal128(p, 1)) for p in (2, 9, 10, 18, 19, 38)},
    "decimal(76, 1)": pa.array(SOME, pa.decimal256(76, 1)),
    "bool": pa.array([True, None, False, True]),
    "string": pa.array(["a", None, "", "ä"]),
    "binary": pa.array([b"a", None, b"", b"\xff"]),
    "binary(4)": pa.array([b"abcd", None, b"xxxx", b"zzzz"], pa.binary(4)),
    "date": pa.array([0, None, -719_162, 2_932_896], pa.int32()).cast(pa.date32()),
    **{
        f"time({unit})": ticks(pa.time32(unit) if unit == "ms" else pa.time64(unit))
        for unit in ("ms", "us", "ns")
    },
    **{f"timestamp({unit})": ticks(pa.timestamp(unit)) for unit in ("ms", "us", "ns")},
    **{f"timestamp({unit}, UTC)": ticks(pa.timestamp(unit, "UTC")) for unit in ("ms", "us", "ns")},
}
DEEP: dict[str, tuple[Any, pa.Array]] = {
    "list": ({"type": "list", "of": "string"}, pa.array([["a", "b"], None, [], [None]])),
    "lists": (
        {"type": "list", "of": {"type": "list", "of": "int64"}},
        pa.array([[[1], []], None, [None], [[None, 2]]]),
    ),
    "struct": (
        {"type": "struct", "fields": {"z": "int64", "a": "string"}},
        pa.array([{"z": 1, "a": "x"}, None, {"z": None, "a": None}, {"z": 2, "a": "y"}]),
    ),
    "list of struct": (
        {
            "type": "list",
            "of": {"type": "struct", "fields": {"a": "int64", "b": {"type": "list", "of": "string"}}},
        },
        pa.array([[{"a": 1, "b": ["p", "q"]}], None, [], [None, {"a": 2, "b": None}]]),
    ),
}
WAYS: dict[str, dict[str, Any]] = {
    "snappy": {},
    "gzip, pages of version 2": {"compression": "gzip", "data_page_version": "2.0"},
    "brotli, no dictionary": {"compression": "brotli", "use_dictionary": False},
    "zstd, a row a group": {"compression": "zstd", "row_group_size": 1},
    "lz4, small pages": {"compression": "lz4", "data_page_size": 8, "write_page_index": True},
    "nothing, checksums": {"compression": "none", "write_page_checksum": True},
    "decimals as integers": {"store_decimal_as_integer": True},
    "lists of older writers": {"use_compliant_nested_type": False},
}


@pytest.mark.parametrize("way", WAYS)
def test_every_type_is_read_as_pyarrow_reads_it(tmp_path: Path, way: str) -> None:
    arrays = COLUMNS | {name: array for name, (_, array) in DEEP.items()}
    data = written(pa.table(arrays), store_schema=False, **WAYS[way])
    footer = parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    kinds = {name: plain_type(kind) for name, kind in footer.columns}
    assert kinds == {name: name for name in COLUMNS} | {name: kind for name, (kind, _) in DEEP.items()}
    assert sealed_and_opened(data, tmp_path).equals(plain(data)) or same(
        sealed_and_opened(data, tmp_path), plain(data)
    )


def test_timestamps_as_spark_wrote_them_are_nanoseconds(tmp_path: Path) -> None:
    """INT96: a day and the nanoseconds in it."""
    table = pa.table({"at": pa.array([0, None, 10**18], pa.timestamp("ns"))})
    data = written(table, use_deprecated_int96_timestamps=True, store_schema=False)
    assert sealed_and_opened(data, tmp_path).equals(table)


ENCODED = {
    "int32": "DELTA_BINARY_PACKED",
    "int64": "BYTE_STREAM_SPLIT",
    "float64": "BYTE_STREAM_SPLIT",
    "string": "DELTA_BYTE_ARRAY",
    "binary": "DELTA_LENGTH_BYTE_ARRAY",
    "bool": "RLE",
    "binary(4)": "DELTA_BYTE_ARRAY",
}


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_every_encoding_is_read(tmp_path: Path, version: str) -> None:
    table = pa.table({name: COLUMNS[name] for name in ENCODED})
    data = written(table, use_dictionary=False, column_encoding=ENCODED, data_page_version=version)
    assert same(sealed_and_opened(data, tmp_path), table)


def test_columns_without_nulls_stay_without(tmp_path: Path) -> None:
    inner = pa.field("element", pa.string(), nullable=False)
    schema = pa.schema(
        [
            pa.field("a", pa.int8(), nullable=False),
            pa.field("b", pa.list_(inner), nullable=False),
            pa.field("c", pa.struct([pa.field("x", pa.date32(), nullable=False)])),
        ]
    )
    table = pa.table({"a": [1], "b": [["x"]], "c": [None]}, schema)
    opened = sealed_and_opened(written(table), tmp_path)
    assert opened.schema == schema and opened.equals(table)


def test_values_that_share_a_beginning_are_counted_as_long_as_their_page() -> None:
    """AR-05: by DELTA_BYTE_ARRAY a value costs a few bits, and may be as long as its page."""
    table = pa.table({"s": ["x" * 10_000] * 1_000})
    data = written(table, use_dictionary=False, column_encoding={"s": "DELTA_BYTE_ARRAY"})
    chunk = parse_footer(io.BytesIO(data), "it").chunks[0]  # type: ignore[arg-type]
    pages = walk_pages(
        lambda offset, count: memoryview(data)[offset : offset + count],
        chunk.begin,
        chunk.end,
        page_limit=2**20,
    )
    assert len(data) < 100_000 and pages.unpacked >= table.nbytes


@pytest.mark.parametrize("deep", ["list", "struct"])
def test_text_in_a_list_is_bounded_before_it_is_unfolded(deep: str) -> None:
    """AR-05: a dictionary's one long text, repeated for some bits each."""
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 100, pa.int32()), pa.array(["x" * 100_000]))
    array = (
        pa.ListArray.from_arrays(pa.array([0, 100], pa.int32()), words)
        if deep == "list"
        else pa.StructArray.from_arrays([words], ["s"])
    )
    data = written(pa.table({"c": array}), store_schema=False)
    columns = parse_footer(io.BytesIO(data), "it").columns  # type: ignore[arg-type]
    kind = plain_type(columns[0].type, sealed=True)
    assert len(data) < 100_000
    for limit, code in ((10**6, "table-too-large"), (10**8, None)):
        table = opened(data, ("c", kind), rows=len(array), table_bytes=limit)
        if code is None:
            assert table.to_arrow().column("c").type == pa.list_(pa.string()) or deep == "struct"
        else:
            assert refusal(table.to_arrow) == code


# Other writers.


def test_pandas(tmp_path: Path) -> None:
    days = pd.to_datetime(["2020-02-29", None, "1970-01-01"])
    frame = pd.DataFrame(
        {
            "Int8": pd.array([1, None, 3], "Int8"),
            "uint64": np.array([0, 1, 2**64 - 1], "uint64"),
            "f32": np.array([1.5, np.nan, 0], "f4"),
            "boolean": pd.array([True, None, False], "boolean"),
            "str": ["a", None, "ä"],
            "category": pd.Categorical(["x", None, "y"]),
            "naive": days.as_unit("us"),
            "UTC": days.tz_localize("UTC").as_unit("ms"),
            "dates": [days[0].date(), None, days[2].date()],
            "decimals": [Decimal("1.25"), None, Decimal("2.50")],
            "lists": [[1, 2], None, []],
        },
        index=pd.Index([5, 6, 7], name="row"),
    )
    source = tmp_path / "pandas.parquet"
    frame.to_parquet(source)
    assert same(sealed_and_opened(source.read_bytes(), tmp_path), plain(source.read_bytes()))


DUCKDB = """
    SELECT 1::TINYINT a, 2::SMALLINT b, 3::INTEGER c, 4::BIGINT d, 5::UTINYINT e, 6::USMALLINT f,
        7::UINTEGER g, 8::UBIGINT h, 1.5::FLOAT i, 2.5::DOUBLE j, 1.25::DECIMAL(4,2) k, 1.25::DECIMAL(9,2) l,
        1.25::DECIMAL(18,2) m, 1.25::DECIMAL(38,2) n, true o, 'x' p, 'x'::BLOB q, DATE '2020-01-01' r,
        TIME '01:02:03' s, TIMESTAMP '2020-01-01 01:02:03' t, TIMESTAMPTZ '2020-01-01 01:02:03+00' u,
        TIMESTAMP_MS '2020-01-01' v, TIMESTAMP_NS '2020-01-01' w, [1, 2] x, [['a'], []] y,
        {'a': 1, 'b': ['c']} z, 'M'::ENUM('M', 'F') aa, '{}'::JSON ab
"""


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("codec", ["snappy", "gzip", "zstd", "brotli", "lz4_raw", "uncompressed"])
def test_duckdb(tmp_path: Path, codec: str, version: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    target = tmp_path / "duckdb.parquet"
    options = f"FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version}"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY ({DUCKDB} UNION ALL SELECT {', '.join(['NULL'] * 28)}) TO '{target}' ({options})"
        )
    assert same(sealed_and_opened(target.read_bytes(), tmp_path), plain(target.read_bytes()))


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.parquet")), ids=lambda path: path.stem)
def test_polars_and_fastparquet(tmp_path: Path, path: Path) -> None:
    data = path.read_bytes()
    assert same(sealed_and_opened(data, tmp_path), plain(data))


# Schemas of older writers: what a footer says of lists. Source: LogicalTypes.md, "Backward-compatibility".


def varint(number: int) -> bytes:
    more = b""
    while number > 127:
        more, number = more + bytes((number & 127 | 128,)), number >> 7
    return more + bytes((number,))


def element(
    name: str, repetition: int | None, stored: int | None = None, children: int = 0, converted: int = -1
) -> bytes:
    """One SchemaElement."""
    fields = [(1, stored, 5), (3, repetition, 5), (4, name, 8), (5, children or None, 5)]
    fields.append((6, converted if converted >= 0 else None, 5))
    out, last = b"", 0
    for field, value, kind in fields:
        if value is None:
            continue
        out += bytes(((field - last) << 4 | kind,))
        out += varint(len(value)) + value.encode() if isinstance(value, str) else varint(2 * int(value))
        last = field
    return out + b"\0"


def footer(*elements: bytes) -> bytes:
    """A file of no rows with this schema."""
    body = b"\x15\x02\x19" + bytes((len(elements) << 4 | 12,)) + b"".join(elements)
    body += b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + body + len(body).to_bytes(4, "little") + b"PAR1"


REQUIRED, OPTIONAL, REPEATED = 0, 1, 2
INT64, BYTES, LIST, UTF8, MAP = 2, 6, 3, 0, 1
FLAT = element("n", REQUIRED, INT64)


def schemas() -> Iterator[tuple[str, tuple[bytes, ...]]]:
    outer = element("l", OPTIONAL, children=1, converted=LIST)
    yield "three levels", (outer, element("list", REPEATED, children=1), element("element", OPTIONAL, INT64))
    yield (
        "three levels, other names",
        (outer, element("bag", REPEATED, children=1), element("item", REQUIRED, INT64)),
    )
    yield "two levels", (outer, element("element", REPEATED, INT64))
    yield "two levels of struct", (
        outer, element("element", REPEATED, children=2), FLAT, element("s", OPTIONAL, BYTES, converted=UTF8),
    )  # fmt: skip
    yield "array", (outer, element("array", REPEATED, children=1), element("s", OPTIONAL, INT64))
    yield "tuple", (outer, element("l_tuple", REPEATED, children=1), element("s", OPTIONAL, INT64))
    yield "repeated value", (element("l", REPEATED, INT64),)
    yield "repeated group", (element("l", REPEATED, children=1), element("s", OPTIONAL, INT64))
    yield "struct of list", (element("g", OPTIONAL, children=1), element("l", REPEATED, INT64))


@pytest.mark.parametrize("case", dict(schemas()))
def test_lists_of_every_writer_are_what_arrow_takes_them_for(case: str) -> None:
    elements = dict(schemas())[case]
    data = footer(element("schema", None, children=1), *elements)
    ours = arrow_schema(parse_footer(io.BytesIO(data), "it").columns)  # type: ignore[arg-type]
    theirs = pq.ParquetFile(io.BytesIO(data)).schema_arrow
    assert ours == theirs, f"{ours} {theirs}"


REFUSED = {
    "a map": (
        element("m", OPTIONAL, children=1, converted=MAP),
        element("key_value", REPEATED, children=2),
        element("key", REQUIRED, BYTES),
        element("value", OPTIONAL, INT64),
    ),
    "an empty struct": (element("m", OPTIONAL, children=0),),
    "a list of nothing": (element("m", OPTIONAL, children=0, converted=LIST),),
    "a list that does not repeat": (element("m", OPTIONAL, children=1, converted=LIST), FLAT),
    "a list within a list": (
        element("m", OPTIONAL, children=1, converted=LIST),
        element("list", REPEATED, children=1, converted=LIST),
        element("inner", REPEATED, INT64),
    ),
    "a meaning of another form": (element("m", OPTIONAL, INT64, converted=UTF8),),
    "an unknown meaning": (element("m", OPTIONAL, INT64, converted=99),),
    "an unknown form": (element("m", OPTIONAL, 9),),
    "five lists": (*(element("m" if not n else "x", REPEATED, children=1) for n in range(5)), FLAT),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_column_that_no_study_reads_is_refused_by_name_type_and_remedy(case: str) -> None:
    data = footer(element("schema", None, children=1), *REFUSED[case])
    with pytest.raises(SealError) as caught:
        parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    assert caught.value.code == "schema-unsupported"
    assert "the column m is" in caught.value.message and caught.value.hint


@pytest.mark.parametrize("many", [0, 3])
def test_a_schema_of_more_or_fewer_elements_than_it_says_is_broken(many: int) -> None:
    data = footer(
        element("schema", None, children=2), *[element(f"n{n}", REQUIRED, INT64) for n in range(many)]
    )
    with pytest.raises(SealError) as caught:
        parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
    assert caught.value.code == "table-malformed"


# The corpus that all implementations of Parquet share.


def test_the_flat_files_of_parquet_testing(tmp_path: Path) -> None:
    """Nine of ten of those that pyarrow reads are sealed, opened and equal."""
    if not CORPUS.is_dir():
        pytest.skip(f"{CORPUS} is not there: set PARQUET_TESTING to a checkout of apache/parquet-testing")
    taken, failed = 0, []
    for path in sorted(CORPUS.glob("*.parquet")):
        data = path.read_bytes()
        try:
            wanted = plain(data)
        except (pa.ArrowException, OSError, ValueError):
            continue
        if any(pa.types.is_nested(field.type) for field in wanted.schema):
            continue
        try:
            fine = same(sealed_and_opened(data, tmp_path), wanted)
        except SealError as error:
            fine = False
            failed.append(f"{path.name}: {error.message}")
        taken += fine
    assert taken >= 9 * len(failed), failed
