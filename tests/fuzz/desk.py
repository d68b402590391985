# SPDX-License-Identifier: Apache-2.0
"""Targets of the owner's desk: what owners bring, and what stores answer.

Each takes any bytes as one input, and lets nothing through but a refusal with a code. Where another reader of
the same form is at hand, both agree on what is taken.
"""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from sealroom.errors import SealroomError
from sealroom_agents.owner.adapters import dicom, fhir, vcf
from sealroom_agents.owner.prepare import declared
from sealroom_agents.owner.prepare.forms import Form
from sealroom_agents.owner.prepare.words import Words
from sealroom_agents.owner.tables.arrow_ipc import arrow_batches, arrow_columns
from sealroom_agents.owner.tables.csv_dialect import Dialect
from sealroom_agents.owner.tables.csv_table import csv_batches, csv_heading
from sealroom_agents.owner.tables.in_memory import unfolded_bytes
from sealroom_agents.owner.tables.parquet_note import look_parquet
from sealroom_agents.owner.tables.parquet_rows import ParquetRows
from sealroom_agents.owner.transfer.incoming import range_of
from sealroom_agents.owner.transfer.notes import Notes, Upload

MAX_BATCH_BYTES = 1 << 30
"""Far more than any input of a fuzzer may become."""


class WrongValueError(Exception):
    """A reader took from an input what another reader does not find in it."""


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sealroom-fuzz-desk-"))


def _file(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


def _rows(batches: Any) -> int:
    rows = 0
    for batch in batches:
        batch.validate(full=True)
        assert sum(map(unfolded_bytes, batch.columns)) <= MAX_BATCH_BYTES
        rows += batch.num_rows
    return rows


# --- tables -------------------------------------------------------------------------------------------------

DIALECTS = (
    Dialect(),
    Dialect(delimiter=";", decimal=",", thousands=".", dates="%d.%m.%Y", missing=("NA", "\\N")),
    Dialect(encoding="windows-1252", trim_names=True, booleans=("t/f",)),
    Dialect(encoding="utf-16"),
)


def csv_table(data: bytes) -> None:
    """The first byte names a dialect. What is taken is what Python's own reader finds, cell by cell."""
    dialect = DIALECTS[data[0] % len(DIALECTS)] if data else DIALECTS[0]
    path = _file("it.csv", data[1:])
    with suppress(SealroomError):
        columns, form = csv_heading(path, (), dialect)
        found = [row for batch in csv_batches(path, columns, dialect, form) for row in _cells(batch)]
        if form.coding.compression is None and form.by != "sep=" and not dialect.missing:
            text = data[1 + len(form.coding.mark) :].decode(form.coding.encoding)
            _, *wanted = csv.reader(io.StringIO(text, newline=""), delimiter=form.delimiter, strict=True)
            if wanted != found:
                raise WrongValueError("a CSV")


def _cells(batch: Any) -> list[list[str | None]]:
    return [list(row) for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)]


def csv_seeds() -> list[bytes]:
    """One of each dialect, quoted and plain, packed and not."""
    plain = 'id,name,born\n1,Ann,1970-01-31\n2,"B, ""b""\nc",\n3,,\n'
    return [
        b"\0" + plain.encode(),
        b"\0" + gzip.compress(plain.encode()),
        b"\0sep=;\r\n" + plain.replace(",", ";").replace("\n", "\r\n").encode(),
        b"\0" + b"a\tb\n" + 40 * b"1\t2\n",
        b"\1" + b"id;x;on\n1;1.234,5;31.01.1970\n2;NA;\\N\n",
        b"\2" + " id , x \n1,t\n2,f\n3,Größe\n".encode("cp1252"),
        b"\3" + plain.encode("utf-16"),
    ]


def arrow(data: bytes) -> None:
    """A file or a stream."""
    path = _file("it.arrow", data)
    with suppress(SealroomError):
        _rows(arrow_batches(path, arrow_columns(path)))


@cache
def _table() -> Any:
    import pyarrow as pa

    return pa.table(
        {
            "n": [1, None, 3],
            "t": ["a", "b", None],
            "k": pa.array(["x", "y", "x"]).dictionary_encode(),
            "d": pa.array([1, None, 3], pa.decimal128(9, 2)),
            "at": pa.array([1, None, 3], pa.timestamp("us", "UTC")),
            "l": [[{"a": 1, "b": ["x"]}], None, []],
        }
    )


def arrow_seeds() -> list[bytes]:
    """A file and a stream, and one with packed buffers."""
    import pyarrow as pa

    seeds = []
    for make in (pa.ipc.new_file, pa.ipc.new_stream):
        for packed in (None, "zstd"):
            out = pa.BufferOutputStream()
            with make(out, _table().schema, options=pa.ipc.IpcWriteOptions(compression=packed)) as writer:
                writer.write_table(_table(), max_chunksize=2)
            seeds.append(out.getvalue().to_pybytes())
    return seeds


def parquet(data: bytes) -> None:
    """What is taken has as many rows as its footer says."""
    path = _file("it.parquet", data)
    with suppress(SealroomError), path.open("rb", buffering=0) as file:
        _, rows = look_parquet(path)
        if _rows(ParquetRows(file, name=path)) != rows:
            raise WrongValueError("a Parquet file")


def parquet_seeds() -> list[bytes]:
    """Small files of several row groups, packed and not, with and without what writers may leave out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    seeds = []
    for packed, dictionary, version in (
        ("none", True, "1.0"),
        ("snappy", False, "2.0"),
        ("zstd", True, "2.0"),
    ):
        out = pa.BufferOutputStream()
        pq.write_table(
            _table(), out, compression=packed, use_dictionary=dictionary, data_page_version=version,
            row_group_size=2, write_page_checksum=False,
        )  # fmt: skip
        seeds.append(out.getvalue().to_pybytes())
    out = pa.BufferOutputStream()
    pq.write_table(_table().select(["at"]), out, use_deprecated_int96_timestamps=True)
    return [*seeds, out.getvalue().to_pybytes()]


# --- adapters -----------------------------------------------------------------------------------------------


def prepare(data: bytes) -> None:
    """A declared file is read, or says why not."""
    with suppress(SealroomError):
        declared.parse(data, name="it")


def prepare_seeds() -> list[bytes]:
    """One of each form, with every word."""
    head = b"version = 1\n[input]\n"
    columns = b"""[pseudonyms]
study = "cardio"
key = "a b c d e f g h i j k l"
[columns.person]
from = "id"
type = { type = "int64", nullable = false }
pseudonym = { of = "person", spelling = ["trim", "strip-zeros"] }
[columns.sex]
from = "s"
type = "string"
values = { m = "male", w = "female" }
other = "x"
missing = ["NA"]
[columns.year]
from = "born"
reads = "date"
type = "int16"
keep = "year"
[columns.site]
value = "A"
type = "string"
[columns.mg]
from = "g"
type = "float64"
factor = 1e3
"""
    table = b'form = "csv"\ndelimiter = ";"\ndecimal = ","\nbooleans = ["t/f"]\nmissing = ["NA"]\n'
    others = [
        f'form = "{form}"\n{text}'.replace("[columns]", "[input.columns]").replace(
            "[pixels]", "[input.pixels]"
        )
        for form, text in (("vcf", VCF), ("fhir-ndjson", FHIR), ("dicom", DICOM))
    ]
    return [head + table + columns, *(head + text.encode() + columns for text in others)]


FHIR = """resource = "Observation"
[columns]
person = { path = "subject.reference", reference = "Patient" }
sugar = { path = "valueQuantity.value", unit = "%", bounds = "missing" }
day = { path = "effectiveDateTime", precision = "day" }
code = { path = "code.coding[system=l].code" }
"""
VCF = """haploid = ["X"]
unsure = "missing"
[columns]
one = "19:100:T:C"
two = "rs2:G:T"
three = "X:300:A:T"
"""
DICOM = """[pixels]
size = "2x2"
window = "stored"
[columns]
person = { tag = "PatientID" }
day = { tag = "StudyDate" }
age = { tag = "PatientAge", characteristic = true }
spacing = { tag = "PixelSpacing", item = 1 }
"""


@cache
def _form(parse: Callable[[Words, str | None], Form], text: str) -> Form:
    return parse(Words(tomllib.loads(text), "[input]"), None)


def _taken(form: Form, path: Path) -> None:
    with suppress(SealroomError), form.open(path) as table:
        rows = _rows(table.batches([name for name, _ in table.columns]))
        table.notes()
        for row in range(min(rows, 3)):
            table.where(row)


def fhir_ndjson(data: bytes) -> None:
    """Any bytes as a file of resources."""
    _taken(_form(fhir.parse, FHIR), _file("it.ndjson", data))


def fhir_seeds() -> list[bytes]:
    """Two resources, and the same packed."""
    line = (
        b'{"resourceType":"Observation","status":"final","code":{"coding":[{"system":"l","code":"4548-4"}]},'
        b'"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2021-03-05T10:01:02+01:00",'
        b'"valueQuantity":{"value":6.10,"system":"http://unitsofmeasure.org","code":"%"}}\n'
    )
    return [2 * line, gzip.compress(2 * line), line.replace(b"6.10", b'1e400,"comparator":"<"')]


def vcf_file(data: bytes) -> None:
    """Any bytes as a VCF."""
    _taken(_form(vcf.parse, VCF), _file("it.vcf", data))


def vcf_seeds() -> list[bytes]:
    """Three variants, and the same packed."""
    lines = (
        "##fileformat=VCFv4.2",
        "##contig=<ID=19>",
        "#CHROM POS ID REF ALT QUAL FILTER INFO FORMAT A B C",
        "19 100 rs1;rs9 T C 50 PASS AC=1 GT:DP:FT 0/0:9:PASS 0|1:8 1/1:7:q",
        "19 200 rs2 G A,T . PASS . GT 1/2 ./. 2|2",
        "X 300 . a t . PASS . GT 0 1 0/1",
    )
    plain = "".join(line.replace(" ", "\t") + "\n" for line in lines).encode()
    return [plain, gzip.compress(plain)]


def dicom_file(data: bytes) -> None:
    """Any bytes as the one file of a folder. The first byte chooses whether pixels are taken."""
    folder = _folder() / "dicom"
    folder.mkdir(exist_ok=True)
    (folder / "1.dcm").write_bytes(data[1:])
    text = DICOM if data[:1] != b"\1" else DICOM[DICOM.index("[columns]") :]
    _taken(_form(dicom.parse, text), folder)


@cache
def dicom_seeds() -> list[bytes]:
    """Explicit and implicit VR, with sequences, and packed pixels."""
    from pydicom import Dataset, Sequence
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

    from tests.agents.test_dicom import image

    seeds = []
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless):
        made = image()
        inner = Dataset()
        inner.PatientName = "x"
        inner.ReferencedStudySequence = Sequence([Dataset()])
        made.RequestAttributesSequence = Sequence([inner])
        made.add_new(0x00091001, "UN", b"abcd")
        if syntax == RLELossless:
            made.compress(RLELossless)
        made.file_meta.TransferSyntaxUID = syntax
        out = io.BytesIO()
        made.save_as(
            out,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=True,
            enforce_file_format=True,
        )
        seeds += [b"\0" + out.getvalue(), b"\1" + out.getvalue()]
    return seeds


# --- transfer -----------------------------------------------------------------------------------------------

URL = "s3://bucket/A.tar"


def notes(data: bytes) -> None:
    """Any bytes as what a run noted: what is read is what the next run notes and reads."""
    sealed = _folder() / "A.tar"
    with Notes(sealed, URL) as first:
        path = first._path
    path.write_bytes(data)
    with Notes(sealed, URL) as again:
        found = again.read()
        if found is not None:
            upload, parts = found
            again.begin(upload)
            for number, answers in parts.items():
                again.sent(number, answers)
            if again.read() != found:
                raise WrongValueError("notes")
        again.forget()


def notes_seeds() -> list[bytes]:
    """As they are written."""
    sealed = _folder() / "seed.tar"
    with Notes(sealed, URL) as made:
        made.begin(Upload("ab" * 32, "u", 16 << 20))
        made.sent(1, {"ETag": '"x"', "ChecksumCRC32": "AAAAAA=="})
        made.sent(2, {"ETag": '"y"'})
        return [made._path.read_bytes()]


class _Answering:
    """What lies outside: a store whose answers to all calls are these bytes, read as botocore reads them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def _call_s3(self, method: str, **_: Any) -> dict[str, Any]:
        parser, shape = _parsing(method)
        return dict(parser.parse({"status_code": 200, "headers": {}, "body": self._data}, shape))


@cache
def _parsing(method: str) -> tuple[Any, Any]:
    import botocore.parsers  # type: ignore[import-untyped,unused-ignore]
    import botocore.session  # type: ignore[import-untyped,unused-ignore]

    service = botocore.session.get_session().get_service_model("s3")
    operation = service.operation_model("".join(word.capitalize() for word in method.split("_")))
    return botocore.parsers.create_parser("rest-xml"), operation.output_shape


def list_parts(data: bytes) -> None:
    """Any bytes as each answer to ListParts. No list is longer than an upload may be."""
    from sealroom_agents.owner.transfer.pace import Limits, Patience
    from sealroom_agents.owner.transfer.s3 import Bucket
    from sealroom_agents.owner.transfer.s3_parts import MAX_PARTS, _listed

    bucket = Bucket(_Answering(data), "bucket", "A.tar", URL, Patience(Limits(tries=1, pause_s=0.0)))
    with suppress(SealroomError):
        found = asyncio.run(_listed(bucket, Upload("ab", "u", 16 << 20)))
        assert len(found) <= MAX_PARTS


def list_parts_seeds() -> list[bytes]:
    """One page that is the last, and one that is not."""
    part = "<Part><PartNumber>{0}</PartNumber><ETag>&quot;{0}&quot;</ETag><Size>{1}</Size></Part>"
    pages = []
    for more in ("true", "false"):
        parts = "".join(part.format(number, 16 << 20) for number in (1, 2))
        end = f"<IsTruncated>{more}</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>"
        pages.append(f"<ListPartsResult>{end}{parts}</ListPartsResult>".encode())
    return pages


def content_range(data: bytes) -> None:
    """Any bytes as the range that an answer states: what is taken lies within the file."""
    text = data.decode("latin-1")
    for start in (0, 262_144):
        with suppress(SealroomError):
            stop, size = range_of(URL, text, start)
            assert start < stop <= size < 10**15


def content_range_seeds() -> list[bytes]:
    """Two that are right."""
    return [b"bytes 0-262143/300000", b"bytes 262144-299999/300000"]
