# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a study, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from sealroom.codes import Code
from sealroom.spelling import nearest
from sealroom_agents.studies.positions import Place

MOST_FOUND = 200
"""Findings that are kept: a stranger's study may have as many as it has bytes."""
MOST_GUESSES = 5
"""Names of which it is guessed what was meant."""
MOST_COMPARED = 1000
"""Known names with which one is compared."""


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
        """Each once, in the order in which they were found; of strangers' studies not all of them."""
        self._guesses = MOST_GUESSES

    def guess(self, name: str, known: Iterable[str]) -> str | None:
        """What was probably meant by a name that is not known. For the first names alone: a stranger's study
        has thousands, and each is compared with thousands."""
        self._guesses -= 1
        return nearest(name, islice(known, MOST_COMPARED)) if self._guesses >= 0 else None

    def error(self, place: Place, code: Code, message: str, hint: str | None = None) -> None:
        self._add(Finding(certain=True, code=code, message=message, hint=hint, place=place))

    def warning(self, place: Place, code: Code, message: str, hint: str | None = None) -> None:
        self._add(Finding(certain=False, code=code, message=message, hint=hint, place=place))

    def _add(self, finding: Finding) -> None:
        if len(self.found) < MOST_FOUND:
            self.found.setdefault(finding)
