# SPDX-License-Identifier: Apache-2.0
"""The data key that an owner keeps at home: without it, resealing means sealing again.

A text file of mode 0600, on the disk before the sealed dataset appears, and never overwritten::

    # data key of hospital-A/cohort-A: keep it, send it to nobody
    sealroom-data-key-1 0x…
"""

from __future__ import annotations

import re
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.files import PRIVATE, FileExposed, TargetExists, read_private, write_atomic
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError

MAX_KEY_FILE_BYTES = 4096
_LINE = re.compile(r"sealroom-data-key-1 0x([0-9a-f]{64})")


def create(path: Path, key: Secret, *, owner: str, dataset: str) -> None:
    """Write the key to a new file, mode 0600. Raises `key-exists` rather than overwrite one."""
    text = (
        f"# data key of {owner}/{dataset}: keep it, send it to nobody\n"
        f"sealroom-data-key-1 {to_hex(key.reveal())}\n"
    )
    try:
        write_atomic(path, text.encode("ascii"), mode=PRIVATE)
    except TargetExists:
        raise ToolError(Code.KEY_EXISTS, f"{path} exists, and a data key is never overwritten") from None


def read(path: Path) -> Secret:
    """Read a key file.

    Raises `key-missing`, `key-malformed`, or `key-exposed` when others on this machine can read it.
    """
    if not path.is_file():
        raise ToolError(
            Code.KEY_MISSING, f"{path}: no such file", "it is the .key file that sealroom seal wrote"
        )
    try:
        data = read_private(path, MAX_KEY_FILE_BYTES)
    except FileExposed as error:
        raise ToolError(Code.KEY_EXPOSED, error.reason, error.remedy) from None
    text = data.decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = _LINE.fullmatch(lines[0]) if len(lines) == 1 and len(data) <= MAX_KEY_FILE_BYTES else None
    if found is None:
        raise ToolError(
            Code.KEY_MALFORMED, f"{path} is not a data key", "it is the .key file that sealroom seal wrote"
        )
    return Secret(bytes.fromhex(found[1]))
