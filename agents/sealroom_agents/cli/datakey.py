# SPDX-License-Identifier: Apache-2.0
"""The data key that an owner keeps at home: without it, resealing means sealing again.

A file of mode 0600, on the disk before the sealed dataset appears, and never overwritten. It holds the key
wrapped for recipients (`owner.key_file`), or plain (`owner.data_key`). Every command reads either.
"""

from __future__ import annotations

import fcntl
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from sealroom.codes import Code
from sealroom.encoding import sha256
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


def need_changeable(path: Path) -> None:
    """Check that a key's file can be replaced, before anybody is asked for anything.

    Raises `key-missing` for what is no file: a pipe cannot be changed. Raises `key-file-linked` where the
    file has another name, by which the old content, perhaps a plain key, would stay.
    """
    if not os.path.lexists(path):
        raise ToolError(Code.KEY_MISSING, f"{path}: no such file", data_key.HINT)
    if not path.is_file():
        raise ToolError(Code.KEY_MISSING, f"{path} is no file that could be changed", "name the key's file")
    if path.is_symlink():
        raise ToolError(Code.KEY_FILE_LINKED, f"{path} is a link", f"name the file itself: {path.resolve()}")
    if path.stat().st_nlink > 1:
        raise ToolError(
            Code.KEY_FILE_LINKED,
            f"{path} has other names, hard links, which would keep the key as it is",
            f"remove them; they are found with: find FOLDER -samefile {shlex.quote(str(path))}",
        )


def replace_wrapped(path: Path, file: KeyFile, *, was: bytes) -> None:
    """Write a wrapped key in place of the file that is there, whole or not at all.

    `was` is the SHA-256 of what the change was made from. Of two commands at once, one is refused, and no
    recipient is lost. Raises `key-file-changed`, and what `need_changeable` raises.
    """
    need_changeable(path)
    # A network file system takes an exclusive lock only of a file that is open for writing.
    access = os.O_RDWR if os.access(path, os.W_OK) else os.O_RDONLY
    with os.fdopen(os.open(path, access | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _changed(path) from None
        # Whoever replaced it had the lock of the file that is gone: the name tells.
        if not os.path.samestat(os.fstat(stream.fileno()), os.lstat(path)):
            raise _changed(path)
        if sha256(stream.read(MAX_BYTES + 1)) != was:
            raise _changed(path)
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
    if of is not None:
        need_of(file, of, name=source.name)
    return custody.open_key(file, openers(), name=source.name).key


def need_of(file: KeyFile, header: Header, *, name: str) -> None:
    """Raises `wrong-key` where the key's file says that it is for another sealed file than this header's."""
    if file.header != header.digest:
        raise ToolError(
            Code.WRONG_KEY,
            f"{name} is the key of another file: {file.title}",
            "take the key that was written with this sealed file",
        )


def read_content(source: SecretSource) -> bytes:
    """What the file of a key holds. Raises what `SecretSource.read` raises."""
    try:
        return source.read(MAX_BYTES)
    except ToolError as error:
        raise ToolError(error.code, error.message, error.hint or data_key.HINT) from None


def is_wrapped(content: bytes) -> bool:
    """Whether it is a wrapped key; else it is taken for a plain one."""
    return content.startswith(b"{")


def _changed(path: Path) -> ToolError:
    return ToolError(
        Code.KEY_FILE_CHANGED,
        f"another command changed {path} meanwhile",
        "nothing was written: run this one again",
    )


def _create(path: Path, content: bytes) -> None:
    try:
        write_atomic(path, content, mode=PRIVATE)
    except TargetExists:
        raise ToolError(Code.KEY_EXISTS, f"{path} exists, and a data key is never overwritten") from None
