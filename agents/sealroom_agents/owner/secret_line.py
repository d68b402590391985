# SPDX-License-Identifier: Apache-2.0
"""Key files of owners: one line with a word and 32 bytes in hex, and comments, which nobody else may read."""

from __future__ import annotations

import re
from pathlib import Path

from sealroom.codes import Code
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.secret_source import SecretSource

MAX_FILE_BYTES = 4096


def read_secret(path: Path, word: str, *, what: str, hint: str) -> Secret:
    """The 32 bytes of a key file whose line begins with `word`; `-` is standard input.

    Raises `key-malformed`, and what `SecretSource.read` raises.
    """
    source = SecretSource(place=path)
    try:
        data = source.read(MAX_FILE_BYTES)
    except ToolError as error:
        raise ToolError(error.code, error.message, error.hint or hint) from None
    return parse_secret(data, word, source=source.name, what=what, hint=hint)


def parse_secret(data: bytes, word: str, *, source: str, what: str, hint: str) -> Secret:
    """The same of what was read from `source`. Raises `key-malformed`."""
    text = data.decode("ascii", errors="replace")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    whole = len(lines) == 1 and len(data) <= MAX_FILE_BYTES
    found = re.fullmatch(rf"{word} 0x([0-9a-f]{{64}})", lines[0]) if whole else None
    if found is None:
        raise ToolError(Code.KEY_MALFORMED, f"{source} is not a {what}", hint)
    return Secret(bytes.fromhex(found[1]))
