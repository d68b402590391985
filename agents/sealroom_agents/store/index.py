# SPDX-License-Identifier: Apache-2.0
"""The index of a factory's consortia in the database: what one process writes, and all read.

Whoever writes holds a lease on the cursor. What it read of the chain, and how far it read, change in one
transaction, and only from the block that it began with: two processes that both believe to hold the lease
cannot both write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import and_, case, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from sealroom_agents.store.connection import changed
from sealroom_agents.store.database import Store
from sealroom_agents.store.tables import BlockRow, ChainEventRow, ConsortiumRow, CursorRow, RunRow, UseRow

LEASE_S = 30.0
"""How long a process may read on unless it renews that, seconds."""
KEPT_BLOCKS = 512
"""Blocks whose hashes are kept, to find where a reorganisation began."""
FAULT_PAUSE_S = 60.0
"""Seconds after which a consortium that could not be read is looked at again."""
BOARD_PAGE = 100
"""Lines of the board that are read at once."""
PAGE = 500
"""Values in one list of a statement."""
MAX_RECORDS = 2**63 - 1
"""What a column of numbers holds."""
LIVE = 2
"""Status of a consortium with a live study, on the factory's board."""
RUNS = ("RunOpened", "RunRefused", "ReceiptAnchored", "BatchAnchored")
"""Events of runs."""
SORTS = ("newest", "oldest", "records")
"""Orders of the board."""


@dataclass(frozen=True)
class Mark:
    """A block that was read."""

    number: int
    """Its number."""
    hash: str
    """Its hash as `0x` hex; empty before the first."""


@dataclass(frozen=True)
class Cursor:
    """How far the chain was read."""

    chain_id: int
    """Id of the chain."""
    first: int
    """Block from which on is read."""
    at: Mark
    """The last block that was read."""
    head: int
    """The newest block that there was at the last look."""
    final: int
    """The newest final one."""
    looked: float
    """When that look was, unix seconds."""
    ready: bool
    """Whether the newest block was reached, once at least."""


@dataclass(frozen=True)
class IndexedEvent:
    """One event, not decoded."""

    block: int
    position: int
    block_hash: bytes
    tx: str
    contract: str
    name: str
    consortium: str | None
    subject: str | None
    topics: bytes
    data: bytes


@dataclass(frozen=True)
class Piece:
    """What a range of blocks has."""

    upto: Mark
    """Its last block."""
    head: int
    final: int
    created: Sequence[tuple[str, int]] = ()
    """Address and block of each new consortium, in the factory's order."""
    events: Sequence[IndexedEvent] = ()
    ran: frozenset[str] = frozenset()
    """Consortia whose runs spent something."""


@dataclass(frozen=True)
class Line:
    """A consortium's line of the board."""

    consortium: str
    """Address."""
    number: int
    owners: int
    confirmed: int
    records: int
    criteria: tuple[int, ...]
    status: int
    declared: bool
    version: int
    read: bool
    """Whether its state is known."""
    since: int
    """Block from which on its state is what is known; 0 where nothing is."""
    fault: str
    """What was wrong at the last look; empty for nothing."""


@dataclass(frozen=True)
class Look:
    """What a look at one consortium brought."""

    address: str
    block: int
    facts: str | None = None
    """`None` where it could not be read."""
    fault: str | None = None
    """What was wrong."""
    line: dict[str, Any] = field(default_factory=dict)
    """Columns of its line of the board."""
    datasets: Sequence[str] = ()
    """Datasets whose events concern it."""


class Index:
    """One factory's consortia. Thread safe."""

    def __init__(self, store: Store, factory: str) -> None:
        self._store = store
        self._factory = factory
        self._id: int | None = None

    # --- reading --------------------------------------------------------------------------------

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
        query = select(*_LINE, func.count().over().label("total")).where(
            ConsortiumRow.cursor == self._cursor_id()
        )
        if status is not None:
            query = query.where(lasting == status)
        if owner:
            query = query.where(ConsortiumRow.names.contains(f"\n{owner}\n", autoescape=True))
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

    # --- writing --------------------------------------------------------------------------------

    def begin(self, *, chain_id: int, first: int) -> None:
        """Make the cursor, unless another process just did."""
        with self._store.writing() as session:
            if session.scalars(select(CursorRow.id).where(CursorRow.factory == self._factory)).first():
                return
            session.add(
                CursorRow(
                    factory=self._factory, chain_id=chain_id, first=first, number=first - 1, hash="",
                    head=first, final=0, looked=0.0, ready=False, holder=None, until=0.0,
                )
            )  # fmt: skip

    def hold(self, holder: str, *, lease_s: float = LEASE_S) -> bool:
        """Take or renew the lease; false while another process has it, or before `begin`."""
        with self._store.writing() as session:
            now = self._store.now(session)
            free = or_(CursorRow.holder.is_(None), CursorRow.holder == holder, CursorRow.until < now)
            return changed(
                session.execute(
                    update(CursorRow)
                    .where(CursorRow.factory == self._factory, free)
                    .values(holder=holder, until=now + lease_s)
                )
            )

    def release(self, holder: str) -> None:
        """Let another process read on at once."""
        with self._store.writing() as session:
            session.execute(
                update(CursorRow)
                .where(CursorRow.factory == self._factory, CursorRow.holder == holder)
                .values(holder=None, until=0.0)
            )

    def append(self, holder: str, before: Mark, piece: Piece) -> bool:
        """Keep what the blocks after `before` have; false if another process has read on."""
        with self._store.writing() as session:
            if not self._advance(session, holder, before, piece.upto, head=piece.head, final=piece.final):
                return False
            cursor = self._cursor_id()
            known = self._listed(session, {one.consortium for one in piece.events if one.consortium})
            count = session.scalar(select(func.count()).where(ConsortiumRow.cursor == cursor)) or 0
            for number, (address, block) in enumerate(piece.created, count):
                session.add(_created(cursor, address, block, number))
                known.add(address)
            session.flush()
            kept = [one for one in piece.events if one.consortium is None or one.consortium in known]
            if kept:
                session.execute(
                    insert(ChainEventRow),
                    [{"cursor": cursor} | {name: getattr(one, name) for name in _EVENT} for one in kept],
                )
            self._touch(session, {one.consortium for one in kept if one.consortium}, piece.upto.number)
            datasets = {one.subject for one in kept if one.consortium is None and one.subject}
            for page in _pages(sorted(piece.ran & known)):
                query = select(UseRow.dataset).where(UseRow.cursor == cursor, UseRow.consortium.in_(page))
                datasets.update(session.scalars(query))
            sharing: set[str] = set()
            for page in _pages(sorted(datasets)):
                query = select(UseRow.consortium).where(UseRow.cursor == cursor, UseRow.dataset.in_(page))
                sharing.update(session.scalars(query))
            self._touch(session, sharing, piece.upto.number)
            return True

    def looked(
        self,
        holder: str,
        at: Mark,
        looks: Sequence[Look],
        *,
        head: int,
        final: int,
        checked: Sequence[str] = (),
        differ: Sequence[str] = (),
    ) -> bool:
        """Keep what a look at some consortia at block `at` brought; false if another process has read on.
        checked: consortia whose events were compared with the state; those of `differ` are not the same."""
        with self._store.writing() as session:
            if not self._advance(session, holder, at, at, head=head, final=final):
                return False
            now = self._store.now(session)
            for look in looks:
                row = session.get(ConsortiumRow, (self._cursor_id(), look.address))
                if row is not None:
                    self._keep(session, row, look, final, now)
            if checked:
                named = ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.address.in_(checked)
                session.execute(update(ConsortiumRow).where(*named).values(checked=now))
            self._touch(session, set(differ), at.number)
            session.flush()
            if session.scalar(select(func.count()).where(*self._unready())) == 0:
                mine = update(CursorRow).where(CursorRow.id == self._cursor_id())
                session.execute(mine.values(ready=True))
            return True

    def roll_back(self, holder: str, before: Mark, to: Mark) -> bool:
        """Forget what came after block `to`, which the chain has still; false if another has read on."""
        with self._store.writing() as session:
            moved = (
                update(CursorRow).where(*self._mine(holder, before)).values(number=to.number, hash=to.hash)
            )
            if not changed(session.execute(moved)):
                return False
            cursor = self._cursor_id()
            number = to.number
            for table, column in (
                (ChainEventRow, ChainEventRow.block),
                (BlockRow, BlockRow.number),
                (ConsortiumRow, ConsortiumRow.block),
            ):
                session.execute(delete(table).where(table.cursor == cursor, column > number))
            there = select(ConsortiumRow.address).where(ConsortiumRow.cursor == cursor)
            session.execute(delete(UseRow).where(UseRow.cursor == cursor, UseRow.consortium.not_in(there)))
            gone = or_(ConsortiumRow.moved > number, ConsortiumRow.facts_block > number)
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == cursor, gone)
                .values(dirty=True, version=ConsortiumRow.version + 1)
            )
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == cursor, ConsortiumRow.settled_block > number)
                .values(settled=None, settled_block=0)
            )
            return True

    def forget(self) -> None:
        """Drop all of it: it is read from the chain again."""
        with self._store.writing() as session:
            ids = select(CursorRow.id).where(CursorRow.factory == self._factory)
            for table in (UseRow, ChainEventRow, BlockRow, ConsortiumRow):
                session.execute(delete(table).where(table.cursor.in_(ids)))
            session.execute(delete(CursorRow).where(CursorRow.factory == self._factory))
        self._id = None

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
                IndexedEvent(**{name: getattr(row, name) for name in _EVENT})
                for row in session.scalars(query.offset(start).limit(most))
            ]

    def _unready(self) -> tuple[Any, ...]:
        """Consortia for which pages wait: those of which nothing is known, or that speak for themselves."""
        unread = and_(ConsortiumRow.declared.is_(False), ConsortiumRow.facts.is_(None))
        return (
            ConsortiumRow.cursor == self._cursor_id(),
            or_(ConsortiumRow.owners == 0, and_(unread, ConsortiumRow.fault.is_(None))),
        )

    def _mine(self, holder: str, before: Mark) -> tuple[Any, ...]:
        return (
            CursorRow.factory == self._factory,
            CursorRow.holder == holder,
            CursorRow.number == before.number,
            CursorRow.hash == before.hash,
        )

    def _advance(
        self, session: Session, holder: str, before: Mark, upto: Mark, *, head: int, final: int
    ) -> bool:
        now = self._store.now(session)
        moved = changed(
            session.execute(
                update(CursorRow)
                .where(*self._mine(holder, before))
                .values(number=upto.number, hash=upto.hash, head=head, final=final, looked=now)
            )
        )
        if moved and upto != before:
            cursor = self._cursor_id()
            session.add(BlockRow(cursor=cursor, number=upto.number, hash=upto.hash))
            old = (
                select(BlockRow.number)
                .where(BlockRow.cursor == cursor)
                .order_by(BlockRow.number.desc())
                .offset(KEPT_BLOCKS)
                .limit(1)
                .scalar_subquery()
            )
            session.flush()
            session.execute(delete(BlockRow).where(BlockRow.cursor == cursor, BlockRow.number <= old))
        return moved

    def _listed(self, session: Session, addresses: set[str]) -> set[str]:
        found: set[str] = set()
        for page in _pages(sorted(addresses)):
            query = select(ConsortiumRow.address).where(
                ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.address.in_(page)
            )
            found.update(session.scalars(query))
        return found

    def _touch(self, session: Session, addresses: set[str], block: int) -> None:
        for page in _pages(sorted(addresses)):
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == self._cursor_id(), ConsortiumRow.address.in_(page))
                .values(dirty=True, moved=block, version=ConsortiumRow.version + 1)
            )

    def _keep(self, session: Session, row: ConsortiumRow, look: Look, final: int, now: float) -> None:
        row.version += 1
        if look.facts is not None or look.fault is not None:
            row.read, row.fault = now, look.fault
        for name, value in look.line.items():
            setattr(row, name, value)
        if look.facts is None:
            return
        if row.facts is not None and row.facts_since <= final < row.moved:
            row.settled, row.settled_block = row.facts, row.facts_since
        row.facts, row.facts_block, row.facts_since, row.dirty = look.facts, look.block, row.moved, False
        cursor, address = row.cursor, row.address
        session.execute(delete(UseRow).where(UseRow.cursor == cursor, UseRow.consortium == address))
        session.add_all(
            UseRow(cursor=cursor, dataset=dataset, consortium=address) for dataset in sorted({*look.datasets})
        )


_EVENT = tuple(IndexedEvent.__dataclass_fields__)


def _created(cursor: int, address: str, block: int, number: int) -> ConsortiumRow:
    return ConsortiumRow(
        cursor=cursor, address=address, number=number, block=block, owners=0, confirmed=0, records=0,
        criteria="000", status=0, declared=True, expiry=0, names="", facts=None, facts_block=0,
        facts_since=0, settled=None, settled_block=0, moved=block, dirty=True, read=0.0, checked=0.0,
        fault=None, version=0,
    )  # fmt: skip


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
    ConsortiumRow.facts.is_not(None).label("known"),
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
        read=bool(row.known),
        since=row.facts_since,
        fault=row.fault or "",
    )


def _pages(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), PAGE):
        yield values[start : start + PAGE]
