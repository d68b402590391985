# SPDX-License-Identifier: Apache-2.0
"""The page of the sealed dataset is enough: its example opens with the constants that it writes out, and its
limits are those of the code."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
import re
import tarfile
from base64 import b64decode
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom.schema import MAX_COLUMNS, types
from sealroom.schema.names import MAX_COLUMN_NAME
from sealroom.sealed import parquet, parquet_columns, parquet_pages, source, thrift
from sealroom_agents.owner.tables.parquet_rows import ParquetRows
from tests.vectors.vector import FOLDER, read

PAGE = (Path(__file__).parents[2] / "enclave" / "spec" / "sealed-dataset.md").read_text()
STEP = re.compile(r"^([a-z0-9 -]+?) += ([0-9a-f]{64})\b", re.MULTILINE)
STEPS = dict(STEP.findall(PAGE.split("## The example, step by step")[1]))


def member(name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(read(FOLDER / "sealed" / "table").body)) as archive:
        found = archive.extractfile(name)
        assert found is not None
        return found.read()


def lp(*fields: str | int | bytes) -> bytes:
    """`LP` of the page."""

    def plain(field: str | int | bytes) -> bytes:
        if isinstance(field, bytes):
            return field
        return field.encode() if isinstance(field, str) else field.to_bytes(32, "big")

    return b"".join(len(each).to_bytes(8, "big") + each for each in map(plain, fields))


def written(pattern: str) -> bytes:
    """The one text or hex of the page that a pattern names."""
    (found,) = set(re.findall(pattern, PAGE))
    return bytes.fromhex(found[2:]) if found.startswith("0x") else found.encode()


def wrap_info() -> bytes:
    wrap = json.loads(member("wrap.json"))
    raw = {name: bytes.fromhex(value[2:]) for name, value in wrap.items() if str(value)[:2] == "0x"}
    names = ("consortium", "kmsRoot", "app", "composeHash", "dataset", "header")
    info = lp("sealroom/v2/wrap", wrap["chainId"], *(raw[name] for name in names))
    assert hashlib.sha256(info).hexdigest() == STEPS["wrap info"]
    return info


def test_the_wrap_opens_with_what_the_page_writes_out() -> None:
    sealed = b64decode(json.loads(member("wrap.json"))["ciphertext"])
    seed = hashlib.shake_256(bytes.fromhex(STEPS["x-wing seed"])).digest(96)
    x = X25519PrivateKey.from_private_bytes(seed[64:])
    quantum, share = sealed[:1088], sealed[1088:1120]
    secrets = MLKEM768PrivateKey.from_seed_bytes(seed[:64]).decapsulate(quantum)
    secrets += x.exchange(X25519PublicKey.from_public_bytes(share))
    label = written(r"X25519\(x, 9\) ‖ (0x[0-9a-f]+)\)")
    shared = hashlib.sha3_256(secrets + share + x.public_key().public_bytes_raw() + label).digest()
    assert shared.hex() == STEPS["shared secret"]

    suite = b"HPKE" + written(r'"HPKE" ‖ (0x[0-9a-f]+)')
    version = written(r'HMAC-SHA-256\(s, "([^"]+)"')
    assert version == written(r'u16be\(L\) ‖ "([^"]+)"')

    def extract(salt: bytes, label: bytes, key: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), version + suite + label + key, "sha256")

    def expand(key: bytes, label: bytes, info: bytes, length: int) -> bytes:
        message = length.to_bytes(2, "big") + version + suite + label + info + b"\1"
        return hmac.digest(key, message, "sha256")[:length]

    psk, info, secret, key, nonce = (
        written(pattern)
        for pattern in (
            r'0x00 ‖ extract\("", "(\w+)", ""\)',
            r'extract\("", "(\w+)", wrap info\)',
            r'extract\(shared secret, "(\w+)"',
            r'= expand\(secret, "(\w+)", context, 32\)',
            r', expand\(secret, "(\w+)", context, 12\)',
        )
    )
    context = b"\0" + extract(b"", psk, b"") + extract(b"", info, wrap_info())
    schedule = extract(shared, secret, b"")
    opened = AESGCM(expand(schedule, key, context, 32)).decrypt(
        expand(schedule, nonce, context, 12), sealed[1120:], None
    )
    assert opened.hex() == STEPS["data key"]


def test_a_part_opens_with_what_the_page_writes_out() -> None:
    """A file of one part; `test_sealed` and the second decoder open those of several chunks."""
    stream = member("parts/00000")
    salt, commitment = stream[:24], stream[24:56]
    part_key = bytes.fromhex(STEPS["part key 0"])
    context = lp("sealroom/v2/part-context", bytes.fromhex(STEPS["header digest"]), 0, 1)
    assert hashlib.sha256(context).hexdigest() == STEPS["part context 0"]
    info = written(r'"(c2sp\.org/chunked-encryption@v1[^"]+)"') + b"\0" + salt + context
    first = hmac.digest(part_key, info + b"\1", "sha512")
    derived = first + hmac.digest(part_key, first + info + b"\2", "sha512")
    key, base, committed = derived[:32], derived[32:44], derived[44:76]
    assert committed == commitment
    assert len(stream) == 56 + 924 + 16 < 56 + 16384 + 16
    plain = AESGCM(key).decrypt(base, stream[56:], None)
    assert (len(plain), plain[:4], plain[-4:]) == (924, b"PAR1", b"PAR1")


LIMITS = {
    "footer, in bytes": parquet.MAX_FOOTER_BYTES,
    "rows": parquet.MAX_ROWS,
    "row groups": parquet.MAX_ROW_GROUPS,
    "columns, each plain value of a list or struct for itself": MAX_COLUMNS,
    "elements of the schema": parquet_columns.MAX_ELEMENTS,
    "lists and structs in one another": types.MAX_NESTING,
    "fields of a struct": types.MAX_STRUCT_FIELDS,
    "a column's name, in bytes of UTF-8": MAX_COLUMN_NAME,
    "bytes of a value of one length": types.MAX_LENGTH,
    "digits of a decimal": types.MAX_PRECISION,
    "structs and lists of Thrift in one another": thrift._MAX_NESTING,
    "a page's header, in bytes": parquet_pages.MAX_PAGE_HEADER_BYTES,
    "a page, unpacked, in bytes": source.MAX_PAGE_BYTES,
    "a row in memory with the pages that it is in, in bytes": source.MAX_TABLE_BYTES,
    "a table in memory, in bytes": source.MAX_TABLE_BYTES,
}


def test_the_limits_of_a_parquet_file_are_those_of_the_code() -> None:
    table = PAGE.split("| of a Parquet file |")[1].split("\n\n")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:]]
    assert {row[0]: int(re.sub(r"[^0-9].*", "", row[1].replace(",", ""))) for row in rows} == LIMITS
    for _, _, at_home, enclave in rows:
        assert at_home in ("", enclave)
        assert Code(enclave.strip("`"))
    assert source.MEMORY_SHARE == 0.5


@pytest.mark.parametrize("limit, code", [("MAX_PAGE_BYTES", "table-too-large")])
def test_an_owner_hears_of_a_page_before_it_is_sealed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, code: str
) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": ["x" * 5000]}), path, use_dictionary=False, compression="gzip")

    def looked() -> int:
        with path.open("rb", buffering=0) as file:
            return ParquetRows(file, name=path).rows

    assert looked() == 1
    monkeypatch.setattr(source, limit, 4999)
    with pytest.raises(SealroomError) as refused:
        looked()
    assert refused.value.code == code
