# SPDX-License-Identifier: Apache-2.0
"""Hidden files in which a transfer keeps what the next run goes on with, one run at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from sealroom.files import PRIVATE

TRIES = 100


class InUseError(Exception):
    """Another run has the file."""


def open_to_look(path: Path) -> int | None:
    """Such a file for reading alone: its descriptor, or `None` where the next run would find nothing to go on
    with. Nothing is made, changed or held. Raises `InUseError` while another run has it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        if _is_ours(os.fstat(descriptor)):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            return descriptor
    except BlockingIOError:
        os.close(descriptor)
        raise InUseError from None
    os.close(descriptor)
    return None


def open_kept(path: Path) -> int | None:
    """Open, or make, such a file for reading and writing, for us alone: its descriptor, or `None` while
    another run has it. Raises `OSError`.

    What lies there is of a run that was killed, or of anybody: whoever reads it trusts nothing of it.
    """
    for _ in range(TRIES):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, PRIVATE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(descriptor)
            there = os.stat(path, follow_symlinks=False)
            # The run before may have removed or renamed it between our opening and our lock.
            if os.path.samestat(found, there) and stat.S_ISREG(found.st_mode):
                if _is_ours(found):
                    os.fchmod(descriptor, PRIVATE)
                    return descriptor
                os.unlink(path)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    raise FileExistsError(17, "something else stands there", str(path))


def _is_ours(found: os.stat_result) -> bool:
    """No file that has another name too, or another owner, who may have it open, is ours to write."""
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and found.st_uid == os.geteuid()


def remove(path: Path) -> None:
    """Remove such a file, while we have it."""
    with suppress(FileNotFoundError):
        os.unlink(path)
