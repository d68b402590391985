# SPDX-License-Identifier: Apache-2.0
"""Processes that end with the one that started them, however that one ends, SIGKILL included.

Between the two runs a `child_guard`, which notices by a pipe that the parent is gone. PR_SET_PDEATHSIG alone
would kill the child with the *thread* that started it, and exists on Linux only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from sealroom_agents import child_guard

DEATH_S = 10.0
"""How long killed processes may take to be gone, seconds."""

_lock = threading.Lock()
_lifeline: tuple[int, int, int] | None = None
"""Process id, reading and writing end of the pipe that tells this process's guards that it lives."""


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start `command`; `options` are those of `subprocess.Popen`.

    The process that is returned is the guard, in a session of its own: it hands signals on to the command,
    which has another session, and ends as the command ends, taking along what the command left running.
    Raises `FileNotFoundError` when there is no such command.
    """
    environment = options.get("env")
    path = (os.environ if environment is None else environment).get("PATH", os.defpath)
    if shutil.which(command[0], path=path) is None:
        raise FileNotFoundError(2, "no such command", command[0])
    alive = _reading_end()
    return subprocess.Popen(
        [sys.executable, "-I", "-S", child_guard.__file__, str(alive), *command],
        pass_fds=(alive, *options.pop("pass_fds", ())),
        start_new_session=True,
        **options,
    )


def kill(*pids: int, wait_s: float = DEATH_S) -> bool:
    """Kill processes and everything below them, sessions of their own included.

    True when all of it is dead, which takes milliseconds; false when some still lives after `wait_s` seconds.
    """
    doomed = [*pids, *child_guard.descendants(*pids)]
    for each in doomed:
        for send in (os.killpg, os.kill):
            try:
                send(each, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                continue  # gone already, or no leader of a group
    deadline = time.monotonic() + wait_s
    while any(child_guard.is_alive(each) for each in doomed):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def _reading_end() -> int:
    """One pipe a process; the writing end stays open until this process is gone, and no child has it."""
    global _lifeline
    with _lock:
        # A fork has its parent's pipe, which says nothing of the fork's own life.
        if _lifeline is None or _lifeline[0] != os.getpid():
            if _lifeline is not None:
                os.close(_lifeline[2])
            _lifeline = (os.getpid(), *os.pipe())
        return _lifeline[1]
