# SPDX-License-Identifier: Apache-2.0
"""Datasets that open: the edges of what the page allows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.vectors.make_sealed_archive import COLUMNS, LARGE, PART, REPORT_KEY, SMALL, fixed, sign_index
from tests.vectors.make_sealed_case import OPAQUE, Case, put

TABLE = Path(__file__).with_name("table.parquet")
"""A Parquet file of nine rows. It is stored, since Arrow writes its own version into a file."""


SCALARS = [
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "bool", "string", "binary", "binary(16)", "binary(4096)", "date"),
    *("decimal(1, 0)", "decimal(38, 2)", "decimal(76, 76)"),
    *(f"time({unit})" for unit in ("ms", "us", "ns")),
    *(f"timestamp({unit}{zone})" for unit in ("ms", "us", "ns") for zone in ("", ", UTC")),
]
DEEP = {
    "type": "list",
    "of": {"type": "struct", "fields": [["z", "date"], ["a", {"type": "list", "of": "bool"}]]},
}


def good() -> Iterator[Case]:
    def case(name: str, comment: str, **steps: Any) -> Case:
        return Case(name, "success", comment, steps)

    parquet = {"media_type": "application/vnd.apache.parquet"}
    yield case("table", "a Parquet file: the example of the page", plain=TABLE.read_bytes(), **parquet)
    yield case("empty_file", "no bytes are one part", plain=b"", **OPAQUE)
    yield case("one_byte", "the shortest file that has a byte", plain=b"x", **OPAQUE)
    yield case("chunk_less_one", "one chunk, one byte short of full", plain=LARGE[: PART - 1], **OPAQUE)
    yield case("chunk_exactly", "a full chunk is followed by an empty one", plain=LARGE[:PART], **OPAQUE)
    yield case("two_parts", "a whole part and ten bytes", plain=LARGE, **OPAQUE)
    yield case("two_parts_exactly", "no empty part after the last", plain=LARGE[:PART] * 2, **OPAQUE)
    yield case("three_parts", "every boundary twice", plain=LARGE[:PART] * 2 + b"and ten by", **OPAQUE)
    yield case(
        "part_of_two_chunks", "a part size of 32 KiB", plain=LARGE + SMALL, part_size=2 * PART, **OPAQUE
    )
    yield case("largest_part_size", "a part size of 8 MiB", part_size=8 << 20, **OPAQUE)
    yield case("report_key", "a key to which failures are explained", header=put(reportKey=REPORT_KEY))
    yield case(
        "columns_of_all_types",
        "each type that is written as a text",
        columns=[[f"c{number}", kind] for number, kind in enumerate(SCALARS)],
    )
    yield case(
        "columns_nested",
        "lists and structs; the schema hash sorts a struct's fields, the header does not",
        columns=[["deep", DEEP], ["list", {"type": "list", "of": {"type": "list", "of": "int8"}}]],
    )
    yield case(
        "columns_without_nulls",
        "nullable is written where it is false, and no part of the schema hash",
        columns=[["id", {"type": "int64", "nullable": False}], ["l", {**DEEP, "nullable": False}]],
    )
    yield case(
        "columns_of_any_name",
        "names in all scripts, of one to 255 bytes",
        columns=[
            [name, "bool"] for name in ("Größe (cm)", "年齢", "𝛆", "\ufb01", "a.b", "-", "_" * 255, 'q"\\')
        ],
    )
    yield case(
        "columns_in_file_order", "the schema hash sorts them, the header does not", columns=COLUMNS[::-1]
    )
    yield case("no_rows", "a table may be empty", rows=0)
    yield case("largest_integer", "2^53 - 1 rows", rows=2**53 - 1)
    yield case(
        "media_type_of_128",
        "128 characters beyond the basic plane: 512 bytes of UTF-8",
        media_type="𝛆" * 128,
        **OPAQUE,
    )
    yield case(
        "escapes",
        "JSON's own escapes, as RFC 8785 writes them",
        media_type='\b\t\n\f\r"\\\x00\x1f\x7f/é',
        **OPAQUE,
    )
    yield case(
        "resealed",
        "the same header, parts and index, wrapped for a later recipe (CE-20)",
        context={"composeHash": fixed("next recipe")},
    )
    yield case(
        "resealed_for_other_consortium",
        "the same header, parts and index, wrapped for another consortium and its app (CE-20)",
        context={"consortium": "0x" + "c2" * 20, "app": "0x" + "aa" * 20},
    )
    yield case("later_version", "a corrected extract: the next version", header=put(datasetVersion=2))
    yield case("largest_version", "version 2^32 - 1 of a dataset", header=put(datasetVersion=2**32 - 1))
    yield case("signed", "the owner's signature over the index", sign=sign_index)
