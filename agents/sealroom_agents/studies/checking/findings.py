# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a study, and where."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.codes import Code
from sealroom_agents.studies.positions import Place


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong."""

    certain: bool
    """An error; else a warning."""
    code: str
    message: str
    hint: str | None
    place: Place


class Findings:
    def __init__(self) -> None:
        self.found: dict[Finding, None] = {}
        """Each once, in the order in which they were found."""

    def error(self, place: Place, code: Code, message: str, hint: str | None = None) -> None:
        self._add(Finding(certain=True, code=code, message=message, hint=hint, place=place))

    def warning(self, place: Place, code: Code, message: str, hint: str | None = None) -> None:
        self._add(Finding(certain=False, code=code, message=message, hint=hint, place=place))

    def _add(self, finding: Finding) -> None:
        self.found.setdefault(finding)
