# SPDX-License-Identifier: Apache-2.0
"""Which consortia one node is asked about now, in which order, and which of them by one exchange.

Anybody may create a consortium whose contracts take as long as a node lets them, burn all gas, or answer more
than anyone reads. So consortia that are asked together are few, and of one lens; a newcomer does not share
the exchange of those whose runs hold leases, nor of those that have answered well for a while. Where an
exchange takes too long, or its answer is too large, each of its consortia is asked alone from then on; one
that does it alone is asked last, and not before a pause. What is prompt is asked first, with live leases
before all else, and the one that waits longest before the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from sealroom_agents.chain.look import Ask
from sealroom_agents.chain.views import Place

TOGETHER = 16
"""Consortia in one exchange: even where each burns its share of gas at each block, a node has it at once."""
PROVEN = 8
"""Good answers in a row after which a consortium without a lease shares an exchange with those that have
one."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0)
"""Seconds for which a consortium is not asked about, by how often in a row it was too slow or too large."""
ALONE_S = 60.0
"""Seconds for which a consortium is asked alone after an exchange that it was in; twice as long each time."""
MAX_ALONE_S = 3600.0
FORGIVE_S = 600.0
"""Seconds without a fault after which one counts less."""


@dataclass
class Standing:
    """How one consortium has behaved at one node. Times are seconds of the follower's clock."""

    asked_at: float = -inf
    """When it was asked about last."""
    good: int = 0
    """Good answers in a row."""
    faults: int = 0
    """Times that it was too slow or too large."""
    fault_at: float = -inf
    """When it was so last."""
    back_at: float = -inf
    """When it is asked again."""
    alone_until: float = -inf
    """Until when it is asked alone."""
    alone_s: float = ALONE_S
    """For how long it is asked alone next time."""


@dataclass(frozen=True)
class Group:
    """Consortia of one exchange."""

    place: Place
    """Where they are read."""
    asks: tuple[Ask, ...]
    """What is asked of each."""


class Lanes:
    """The consortia that one node is asked about. Guarded by its follower's lock."""

    def __init__(self) -> None:
        self._of: dict[str, Standing] = {}

    def keep(self, consortia: Collection[str]) -> None:
        """Forget all others."""
        for gone in self._of.keys() - set(consortia):
            del self._of[gone]

    def due(self, asks: Iterable[Ask], now: float) -> list[Ask]:
        """Those that may be asked about now."""
        return [ask for ask in asks if self._standing(ask.consortium).back_at <= now]

    def groups(self, asks: Sequence[Ask], places: Mapping[str, Place], now: float) -> list[Group]:
        """The exchanges that ask about them, the most urgent one first."""
        shared: dict[tuple[object, ...], list[Ask]] = {}
        for ask in asks:
            standing, place = self._standing(ask.consortium), places[ask.consortium]
            alone = ask.consortium if standing.alone_until > now or standing.faults else None
            shared.setdefault((place, alone, bool(ask.runs) or standing.good >= PROVEN), []).append(ask)
        found = [
            Group(key[0], tuple(group[start : start + TOGETHER]))  # type: ignore[arg-type]
            for key, group in shared.items()
            for start in range(0, len(group), TOGETHER)
        ]
        return sorted(found, key=self._urgency)

    def _urgency(self, group: Group) -> tuple[object, ...]:
        standings = [self._standing(ask.consortium) for ask in group.asks]
        return (
            self.faults(group),
            not any(ask.runs for ask in group.asks),
            all(standing.good == 0 for standing in standings),
            min(standing.asked_at for standing in standings),
            -len(standings),
        )

    def faults(self, group: Group) -> int:
        """How often the worst of them was too slow or too large."""
        return max(self._standing(ask.consortium).faults for ask in group.asks)

    def good(self, consortium: str, now: float) -> None:
        """It was answered about in time."""
        standing = self._standing(consortium)
        standing.asked_at, standing.good = now, standing.good + 1
        if standing.faults and now - standing.fault_at >= FORGIVE_S:
            standing.faults, standing.fault_at = standing.faults - 1, now

    def bad(self, group: Group, now: float) -> None:
        """An exchange about these took too long, or had too large an answer: whose doing it is, shows when
        each is asked alone."""
        for ask in group.asks:
            standing = self._standing(ask.consortium)
            standing.asked_at = now
            if len(group.asks) > 1:
                standing.alone_until = now + standing.alone_s
                standing.alone_s = min(2 * standing.alone_s, MAX_ALONE_S)
            else:
                self.fault(ask.consortium, now)

    def strange(self, consortium: str, now: float) -> None:
        """What was answered in time is no consortium's."""
        standing = self._standing(consortium)
        standing.asked_at, standing.good = now, 0

    def fault(self, consortium: str, now: float) -> None:
        """It was too slow or too large."""
        standing = self._standing(consortium)
        standing.asked_at, standing.good, standing.fault_at = now, 0, now
        standing.faults += 1
        standing.back_at = now + PAUSES_S[min(standing.faults, len(PAUSES_S)) - 1]

    def _standing(self, consortium: str) -> Standing:
        return self._of.setdefault(consortium, Standing())
