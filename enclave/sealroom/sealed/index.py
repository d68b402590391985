# SPDX-License-Identifier: Apache-2.0
"""`index.json`: digest and size of each part, the commitment to the data key, and the owner's signature."""

from __future__ import annotations

import re
from binascii import unhexlify
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sealroom.codes import Code
from sealroom.encoding import Fields, canonical, lp, parse_canonical, sha256, to_hex
from sealroom.errors import FormatError, KeyMaterialError, SealIndexError
from sealroom.keys import SIGNATURE_SIZE
from sealroom.sealed.header import MAX_PARTS, PART_SIZE
from sealroom.sealed.parts import sealed_length

if TYPE_CHECKING:
    from sealroom.typed import Signable

VERSION = 2
"""Version of the index."""
MAX_INDEX_BYTES = 8 * 1024 * 1024

_ENTRY = rb'\{"digest":"0x([0-9a-f]{64})","size":([1-9][0-9]{0,8})\}'
_PART = re.compile(_ENTRY)
_LIST = b'"parts":['
_PARTS = re.compile(rb'"parts":\[((?:%b(?:,(?!\])|(?=\])))*)\]' % _ENTRY.replace(b"(", b"(?:"))
"""The list of parts in the one encoding that `encode` writes."""


class PartEntry(NamedTuple):
    """One part, as it lies in the archive."""

    digest: bytes
    """BLAKE3 hash of the sealed part, 32 bytes."""
    size: int
    """Bytes of the sealed part."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """All parts of one sealed dataset."""

    header: bytes
    """Header digest, 32 bytes."""
    key_commitment: bytes
    """Commitment to the data key, 32 bytes."""
    parts: tuple[PartEntry, ...]
    """The parts, in order."""
    signature: bytes | None = None
    """The owner's signature over `message`, 65 bytes, or `None`."""

    def encode(self) -> bytes:
        """Canonical JSON."""
        frame = canonical(
            {
                "version": VERSION,
                "header": to_hex(self.header),
                "keyCommitment": to_hex(self.key_commitment),
                "parts": [],
                "signature": None if self.signature is None else to_hex(self.signature),
            }
        )
        # Written here and not by the general encoder, which takes a second for the most parts there may be.
        return frame.replace(b'"parts":[]', b'"parts":[' + _encoded(self.parts) + b"]", 1)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the index without its signature: what the owner registers on chain."""
        return sha256(replace(self, signature=None).encode())

    def signed_bytes(self) -> bytes:
        """The bytes that a wallet signs as a personal message (EIP-191)."""
        return lp("sealroom/v2/index", self.header, self.digest)

    def message(self) -> Signable:
        """What the owner signs, as any wallet can: EIP-191 text over header digest and index digest."""
        # Late, here and below: importing this takes longer than sealing half a gigabyte.
        from sealroom import typed

        return typed.personal(self.signed_bytes())

    def signer(self) -> str | None:
        """Address that signed, or `None` for an unsigned index. Raises `index-signature`."""
        if self.signature is None:
            return None
        from sealroom import typed

        try:
            return typed.recover(self.message(), self.signature)
        except KeyMaterialError as error:
            raise SealIndexError(Code.INDEX_SIGNATURE, f"index.json: {error.message}") from None

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """Read `index.json`. Raises only `SealIndexError`."""
        plain = _plain_parts(data)
        try:
            # What is left of a plain index has no parts in it, and is quick to judge.
            value = parse_canonical(data if plain is None else plain.rest, MAX_INDEX_BYTES)
        except FormatError as error:
            raise SealIndexError(Code.INDEX_MALFORMED, f"index.json: {error.message}") from None
        fields = _fields(value, "index.json")
        fields.version(VERSION)
        signature = fields.raw("signature")
        listed = fields.array("parts", limit=MAX_PARTS if plain is None else 0)
        index = cls(
            header=fields.hex("header", 32),
            key_commitment=fields.hex("keyCommitment", 32),
            parts=tuple(_part(item) for item in listed) if plain is None else plain.parts,
            signature=None
            if signature is None
            else _fields({"signature": signature}, "index.json").hex("signature", SIGNATURE_SIZE),
        )
        fields.done()
        return index


def _encoded(parts: Sequence[PartEntry]) -> bytes:
    listed = (f'{{"digest":"0x{part.digest.hex()}","size":{part.size}}}' for part in parts)
    return ",".join(listed).encode()


@dataclass(frozen=True)
class _PlainParts:
    """The parts of an index, taken out of it."""

    parts: tuple[PartEntry, ...]
    rest: bytes
    """The index without them."""


def _plain_parts(data: bytes) -> _PlainParts | None:
    """The parts, if their list is in the one encoding that `encode` writes; else `None`.

    The general decoder takes seconds for the most parts there may be. What this does not take, that one
    judges, so both accept the same bytes.
    """
    # The first list of this name or none: within an entry that is not plain there could be another.
    found = _PARTS.match(data, max(0, data.find(_LIST))) if len(data) <= MAX_INDEX_BYTES else None
    if found is None:
        return None
    most = sealed_length(PART_SIZE)
    parts = tuple(PartEntry(unhexlify(digest), int(size)) for digest, size in _PART.findall(found[1]))
    if len(parts) > MAX_PARTS or any(part.size > most for part in parts):
        return None
    return _PlainParts(parts, data[: found.start(1)] + data[found.end(1) :])


def _part(value: Any) -> PartEntry:
    fields = _fields(value, "index.json's part")
    entry = PartEntry(fields.hex("digest", 32), fields.integer("size", 1, sealed_length(PART_SIZE)))
    fields.done()
    return entry


def _fields(value: Any, what: str) -> Fields:
    return Fields(value, what, error=SealIndexError, code=Code.INDEX_MALFORMED)
