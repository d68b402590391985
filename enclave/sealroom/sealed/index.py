# SPDX-License-Identifier: Apache-2.0
"""`index.json`: digest and size of each part, the commitment to the data key, and the owner's signature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from eth_account.messages import SignableMessage, encode_defunct

from sealroom import typed
from sealroom.encoding import Fields, canonical, lp, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError, KeyMaterialError, SealIndexError
from sealroom.keys import SIGNATURE_SIZE
from sealroom.sealed.header import MAX_PARTS, PART_SIZE
from sealroom.sealed.parts import sealed_length

MAX_INDEX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class PartEntry:
    """One part, as it lies in the archive."""

    digest: bytes
    """SHA-256 of the sealed part."""
    size: int
    """Bytes of the sealed part."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """All parts of one sealed dataset."""

    dataset: bytes
    """Dataset id, 32 bytes."""
    key_commitment: bytes
    """Commitment to the data key, 32 bytes."""
    parts: tuple[PartEntry, ...]
    """The parts, in order."""
    signature: bytes | None = None
    """The owner's signature over `message`, 65 bytes, or `None`."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical(
            {
                "version": 1,
                "dataset": to_hex(self.dataset),
                "keyCommitment": to_hex(self.key_commitment),
                "parts": [{"digest": to_hex(part.digest), "size": part.size} for part in self.parts],
                "signature": None if self.signature is None else to_hex(self.signature),
            }
        )

    @property
    def digest(self) -> bytes:
        """SHA-256 of the index without its signature: what the owner registers on chain."""
        return sha256(replace(self, signature=None).encode())

    def message(self) -> SignableMessage:
        """What the owner signs, as any wallet can: EIP-191 text over dataset id and index digest."""
        return encode_defunct(primitive=lp("sealroom/v1/index", self.dataset, self.digest))

    def signer(self) -> str | None:
        """Address that signed, or `None` for an unsigned index. Raises `index-signature`."""
        if self.signature is None:
            return None
        try:
            return typed.recover(self.message(), self.signature)
        except KeyMaterialError as error:
            raise SealIndexError("index-signature", f"index.json: {error.message}") from None

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """Read `index.json`. Raises only `SealIndexError`."""
        try:
            value = parse_canonical(data, MAX_INDEX_BYTES)
        except FormatError as error:
            raise SealIndexError("index-malformed", f"index.json: {error.message}") from None
        fields = _fields(value, "index.json")
        fields.version()
        signature = fields.raw("signature")
        index = cls(
            dataset=fields.hex("dataset", 32),
            key_commitment=fields.hex("keyCommitment", 32),
            parts=tuple(_part(item) for item in fields.array("parts", limit=MAX_PARTS)),
            signature=None
            if signature is None
            else _fields({"signature": signature}, "index.json").hex("signature", SIGNATURE_SIZE),
        )
        fields.done()
        return index


def _part(value: Any) -> PartEntry:
    fields = _fields(value, "index.json's part")
    entry = PartEntry(fields.hex("digest", 32), fields.integer("size", 1, sealed_length(PART_SIZE)))
    fields.done()
    return entry


def _fields(value: Any, what: str) -> Fields:
    return Fields(value, what, error=SealIndexError, code="index-malformed")
