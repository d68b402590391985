# SPDX-License-Identifier: Apache-2.0
"""Waiting for what must come, on a machine of any speed."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 240.0
"""The longest wait: what takes seconds on an idle machine takes ten times as long on a busy one."""
PAUSE_S = 0.02

Found = TypeVar("Found")


def until(ready: Callable[[], Found], process: subprocess.Popen[bytes] | None = None) -> Found:
    """Wait until `ready` returns what counts as true; returns that. Fails where `process` ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := ready()):
        if process is not None and process.poll() is not None:
            found = ready()  # it may have done it in the meantime
            assert found, "the process ended"
            break
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s"
        time.sleep(PAUSE_S)
    return found
