# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sealroom.errors import SealError

PRIVATE_MODE = 0o600


@contextmanager
def atomic_output(target: Path, *, overwrite: bool = False, mode: int = PRIVATE_MODE) -> Iterator[BinaryIO]:
    """Write `target` through a file beside it, which is synced and renamed at the end.

    On any error the file beside it is removed, and `target` is as it was. Raises `SealError` with code
    `output-exists` or `output-unwritable`.
    """
    _refuse_existing(target, overwrite)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise SealError("output-unwritable", f"cannot write {target}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _refuse_existing(target, overwrite)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def refuse_same(source: Path, target: Path) -> None:
    """Raise `same-file` when both are one file, by whatever names."""
    if target.exists() and source.exists() and os.path.samefile(source, target):
        raise SealError("same-file", f"{target} is the file to be read", "choose another output")


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        raise SealError(
            "output-exists", f"{target} is there already", "choose another name, or allow overwriting"
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
