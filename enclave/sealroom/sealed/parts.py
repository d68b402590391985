# SPDX-License-Identifier: Apache-2.0
"""Parts: fixed-size slices of the file, each sealed on its own as Cobblestone-256.

Source: c2sp.org/chunked-encryption.

Each part has its own key, and its context names dataset, number and count. A part in another place, of
another dataset, or cut short does not open (CE-05, CE-06). Cobblestone commits to its key (CE-03).
"""

from __future__ import annotations

import hmac

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from sealroom.encoding import lp
from sealroom.errors import PartError, SealIndexError
from sealroom.keys import Secret, hkdf_sha256

DATA_KEY_SIZE = 32

DOES_NOT_OPEN = "the sealed dataset does not open with this key in this context"
"""The one text for a wrong key, a wrong commitment and a broken part: it must not tell which (CE-19)."""

CHUNK = 16 * 1024
CHUNK_OVERHEAD = 16
PART_OVERHEAD = 56
"""Salt (24) and key commitment (32) at the head of each Cobblestone stream."""


def sealed_length(length: int) -> int:
    """Bytes of a sealed part that holds `length` bytes. The last chunk is always short, and may be empty."""
    return PART_OVERHEAD + length + CHUNK_OVERHEAD * (length // CHUNK + 1)


def key_commitment(data_key: Secret, *, dataset_id: bytes) -> bytes:
    """What the chain keeps of a data key, 32 bytes: it names the key and tells nothing about it."""
    return hkdf_sha256(data_key.reveal(), salt=dataset_id, info=lp("sealroom/v1/key-commitment"))


def check_commitment(data_key: Secret, *, dataset_id: bytes, commitment: bytes) -> None:
    """Check that this is the dataset's key. Raises `SealIndexError` with code `wrong-key`."""
    found = b"" if len(data_key) != DATA_KEY_SIZE else key_commitment(data_key, dataset_id=dataset_id)
    if not hmac.compare_digest(found, commitment):
        raise SealIndexError("wrong-key", DOES_NOT_OPEN)


def seal_part(plain: bytes, *, data_key: Secret, dataset_id: bytes, number: int, count: int) -> bytearray:
    """Seal one part."""
    key, context = _part_key(data_key, dataset_id, number, count)
    sealed = bytearray(sealed_length(len(plain)))
    encryptor = Cobblestone256Encryptor(key, context)
    # `update_into` works without the interpreter's lock, so that parts are sealed in parallel.
    written = encryptor.update_into(plain, sealed)
    sealed[written:] = encryptor.finalize()
    return sealed


def open_part(
    sealed: bytes, *, length: int, data_key: Secret, dataset_id: bytes, number: int, count: int
) -> bytearray:
    """Open one part, whole or not at all: no byte comes out before the last is authenticated (CE-07).

    `length` is what the header says of the part. Raises `PartError` with code `part-does-not-open`.
    """
    key, context = _part_key(data_key, dataset_id, number, count)
    if len(sealed) != sealed_length(length):
        raise PartError("part-does-not-open", DOES_NOT_OPEN)
    plain = bytearray(len(sealed))
    decryptor = Cobblestone256Decryptor(key, context)
    try:
        written = decryptor.update_into(sealed, plain)
        last = decryptor.finalize()
    except InvalidTag:
        wipe(plain)
        raise PartError("part-does-not-open", DOES_NOT_OPEN) from None
    plain[written:] = last
    if len(plain) != length:
        wipe(plain)
        raise PartError("part-does-not-open", DOES_NOT_OPEN)
    return plain


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer with zeros, in place."""
    buffer[:] = bytes(len(buffer))


def _part_key(data_key: Secret, dataset_id: bytes, number: int, count: int) -> tuple[bytes, bytes]:
    key = hkdf_sha256(data_key.reveal(), salt=dataset_id, info=lp("sealroom/v1/part", number, count))
    return key, lp("sealroom/v1/part-context", dataset_id, number, count)
