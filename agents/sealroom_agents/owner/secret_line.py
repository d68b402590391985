# SPDX-License-Identifier: Apache-2.0
"""Key files of owners: one line with a word and 32 bytes in hex, and comments, which nobody else may read."""

from __future__ import annotations

import re
from pathlib import Path

from sealroom.codes import Code
from sealroom.files import FileExposed, read_private
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError

MAX_FILE_BYTES = 4096


def read_secret(path: Path, word: str, *, what: str, hint: str) -> Secret:
    """The 32 bytes of a key file whose line begins with `word`.

    Raises `key-missing`, `key-malformed`, or `key-exposed` when others on this machine can read it.
    """
    if not path.is_file():
        raise ToolError(Code.KEY_MISSING, f"{path}: no such file", hint)
    try:
        data = read_private(path, MAX_FILE_BYTES)
    except FileExposed as error:
        raise ToolError(Code.KEY_EXPOSED, error.reason, error.remedy) from None
    text = data.decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    whole = len(lines) == 1 and len(data) <= MAX_FILE_BYTES
    found = re.fullmatch(rf"{word} 0x([0-9a-f]{{64}})", lines[0]) if whole else None
    if found is None:
        raise ToolError(Code.KEY_MALFORMED, f"{path} is not a {what}", hint)
    return Secret(bytes.fromhex(found[1]))
