# SPDX-License-Identifier: Apache-2.0
"""Envelopes and recipes by the SHA-256 of their bytes, in a folder or in an object store.

    PLACE/sha256/ab/ab0f…       64 hex digits: `sha256sum` of the file is its name

`put` returns once the place has confirmed that it keeps the bytes: in a folder the file and its name are
synced, of an object store they are read back. What is read is compared with its name, so bytes that a disk or
a stranger changed are an error, and never handed out. What is kept is never changed: the same bytes are kept
once, however often they come.
"""

from __future__ import annotations

import errno
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.envelope import MAX_ENVELOPE_BYTES
from sealroom.files import PRIVATE, fsync_folder, write_atomic
from sealroom_agents.errors import ConfigurationError, StoreError
from sealroom_agents.object_stores import PackageMissing, foreign_errors, open_store
from sealroom_agents.store.engine import beside

ALGORITHM = "sha256"
MAX_BYTES = MAX_ENVELOPE_BYTES
"""Largest that is kept; a recipe is smaller."""
CONNECT_S, READ_S = 10, 60
"""How long an object store may take to answer, seconds."""
RETRIES = {"total_max_attempts": 1}
"""s3fs tries again, and so do those who put: the library below it does not too."""
SCHEMES = ("s3", "memory")
_NAME = re.compile(r"[0-9a-f]{64}")
_ROTTEN = frozenset({errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.EISDIR})
"""Errors of one file whose sectors, or whose entry in the file system, are damaged."""


class ContentDamaged(StoreError):
    """The place answers, and under a name it holds other bytes than those of the name, or unreadable ones."""


class Content(ABC):
    """A place for bytes by their digest, `0x` + 64 hex digits. Thread safe.

    Every method raises `StoreError` `content-store`: the place is out of reach or full, or holds bytes that
    are not those of their name.
    """

    def put(self, data: bytes) -> str:
        """Keep `data`; returns its digest once the place has confirmed it."""
        if len(data) > MAX_BYTES:
            raise StoreError(Code.CONTENT_STORE, f"more than {MAX_BYTES} bytes are not kept")
        name = sha256(data).hex()
        with self._errors():
            try:
                there = self._read(name) == data
            except ContentDamaged:
                there = False
            if not there:
                self._write(name, data)
        return "0x" + name

    def get(self, digest: str) -> bytes | None:
        """The bytes of a digest, `None` when they are not here."""
        name = digest.removeprefix("0x")
        if not _NAME.fullmatch(name):
            return None
        with self._errors():
            data = self._read(name)
        if data is not None and sha256(data).hex() != name:
            raise _damaged(name, "are other bytes")
        return data

    def need(self, digest: str) -> bytes:
        """The same, of what must be here."""
        data = self.get(digest)
        if data is None:
            raise StoreError(
                Code.CONTENT_STORE, f"{digest} is not among the envelopes and recipes", "see --content"
            )
        return data

    def discard(self, digest: str) -> None:
        """Keep it no more."""
        with self._errors():
            self._remove(digest.removeprefix("0x"))

    def digests(self) -> Iterator[str]:
        """All that is kept."""
        with self._errors():
            names = sorted(self._names())
        yield from ("0x" + name for name in names)

    @abstractmethod
    def _read(self, name: str) -> bytes | None:
        """At most `MAX_BYTES` + 1 bytes."""

    @abstractmethod
    def _write(self, name: str, data: bytes) -> None:
        """Returns once they are durable."""

    @abstractmethod
    def _remove(self, name: str) -> None: ...

    @abstractmethod
    def _names(self) -> Iterator[str]: ...

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise _failed(error.strerror or type(error).__name__, full=full) from error
        except foreign_errors() as error:
            raise _failed(type(error).__name__) from error


class Folder(Content):
    """Files of this machine, or of a network file system that syncs."""

    def __init__(self, root: Path) -> None:
        self._root = root / ALGORITHM

    def _path(self, name: str) -> Path:
        return self._root / name[:2] / name

    def _read(self, name: str) -> bytes | None:
        try:
            with self._path(name).open("rb") as stream:
                return stream.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            # Of an object store EIO says less: its library says so of all that it does not know.
            if error.errno not in _ROTTEN:
                raise
            raise _damaged(name, f"cannot be read: {error.strerror}") from error

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        for folder in (self._root.parent, self._root, path.parent):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                fsync_folder(folder.parent)
        # What is there already has other bytes than its name says: a disk's fault.
        write_atomic(path, data, mode=PRIVATE, replace=True)

    def _remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _names(self) -> Iterator[str]:
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            yield from (name for name in os.listdir(folder) if _NAME.fullmatch(name))


class Bucket(Content):
    """An object store by fsspec."""

    def __init__(self, url: str) -> None:
        options: dict[str, Any] = {}
        if url.startswith("s3://"):
            limits = {"connect_timeout": CONNECT_S, "read_timeout": READ_S}
            options = {"use_listings_cache": False, "config_kwargs": limits | {"retries": RETRIES}}
        try:
            self._store, root = open_store(url, **options)
        except PackageMissing as error:
            raise ConfigurationError(Code.PACKAGE_MISSING, str(error), error.install) from None
        self._root = f"{root.rstrip('/')}/{ALGORITHM}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name[:2]}/{name}"

    def _read(self, name: str) -> bytes | None:
        try:
            return bytes(self._store.cat_file(self._path(name), start=0, end=MAX_BYTES + 1))
        except FileNotFoundError:
            return None
        except OSError as error:
            # S3 has no range of an object without bytes, and says so instead.
            if error.errno != errno.EINVAL or self._store.info(self._path(name))["size"]:
                raise
            return b""

    def _write(self, name: str, data: bytes) -> None:
        path = self._path(name)
        try:
            # Only where nothing is: two that write the same at one time do not both do it.
            self._store.pipe_file(path, data, mode="create")
        except OSError:
            self._overwrite(name, data)
        except foreign_errors():
            self._overwrite(name, data)
        if self._read(name) != data:
            raise OSError("the object store does not show what it took")

    def _overwrite(self, name: str, data: bytes) -> None:
        """After another was faster, or where the store knows no such condition."""
        if self._read(name) != data:
            self._store.pipe_file(self._path(name), data)

    def _remove(self, name: str) -> None:
        try:
            self._store.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def _names(self) -> Iterator[str]:
        try:
            found = self._store.find(self._root)
        except FileNotFoundError:
            return
        yield from (name for path in found if _NAME.fullmatch(name := str(path).rpartition("/")[2]))


def content_at(place: str) -> Content:
    """The store at a folder's path or a URL. Raises `ConfigurationError`; nothing is opened yet."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Folder(Path(place))
    if scheme == "file":
        return Folder(Path(rest))
    if scheme not in SCHEMES:
        raise ConfigurationError(
            Code.URL_UNSUPPORTED,
            f"envelopes and recipes are not kept at {scheme}://",
            "a folder, or s3://BUCKET/PREFIX",
        )
    return Bucket(place)


def content_beside(database: str, place: str | None) -> Content:
    """The store that is named, else the one beside a SQLite file. Raises `StoreError` `content-store`."""
    place = place or beside(database)
    if place is None:
        raise no_place()
    return content_at(place)


def no_place() -> StoreError:
    """Nothing says where envelopes and recipes are."""
    return StoreError(
        Code.CONTENT_STORE,
        "nothing says where envelopes and recipes are",
        "give --content a folder, or s3://BUCKET/PREFIX, that runner and console reach",
    )


def _damaged(name: str, how: str) -> ContentDamaged:
    return ContentDamaged(
        Code.CONTENT_STORE, f"what is kept as 0x{name} {how}", "put the file of a backup in its place"
    )


def _failed(why: str, *, full: bool = False) -> StoreError:
    return StoreError(
        Code.CONTENT_STORE,
        f"the store of envelopes and recipes does not do it: {why}",
        "free space where --content lies"
        if full
        else "look at the disk, or the object store, that --content names",
    )
