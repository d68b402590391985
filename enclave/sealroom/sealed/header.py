# SPDX-License-Identifier: Apache-2.0
"""`header.json`: what a sealed file is. All of its keys rest on the SHA-256 of it, the header digest."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical, parse_canonical, sha256, to_base64, to_hex
from sealroom.errors import FormatError, HeaderError
from sealroom.keccak import dataset_id
from sealroom.keys import KEM_PUBLIC_SIZE
from sealroom.schema import DATASET_NAME, Column, plain_columns, read_columns, schema_hash

VERSION = 3
"""Version of the header. Wrap and index have their own."""
SUITE = "cobblestone-256+blake3+mlkem768-x25519"
"""The one suite of this version (CE-10)."""
MAX_HEADER_BYTES = 1024 * 1024
"""Longest header. A column of a name of 20 letters takes some 35 bytes of it."""
PART_SIZE = 8 * 1024 * 1024
"""Largest part size that is accepted: bytes of the file in each part but the last."""
USUAL_PART_SIZE = 1024 * 1024
"""Part size of all but the largest files. A reader of one column chunk of a table opens at most one part more
than it fills; in a chunk of 7 MB, with parts of 8 MiB that would double the work."""
MIN_PART_SIZE = 16 * 1024
"""Smallest part size that is accepted."""
MAX_PARTS = 65_536
"""Most parts of one dataset: 512 GiB at the largest part size."""
MAX_DATASET_VERSION = 2**32 - 1
"""Largest number of a version of a dataset."""
PARQUET = "application/vnd.apache.parquet"


def usual_part_size(size: int) -> int:
    """Part size for a file of `size` bytes, unless one is asked for: grows only where parts run out."""
    part_size = USUAL_PART_SIZE
    while part_size < PART_SIZE and size > part_size * MAX_PARTS:
        part_size *= 2
    return part_size


@dataclass(frozen=True, kw_only=True)
class Header:
    """The immutable description of one sealed file: of one version of a dataset.

    Nothing in it says where the dataset is used. A file is sealed once, and wrapped for each consortium,
    app and recipe.
    """

    owner: str
    """Account that registers the dataset, `0x` + 40 lower-case hex digits."""
    dataset: str
    """Name among the account's datasets."""
    dataset_version: int
    """Number that this file has on chain among the versions of the dataset, from 1."""
    media_type: str
    """Type of the sealed file."""
    columns: tuple[Column, ...] | None
    """Columns from the Parquet footer, in the file's order; `None` for a file that is no table."""
    rows: int | None
    """Rows from the Parquet footer; `None` for a file that is no table."""
    size: int
    """Bytes of the sealed file."""
    part_size: int
    """Bytes of the file in each part but the last: a power of two."""
    report_key: bytes | None = None
    """The owner's report key, an X-Wing public key of 1216 bytes: to it, an enclave seals why a run failed.
    `None`: the owner is told nothing."""
    salt: bytes
    """32 random bytes: two seals of one file under one key share no derived key (CE-04)."""

    @property
    def parts(self) -> int:
        """Number of parts: at least one, so that an empty file is authenticated too."""
        return max(1, -(-self.size // self.part_size))

    @property
    def schema_hash(self) -> bytes:
        """Digest of the columns, 32 bytes."""
        return schema_hash(self.columns)

    @property
    def dataset_id(self) -> bytes:
        """The dataset's id on chain, 32 bytes."""
        return dataset_id(self.owner, self.dataset)

    @property
    def digest(self) -> bytes:
        """Header digest, 32 bytes: SHA-256 of the encoded header, and the salt of every key."""
        return sha256(self.encode())

    def part_length(self, number: int) -> int:
        """Bytes of the file in part `number`."""
        return min(self.part_size, self.size - number * self.part_size)

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "version": VERSION,
                "suite": SUITE,
                "owner": self.owner,
                "dataset": self.dataset,
                "datasetVersion": self.dataset_version,
                "mediaType": self.media_type,
                "columns": None if self.columns is None else plain_columns(self.columns),
                "rows": self.rows,
                "schemaHash": to_hex(self.schema_hash),
                "size": self.size,
                "partSize": self.part_size,
                "parts": self.parts,
                "reportKey": None if self.report_key is None else to_base64(self.report_key),
                "salt": to_hex(self.salt),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Read `header.json`. Raises only `HeaderError`."""
        try:
            value = parse_canonical(data, MAX_HEADER_BYTES)
        except FormatError as error:
            raise HeaderError(Code.HEADER_MALFORMED, f"header.json: {error.message}") from None
        fields = Fields(value, "header.json", error=HeaderError, code=Code.HEADER_MALFORMED)
        fields.version(VERSION)
        if fields.raw("suite") != SUITE:
            raise HeaderError(Code.UNSUPPORTED_SUITE, f"header.json has a suite other than {SUITE}")
        size, part_size = fields.integer("size"), fields.integer("partSize", MIN_PART_SIZE, PART_SIZE)
        header = cls(
            owner=fields.address("owner"),
            dataset=fields.text("dataset", limit=64, pattern=DATASET_NAME),
            dataset_version=fields.integer("datasetVersion", 1, MAX_DATASET_VERSION),
            media_type=fields.text("mediaType", limit=128),
            columns=_columns(fields),
            rows=_rows(fields),
            size=size,
            part_size=part_size,
            report_key=_report_key(fields),
            salt=fields.hex("salt", 32),
        )
        stated_hash, stated_parts = fields.hex("schemaHash", 32), fields.integer("parts", 1, MAX_PARTS)
        fields.done()
        if part_size & (part_size - 1) or header.parts != stated_parts:
            fields.fail("has size, partSize and parts that do not fit")
        if header.schema_hash != stated_hash:
            fields.fail("has a schemaHash that is not the digest of its columns")
        if (header.columns is None) != (header.rows is None):
            fields.fail("has columns without rows, or rows without columns")
        return header


def _columns(fields: Fields) -> tuple[Column, ...] | None:
    value = fields.raw("columns")
    if value is None:
        return None
    try:
        return read_columns(value)
    except FormatError as error:
        raise HeaderError(Code.HEADER_MALFORMED, f"header.json: {error.message}", error.hint) from None


def _report_key(fields: Fields) -> bytes | None:
    value = fields.raw("reportKey")
    if value is None:
        return None
    alone = Fields({"reportKey": value}, "header.json", error=HeaderError, code=Code.HEADER_MALFORMED)
    return alone.base64("reportKey", limit=KEM_PUBLIC_SIZE, size=KEM_PUBLIC_SIZE)


def _rows(fields: Fields) -> int | None:
    value = fields.raw("rows")
    if value is None:
        return None
    return Fields({"rows": value}, "header.json", error=HeaderError, code=Code.HEADER_MALFORMED).integer(
        "rows"
    )
