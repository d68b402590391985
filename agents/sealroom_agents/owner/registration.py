# SPDX-License-Identifier: Apache-2.0
"""What an owner puts on chain about a sealed dataset, and the call that does it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from sealroom.encoding import Fields, strict_json, to_hex
from sealroom.schema import DATASET_NAME
from sealroom.sealed import SealedInfo
from sealroom_agents.errors import ToolError

MAX_REGISTRATION_BYTES = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class Registration:
    """The arguments of `Consortium.registerDataset`, in its order."""

    dataset_id: bytes
    """SHA-256 of the sealed header, 32 bytes."""
    index_digest: bytes
    """SHA-256 of the unsigned index, 32 bytes."""
    key_commitment: bytes
    """Commitment to the data key, 32 bytes."""
    schema_hash: bytes
    """Digest of the columns, 32 bytes."""
    rows: int
    """Rows; 0 for what is no table."""
    name: str
    """Name among the owner's datasets."""

    @classmethod
    def of(cls, info: SealedInfo) -> Registration:
        """What a sealed file says of itself."""
        return cls(
            dataset_id=info.dataset_id,
            index_digest=info.index_digest,
            key_commitment=info.index.key_commitment,
            schema_hash=info.header.schema_hash,
            rows=info.header.rows or 0,
            name=info.header.dataset,
        )

    @classmethod
    def load(cls, path: Path) -> Registration:
        """Read what `sealroom seal` wrote. Raises `registration-malformed`."""
        with path.open("rb") as stream:
            data = stream.read(MAX_REGISTRATION_BYTES + 1)
        fields = Fields(
            strict_json(data, MAX_REGISTRATION_BYTES),
            str(path),
            error=ToolError,
            code="registration-malformed",
        )
        registration = cls(
            dataset_id=fields.hex("datasetId", 32),
            index_digest=fields.hex("indexDigest", 32),
            key_commitment=fields.hex("keyCommitment", 32),
            schema_hash=fields.hex("schemaHash", 32),
            rows=fields.integer("rows"),
            name=fields.text("name", limit=64, pattern=DATASET_NAME),
        )
        fields.done()
        return registration

    def facts(self) -> dict[str, str | int]:
        """As JSON."""
        return {
            "datasetId": to_hex(self.dataset_id),
            "indexDigest": to_hex(self.index_digest),
            "keyCommitment": to_hex(self.key_commitment),
            "schemaHash": to_hex(self.schema_hash),
            "rows": self.rows,
            "name": self.name,
        }

    def encode(self) -> bytes:
        """The file that `sealroom seal` writes."""
        return json.dumps(self.facts(), indent=1).encode() + b"\n"

    @property
    def arguments(self) -> tuple[bytes, bytes, bytes, bytes, int, str]:
        """In the order of the contract."""
        return (
            self.dataset_id,
            self.index_digest,
            self.key_commitment,
            self.schema_hash,
            self.rows,
            self.name,
        )
