# SPDX-License-Identifier: Apache-2.0
"""Parts: fixed-size slices of the file, each sealed on its own as Cobblestone-256.

Source: c2sp.org/chunked-encryption.

Each part has its own key, and its context names header, number and count. A part in another place, of
another file, or cut short does not open (CE-05, CE-06). Cobblestone commits to its key (CE-03).
"""

from __future__ import annotations

import hmac

from blake3 import blake3
from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag

from sealroom.codes import Code
from sealroom.encoding import lp
from sealroom.errors import PartError, SealIndexError
from sealroom.keys import Secret, hkdf_sha256

DATA_KEY_SIZE = 32
DIGEST_SIZE = 32

DOES_NOT_OPEN = "the sealed dataset does not open with this key in this context"
"""The one text for a wrong key, a wrong commitment and a broken part: it must not tell which (CE-19)."""

CHUNK = 16 * 1024
CHUNK_OVERHEAD = 16
STEP = 16 * CHUNK
"""Bytes that are encrypted, and then hashed, at a time."""
PART_OVERHEAD = 56
"""Salt (24) and key commitment (32) at the head of each Cobblestone stream."""

_ZEROS = bytes(CHUNK)


def sealed_length(length: int) -> int:
    """Bytes of a sealed part that holds `length` bytes. The last chunk is always short, and may be empty."""
    return PART_OVERHEAD + length + CHUNK_OVERHEAD * (length // CHUNK + 1)


def key_commitment(data_key: Secret, *, header_digest: bytes) -> bytes:
    """What the chain keeps of a data key, 32 bytes: it names the key and tells nothing about it."""
    return hkdf_sha256(data_key.reveal(), salt=header_digest, info=lp("sealroom/v2/key-commitment"))


def check_commitment(data_key: Secret, *, header_digest: bytes, commitment: bytes) -> None:
    """Check that this is the key of the file with this header. Raises `SealIndexError` `wrong-key`."""
    found = b"" if len(data_key) != DATA_KEY_SIZE else key_commitment(data_key, header_digest=header_digest)
    if not hmac.compare_digest(found, commitment):
        raise SealIndexError(Code.WRONG_KEY, DOES_NOT_OPEN)


def part_digest(sealed: memoryview) -> bytes:
    """What the index lists of a sealed part: its BLAKE3 hash, 32 bytes.

    Not SHA-256: over all parts that would take longer than to encrypt and write them.
    """
    return blake3(sealed).digest()


def seal_part(
    plain: memoryview, sealed: memoryview, *, data_key: Secret, header_digest: bytes, number: int, count: int
) -> bytes:
    """Seal one part into `sealed`, which has exactly `sealed_length` bytes. Returns its digest."""
    key, context = _part_key(data_key, header_digest, number, count)
    encryptor, digest, written = Cobblestone256Encryptor(key, context), blake3(), 0
    for start in range(0, len(plain), STEP):
        # Hashed piece by piece, while what was just written is near the processor.
        end = written + encryptor.update_into(plain[start : start + STEP], sealed[written:])
        digest.update(sealed[written:end])
        written = end
    sealed[written:] = encryptor.finalize()
    digest.update(sealed[written:])
    return digest.digest()


def open_part(
    sealed: memoryview, plain: memoryview, *, data_key: Secret, header_digest: bytes, number: int, count: int
) -> None:
    """Open one part into `plain`, which has exactly the bytes that the header says of the part.

    `plain` must not be read before this has returned: only then is the part authenticated whole (CE-07).
    Raises `PartError` with code `part-does-not-open`, and then `plain` is zero.
    """
    key, context = _part_key(data_key, header_digest, number, count)
    decryptor = Cobblestone256Decryptor(key, context)
    try:
        if len(sealed) != sealed_length(len(plain)):
            raise InvalidTag
        written = decryptor.update_into(sealed, plain)
        plain[written:] = decryptor.finalize()
    except InvalidTag:
        plain[:] = bytes(len(plain))
        raise PartError(Code.PART_DOES_NOT_OPEN, DOES_NOT_OPEN) from None


def wipe(buffer: bytearray) -> None:
    """Overwrite a buffer with zeros, in place."""
    # Not with `bytes(len(buffer))`: a second buffer as large, for each one wiped.
    view = memoryview(buffer)
    for start in range(0, len(buffer), CHUNK):
        view[start : start + CHUNK] = _ZEROS[: len(buffer) - start]


def _part_key(data_key: Secret, header_digest: bytes, number: int, count: int) -> tuple[bytes, bytes]:
    key = hkdf_sha256(data_key.reveal(), salt=header_digest, info=lp("sealroom/v2/part", number, count))
    return key, lp("sealroom/v2/part-context", header_digest, number, count)
