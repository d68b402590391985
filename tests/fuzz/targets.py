# SPDX-License-Identifier: Apache-2.0
"""What is fuzzed: each decoder of `sealroom`, as a function that takes any bytes.

A target returns for bytes that its decoder takes or refuses as it should, and raises for all
else: an error that is not one of ours, a value that does not encode back to what it was read
from, or plaintext that nobody sealed.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import (
    address_bytes,
    canonical,
    from_base64,
    from_hex,
    parse_canonical,
    strict_json,
    to_base64,
    to_hex,
)
from sealroom.envelope import Statement, parse_envelope, verify_receipt, verify_statement
from sealroom.errors import (
    EnvelopeError,
    FailureError,
    FormatError,
    JobError,
    KeyReleaseError,
    RecipeError,
    SealError,
    SealroomError,
)
from sealroom.failure import DETAILS_BYTES, Details, parse_failure
from sealroom.keys import Secret
from sealroom.members import read_members
from sealroom.platform_policy import PlatformPolicy
from sealroom.recipe import parse as parse_recipe
from sealroom.relation.compiled import compile_relation, parse_sql
from sealroom.relation.engine import Engine
from sealroom.relation.front import Front, plain_tree
from sealroom.sealed import PARQUET, Header, Index, Wrap, inspect, open_sealed
from sealroom.sealed.archive import write_end, write_member
from sealroom.sealed.parquet import Footer, parse_footer
from sealroom.sealed.parquet_pages import walk_pages
from sealroom_agents.inclusion import decode, read_header, read_receipt, unpack
from tests.enclave.relation.attacks import ACCEPTED, ATTACKS
from tests.enclave.relation.world import NOBODY, TABLES, engine
from tests.formats.worked_block import WorkedBlock
from tests.fuzz import desk, gpu
from tests.vectors.vector import FOLDER, Vector, cases, read

LIMIT = 1 << 20
"""Bytes that a JSON decoder is told to accept."""
BETWEEN = b"\n----\n"
"""What stands between the members of one dataset, and between a choice and its input."""


@dataclass(frozen=True)
class Target:
    """One decoder, or a few that share their inputs."""

    name: str
    run: Callable[[bytes], None]
    """Returns, or raises what must never be raised."""
    seeds: Callable[[], list[bytes]]
    """Inputs to begin with: the vectors, and worked examples."""


class WrongPlaintextError(Exception):
    """A dataset that nobody sealed was opened."""


class MalleableError(Exception):
    """A decoder took bytes that its encoder does not write."""


def _same(written: object, read: object, what: str) -> None:
    if written != read:
        raise MalleableError(f"{what} is read and written in two ways")


# --- encodings ----------------------------------------------------------------------------------------------


def _encoding(data: bytes) -> None:
    with suppress(FormatError):
        _same(canonical(parse_canonical(data, LIMIT)), data, "canonical JSON")
    with suppress(FormatError):
        value = strict_json(data, LIMIT)
        with suppress(FormatError):
            _same(strict_json(canonical(value), LIMIT), value, "JSON")
    with suppress(FormatError):
        strict_json(data, LIMIT, allow_floats=True)
    text = data.decode("latin-1")
    with suppress(FormatError):
        _same(to_hex(from_hex(text)), text, "hex")
    with suppress(FormatError):
        _same(to_base64(from_base64(text)), text, "base64")
    with suppress(FormatError):
        _same("0x" + address_bytes(text).hex(), text, "an address")


def _encoding_seeds() -> list[bytes]:
    texts = [b"0x00ff", b"/+8=", b"0x" + b"c1" * 20, b'{"a":[1,-2,{"b":"\\u0007"}],"c":null,"d":true}']
    return texts + [member for vector in _sealed_vectors() for member in _members(vector.body)[:2]]


# --- sealed datasets ----------------------------------------------------------------------------------------

_JSON_DECODERS = (Header, Wrap, Index)


def _sealed_json(data: bytes) -> None:
    """Header, wrap and index, as they are; and once more brought to canonical form, past the first check."""
    inputs = [data]
    with suppress(FormatError):
        inputs.append(canonical(strict_json(data, LIMIT)))
    for content in inputs:
        for decoder in _JSON_DECODERS:
            with suppress(SealError):
                _same(decoder.parse(content).encode(), content, decoder.__name__)


def _sealed_json_seeds() -> list[bytes]:
    return [member for vector in _sealed_vectors() for member in _members(vector.body) if member[:1] == b"{"]


def _archive(data: bytes) -> None:
    """Any bytes as an archive."""
    _open(data)


def _dataset(data: bytes) -> None:
    """Any bytes as the members of an archive whose frame is right."""
    contents = data.split(BETWEEN)
    names = ["header.json", "wrap.json", *(f"parts/{n:05d}" for n in range(len(contents) - 3)), "index.json"]
    with (_folder() / "members.tar").open("wb") as stream:
        for name, content in zip(names, contents, strict=False):
            write_member(stream, name, content)
        write_end(stream)
    _open((_folder() / "members.tar").read_bytes())


def _open(data: bytes) -> None:
    """Open an archive as what it says that it is, with the owner's key."""
    path = _folder() / "archive.tar"
    path.write_bytes(data)
    vectors = _sealed_vectors()
    key = Secret(vectors[0].hex("data-key"))
    with suppress(SealError):
        info = inspect(path)
        with suppress(SealError):
            info.index.signer()
        with open_sealed(
            path,
            dek=key,
            header_digest=info.header_digest,
            index_digest=info.index_digest,
            key_commitment=info.index.key_commitment,
        ) as opened:
            digest = _sha256(opened.read())
        if (info.header_digest, digest) not in _sealed_plain():
            raise WrongPlaintextError(f"header {info.header_digest.hex()} opened to {digest.hex()}")


@cache
def _sealed_plain() -> set[tuple[bytes, bytes]]:
    """Header digests of the vectors, each with the digest of the one plaintext that it opens to."""
    return {
        (vector.hex("header-digest"), vector.hex("plain-digest")) for vector in map(read, cases("sealed"))
    }


@cache
def _sealed_vectors() -> list[Vector]:
    """Cases that open, in one part of a few hundred bytes."""
    return [read(FOLDER / "sealed" / name) for name in ("no_rows", "one_byte", "signed", "escapes")]


def _members(archive: bytes) -> list[bytes]:
    contents: list[bytes] = []
    position = 0
    while archive[position]:
        size = int(archive[position + 124 : position + 135], 8)
        contents.append(archive[position + 512 : position + 512 + size])
        position += 512 + -(-size // 512) * 512
    return contents


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="sealroom-fuzz-"))


def _sha256(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).digest()


def _pages(data: bytes) -> None:
    """Any bytes as the pages of a Parquet column chunk."""
    view = memoryview(data)
    with suppress(SealError):
        walk_pages(lambda offset, count: view[offset : offset + count], 0, len(data), page_limit=1 << 20)


def _page_seeds() -> list[bytes]:
    """The column chunks of the Parquet file among the vectors: its two columns are stored as they are."""
    import pyarrow.parquet as pq

    from tests.vectors.make_sealed_good import TABLE

    content = TABLE.read_bytes()
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0)
    chunks = []
    for number in range(group.num_columns):
        column = group.column(number)
        begin = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        chunks.append(content[begin : begin + column.total_compressed_size])
    return chunks


def _folder_members(data: bytes) -> None:
    """Any bytes as the tar of a sealed folder; and once more with the sums of its headers put right."""
    mended = bytearray(data)
    for begin in range(0, len(data) - 511, 512):
        if data[begin + 257 : begin + 262] == b"ustar":
            total = sum(data[begin : begin + 148]) + 8 * 32 + sum(data[begin + 156 : begin + 512])
            mended[begin + 148 : begin + 156] = b"%06o\0 " % total
    for content in (data, bytes(mended)):
        _read_folder(content)


def _read_folder(data: bytes) -> None:
    """What is taken for a folder holds the files that Python finds in it.

    Python stops at a header whose owner or time is no number, which are nothing to us.
    """
    try:
        found = [(name, each.begin, each.size) for name, each in read_members(memoryview(data)).items()]
    except SealError:
        return
    with suppress(tarfile.ReadError), tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        files = [(each.name, each.offset_data, each.size) for each in archive if not each.isdir()]
        _same(found[: len(files)], files, "a sealed folder")


def _folder_seeds() -> list[bytes]:
    """Folders as they are packed: short names, long ones, other letters, and none."""
    from sealroom_agents.owner.folder import listing, pack

    seeds = []
    for names in ((), ("a.dcm",), ("a/1.nii", "a/b/Größe (cm).vcf", "é"), ("deep/" * 30 + "x", "z" * 101)):
        with tempfile.TemporaryDirectory() as folder:
            for number, name in enumerate(names):
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).write_bytes(bytes([65 + number]) * 300 * number)
            out = io.BytesIO()
            pack(listing(Path(folder)), out)
            seeds.append(out.getvalue())
    return seeds


# --- recipe, envelope, key release --------------------------------------------------------------------------


def _recipe(data: bytes) -> None:
    with suppress(RecipeError):
        _same(parse_recipe(data).compose, data, "a recipe")


def _recipe_text(data: bytes) -> None:
    """Any bytes as the docker-compose text of a recipe whose frame is right."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    frame = json.loads(read(FOLDER / "recipe" / "small_study").body)
    frame["docker_compose_file"] = text
    with suppress(RecipeError):
        parse_recipe(canonical_or_plain(frame))


def canonical_or_plain(value: dict[str, Any]) -> bytes:
    """A recipe's frame as it would be rendered."""
    try:
        return canonical(value)
    except FormatError:
        return json.dumps(value).encode()


def _recipe_text_seeds() -> list[bytes]:
    seeds = []
    for path in cases("recipe"):
        with suppress(ValueError):
            seeds.append(json.loads(read(path).body)["docker_compose_file"].encode())
    return seeds


@cache
def _empty_engine() -> Engine:
    return engine(NOBODY, 1)


def _relation(data: bytes) -> None:
    """Any text as the SQL of a relation: refused, or compiled to what runs."""
    with suppress(RecipeError, UnicodeDecodeError):
        _empty_engine().run(compile_relation(data.decode(), TABLES, rows=3).sql)


def _relation_tree(data: bytes) -> None:
    """Any JSON as the tree that a parser gave: no tree, refused, or compiled to what runs.

    A value of another shape than DuckDB writes may be met by any error of Python: it ends the reading.
    """
    try:
        tree = strict_json(data, LIMIT, allow_floats=True)
        result = Front({table.name: table for table in TABLES}).read(plain_tree(tree), 3)
    except (RecipeError, FormatError, ArithmeticError, AssertionError, AttributeError, LookupError):
        return
    except (TypeError, ValueError, RecursionError):
        return
    _empty_engine().run(result.relation.sql)


def _relation_tree_seeds() -> list[bytes]:
    return [canonical_or_plain(parse_sql(attack.sql)) for attack in ACCEPTED]


def _footer(data: bytes) -> None:
    """Any bytes as a Parquet file of which the footer alone is read: where Arrow reads it too, both agree."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = parse_footer(io.BytesIO(data), "it")  # type: ignore[arg-type]
        shown = footer.for_arrow()
        schema = pq.ParquetFile(
            pa.BufferReader(b"PAR1" + footer.tail), arrow_extensions_enabled=False
        ).schema_arrow
    except (SealError, pa.ArrowException, OSError):
        return
    _same((schema.names, shown.num_rows), ([name for name, _ in footer.columns], footer.rows), "a footer")
    _same(Header.parse(_header_of(footer)).columns, footer.columns, "a footer's columns")


def _header_of(footer: Footer) -> bytes:
    """The header of a file with this footer."""
    header = Header(
        owner="0x" + "a1" * 20,
        dataset="it",
        dataset_version=1,
        media_type=PARQUET,
        columns=footer.columns,
        rows=footer.rows,
        size=footer.begin,
        part_size=1 << 20,
        salt=bytes(32),
    )
    return header.encode()


def _footer_seeds() -> list[bytes]:
    """Small files, with and without what writers may leave out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    seeds = []
    for dictionary, index in ((True, True), (False, False)):
        out = io.BytesIO()
        columns = pa.table(
            {
                "n": [1, None, 3],
                "t": ["a", "b", None],
                "d": pa.array([1, None, 3], pa.decimal128(9, 2)),
                "at": pa.array([1, None, 3], pa.timestamp("us", "UTC")),
                "l": [[{"a": 1, "b": ["x"]}], None, []],
            }
        )
        pq.write_table(
            columns,
            out,
            use_dictionary=dictionary,
            write_page_index=index,
            store_schema=index,
            row_group_size=2,
        )
        seeds.append(out.getvalue())
    return seeds


def _failure(data: bytes) -> None:
    try:
        failure = parse_failure(data)
    except FailureError:
        return
    _same(failure.encode(), data, "a failure file")


def _failure_details(data: bytes) -> None:
    try:
        details = Details.parse(data.ljust(DETAILS_BYTES))
    except FailureError:
        return
    _same(Details.parse(details.encode()), details, "a failure's details")


def _failure_details_seeds() -> list[bytes]:
    return [Details.of(error).encode().rstrip() for error in (JobError(Code.JOB_FAILED, "ε"), ValueError())]


def _envelope(data: bytes) -> None:
    try:
        envelope = parse_envelope(data)
    except EnvelopeError:
        return
    _same(parse_envelope(envelope.encode()), envelope, "an envelope")
    with suppress(SealroomError):
        verify_statement(envelope)
    with suppress(SealroomError):
        verify_receipt(envelope)


def _proof(data: bytes) -> None:
    """A header, and the packed path to the receipt at the place that the first byte names: what is taken is
    what the block has there."""
    block = _block()
    index, (header, _, packed) = data[0] if data else 0, data[1:].partition(BETWEEN)
    with suppress(EnvelopeError):
        read_header(header)
    with suppress(EnvelopeError):
        read_receipt(block.root, index, packed)
        if decode(unpack(packed)) != block.nodes(index):
            raise MalleableError("a receipt is proven by two paths")


@cache
def _block() -> WorkedBlock:
    return WorkedBlock(40)


def _proof_seeds() -> list[bytes]:
    proofs = [_block().proof(index) for index in (0, 7, 37)]
    return [bytes([proof.index]) + proof.header + BETWEEN + proof.path for proof in proofs]


def _statement(data: bytes) -> None:
    with suppress(EnvelopeError):
        _same(Statement.parse(data).encode(), data, "a statement")


def _statement_seeds() -> list[bytes]:
    seeds = []
    for seed in _bodies("envelope"):
        with suppress(EnvelopeError):
            seeds.append(parse_envelope(seed).signed.payload)
    return seeds


def _key_release(data: bytes) -> None:
    """The first byte chooses the message."""
    kinds = _messages()
    kind = kinds[data[0] % len(kinds)] if data else kinds[0]
    try:
        message = kind.parse(data[1:])
    except KeyReleaseError:
        return
    try:
        written = message.encode()
    except FormatError:  # what others put into free-form members may have no canonical form
        return
    _same(kind.parse(written), message, kind.__name__)


@cache
def _messages() -> list[Any]:
    from sealroom import key_release

    begun = ("GateIdentity", "Hello", "Challenge", "EvidenceMessage", "GrantReply", "Refusal")
    later = ("LeaseRequest", "LeaseReply", "WatchReport", "FinalityRequest", "FinalityReply")
    return [getattr(key_release, name) for name in (*begun, *later)]


def _key_release_seeds() -> list[bytes]:
    from tests.formats.test_key_release import MESSAGES

    return [bytes([_messages().index(type(message))]) + message.encode() for message in MESSAGES]


def _policy(data: bytes) -> None:
    """The document has one canonical form, whatever it was laid out as."""
    try:
        policy = PlatformPolicy.parse(data)
    except FormatError:
        return
    _same(PlatformPolicy.parse(policy.encode()), policy, "platform policy")


def _bodies(kind: str) -> list[bytes]:
    return [read(path).body for path in cases(kind)]


TARGETS = {
    target.name: target
    for target in (
        Target("encoding", _encoding, _encoding_seeds),
        Target("sealed-json", _sealed_json, _sealed_json_seeds),
        Target("sealed-archive", _archive, lambda: [vector.body for vector in _sealed_vectors()]),
        Target(
            "sealed-dataset",
            _dataset,
            lambda: [BETWEEN.join(_members(vector.body)) for vector in _sealed_vectors()],
        ),
        Target("sealed-pages", _pages, _page_seeds),
        Target("sealed-footer", _footer, _footer_seeds),
        Target("sealed-folder", _folder_members, _folder_seeds),
        Target("recipe", _recipe, lambda: _bodies("recipe")),
        Target("recipe-text", _recipe_text, _recipe_text_seeds),
        Target("relation", _relation, lambda: [attack.sql.encode() for attack in ATTACKS]),
        Target("relation-tree", _relation_tree, _relation_tree_seeds),
        Target("envelope", _envelope, lambda: _bodies("envelope")),
        Target("proof", _proof, _proof_seeds),
        Target("failure", _failure, lambda: _bodies("failure")),
        Target("failure-details", _failure_details, _failure_details_seeds),
        Target("statement", _statement, _statement_seeds),
        Target("key_release", _key_release, _key_release_seeds),
        Target("platform-policy", _policy, lambda: _bodies("policy")),
        Target("gpu-evidence", gpu.evidence, gpu.evidence_seeds),
        Target("gpu-rim", gpu.rim, gpu.rim_seeds),
        Target("gpu-material", gpu.material, gpu.material_seeds),
        Target("gpu-status", gpu.status, gpu.status_seeds),
        Target("desk-csv", desk.csv_table, desk.csv_seeds),
        Target("desk-arrow", desk.arrow, desk.arrow_seeds),
        Target("desk-parquet", desk.parquet, desk.parquet_seeds),
        Target("desk-prepare", desk.prepare, desk.prepare_seeds),
        Target("desk-fhir", desk.fhir_ndjson, desk.fhir_seeds),
        Target("desk-vcf", desk.vcf_file, desk.vcf_seeds),
        Target("desk-dicom", desk.dicom_file, desk.dicom_seeds),
        Target("desk-notes", desk.notes, desk.notes_seeds),
        Target("desk-list-parts", desk.list_parts, desk.list_parts_seeds),
        Target("desk-range", desk.content_range, desk.content_range_seeds),
    )
}


def words(seeds: list[bytes]) -> Iterator[bytes]:
    """The names and values of JSON and YAML in some seeds: what a fuzzer would else have to guess."""
    found = {word for seed in seeds for word in re.findall(rb'"[^"\\]{1,40}"|[a-z_]{3,30}:', seed)}
    yield from sorted(found)
