# SPDX-License-Identifier: Apache-2.0
"""What awaits an account, across all consortia of the index.

Anybody may make consortia that name whom he likes. So those in which the account did something itself, or
which the operator pinned, are told apart from all others: no number of these puts off anything of the former.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sealroom.encoding import to_hex
from sealroom_agents.console.awaiting import tasks
from sealroom_agents.console.pictures import Picture
from sealroom_agents.console.pins import Pins
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.tasks import GROUPS, Place, Task
from sealroom_agents.index import Indexed, Line, Progress
from sealroom_agents.index.facts import Facts
from sealroom_agents.store import Run, Store

CONSORTIA = 25
"""Consortia of which the tasks are told at once."""
MOST_PINNED = 100
"""Pinned consortia that are looked at for an account."""
RUNS = 100
"""Runs under way that are told at once."""


@dataclass(frozen=True)
class Queue:
    """What awaits an account, from one page of consortia."""

    account: str
    own: bool
    """Whether of consortia where it acted, or that the operator pinned."""
    tasks: tuple[Task, ...]
    """By group, then by consortium, newest first."""
    shown: int
    """How many consortia these are of."""
    unread: int
    """How many of them could not be read now."""
    total: int
    """Consortia of this sort in all."""
    others: int
    """Consortia of the other sort."""
    start: int
    block: int
    late: str

    def of(self, group: str) -> tuple[Task, ...]:
        """Those of one group."""
        return tuple(one for one in self.tasks if one.group == group)

    @property
    def urgent(self) -> int:
        """How many ask for something now."""
        return sum(one.group in ("watch", "decide", "do") for one in self.tasks)


class Queues:
    """Makes queues: of the database alone, with a bounded number of indexed queries."""

    def __init__(self, indexed: Indexed, studies: Studies, store: Store, pins: Pins) -> None:
        self._indexed = indexed
        self._studies = studies
        self._store = store
        self._pins = pins

    def __call__(self, account: str, *, own: bool = True, start: int = 0) -> Queue:
        """account: in lower case. own: of consortia where it acted; else of those that merely name it.
        start: position of the first consortium. Raises `ChainError` `index-behind`."""
        progress = self._indexed.require_ready()
        lines, total = self._indexed.naming(account, acted=own, start=start, most=CONSORTIA)
        _, others = self._indexed.naming(account, acted=not own, start=0, most=1)
        vouched = self._vouched(account, progress)
        if own:
            lines = [*(() if start else vouched), *lines]
            total, others = total + len(vouched), max(0, others - len(vouched))
        else:
            lines = [one for one in lines if one not in vouched]
            total, others = max(0, total - len(vouched)), others + len(vouched)
        seen = self._studies.seen(lines, progress)
        running = self._running(picture.view.consortium for picture, _ in seen) if own else {}
        found = [
            task
            for picture, facts in seen
            for task in tasks(self._place(picture, facts, account, running))
            if own or task.kind != "confirm-seat"
        ]
        return Queue(
            account=account, own=own, tasks=tuple(sorted(found, key=lambda one: GROUPS.index(one.group))),
            shown=len(lines), unread=len(lines) - len(seen), total=total, others=others, start=start,
            block=progress.number, late=progress.late,
        )  # fmt: skip

    def _vouched(self, account: str, progress: Progress) -> list[Line]:
        """Consortia for which the operator vouches that this account is an owner, and where it has not acted
        yet: an owner's first task is told like any other."""
        pinned = self._pins.naming(progress.chain_id, account)[:MOST_PINNED]
        lines = {one: line for one in pinned if (line := self._indexed.found(one)) is not None}
        seen = self._studies.seen(list(lines.values()), progress)
        return [
            lines[picture.view.consortium]
            for picture, _ in seen
            if account in {one.account for one in picture.view.owners} - {*picture.confirmed}
        ]

    def _place(self, picture: Picture, facts: Facts, account: str, running: dict[str, list[Run]]) -> Place:
        consortium = picture.view.consortium
        pinned = self._pins.of(picture.chain_id, consortium)
        studies = [to_hex(one.study.id) for one in picture.pending]
        signed = self._store.gathered(consortium, studies) if studies else {}
        return Place(
            picture, facts, account,
            pinned=pinned.name if pinned else "",
            signed=frozenset(study for study in studies if account in signed[study]),
            runs=tuple(running.get(consortium, ())),
        )  # fmt: skip

    def _running(self, consortia: Iterable[str]) -> dict[str, list[Run]]:
        found: dict[str, list[Run]] = {}
        for run in self._store.runs_of(list(consortia), most=RUNS):
            found.setdefault(run.consortium, []).append(run)
        return found
