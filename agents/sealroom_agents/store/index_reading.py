# SPDX-License-Identifier: Apache-2.0
"""What the index has: how far the chain was read, the board, the state of consortia, and what happened."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, case, func, or_, select

from sealroom_agents.store.database import Store
from sealroom_agents.store.index_actors import HOLDERS, by_accounts
from sealroom_agents.store.index_records import Cursor, IndexedEvent, Line, Mark, Wanted
from sealroom_agents.store.tables import (
    BlockRow,
    ChainEventRow,
    ConsortiumRow,
    CursorRow,
    RunRow,
    SeatRow,
    TimeRow,
    UseRow,
)

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
        for row in self._store.rows(_CURSOR, factory=self._factory):
            self._id = row.id
            return Cursor(
                chain_id=row.chain_id,
                first=row.first,
                at=Mark(row.number, row.hash),
                head=row.head,
                final=row.final,
                looked=row.looked,
                ready=row.ready,
                revision=row.revision,
            )
        return None

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
        query = _board(status is not None, bool(owner), sort)
        found = self._store.rows(
            query, cursor=self._cursor_id(), start=start, most=most, status=status,
            owner=_named(owner), now=int(now),
        )  # fmt: skip
        if not found and start:
            return [], self.board(most=1, status=status, owner=owner, sort=sort, now=now)[1]
        return [_line(row, now) for row in found], found[0].total if found else 0

    def made_after(self, number: int, *, most: int, owner: str, declared: bool, now: float) -> list[Line]:
        """Consortia behind a place of the factory's list, in its order, so that new ones come last. owner:
        only those with one of this id. declared: those that only their creators declared, or the others."""
        found = self._store.rows(
            _made(bool(owner)), cursor=self._cursor_id(), after=number, most=most, owner=_named(owner),
            declared=declared,
        )  # fmt: skip
        return [_line(row, now) for row in found]

    def line(self, consortium: str, *, now: float) -> Line | None:
        """One consortium's line; `None` for one that the factory has not made."""
        found = self._store.rows(_ONE, cursor=self._cursor_id(), address=consortium)
        return _line(found[0], now) if found else None

    def facts(self, consortium: str) -> tuple[str | None, str | None]:
        """A consortium's newest state as JSON, and the newest one before it that was final when it was
        replaced; `None` for what is not known."""
        found = self._store.rows(_FACTS, cursor=self._cursor_id(), address=consortium)
        return (found[0].facts, found[0].settled) if found else (None, None)

    def naming(
        self, account: str, *, acted: bool, start: int = 0, most: int, now: float
    ) -> tuple[list[Line], int]:
        """Consortia that name an account, the newest first, and how many there are: those in which it did
        something itself, or the others, which anybody may have made."""
        found = self._store.rows(
            _NAMING, cursor=self._cursor_id(), account=account, acted=acted, start=start, most=most
        )
        total = self._store.rows(_NAMED, cursor=self._cursor_id(), account=account, acted=acted)
        return [_line(row, now) for row in found], int(total[0][0])

    def named(self, owners: Iterable[str], *, now: float) -> list[Line]:
        """Consortia whose owners confirmed it and have all of these ids, the oldest first."""
        query = select(*_LINE).where(_MINE, _CONSORTIUM.declared.is_(False)).order_by(_CONSORTIUM.number)
        for owner in owners:
            query = query.where(_CONSORTIUM.names.like(_named(owner), escape="/"))
        return [_line(row, now) for row in self._store.rows(query, cursor=self._cursor_id())]

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
        query = _EVENTS.where(*self._about(consortium, datasets)).offset(start).limit(most)
        if contract is not None:
            query = query.where(_EVENT.contract == contract)
        if name is not None:
            query = query.where(_EVENT.name == name)
        if subjects is not None:
            query = query.where(_EVENT.subject.in_(subjects))
        if runs:
            query = query.where(_EVENT.name.in_(RUNS))
        return [IndexedEvent(**row._mapping) for row in self._store.rows(query)]

    def happened(
        self, consortium: str, wanted: Wanted, *, datasets: Sequence[str] = (), start: int, most: int
    ) -> tuple[list[tuple[IndexedEvent, int | None]], int]:
        """Events that concern a consortium, or these datasets and no consortium alone, newest first, each
        with the time of its block, unix seconds, where that is known; and how many they are in all. An event
        of unknown time belongs to a period if it lies between blocks that do."""
        where = [*self._about(consortium, datasets)]
        if wanted.names:
            where.append(_EVENT.name.in_(wanted.names))
        if wanted.accounts:
            where.append(or_(*by_accounts(wanted)))
        where += self._period(wanted)
        if wanted.before is not None:
            block, position = wanted.before
            where.append(or_(_EVENT.block < block, and_(_EVENT.block == block, _EVENT.position < position)))
        timed = and_(_TIME.cursor == _EVENT.cursor, _TIME.block == _EVENT.block)
        query = (
            select(*(_EVENT[name] for name in EVENT_FIELDS), _TIME.time)
            .select_from(ChainEventRow.__table__.outerjoin(TimeRow.__table__, timed))
            .where(*where)
            .order_by(_EVENT.block.desc(), _EVENT.position.desc())
        )
        rows = self._store.rows(query.offset(start).limit(most))
        total = self._store.rows(select(func.count()).select_from(ChainEventRow.__table__).where(*where))
        found = [
            (IndexedEvent(**{name: row._mapping[name] for name in EVENT_FIELDS}), row.time) for row in rows
        ]
        return found, int(total[0][0])

    def holders(self, datasets: Sequence[str]) -> list[IndexedEvent]:
        """The events that say who came to hold some datasets, newest first."""
        query = _EVENTS.where(
            _EVENT.cursor == self._cursor_id(), _EVENT.subject.in_(datasets), _EVENT.name.in_(HOLDERS)
        )
        return [IndexedEvent(**row._mapping) for row in self._store.rows(query)]

    def untimed(self, *, most: int) -> list[tuple[int, bytes]]:
        """Number and hash of blocks of which the time is not known, and in which something happened to
        consortia that their owners confirmed, or to datasets that these show; the newest first."""
        mine = (ConsortiumRow.cursor == ChainEventRow.cursor, ConsortiumRow.declared.is_(False))
        whose = select(ConsortiumRow.address).where(*mine, ConsortiumRow.address == ChainEventRow.consortium)
        used = (
            select(UseRow.dataset)
            .join(ConsortiumRow, ConsortiumRow.address == UseRow.consortium)
            .where(*mine, UseRow.cursor == ChainEventRow.cursor, UseRow.dataset == ChainEventRow.subject)
        )
        known = select(TimeRow.block).where(
            TimeRow.cursor == ChainEventRow.cursor, TimeRow.block == ChainEventRow.block
        )
        query = (
            select(ChainEventRow.block, ChainEventRow.block_hash)
            .where(
                ChainEventRow.cursor == self._cursor_id(),
                ~known.exists(),
                or_(whose.exists(), and_(ChainEventRow.consortium.is_(None), used.exists())),
            )
            .distinct()
            .order_by(ChainEventRow.block.desc())
            .limit(most)
        )
        return [(row.block, row.block_hash) for row in self._store.rows(query)]

    def addresses(self) -> list[str]:
        """All consortia, in the factory's order."""
        query = select(ConsortiumRow.address).where(ConsortiumRow.cursor == self._cursor_id())
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(ConsortiumRow.number)))

    def count(self) -> int:
        """How many consortia there are."""
        query = select(func.count()).where(ConsortiumRow.cursor == self._cursor_id())
        with self._store.reading() as session:
            return session.scalar(query) or 0

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

    def _period(self, wanted: Wanted) -> Iterator[Any]:
        """What lies in a period: the blocks between the newest one before it and the oldest one after it."""
        mine = _TIME.cursor == self._cursor_id()
        if wanted.since is not None:
            before = select(func.max(_TIME.block)).where(mine, _TIME.time < wanted.since).scalar_subquery()
            yield _EVENT.block > func.coalesce(before, -1)
        if wanted.until is not None:
            after = select(func.min(_TIME.block)).where(mine, _TIME.time >= wanted.until).scalar_subquery()
            yield or_(after.is_(None), _EVENT.block < after)

    def _about(self, consortium: str, datasets: Sequence[str]) -> tuple[Any, ...]:
        mine = _EVENT.consortium == consortium
        if datasets:
            mine = or_(mine, and_(_EVENT.consortium.is_(None), _EVENT.subject.in_(datasets)))
        return (_EVENT.cursor == self._cursor_id(), mine)


EVENT_FIELDS = tuple(IndexedEvent.__dataclass_fields__)

# What pages ask, made once: to make a query costs more than to ask it.
_ONCE, _EVENT, _CONSORTIUM, _TIME, _SEAT = (
    table.__table__.c for table in (CursorRow, ChainEventRow, ConsortiumRow, TimeRow, SeatRow)
)
_CURSOR = select(CursorRow.__table__).where(_ONCE.factory == bindparam("factory"))
_EVENTS = select(*(_EVENT[name] for name in EVENT_FIELDS)).order_by(
    _EVENT.block.desc(), _EVENT.position.desc()
)
_LINE = (
    _CONSORTIUM.address,
    _CONSORTIUM.number,
    _CONSORTIUM.owners,
    _CONSORTIUM.confirmed,
    _CONSORTIUM.records,
    _CONSORTIUM.criteria,
    _CONSORTIUM.status,
    _CONSORTIUM.declared,
    _CONSORTIUM.expiry,
    _CONSORTIUM.version,
    _CONSORTIUM.facts_since,
    _CONSORTIUM.moved,
    _CONSORTIUM.fault,
)
_MINE = _CONSORTIUM.cursor == bindparam("cursor")
_THIS = and_(_MINE, _CONSORTIUM.address == bindparam("address"))
_ONE = select(*_LINE).where(_THIS)
_FACTS = select(_CONSORTIUM.facts, _CONSORTIUM.settled).where(_THIS)
_OURS = and_(
    _SEAT.cursor == bindparam("cursor"),
    _SEAT.account == bindparam("account"),
    _SEAT.acted == bindparam("acted"),
)
_NAMED = select(func.count()).select_from(SeatRow.__table__).where(_OURS)
_NAMING = (
    select(*_LINE)
    .join(
        SeatRow.__table__, and_(_SEAT.cursor == _CONSORTIUM.cursor, _SEAT.consortium == _CONSORTIUM.address)
    )
    .where(_OURS)
    .order_by(_SEAT.number.desc(), _SEAT.consortium)
    .offset(bindparam("start"))
    .limit(bindparam("most"))
)
_ORDERS = {
    "newest": (_CONSORTIUM.number.desc(),),
    "oldest": (_CONSORTIUM.number,),
    "records": (_CONSORTIUM.records.desc(), _CONSORTIUM.number),
}
"""Each is that of an index."""


@cache
def _board(by_status: bool, by_owner: bool, sort: str) -> Select[Any]:
    wanted = [_MINE]
    if by_status:
        ended = and_(_CONSORTIUM.status == LIVE, _CONSORTIUM.expiry <= bindparam("now"))
        wanted.append(case((ended, 1), else_=_CONSORTIUM.status) == bindparam("status"))
    if by_owner:
        wanted.append(_CONSORTIUM.names.like(bindparam("owner"), escape="/"))
    total = select(func.count()).select_from(ConsortiumRow.__table__).where(*wanted).scalar_subquery()
    return (
        select(*_LINE, total.label("total"))
        .where(*wanted)
        .order_by(_CONSORTIUM.declared, *_ORDERS[sort])
        .offset(bindparam("start"))
        .limit(bindparam("most"))
    )


@cache
def _made(by_owner: bool) -> Select[Any]:
    wanted = [_MINE, _CONSORTIUM.number > bindparam("after"), _CONSORTIUM.declared == bindparam("declared")]
    if by_owner:
        wanted.append(_CONSORTIUM.names.like(bindparam("owner"), escape="/"))
    return select(*_LINE).where(*wanted).order_by(_CONSORTIUM.number).limit(bindparam("most"))


def _named(owner: str) -> str:
    """The pattern of `names` that have this one, whatever is in it."""
    return "%\n" + re.sub(r"([/%_])", r"/\1", owner) + "\n%"


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
        moved=row.moved,
        fault=row.fault or "",
    )
