# SPDX-License-Identifier: Apache-2.0
"""The declared groups of a field: the product of the labels of its groups, in declared order."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealroom.privacy.members import Groups, Members, bounds_error

if TYPE_CHECKING:
    from sealroom.privacy.people import Integers, People

MAX_BY = 4
"""Most groups of one field."""
MAX_CELLS = 4096
"""Most cells of one field: the product of the sizes of its groups."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A row is in one cell, or in none."""

    by: tuple[str, ...]
    """Columns; none for one total."""
    labels: tuple[tuple[str, ...], ...]
    """The declared labels of each."""

    @classmethod
    def read(cls, members: Members, groups: Groups) -> Cells:
        """Take `by`."""
        by = members.array("by", limit=MAX_BY)
        for at, name in enumerate(by):
            if not isinstance(name, str) or name not in groups:
                declared = ", ".join(groups)[:200] or "none"
                members.fail(
                    f"is by {str(name)[:64]!r}, which groups does not declare", f"groups are: {declared}"
                )
            if name in by[:at]:
                members.fail(f"is twice by {name}")
        cells = cls(by=tuple(by), labels=tuple(groups[name] for name in by))
        if cells.count > MAX_CELLS:
            bounds_error(f"a field has more than {MAX_CELLS} cells")
        return cells

    @property
    def count(self) -> int:
        return math.prod(len(labels) for labels in self.labels)

    def names(self) -> list[dict[str, str]]:
        """The labels of every cell; one empty name when nothing is grouped."""
        return [dict(zip(self.by, labels, strict=True)) for labels in itertools.product(*self.labels)]

    def of(self, people: People) -> Integers:
        """The cell of each row; −1 for none."""
        return people.cells(self.by, [len(labels) for labels in self.labels])

    def words(self) -> str:
        """For owners: ` by age_band and sex`, or nothing."""
        return " by " + " and ".join(self.by) if self.by else ""
