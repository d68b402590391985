# SPDX-License-Identifier: Apache-2.0
"""The data key that an owner keeps at home: without it, resealing means sealing again.

A text file of mode 0600, on the disk before the sealed dataset appears, and never overwritten::

    # data key of hospital-A/cohort-A: keep it, send it to nobody
    sealroom-data-key-1 0x…
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from sealroom.encoding import to_hex
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError

MAX_KEY_FILE_BYTES = 4096
_LINE = re.compile(r"sealroom-data-key-1 0x([0-9a-f]{64})")


def create(path: Path, key: Secret, *, owner: str, dataset: str) -> None:
    """Write the key to a new file, mode 0600. Raises `key-exists` rather than overwrite one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise ToolError("key-exists", f"{path} exists, and a data key is never overwritten") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        # The umask may have taken bits that its owner needs.
        os.fchmod(descriptor, 0o600)
        stream.write(f"# data key of {owner}/{dataset}: keep it, send it to nobody\n")
        stream.write(f"sealroom-data-key-1 {to_hex(key.reveal())}\n")
        stream.flush()
        os.fsync(stream.fileno())


def read(path: Path) -> Secret:
    """Read a key file.

    Raises `key-missing`, `key-malformed`, or `key-exposed` when others on this machine can read it.
    """
    if not path.is_file():
        raise ToolError(
            "key-missing", f"{path}: no such file", "it is the .key file that sealroom seal wrote"
        )
    with path.open("rb") as stream:
        if stat.S_IMODE(os.fstat(stream.fileno()).st_mode) & 0o077:
            raise ToolError("key-exposed", f"others on this machine can read {path}", f"chmod 600 {path}")
        text = stream.read(MAX_KEY_FILE_BYTES).decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = _LINE.fullmatch(lines[0]) if len(lines) == 1 else None
    if found is None:
        raise ToolError(
            "key-malformed", f"{path} is not a data key", "it is the .key file that sealroom seal wrote"
        )
    return Secret(bytes.fromhex(found[1]))
