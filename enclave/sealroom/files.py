# SPDX-License-Identifier: Apache-2.0
"""Files that appear whole or not at all, and files with secrets.

What `atomic_output` and `write_atomic` promise:

* **Whole or not at all.** A reader finds the old file or the whole new one. After an error, an interruption
  or a kill, the target is as it was.
* **Durable.** On return, content and name survive a power loss: file and folder are synced (`fsync(2)`).
* **Mode from the start.** The file never has more permissions than `mode`. The umask takes bits away, except
  those of the owner.
* **No link is followed.** The target's name is created or replaced. What a symbolic link in its place points
  to is not touched.
* **No overwriting by accident.** With `replace=False` a file that appears meanwhile is not overwritten
  either: `TargetExists`.
* **Nothing is left behind.** On Linux the new file has no name until it is complete (`O_TMPFILE`, then
  `linkat(2)`), so that a killed process leaves none. Only a kill between the two system calls that replace an
  existing target leaves a hidden file beside it, complete and of the same mode. Where the file system has no
  nameless files, a hidden file beside the target is used, and removed after an error or an interruption.

The folder must exist: `FileNotFoundError`. All functions raise `OSError`; callers add their own codes.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PRIVATE = 0o600
"""Mode of a file for its owner alone."""
PUBLIC = 0o644
"""Mode of a file that everyone may read."""

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
"""Errors of `link(2)` on file systems without hard links."""
_NO_NAMELESS = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
"""Errors of `open(2)` with `O_TMPFILE` on file systems, or kernels, without nameless files."""


class TargetExists(FileExistsError):
    """The target is there already, or appeared while it was written, and may not be replaced."""

    def __init__(self, target: Path) -> None:
        super().__init__(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


class FileExposed(PermissionError):
    """A file with a secret that others can read or change: `reason` is a sentence, `remedy` a command."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(errno.EACCES, reason, str(path))
        self.reason, self.remedy = reason, remedy


@contextmanager
def atomic_output(target: Path, *, mode: int, replace: bool = False) -> Iterator[BinaryIO]:
    """Write `target` through the stream; it appears at the end of the block. The module says what holds."""
    if not replace and os.path.lexists(target):
        raise TargetExists(target)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor, hidden = _open_new(folder, target.name, mode)
        try:
            with os.fdopen(descriptor, "w+b") as stream:
                # The umask may have taken bits that the owner needs.
                os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | mode & stat.S_IRWXU)
                yield stream
                stream.flush()
                os.fsync(descriptor)
                if hidden is None:
                    hidden = _name(descriptor, folder, target, replace=replace)
                if hidden is not None:
                    _move(hidden, folder, target, replace=replace)
                    hidden = None
        finally:
            if hidden is not None:
                os.unlink(hidden, dir_fd=folder)
        os.fsync(folder)
    finally:
        os.close(folder)


def write_atomic(target: Path, data: bytes, *, mode: int, replace: bool = False) -> None:
    """Write all of `target` at once. See the module for what holds."""
    with atomic_output(target, mode=mode, replace=replace) as stream:
        stream.write(data)


def link_new(source: Path, target: Path) -> None:
    """Give the file `source` the name `target`, on the same file system. Raises `TargetExists`.

    `source` keeps its name where the file system has hard links, and loses it elsewhere. The folder is not
    synced: see `fsync_folder`.
    """
    try:
        # A link, unlike a rename, never overwrites.
        os.link(source, target)
    except FileExistsError:
        raise TargetExists(target) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise TargetExists(target) from None
        os.rename(source, target)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable: what was created, renamed or removed in it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_private(path: Path, limit: int) -> bytes:
    """Read a file with a secret, at most `limit` + 1 bytes: a caller refuses what is longer than `limit`.

    It must be a regular file whose mode lets its owner alone access it: else `FileExposed`. Who that is does
    not matter: but for him, only root can open it, as a container's root does with a file that is mounted
    from its host. The rule is applied to the file that is read, after symbolic links were followed.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise FileExposed(path, f"others on this machine can read {path}", f"chmod 600 {path}")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(limit + 1)
    finally:
        os.close(descriptor)


def _open_new(folder: int, name: str, mode: int) -> tuple[int, str | None]:
    """A new file in the folder: its descriptor and its hidden name, `None` for a file without one."""
    # Such a file gets its name through /proc, which a bare container may lack.
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        try:
            return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=folder), None
        except OSError as error:
            if error.errno not in _NO_NAMELESS:
                raise
    hidden = _hidden_name(name)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(hidden, flags, mode, dir_fd=folder), hidden


def _name(descriptor: int, folder: int, target: Path, *, replace: bool) -> str | None:
    """Give a nameless file the target's name; with `replace`, where that is taken, a hidden one to return."""
    try:
        _link_descriptor(descriptor, folder, target.name)
    except FileExistsError:
        if not replace:
            raise TargetExists(target) from None
        hidden = _hidden_name(target.name)
        _link_descriptor(descriptor, folder, hidden)
        return hidden
    return None


def _link_descriptor(descriptor: int, folder: int, name: str) -> None:
    # With a folder's descriptor, Python calls linkat(2), which alone can follow the link in /proc.
    os.link(f"/proc/self/fd/{descriptor}", name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)


def _move(hidden: str, folder: int, target: Path, *, replace: bool) -> None:
    """Give a hidden file the target's name."""
    if replace:
        os.replace(hidden, target.name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    try:
        os.link(hidden, target.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise TargetExists(target) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            raise TargetExists(target) from None
        os.rename(hidden, target.name, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(hidden, dir_fd=folder)


def _hidden_name(name: str) -> str:
    # A name has at most 255 bytes, and the target's may have all of them.
    return f".{os.urandom(8).hex()}.new" if len(os.fsencode(name)) > 200 else f".{name}.{os.urandom(8).hex()}"
