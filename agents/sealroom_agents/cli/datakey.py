# SPDX-License-Identifier: Apache-2.0
"""The data key that an owner keeps at home: without it, resealing means sealing again.

A file of mode 0600, on the disk before the sealed dataset appears, and never overwritten. It holds the key
wrapped for recipients (`owner.key_file`), or plain (`owner.data_key`). Every command reads either.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.files import PRIVATE, TargetExists, write_atomic
from sealroom.keys import Secret
from sealroom_agents.errors import ToolError
from sealroom_agents.owner import data_key
from sealroom_agents.owner.secret_source import SecretSource

if TYPE_CHECKING:
    from sealroom.sealed import Header
    from sealroom_agents.owner.key_file import KeyFile

MAX_BYTES = 512 * 1024
"""Longer than any file of a key, plain or wrapped."""


def create(path: Path, key: Secret, *, owner: str, dataset: str) -> None:
    """Write the plain key to a new file, mode 0600. Raises `key-exists` rather than overwrite one."""
    _create(path, data_key.text(key, note=f"{owner}/{dataset}"))


def create_wrapped(path: Path, file: KeyFile) -> None:
    """Write a wrapped key to a new file, mode 0600. Raises `key-exists` rather than overwrite one."""
    _create(path, file.encode())


def replace_wrapped(path: Path, file: KeyFile) -> None:
    """Write a wrapped key in place of the file that is there, whole or not at all.

    Raises `key-missing` where what was read is no file: a pipe cannot be changed.
    """
    if not path.is_file():
        raise ToolError(Code.KEY_MISSING, f"{path} is no file that could be changed", "name the key's file")
    write_atomic(path, file.encode(), mode=PRIVATE, replace=True)


def read(source: SecretSource, *, of: Header | None = None) -> Secret:
    """Read a data key, plain or wrapped; `of` is the header of the sealed file that it must be for.

    Raises `key-malformed`, `wrong-key` for the key's file of another dataset, and what reading a secret and
    opening a wrapped key raise.
    """
    content = read_content(source)
    if not is_wrapped(content):
        return data_key.parse(content, source=source.name)
    from sealroom_agents.cli.key_options import openers
    from sealroom_agents.owner import custody
    from sealroom_agents.owner.key_file import KeyFile

    file = KeyFile.parse(content, name=source.name)
    if of is not None and file.header != of.digest:
        raise ToolError(
            Code.WRONG_KEY,
            f"{source.name} is the key of another file: {file.title}",
            "name the key of this one: --key FILE",
        )
    return custody.open_key(file, openers(), name=source.name).key


def read_content(source: SecretSource) -> bytes:
    """What the file of a key holds. Raises what `SecretSource.read` raises."""
    try:
        return source.read(MAX_BYTES)
    except ToolError as error:
        raise ToolError(error.code, error.message, error.hint or data_key.HINT) from None


def is_wrapped(content: bytes) -> bool:
    """Whether it is a wrapped key; else it is taken for a plain one."""
    return content.startswith(b"{")


def _create(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content, mode=PRIVATE)
    except TargetExists:
        raise ToolError(Code.KEY_EXISTS, f"{path} exists, and a data key is never overwritten") from None
