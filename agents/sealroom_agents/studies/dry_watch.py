# SPDX-License-Identifier: Apache-2.0
"""What a dry run takes and hands over, step by step, and how it fails."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from sealroom.errors import SealroomError
from sealroom.privacy.release import Releases
from sealroom.privacy.rows import Rows
from sealroom_agents.errors import ToolError


class WouldFail(ToolError):
    """The study is a recipe, and its run fails on these data."""

    def __init__(self, error: SealroomError, printed: str = "") -> None:
        super().__init__(error.code, error.message, error.hint)
        self.printed = printed
        """What the script printed, and its traceback, outside the sandbox."""


@dataclass(frozen=True, kw_only=True)
class Released:
    """What was handed over for one field."""

    rows: int
    """Rows of the table of people."""
    size: int
    """Bytes of its columns."""
    seconds: float
    """For the sums and their noise."""


@dataclass
class Times:
    """Seconds by step."""

    seconds: dict[str, float] = field(default_factory=dict)

    def of(self, step: str) -> _Timer:
        return _Timer(self, step)


class _Timer:
    def __init__(self, times: Times, step: str) -> None:
        self._times, self._step = times, step

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *exception: object) -> None:
        spent = time.monotonic() - self._began
        self._times.seconds[self._step] = self._times.seconds.get(self._step, 0.0) + spent


class Watched(Releases):
    """The kernel, and what was handed to it."""

    seen: dict[str, Released]

    def release(self, kind: str, name: str, rows: Rows) -> dict[str, Any]:
        began = time.monotonic()
        value = super().release(kind, name, rows)
        columns = [rows.units, *rows.numbers.values(), *rows.groups.values()]
        self.seen[name] = Released(
            rows=len(rows), size=sum(each.nbytes for each in columns), seconds=time.monotonic() - began
        )
        return value
