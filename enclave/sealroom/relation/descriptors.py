# SPDX-License-Identifier: Apache-2.0
"""Files that are open already, as DuckDB reads them: a file system of descriptors, which opens nothing.

DuckDB opens its own file by its path once a thread, and a sealed job has no call that takes a path. So the
file is read here, by `pread`, and DuckDB's own file systems are off.

Sources: duckdb.org/docs/stable/guides/python/filesystems; fsspec, `AbstractFileSystem`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from fsspec import AbstractFileSystem

PROTOCOL = "dataset"


class Descriptors(AbstractFileSystem):
    """Files by name, read-only."""

    protocol = PROTOCOL
    cachable = False  # fsspec would keep it for the next engine

    def __init__(self, files: Mapping[str, int]) -> None:
        """`files`: the descriptor of each file, which stays open as long as this is used."""
        super().__init__()
        self._files = dict(files)

    def open(self, path: str, mode: str = "rb", *_: object, **__: object) -> File:
        """Raises `OSError` for a file that is none of these, or to be written."""
        if mode != "rb":
            raise OSError(errno.EROFS, "these files are read-only")
        return File(self._descriptor(path))

    def info(self, path: str, **_: object) -> dict[str, Any]:
        return {"name": path, "size": _size(self._descriptor(path)), "type": "file"}

    def exists(self, path: str, **_: object) -> bool:
        return self._strip_protocol(path) in self._files

    def glob(self, path: str, **_: object) -> list[str]:
        """A name stands for itself."""
        return [path] if self.exists(path) else []

    def modified(self, path: str) -> datetime:
        """Always the same: what is sealed does not change."""
        return datetime.fromtimestamp(0, UTC)

    def _descriptor(self, path: str) -> int:
        try:
            return self._files[self._strip_protocol(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, "no such dataset") from None


class File:
    """A file as DuckDB asks for it: it sets a place and then reads there, in two calls.

    Each thread has a place of its own, so that two may read one file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = _size(descriptor)
        self._places: dict[int, int] = {}

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self._size}[whence]
        self._places[threading.get_ident()] = begin + place
        return begin + place

    def tell(self) -> int:
        return self._places.get(threading.get_ident(), 0)

    def read(self, size: int = -1) -> bytes:
        """Exactly so many bytes. Raises `OSError` where there are fewer: DuckDB asks by the file's own words,
        and would go on with what lay in its buffer before."""
        place = self.tell()
        wanted = self._size - place if size < 0 else size
        if not 0 <= wanted <= self._size - place:
            raise OSError(errno.EIO, "the file ends before")
        pieces, end = [], place + wanted
        while place < end:
            piece = os.pread(self._descriptor, end - place, place)
            if not piece:
                raise OSError(errno.EIO, "the file ends before")
            pieces.append(piece)
            place += len(piece)
        self._places[threading.get_ident()] = place
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def seekable(self) -> bool:
        return True

    def flush(self) -> None:
        """Nothing is written."""

    def close(self) -> None:
        """The descriptor is whose it was."""


def _size(descriptor: int) -> int:
    """By `lseek`, which looks no path up: the C library asks for a descriptor's state by an empty one."""
    return os.lseek(descriptor, 0, os.SEEK_END)
