# SPDX-License-Identifier: Apache-2.0
"""A sealed dataset opened into a pipe.

What went into a pipe cannot be taken back. So every part is first compared with its digest in the index, and
only then the first byte goes out; each part is authenticated whole before its bytes are written.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from sealroom.keys import Secret
from sealroom.sealed import SealedArchive, SealedInfo, check_commitment
from sealroom.sealed.parts import sealed_length, wipe


def to_pipe(
    path: Path, stream: BinaryIO, *, dek: Secret, progress: Callable[[int, int], None] | None = None
) -> SealedInfo:
    """Write the file that was sealed to `stream`.

    Raises `SealError`: `wrong-key`, and what reading raises.
    """
    with SealedArchive.open(path) as archive:
        info = archive.info
        header = info.header
        check_commitment(dek, header_digest=info.header_digest, commitment=info.index.key_commitment)
        archive.check_parts(progress=progress)
        plain = bytearray(header.part_length(0))
        sealed = memoryview(bytearray(sealed_length(len(plain))))
        try:
            for number in range(header.parts):
                length = header.part_length(number)
                with memoryview(plain)[:length] as opened:
                    archive.open_part(number, opened, sealed[: sealed_length(length)], dek)
                    stream.write(opened)
            stream.flush()
        finally:
            wipe(plain)
    return info
