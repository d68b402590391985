# SPDX-License-Identifier: Apache-2.0
"""What `header.json` must not be."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from typing import Any

from tests.vectors.make_sealed_archive import CHAIN_ID, COLUMNS, CONSORTIUM, PART, Json, same
from tests.vectors.make_sealed_case import Case, put, text, without


def headers() -> Iterator[Case]:
    def case(name: str, comment: str, change: Callable[[Any], Any], **steps: Any) -> Case:
        return Case("header_" + name, "header header-malformed", comment, {"header": change, **steps})

    def raw(name: str, comment: str, change: Callable[[bytes], bytes], **steps: Any) -> Case:
        return Case("header_" + name, "header header-malformed", comment, {"header_text": change, **steps})

    def suite(name: str, comment: str, value: Any) -> Case:
        return Case("header_" + name, "header unsupported-suite", comment, {"header": put(suite=value)})

    version = "header unsupported-version"
    yield Case("header_version", version, "a later version (CE-10)", {"header": put(version=4)})
    yield Case(
        "header_version_1", version, "a file of the format's version 1 (CE-10)", {"header": _version_1}
    )
    yield Case("header_version_2", version, "a header of version 2 (CE-10)", {"header": _version_2})
    yield Case("header_version_text", version, "the version as text (CE-10)", {"header": put(version="3")})
    yield Case("header_version_true", version, "true is no version (CE-10)", {"header": put(version=True)})
    yield suite("suite", "another cipher (CE-10)", "cobblestone-128+mlkem768-x25519")
    yield suite("suite_x25519", "a wrap that is not post-quantum (CE-10, CE-14)", "cobblestone-256+x25519")
    yield suite("suites", "two suites (CE-10)", ["cobblestone-256+blake3+mlkem768-x25519", "none"])

    yield raw("empty", "no byte of JSON", lambda _: b"")
    yield raw("not_json", "text that is no JSON", lambda _: b"cohort-A")
    yield raw("array", "an array at the top", lambda content: b"[" + content + b"]")
    yield raw("null", "null at the top", lambda _: b"null")
    yield raw("nested", "a thousand brackets (CE-18)", lambda _: b"[" * 1000 + b"]" * 1000)
    yield raw("space", "a space: another encoding of the same (CE-18)", text(b'{"columns"', b'{ "columns"'))
    yield raw("line_end", "a newline at the end (CE-18)", lambda content: content + b"\n")
    yield raw("bom", "a byte order mark (CE-18)", lambda content: b"\xef\xbb\xbf" + content)
    yield raw("not_utf_8", "a byte that is no UTF-8 (CE-18)", text(b"octet", b"oct\xfft"))
    yield raw("surrogate", "half of a surrogate pair in UTF-8 (CE-18)", text(b"octet", b"\xed\xa0\x80"))
    yield raw(
        "surrogate_escaped", "half of a surrogate pair as an escape (CE-18)", text(b"octet", b"\\ud800")
    )
    yield raw(
        "surrogate_name",
        "half of a surrogate pair as a name (CE-18)",
        text(b'"columns":', b'"\\ud800":0,"columns":'),
    )
    yield raw(
        "escape",
        "a letter as an escape: another encoding of the same (CE-18)",
        text(b"octet", b"\\u006fctet"),
    )
    yield raw(
        "escape_upper_case",
        "an escape in upper case (CE-18)",
        text(b"\\u001f", b"\\u001F"),
        media_type="\x1f",
    )
    yield raw("members_unsorted", "two members in each other's place (CE-18)", _unsorted)
    yield raw("member_twice", "one name twice (AR-06)", text(b'"rows":9,', b'"rows":9,"rows":9,'))
    yield raw("float", "9.0 rows", text(b'"rows":9', b'"rows":9.0'))
    yield raw("exponent", "9e0 rows", text(b'"rows":9', b'"rows":9e0'))
    yield raw("minus_zero", "-0 rows", text(b'"rows":9', b'"rows":-0'))
    yield raw("leading_zero", "09 rows", text(b'"rows":9', b'"rows":09'))
    yield raw("nan", "NaN rows (AR-09)", text(b'"rows":9', b'"rows":NaN'))
    yield raw("integer", "2^53 rows: parsers would disagree", text(b'"rows":9', b'"rows":9007199254740992'))
    yield raw("integer_long", "ten thousand digits (CE-18)", text(b'"rows":9', b'"rows":' + b"9" * 10_000))

    yield case("without_salt", "a member is missing (CE-04)", without("salt"))
    yield case(
        "plain_digest",
        "a digest of the plaintext: a member that is not in the format (CE-16)",
        put(plainDigest="0x" + "00" * 32),
    )
    yield case("without_report_key", "a member is missing", without("reportKey"))
    yield case("report_key_short", "a key of 1215 bytes", put(reportKey=b64encode(bytes(1215)).decode()))
    yield case("report_key_hex", "a key in hex", put(reportKey="0x" + "00" * 1216))
    yield case("salt_short", "31 bytes of salt (CE-04)", put(salt="0x" + "00" * 31))
    yield case(
        "salt_upper_case", "hex in upper case", lambda head: head | {"salt": "0x" + head["salt"][2:].upper()}
    )
    yield case("salt_without_0x", "hex without 0x", lambda head: head | {"salt": head["salt"][2:]})
    yield case(
        "consortium", "a member of version 1: where a file is used, its wrap says", put(consortium=CONSORTIUM)
    )
    yield case("owner_checksummed", "an address with upper case", put(owner="0x" + "A1" * 20))
    yield case("owner_short", "19 bytes", put(owner="0x" + "a1" * 19))
    yield case("owner_id", "an owner's id in a consortium where its account must be", put(owner="hospital-A"))
    yield case("owner_bytes", "an account as an array of bytes", put(owner=[0xA1] * 20))
    yield case("dataset_version_zero", "versions count from 1", put(datasetVersion=0))
    yield case("dataset_version_large", "version 2^32 of a dataset", put(datasetVersion=2**32))
    yield case("dataset_version_text", "the number of a version as text", put(datasetVersion="1"))
    yield case("dataset_version_true", "true is not 1", put(datasetVersion=True))
    yield case("without_dataset_version", "a member is missing", without("datasetVersion"))
    yield case("dataset_climbs", "a name that is a path (AR-01)", put(dataset="../cohort-A"))
    yield case(
        "dataset_other_script", "a Cyrillic letter that looks like ours (CE-08)", put(dataset="cоhort-A")
    )
    yield case("dataset_long", "65 characters", put(dataset="c" * 65))
    yield case("dataset_line", "a name that ends in a newline", put(dataset="cohort-A\n"))
    yield case("media_type_long", "129 characters", put(mediaType="x" * 129))
    yield case("media_type_empty", "no media type", put(mediaType=""))
    yield case("rows_negative", "less than no rows", put(rows=-1))
    yield case("rows_true", "true rows", put(rows=True))
    yield case("size_negative", "less than no bytes (AR-03)", put(size=-1))
    yield case("part_size", "no power of two", put(partSize=PART + 1))
    yield case("part_size_small", "8 KiB", put(partSize=PART // 2))
    yield case("part_size_large", "16 MiB (AR-04)", put(partSize=16 << 20))
    yield case("parts_more", "two parts where the size makes one (CE-06)", put(parts=2))
    yield case("parts_none", "no part", put(parts=0))
    yield case(
        "parts_too_many", "65,537 parts, as the size says (AR-04)", put(size=65537 * PART, parts=65537)
    )
    yield case("columns_without_rows", "columns of a file that is no table", put(rows=None))
    yield case("rows_without_columns", "rows of a file that is no table", same, columns=None)
    yield case("columns_none", "an empty array of columns", same, columns=[])
    yield case(
        "columns_too_many",
        "16,385 columns (AR-04)",
        same,
        columns=[[f"c{n}", "bool"] for n in range(16_385)],
    )
    yield case("columns_object", "columns as an object", put(columns={"person": "int64"}))
    yield case("column_twice", "two columns of one name (AR-06)", same, columns=[*COLUMNS, COLUMNS[0]])
    yield case(
        "column_case",
        "names that differ in case alone (AR-06)",
        same,
        columns=[*COLUMNS, ["Age", "bool"]],
    )

    def named(name: str, comment: str, column: str) -> Case:
        return case("column_name_" + name, comment, same, columns=[[column, "bool"]])

    yield named("nfd", "an accent apart: the other form of the same name (AR-06)", "a\u0302ge")
    yield named("empty", "no name", "")
    yield named("long", "256 bytes", "c" * 256)
    yield named("long_in_bytes", "128 characters of two bytes", "é" * 128)
    yield named("control", "a line break", "a\nb")
    yield named("direction", "a mark that shows what follows from right to left", "a\u202eb")
    yield named("joiner", "a character without width", "a\u200bb")
    yield named("space", "a space at the end", "age ")

    def typed(name: str, comment: str, kind: Any) -> Case:
        return case("column_type_" + name, comment, put(columns=[["age", kind]]))

    yield typed("other_name", "a type by another program's name (AR-09)", "bigint")
    yield typed("spelling", "a type in another spelling (AR-09)", "decimal(6,2)")
    yield typed("width", "a width that no integer has (AR-09)", "int128")
    yield typed("scale", "more digits behind the point than in all", "decimal(2, 3)")
    yield typed("precision", "77 digits", "decimal(77, 0)")
    yield typed("leading_zero", "a number with a zero before it", "decimal(06, 2)")
    yield typed("length", "bytes of no length", "binary(0)")
    yield typed("unit", "seconds, which Parquet does not have", "timestamp(s)")
    yield typed("zone", "a zone other than UTC", "timestamp(us, Europe/Berlin)")
    yield typed(
        "category", "a category, of which a file knows nothing", {"type": "category", "values": ["F"]}
    )
    yield typed("long_form", "nulls allowed, written out (AR-09)", {"type": "int64", "nullable": True})
    yield typed("mapping", "a plain type as a mapping (AR-09)", {"type": "int64"})
    yield typed("nullable_text", "nullable as text", {"type": "int64", "nullable": "false"})
    yield typed(
        "member_more", "a member that no type has (AR-07)", {"type": "int64", "nullable": False, "x": 1}
    )
    yield typed("list_of_nothing", "a list without the type of its elements", {"type": "list"})
    yield typed(
        "struct_mapping", "fields as a mapping, without order", {"type": "struct", "fields": {"a": "bool"}}
    )
    yield typed("struct_empty", "a struct without fields", {"type": "struct", "fields": []})
    yield typed(
        "struct_twice",
        "two fields of one name, in whatever case (AR-06)",
        {"type": "struct", "fields": [["a", "bool"], ["A", "bool"]]},
    )
    yield typed("deep", "five lists in one another", _lists(5))
    yield typed("extension", "an extension type (AR-07)", "extension<x>")
    yield case("column_member_more", "three in a column (AR-07)", put(columns=[["age", "float64", "x"]]))
    yield case("column_object", "a column as in version 2", put(columns=[{"name": "age", "type": "float64"}]))
    yield case("schema_hash", "not the digest of the columns (AR-09)", put(schemaHash="0x" + "00" * 32))


def _lists(many: int) -> Any:
    return "bool" if many == 0 else {"type": "list", "of": _lists(many - 1)}


def _version_2(head: Json) -> Json:
    """The columns as version 2 had them."""
    return head | {"version": 2, "columns": [{"name": name, "type": kind} for name, kind in head["columns"]]}


def _version_1(head: Json) -> Json:
    """The members that version 1 had."""
    old = {name: value for name, value in head.items() if name != "datasetVersion"}
    return old | {"version": 1, "chainId": CHAIN_ID, "consortium": CONSORTIUM, "owner": "hospital-A"}


def _unsorted(content: bytes) -> bytes:
    return text(
        b'"size":300,"suite":"cobblestone-256+blake3+mlkem768-x25519"',
        b'"suite":"cobblestone-256+blake3+mlkem768-x25519","size":300',
    )(content)
