# SPDX-License-Identifier: Apache-2.0
"""One sealing, or one opening of everything, as a process of its own for `tests.bench.sealing`.

python -m tests.bench.sealing_process seal|open FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sealroom.keys import KemPrivateKey, Secret
from sealroom.sealed import WrapContext, inspect, open_sealed, seal

DATA_KEY = b"\x5e" * 32
"""Known, so that the opening process needs no key file; wraps and noise are of no matter here."""
COPY_BYTES = 8 * 2**20


def main(action: str, folder: Path) -> None:
    source, target = folder / "plain.bin", folder / "sealed.tar"
    if action == "seal":
        recipient = WrapContext(
            chain_id=31337,
            consortium="0x" + "c1" * 20,
            kms_root=bytes(32),
            gate_public_key=KemPrivateKey.generate().public,
            app="0x" + "a1" * 20,
            compose_hash=bytes(32),
            epoch=1,
        )
        seal(
            source,
            target,
            recipient=recipient,
            owner="hospital-A",
            name="bench",
            dek=Secret(DATA_KEY),
            media_type="application/octet-stream",
            overwrite=True,
        )
        return
    info = inspect(target)
    with (
        open_sealed(
            target,
            dek=Secret(DATA_KEY),
            dataset_id=info.dataset_id,
            index_digest=info.index_digest,
            key_commitment=info.index.key_commitment,
        ) as opened,
        (folder / "opened.bin").open("wb") as out,
    ):
        shutil.copyfileobj(opened, out, COPY_BYTES)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
