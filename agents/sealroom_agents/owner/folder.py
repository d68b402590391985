# SPDX-License-Identifier: Apache-2.0
"""A folder as one file: a tar that is the same bytes for the same names and contents, on every machine."""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sealroom.codes import Code
from sealroom_agents.errors import ToolError

MAX_FILES = 1_000_000
"""Entries that a folder may have."""


@dataclass(frozen=True)
class Entry:
    """One file or folder below the packed folder."""

    name: str
    """Path below it, with `/`."""
    path: Path
    """Where it lies."""
    size: int | None
    """Bytes of a file; `None` for a folder."""


def listing(folder: Path) -> list[Entry]:
    """Everything below `folder`, ordered by the bytes of its name.

    Raises `folder-unsupported` for a link, a device, a socket or a name that is not UTF-8: a link could
    lead out of the folder, and none of these means the same on another machine.
    """
    entries = sorted(_walk(folder, ""), key=lambda entry: entry.name.encode())
    if len(entries) > MAX_FILES:
        raise ToolError(Code.FOLDER_UNSUPPORTED, f"{folder} holds more than {MAX_FILES:,} files")
    return entries


def packed_size(entries: list[Entry]) -> int:
    """Upper bound of the tar: bytes."""
    return sum(4 * 512 + -(-(entry.size or 0) // 512) * 512 for entry in entries) + 20 * 512


def pack(entries: list[Entry], target: BinaryIO, *, advance: Callable[[int], None] | None = None) -> None:
    """Write the tar. Owners, modes and times are left out: they are not the data, and would differ.

    advance: called with the bytes of files done so far. Raises `source-changed` when a
    file is another than was listed.
    """
    done = 0
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            if entry.size is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(info)
                continue
            info.size, info.mode = entry.size, 0o644
            descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as stream:
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode) or before.st_size != entry.size:
                    raise _changed(entry)
                try:
                    archive.addfile(info, stream)
                except OSError as error:
                    # tarfile's own way to say that a file became shorter carries no number.
                    if error.errno is not None:
                        raise
                    raise _changed(entry) from None
                after = os.fstat(descriptor)
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise _changed(entry)
            done += entry.size
            if advance is not None:
                advance(done)


def _walk(folder: Path, prefix: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for item in found:
            name = prefix + item.name
            try:
                name.encode("utf-8")
            except UnicodeEncodeError:
                raise _unsupported(folder / ascii(item.name), "has a name that is not UTF-8") from None
            path = Path(item.path)
            if item.is_symlink():
                raise _unsupported(path, "is a link")
            if item.is_dir(follow_symlinks=False):
                yield Entry(name, path, None)
                yield from _walk(path, f"{name}/")
            elif item.is_file(follow_symlinks=False):
                yield Entry(name, path, item.stat(follow_symlinks=False).st_size)
            else:
                raise _unsupported(path, "is neither a file nor a folder")


def _unsupported(path: Path, why: str) -> ToolError:
    return ToolError(Code.FOLDER_UNSUPPORTED, f"{path} {why}", "a folder is sealed with plain files alone")


def _changed(entry: Entry) -> ToolError:
    return ToolError(Code.SOURCE_CHANGED, f"{entry.path} changed while it was read", "run it again")
