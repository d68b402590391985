# SPDX-License-Identifier: Apache-2.0
"""One thing that was looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import httpx

from sealroom.errors import SealroomError


class State(StrEnum):
    """How it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and will not for long, or not as well as it should."""
    BROKEN = "broken"
    UNKNOWN = "unknown"
    """It could not be looked at."""


@dataclass(frozen=True)
class Finding:
    """What was found."""

    name: str
    """Stable word."""
    state: State
    message: str
    """How it is, in one line."""
    remedy: str = ""
    """What to do, with a command between backticks; empty where nothing is to be done."""

    def to_json(self) -> dict[str, str]:
        """For `--json`."""
        return {"name": self.name, "state": self.state, "message": self.message} | (
            {"hint": self.remedy} if self.remedy else {}
        )


def looked(name: str, findings: Iterable[Finding], *, remedy: str) -> Iterator[Finding]:
    """The findings; an error of ours on the way is one more: it could not be looked at."""
    try:
        yield from findings
    except SealroomError as error:
        hint = f"{error.hint}; {remedy}" if error.hint else remedy
        yield Finding(name, State.BROKEN, error.message, hint)
    except (OSError, httpx.HTTPError) as error:
        yield Finding(name, State.UNKNOWN, str(error), remedy)
