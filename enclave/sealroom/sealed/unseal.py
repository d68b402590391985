# SPDX-License-Identifier: Apache-2.0
"""Unsealing: an owner's way back from a sealed dataset and its data key to the file, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.keys import Secret
from sealroom.sealed.parallel import Buffers, for_each_part
from sealroom.sealed.parts import check_commitment, sealed_length
from sealroom.sealed.positional import WriteBack, write_at
from sealroom.sealed.reader import SealedArchive, SealedInfo
from sealroom.sealed.target import refuse_same, sealed_output


def unseal(
    path: Path,
    target: Path,
    *,
    dek: Secret,
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
    processes: int | None = None,
) -> SealedInfo:
    """Write the file that was sealed to `target`, which appears whole or not at all.

    For owners, at home: in the enclave nothing is ever written. That the dataset is the registered one is for
    the caller to compare; that it was sealed with `dek` is checked. Raises `SealError`: `wrong-key`,
    `same-file`, `output-exists`, `output-unwritable`, and what reading raises.
    """
    refuse_same(path, target)
    with SealedArchive.open(path, frames=False) as archive:
        header = archive.info.header
        check_commitment(
            dek, header_digest=archive.info.header_digest, commitment=archive.info.index.key_commitment
        )
        whole = header.part_length(0)
        with sealed_output(target, overwrite=overwrite) as stream:
            descriptor = stream.fileno()

            def make(number: int, buffers: Buffers) -> bytes:
                length = header.part_length(number)
                sealed = buffers.source(sealed_length(length))
                archive.open_part(number, buffers.target(length), sealed, dek)
                return b""

            def put(number: int, room: memoryview) -> None:
                plain = room[: header.part_length(number)]
                try:
                    write_at(descriptor, (plain,), number * header.part_size)
                except OSError as error:
                    raise SealError(
                        Code.OUTPUT_UNWRITABLE, f"cannot write {target}: {error.strerror}"
                    ) from None

            write_back = WriteBack(descriptor)

            def tell(parts: int) -> None:
                done = min(parts * header.part_size, header.size)
                write_back.up_to(done)
                if progress is not None:
                    progress(done, header.size)

            for_each_part(
                make,
                header.parts,
                source=sealed_length(whole),
                target=whole,
                put=put,
                processes=processes,
                tell=tell,
            )
        return archive.info
