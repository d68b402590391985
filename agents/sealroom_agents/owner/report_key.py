# SPDX-License-Identifier: Apache-2.0
"""An owner's report key: to its public half, in the header of each sealed dataset, an enclave seals why a run
failed.

The private half lies beside the owner's data keys, in a text file of mode 0600, one for all datasets::

    # report key: opens the reasons of failed runs; keep it, send it to nobody
    sealroom-report-key-1 0x…
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.errors import KeyMaterialError
from sealroom.files import PRIVATE, TargetExists, write_atomic
from sealroom.keys import KEM_PUBLIC_SIZE, KemPrivateKey, Secret, hpke_seal
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.secret_line import MAX_FILE_BYTES, read_secret

NAME = "report-key.secret"
"""No data key has this name: those end in .key."""
_WORD = "sealroom-report-key-1"
_HINT = f"it is the file {NAME} that sealroom seal wrote beside the data keys"


@dataclass(frozen=True)
class ReportKey:
    """The public half, and the private one where it is still to be written."""

    public: bytes
    """1216 bytes."""
    place: Path | None
    """File of the private half; `None` when the owner keeps it elsewhere."""
    fresh: Secret | None
    """The seed of a key that was made now."""

    def keep(self) -> None:
        """Write a key that was made now, mode 0600. Raises `key-exists` if another came before."""
        if self.fresh is None or self.place is None:
            return
        text = (
            "# report key: opens the reasons of failed runs; keep it, send it to nobody\n"
            f"{_WORD} {to_hex(self.fresh.reveal())}\n"
        )
        try:
            write_atomic(self.place, text.encode("ascii"), mode=PRIVATE)
        except TargetExists:
            raise ToolError(
                Code.KEY_EXISTS, f"{self.place} was made meanwhile, by another command", "run it again"
            ) from None


def of_owner(folder: Path, given: Path | None) -> ReportKey:
    """The report key of the owner whose data keys lie in this folder; made, and not yet written, if there is
    none. `given` is a file with the public half of a key that is kept elsewhere, in base64.

    Raises `key-malformed`, `key-exposed`.
    """
    if given is not None:
        return ReportKey(public=_public(given), place=None, fresh=None)
    place = folder / NAME
    if place.exists():
        return ReportKey(public=read(place).public, place=place, fresh=None)
    seed = Secret.generate()
    return ReportKey(public=KemPrivateKey.from_seed(seed.reveal()).public, place=place, fresh=seed)


def read(path: Path) -> KemPrivateKey:
    """Read the private half. Raises `key-missing`, `key-malformed`, `key-exposed`."""
    return KemPrivateKey.from_seed(read_secret(path, _WORD, what="report key", hint=_HINT).reveal())


def _public(path: Path) -> bytes:
    try:
        public = b64decode(path.read_bytes()[:MAX_FILE_BYTES].strip(), validate=True)
        if len(public) != KEM_PUBLIC_SIZE:
            raise ValueError
        hpke_seal(public, b"", info=b"")  # a key that nothing can be sealed to is found now
    except OSError as error:
        raise ToolError(Code.KEY_MISSING, f"cannot read {path}: {error.strerror}") from None
    except (ValueError, binascii.Error, KeyMaterialError):
        raise ToolError(
            Code.KEY_MALFORMED,
            f"{path} is no public report key",
            f"an X-Wing public key of {KEM_PUBLIC_SIZE} bytes, in base64",
        ) from None
    return public
