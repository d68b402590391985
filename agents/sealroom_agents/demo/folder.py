# SPDX-License-Identifier: Apache-2.0
"""The folder of a demo: emptied before it begins, and never one that holds what no demo wrote."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealroom_agents.errors import DemoError
from sealroom_agents.local.folder import LOCK, locked

MARK = ".sealroom-demo"
"""File that says a folder is the demo's own, to be emptied."""


@contextmanager
def emptied(folder: Path) -> Iterator[None]:
    """Make `folder` one that is empty, the demo's own, and readable by this user alone, and hold it.

    A new or an empty folder is marked as the demo's; one that bears the mark is emptied; any other is left as
    it is and refused, and so is one in which another demo or room runs. Raises `DemoError`.
    """
    try:
        names = {entry.name for entry in folder.iterdir()} if folder.exists() else set()
    except OSError as error:
        raise DemoError(f"{folder} cannot be read: {error.strerror}", hint="name another --dir") from None
    if names and MARK not in names:
        raise DemoError(
            f"{folder} holds files that no demo wrote, and would be emptied",
            hint="name another --dir, or empty it yourself",
        )
    with locked(folder):
        try:
            (folder / MARK).touch(mode=0o600)
            folder.chmod(0o700)
            for entry in folder.iterdir():
                if entry.name in (MARK, LOCK):
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
        except OSError as error:
            raise DemoError(
                f"{folder} cannot be emptied: {error.strerror}", hint="name another --dir"
            ) from None
        yield
