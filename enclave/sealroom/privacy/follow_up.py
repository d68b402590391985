# SPDX-License-Identifier: Apache-2.0
"""Time until an event or the end of observation, counted in declared intervals of time by declared group.

A row has a time and a word on how it ended: with the event (a number above one half), or without, when
observation stopped. It is in one cell of its group: the interval of the event, the interval in which
observation stopped, or the one cell of those who were still observed at the last edge. It adds one to that
cell and nothing elsewhere, so that both norms of what it adds are 1 whatever the number of intervals. An
interval holds events after its lower edge and up to its upper edge (the first one also those at its lower
edge), and ends of observation from its lower edge on and before its upper edge: who was observed until the
upper edge, to the day, went through the whole interval. Times before the first edge, and rows without a time
or a word on the end, count nowhere.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sealroom.decimals import decimal_text
from sealroom.privacy.cells import MAX_CELLS, Cells
from sealroom.privacy.kind import Columns, Counted
from sealroom.privacy.members import Groups, Members, bounds_error
from sealroom.privacy.parts import Part

if TYPE_CHECKING:
    from sealroom.privacy.people import Floats, Integers, People

MAX_EDGES = 257
PART = "ends"
"""The one part."""


@dataclass(frozen=True, kw_only=True)
class FollowUp:
    """What is counted."""

    time: str
    """Column of the time, in the unit of the edges."""
    event: str
    """Column that is above one half where the time ended with the event."""
    cells: Cells
    edges: tuple[Decimal, ...]
    """Rising."""

    @classmethod
    def read(cls, members: Members, groups: Groups) -> FollowUp:
        """Take `time`, `event`, `by` and `edges`."""
        time, event = members.column("time"), members.column("event")
        cells, edges = Cells.read(members, groups), members.decimal_list("edges", limit=MAX_EDGES)
        if time == event:
            members.fail("has one column as time and as event")
        real = [float(edge) for edge in edges]
        if len(real) < 2 or any(low >= high for low, high in itertools.pairwise(real)):
            bounds_error("edges must rise, and be real numbers that can be told apart")
        spec = cls(time=time, event=event, cells=cells, edges=edges)
        if spec.length > MAX_CELLS:
            bounds_error(f"a field has more than {MAX_CELLS} cells")
        return spec

    def plain(self) -> dict[str, Any]:
        return {
            "by": list(self.cells.by),
            "edges": [decimal_text(edge) for edge in self.edges],
            "event": self.event,
            "time": self.time,
        }

    def columns(self) -> Columns:
        return Columns(numbers=(self.time, self.event), groups=self.cells.by)

    @property
    def intervals(self) -> int:
        return len(self.edges) - 1

    @property
    def ends(self) -> int:
        """Cells of one group: an event or the end of observation in each interval, or neither."""
        return 2 * self.intervals + 1

    @property
    def length(self) -> int:
        """Cells of all groups."""
        return self.cells.count * self.ends

    def part(self) -> Part:
        return Part(name=PART, length=self.length, l1=1, l2_squared=1)

    def count(self, people: People) -> dict[str, Integers]:
        """The exact counts: of each group the events by interval, the ends of observation by interval, and
        those still observed at the last edge."""
        import numpy as np

        cell, times, event = self.cells.of(people), people.numbers[self.time], people.numbers[self.event]
        edges = np.array([float(edge) for edge in self.edges])
        kept = (cell >= 0) & (times >= edges[0]) & ~np.isnan(event)  # not for a time that is NaN
        cell, times, event = cell[kept], times[kept], event[kept] > 0.5
        ended = np.maximum(np.searchsorted(edges, times, side="left") - 1, 0)
        stopped = np.searchsorted(edges, times, side="right") - 1
        place = np.where(event, ended, self.intervals + stopped)
        beyond = np.where(event, times > edges[-1], times >= edges[-1])
        place = np.where(beyond, 2 * self.intervals, place)
        return {PART: np.bincount(cell * self.ends + place, minlength=self.length).astype(np.int64)}

    def split(self, noisy: Any) -> tuple[Floats, Floats, Floats]:
        """Of each group, from the noisy counts: events by interval, ends of observation by interval, and how
        many were still observed at the last edge. Shapes (groups, intervals), the same, and (groups, 1)."""
        import numpy as np

        table = np.array([float(each) for each in noisy]).reshape(self.cells.count, self.ends)
        events, stopped = table[:, : self.intervals], table[:, self.intervals : -1]
        return events, stopped, table[:, -1:]

    def times(self) -> str:
        """For owners: ` in 10 intervals from 0 to 3650`."""
        return f" in {self.intervals} intervals from {self.edges[0]:f} to {self.edges[-1]:f}"

    def adds(self, of: Counted) -> str:
        """For owners, what one of them changes."""
        return (
            f"Each {of.one} adds one to at most one number: of those with an event in an interval, of those"
            " whose observation stopped in one, or of those still observed at the end."
        )
