# SPDX-License-Identifier: Apache-2.0
"""The runner's state folder: it has an id, and one process at a time locks it.

It holds what a run made, and keeps its id when the host is renamed. Because only one process holds it, a
runner that starts knows that the runner which had its runs before has ended.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

from sealroom.codes import Code
from sealroom.files import PRIVATE, write_atomic
from sealroom_agents.errors import RunnerError

ID_FILE, LOCK_FILE = "place", "lock"
MAX_ID_BYTES = 64


def lock_folder(folder: Path) -> tuple[str, int]:
    """Take the folder, made when it is not there, until this process ends;
    returns its id and its lock's descriptor.

    Raises `RunnerError` `state-in-use` while another process holds it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise RunnerError(
            Code.STATE_IN_USE,
            f"another runner works in {folder}",
            "wait until it has ended, or give this one a folder of its own",
        ) from None
    path = folder / ID_FILE
    if not path.exists():
        write_atomic(path, secrets.token_hex(16).encode(), mode=PRIVATE)
    with path.open("rb") as stream:
        return stream.read(MAX_ID_BYTES).decode("ascii", errors="replace").strip(), lock
