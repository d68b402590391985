# SPDX-License-Identifier: Apache-2.0
"""The folder that a room is kept in: one call at a time uses it, and there is space in it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealroom_agents.errors import DemoError

LOCK = ".lock"
"""File that the call which uses a folder holds locked."""
NEEDED_BYTES = 2 * 2**30
"""What must be free: gate and runner each refuse runs below half of it."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder`, for this user alone, and hold it. Raises `DemoError` where another call does, or where
    nothing can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DemoError(f"cannot write in {folder}: {error.strerror}", hint="name another --dir") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(held)
        raise DemoError(
            f"another room runs in {folder}",
            hint="use that one, or stop it with Ctrl-C where it runs, or name another --dir",
        ) from None
    try:
        yield
    finally:
        os.close(held)


def require_space(folder: Path) -> None:
    """Raises `DemoError` where the disk has too little left for a room."""
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        gib, needed = f"{free / 2**30:.1f} GiB", f"{NEEDED_BYTES / 2**30:.0f} GiB"
        raise DemoError(
            f"the disk of {folder} has {gib} free, and a room needs {needed}",
            hint="free some space, or name a --dir on another disk",
        )
