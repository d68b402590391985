# SPDX-License-Identifier: Apache-2.0
"""The data key that an owner keeps at home: without it, resealing means sealing again.

A text file of mode 0600, on the disk before the sealed dataset appears, and never overwritten::

    # data key of hospital-A/cohort-A: keep it, send it to nobody
    sealroom-data-key-1 0x…
"""

from __future__ import annotations

from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.files import PRIVATE, TargetExists, write_atomic
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.secret_line import MAX_FILE_BYTES, parse_secret
from sealroom_agents.owner.secret_source import SecretSource

_WORD = "sealroom-data-key-1"
_HINT = "it is the .key file that sealroom seal wrote"


def create(path: Path, key: Secret, *, owner: str, dataset: str) -> None:
    """Write the key to a new file, mode 0600. Raises `key-exists` rather than overwrite one."""
    text = f"# data key of {owner}/{dataset}: keep it, send it to nobody\n{_WORD} {to_hex(key.reveal())}\n"
    try:
        write_atomic(path, text.encode("ascii"), mode=PRIVATE)
    except TargetExists:
        raise ToolError(Code.KEY_EXISTS, f"{path} exists, and a data key is never overwritten") from None


def read(source: SecretSource) -> Secret:
    """Read a data key. Raises `key-malformed`, and what `SecretSource.read` raises."""
    try:
        data = source.read(MAX_FILE_BYTES)
    except ToolError as error:
        raise ToolError(error.code, error.message, error.hint or _HINT) from None
    return parse_secret(data, _WORD, source=source.name, what="data key", hint=_HINT)
