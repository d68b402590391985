# SPDX-License-Identifier: Apache-2.0
"""One step of `tests.bench.sealing` as a process of its own, so that start-up and memory count for all.

python -m tests.bench.sealing_process start|seal|seal-file|unseal|verify|reseal|largest SOURCE TARGET
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from sealroom.keys import KemPrivateKey, Secret
from sealroom.sealed import (
    PARQUET,
    Header,
    Index,
    PartEntry,
    WrapContext,
    inspect,
    key_commitment,
    make_wrap,
    open_sealed,
    reseal,
    seal,
    unseal,
)

OWNER = "0x" + "a1" * 20
DATA_KEY = Secret(b"\x5e" * 32)
"""Known, so that the opening process needs no key file; wraps and noise are of no matter here."""


def recipient() -> WrapContext:
    """Some gate and recipe."""
    return WrapContext(
        chain_id=31337,
        consortium="0x" + "c1" * 20,
        kms_root=bytes(32),
        gate_public_key=KemPrivateKey.generate().public,
        app="0x" + "a1" * 20,
        compose_hash=os.urandom(32),
    )


def main(action: str, source: Path, target: Path) -> None:
    if action in ("seal", "seal-file"):
        seal(
            source,
            target,
            recipient=recipient(),
            owner=OWNER,
            name="bench",
            dek=DATA_KEY,
            media_type=PARQUET if action == "seal" else "application/octet-stream",
        )
    elif action == "unseal":
        unseal(source, target, dek=DATA_KEY)
    elif action == "verify":
        info = inspect(source)
        open_sealed(
            source,
            dek=DATA_KEY,
            header_digest=info.header_digest,
            index_digest=info.index_digest,
            key_commitment=info.index.key_commitment,
            verify_all=True,
        ).close()
    elif action == "reseal":
        began = time.perf_counter()
        reseal(source, dek=DATA_KEY, recipient=recipient())
        print(time.perf_counter() - began)
    elif action == "largest":
        write_largest(target)


def write_largest(target: Path) -> None:
    """The largest sealed dataset there can be, with holes instead of parts: 512 GiB that take no room.

    Nothing in it opens. Resealing does not look at the parts, so it takes as long as on a true one.
    """
    from sealroom.sealed.archive import BLOCK, padded, write_end, write_member
    from sealroom.sealed.header import MAX_PARTS, PART_SIZE
    from sealroom.sealed.parts import sealed_length

    header = Header(
        owner=OWNER,
        dataset="bench",
        dataset_version=1,
        media_type="application/octet-stream",
        columns=None,
        rows=None,
        size=PART_SIZE * MAX_PARTS,
        part_size=PART_SIZE,
        salt=bytes(32),
    )
    digest = header.digest
    length = sealed_length(PART_SIZE)
    index = Index(
        header=digest,
        key_commitment=key_commitment(DATA_KEY, header_digest=digest),
        parts=tuple(PartEntry(os.urandom(32), length) for _ in range(MAX_PARTS)),
    )
    with target.open("wb") as stream:
        write_member(stream, "header.json", header.encode())
        write_member(stream, "wrap.json", make_wrap(DATA_KEY, header=header, recipient=recipient()).encode())
        stream.seek(MAX_PARTS * (BLOCK + padded(length)), os.SEEK_CUR)
        write_member(stream, "index.json", index.encode())
        write_end(stream)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
