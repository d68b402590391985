# SPDX-License-Identifier: Apache-2.0
"""What the index has: how far the chain was read, the board, the state of consortia, and what happened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_, case, func, or_, select

from sealroom_agents.store.database import Store
from sealroom_agents.store.index_records import Cursor, IndexedEvent, Line, Mark
from sealroom_agents.store.tables import BlockRow, ChainEventRow, ConsortiumRow, CursorRow, RunRow

FAULT_PAUSE_S = 60.0
"""Seconds after which a consortium that could not be read is looked at again."""
BOARD_PAGE = 100
"""Lines of the board that are read at once."""
LIVE = 2
"""Status of a consortium with a live study, on the factory's board."""
RUNS = ("RunOpened", "RunRefused", "ReceiptAnchored", "BatchAnchored")
"""Events of runs."""


class IndexReads:
    """One factory's consortia, to be read. Thread safe."""

    def __init__(self, store: Store, factory: str) -> None:
        self._store = store
        self._factory = factory
        self._id: int | None = None

    def cursor(self) -> Cursor | None:
        """How far the chain was read; `None` before the first look."""
        with self._store.reading() as session:
            row = session.scalars(select(CursorRow).where(CursorRow.factory == self._factory)).one_or_none()
            if row is None:
                return None
            self._id = row.id
            return Cursor(
                chain_id=row.chain_id,
                first=row.first,
                at=Mark(row.number, row.hash),
                head=row.head,
                final=row.final,
                looked=row.looked,
                ready=row.ready,
            )

    def board(
        self,
        *,
        start: int = 0,
        most: int,
        status: int | None = None,
        owner: str = "",
        sort: str = "newest",
        now: float,
    ) -> tuple[list[Line], int]:
        """Lines of the board, and how many there are in all: one query. Those that only their creators
        declared come last. status: only those. owner: only those with an owner of this id."""
        lasting = case(
            (and_(ConsortiumRow.status == LIVE, ConsortiumRow.expiry <= int(now)), 1),
            else_=ConsortiumRow.status,
        )
        wanted = [ConsortiumRow.cursor == self._cursor_id()]
        if status is not None:
            wanted.append(lasting == status)
        if owner:
            wanted.append(ConsortiumRow.names.contains(f"\n{owner}\n", autoescape=True))
        total = select(func.count()).select_from(ConsortiumRow).where(*wanted).scalar_subquery()
        query = select(*_LINE, total.label("total")).where(*wanted)
        order = {
            "newest": ConsortiumRow.number.desc(),
            "oldest": ConsortiumRow.number.asc(),
            "records": ConsortiumRow.records.desc(),
        }[sort]
        query = query.order_by(ConsortiumRow.declared, order, ConsortiumRow.address).offset(start).limit(most)
        with self._store.reading() as session:
            found = session.execute(query).all()
            if not found and start:
                return [], self.board(most=1, status=status, owner=owner, sort=sort, now=now)[1]
            return [_line(row, now) for row in found], found[0].total if found else 0

    def line(self, consortium: str, *, now: float) -> Line | None:
        """One consortium's line; `None` for one that the factory has not made."""
        query = select(*_LINE).where(
            ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.address == consortium
        )
        with self._store.reading() as session:
            row = session.execute(query).one_or_none()
            return None if row is None else _line(row, now)

    def facts(self, consortium: str) -> tuple[str | None, str | None]:
        """A consortium's newest state as JSON, and the newest one before it that was final when it was
        replaced; `None` for what is not known."""
        query = select(ConsortiumRow.facts, ConsortiumRow.settled).where(
            ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.address == consortium
        )
        with self._store.reading() as session:
            row = session.execute(query).one_or_none()
            return (None, None) if row is None else (row.facts, row.settled)

    def named(self, owners: Iterable[str], *, now: float) -> list[Line]:
        """Consortia whose owners confirmed it and have all of these ids, the oldest first."""
        query = select(*_LINE).where(
            ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.declared.is_(False)
        )
        for owner in owners:
            query = query.where(ConsortiumRow.names.contains(f"\n{owner}\n", autoescape=True))
        with self._store.reading() as session:
            rows = session.execute(query.order_by(ConsortiumRow.number)).all()
            return [_line(row, now) for row in rows]

    def events(
        self,
        consortium: str,
        *,
        contract: str | None = None,
        name: str | None = None,
        subjects: Sequence[str] | None = None,
        runs: bool = False,
        datasets: Sequence[str] = (),
        start: int = 0,
        most: int,
    ) -> list[IndexedEvent]:
        """Events that concern one consortium, newest first. runs: only those of its runs. datasets: also what
        happened to these, and concerns no consortium alone."""
        query = select(ChainEventRow).where(*self._about(consortium, datasets))
        if contract is not None:
            query = query.where(ChainEventRow.contract == contract)
        if name is not None:
            query = query.where(ChainEventRow.name == name)
        if subjects is not None:
            query = query.where(ChainEventRow.subject.in_(subjects))
        if runs:
            query = query.where(ChainEventRow.name.in_(RUNS))
        return self._events(query, start, most)

    def count_of(self, consortium: str, *, contract: str | None = None, datasets: Sequence[str] = ()) -> int:
        """How many events concern a consortium, or these datasets and no consortium alone."""
        query = select(func.count()).where(*self._about(consortium, datasets))
        if contract is not None:
            query = query.where(ChainEventRow.contract == contract)
        with self._store.reading() as session:
            return session.scalar(query) or 0

    def addresses(self) -> list[str]:
        """All consortia, in the factory's order."""
        query = select(ConsortiumRow.address).where(ConsortiumRow.cursor == self._cursor_id())
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(ConsortiumRow.number)))

    def blocks(self) -> list[Mark]:
        """Blocks whose hashes are kept, newest first."""
        query = select(BlockRow).where(BlockRow.cursor == self._cursor_id()).order_by(BlockRow.number.desc())
        with self._store.reading() as session:
            return [Mark(row.number, row.hash) for row in session.scalars(query)]

    def to_read(self, *, most: int, now: float, old_s: float) -> list[tuple[str, int]]:
        """Consortia to look at: those where something happened, and those not read for `old_s` seconds. First
        those with runs of this database, then those whose owners confirmed them, the longest unread first."""
        own = select(RunRow.id).where(RunRow.consortium == ConsortiumRow.address).exists()
        query = (
            select(ConsortiumRow.address, ConsortiumRow.number)
            .where(
                ConsortiumRow.cursor == self._cursor_id(),
                or_(ConsortiumRow.fault.is_(None), ConsortiumRow.read < now - FAULT_PAUSE_S),
                or_(
                    ConsortiumRow.dirty.is_(True),
                    ConsortiumRow.fault.is_not(None),
                    and_(ConsortiumRow.declared.is_(False), ConsortiumRow.read < now - old_s),
                ),
            )
            .order_by(case((own, 0), else_=1), ConsortiumRow.declared, ConsortiumRow.read)
            .limit(most)
        )
        with self._store.reading() as session:
            return [(address, number) for address, number in session.execute(query)]

    def to_check(self, *, most: int) -> list[str]:
        """Consortia that their owners confirmed, those first whose events were not compared for longest."""
        query = select(ConsortiumRow.address).where(
            ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.declared.is_(False)
        )
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(ConsortiumRow.checked).limit(most)))

    def tallies(self, consortia: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Of each of some consortia the number of its own events, and the block of its runs' newest one."""
        own = func.sum(case((ChainEventRow.contract == "Consortium", 1), else_=0))
        runs = func.max(case((ChainEventRow.name.in_(RUNS), ChainEventRow.block), else_=0))
        query = (
            select(ChainEventRow.consortium, own, runs)
            .where(ChainEventRow.cursor == self._cursor_id(), ChainEventRow.consortium.in_(consortia))
            .group_by(ChainEventRow.consortium)
        )
        with self._store.reading() as session:
            return {str(one): (int(events), int(block)) for one, events, block in session.execute(query)}

    def unlined(self, *, most: int = BOARD_PAGE) -> list[tuple[str, int]]:
        """Consortia of which not even the line of the board is known, in the factory's order."""
        query = select(ConsortiumRow.address, ConsortiumRow.number).where(
            ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.owners == 0
        )
        with self._store.reading() as session:
            found = session.execute(query.order_by(ConsortiumRow.number).limit(most))
            return [(address, number) for address, number in found]

    # --- inside ---------------------------------------------------------------------------------

    def _cursor_id(self) -> int:
        if self._id is None:
            self.cursor()
        return -1 if self._id is None else self._id

    def _about(self, consortium: str, datasets: Sequence[str]) -> tuple[Any, ...]:
        mine = ChainEventRow.consortium == consortium
        if datasets:
            common = and_(ChainEventRow.consortium.is_(None), ChainEventRow.subject.in_(datasets))
            mine = or_(mine, common)
        return (ChainEventRow.cursor == self._cursor_id(), mine)

    def _events(self, query: Any, start: int, most: int) -> list[IndexedEvent]:
        query = query.order_by(ChainEventRow.block.desc(), ChainEventRow.position.desc())
        with self._store.reading() as session:
            return [
                IndexedEvent(**{name: getattr(row, name) for name in EVENT_FIELDS})
                for row in session.scalars(query.offset(start).limit(most))
            ]


EVENT_FIELDS = tuple(IndexedEvent.__dataclass_fields__)


_LINE = (
    ConsortiumRow.address,
    ConsortiumRow.number,
    ConsortiumRow.owners,
    ConsortiumRow.confirmed,
    ConsortiumRow.records,
    ConsortiumRow.criteria,
    ConsortiumRow.status,
    ConsortiumRow.declared,
    ConsortiumRow.expiry,
    ConsortiumRow.version,
    ConsortiumRow.facts_since,
    ConsortiumRow.fault,
)


def _line(row: Any, now: float) -> Line:
    ended = row.status == LIVE and row.expiry <= now
    return Line(
        consortium=row.address,
        number=row.number,
        owners=max(0, row.owners),
        confirmed=row.confirmed,
        records=row.records,
        criteria=tuple(int(digit) for digit in row.criteria),
        status=1 if ended else row.status,
        declared=row.declared,
        version=row.version,
        read=row.facts_since > 0,
        since=row.facts_since,
        fault=row.fault or "",
    )
