# SPDX-License-Identifier: Apache-2.0
"""The index of a factory's consortia in the database: what one process writes, and all read.

Whoever writes holds a lease on the cursor. What it read of the chain, and how far it read, change in one
transaction, and only from the block that it began with: two processes that both believe to hold the lease
cannot both write.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import and_, delete, func, insert, or_, select, update
from sqlalchemy.orm import Session

from sealroom_agents.store.connection import changed
from sealroom_agents.store.index_reading import EVENT_FIELDS, IndexReads
from sealroom_agents.store.index_records import Look, Mark, Piece
from sealroom_agents.store.tables import (
    BlockRow,
    ChainEventRow,
    ConsortiumRow,
    CursorRow,
    SeatRow,
    TimeRow,
    UseRow,
)

LEASE_S = 30.0
"""How long a process may read on unless it renews that, seconds."""
KEPT_BLOCKS = 512
"""Blocks whose hashes are kept, to find where a reorganisation began."""
PAGE = 500
"""Values in one list of a statement."""


class Index(IndexReads):
    """One factory's consortia. Thread safe."""

    def begin(self, *, chain_id: int, first: int) -> None:
        """Make the cursor, unless another process just did."""
        with self._store.writing() as session:
            if session.scalars(select(CursorRow.id).where(CursorRow.factory == self._factory)).first():
                return
            session.add(CursorRow(factory=self._factory, **_start(chain_id=chain_id, first=first)))

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
            created = dict(piece.created)
            there = self._listed(session, set(created))
            count = session.scalar(select(func.count()).where(ConsortiumRow.cursor == cursor)) or 0
            new = [one for one in created if one not in there]
            session.add_all(
                _created(cursor, one, created[one], number) for number, one in enumerate(new, count)
            )
            known |= {*new}
            session.flush()
            kept = [one for one in piece.events if one.consortium is None or one.consortium in known]
            if kept:
                session.execute(
                    insert(ChainEventRow),
                    [
                        {"cursor": cursor} | {name: getattr(one, name) for name in EVENT_FIELDS}
                        for one in kept
                    ],
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
            mine = update(CursorRow).where(CursorRow.id == self._cursor_id())
            if looks or differ:
                session.execute(mine.values(revision=CursorRow.revision + 1))
            if session.scalar(select(func.count()).where(*self._unready())) == 0:
                session.execute(mine.values(ready=True))
            return True

    def timed(self, holder: str, at: Mark, times: Mapping[int, int | None]) -> bool:
        """Keep when some blocks up to `at` were made, unix seconds; false if another process has read on."""
        with self._store.writing() as session:
            if not changed(
                session.execute(
                    update(CursorRow).where(*self._mine(holder, at)).values(revision=CursorRow.revision + 1)
                )
            ):
                return False
            cursor = self._cursor_id()
            session.add_all(TimeRow(cursor=cursor, block=block, time=time) for block, time in times.items())
            return True

    def list_again(self, holder: str, at: Mark, addresses: Sequence[str]) -> bool:
        """Have exactly these consortia, in this order, as the factory lists them at block `at`; false if
        another process has read on."""
        with self._store.writing() as session:
            if not changed(
                session.execute(
                    update(CursorRow).where(*self._mine(holder, at)).values(revision=CursorRow.revision + 1)
                )
            ):
                return False
            cursor = self._cursor_id()
            rows = {
                row.address: row
                for row in session.scalars(select(ConsortiumRow).where(ConsortiumRow.cursor == cursor))
            }
            for address in rows.keys() - {*addresses}:
                for table in (UseRow, SeatRow):
                    session.execute(delete(table).where(table.cursor == cursor, table.consortium == address))
                session.delete(rows[address])
            for number, address in enumerate(addresses):
                row = rows.get(address)
                if row is None:
                    session.add(_created(cursor, address, at.number, number))
                elif row.number != number:
                    row.number, row.dirty, row.version = number, True, row.version + 1
            return True

    def roll_back(self, holder: str, before: Mark, to: Mark) -> bool:
        """Forget what came after block `to`, which the chain has still; false if another has read on."""
        with self._store.writing() as session:
            moved = (
                update(CursorRow)
                .where(*self._mine(holder, before))
                .values(number=to.number, hash=to.hash, revision=CursorRow.revision + 1)
            )
            if not changed(session.execute(moved)):
                return False
            cursor = self._cursor_id()
            number = to.number
            for table, column in (
                (ChainEventRow, ChainEventRow.block),
                (BlockRow, BlockRow.number),
                (TimeRow, TimeRow.block),
                (ConsortiumRow, ConsortiumRow.block),
            ):
                session.execute(delete(table).where(table.cursor == cursor, column > number))
            there = select(ConsortiumRow.address).where(ConsortiumRow.cursor == cursor)
            for one in (UseRow, SeatRow):
                session.execute(delete(one).where(one.cursor == cursor, one.consortium.not_in(there)))
            # State of the branch that is gone must not pass for the state before a later one.
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == cursor, ConsortiumRow.facts_since > number)
                .values(facts=None, facts_block=0, facts_since=0)
            )
            gone = or_(ConsortiumRow.moved > number, ConsortiumRow.facts_block > number)
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == cursor, gone)
                .values(dirty=True, version=ConsortiumRow.version + 1)
            )
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == cursor, ConsortiumRow.moved > number)
                .values(moved=number)
            )
            session.execute(
                update(ConsortiumRow)
                .where(ConsortiumRow.cursor == cursor, ConsortiumRow.settled_block > number)
                .values(settled=None, settled_block=0)
            )
            return True

    def begin_again(self, *, chain_id: int, first: int) -> None:
        """Drop all of it: it is read from the chain again. The cursor keeps its id, by which others read."""
        self.begin(chain_id=chain_id, first=first)
        with self._store.writing() as session:
            ids = select(CursorRow.id).where(CursorRow.factory == self._factory)
            for table in (UseRow, SeatRow, ChainEventRow, BlockRow, TimeRow, ConsortiumRow):
                session.execute(delete(table).where(table.cursor.in_(ids)))
            session.execute(
                update(CursorRow)
                .where(CursorRow.factory == self._factory)
                .values(_start(chain_id=chain_id, first=first))
            )

    # --- inside ---------------------------------------------------------------------------------

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
        for table in (UseRow, SeatRow):
            session.execute(delete(table).where(table.cursor == cursor, table.consortium == address))
        session.add_all(
            UseRow(cursor=cursor, dataset=dataset, consortium=address) for dataset in sorted({*look.datasets})
        )
        session.add_all(
            SeatRow(cursor=cursor, consortium=address, account=account, number=row.number, acted=acted)
            for account, acted in sorted(look.accounts.items())
        )


def _start(*, chain_id: int, first: int) -> dict[str, Any]:
    """Columns of a cursor with which nothing was read."""
    return {
        "chain_id": chain_id, "first": first, "number": first - 1, "hash": "", "head": first, "final": 0,
        "looked": 0.0, "ready": False, "holder": None, "until": 0.0,
        # Begins anywhere, so that what was made anew is never taken for what was before.
        "revision": secrets.randbits(60),
    }  # fmt: skip


def _created(cursor: int, address: str, block: int, number: int) -> ConsortiumRow:
    return ConsortiumRow(
        cursor=cursor, address=address, number=number, block=block, owners=0, confirmed=0, records=0,
        criteria="000", status=0, declared=True, expiry=0, names="", facts=None, facts_block=0,
        facts_since=0, settled=None, settled_block=0, moved=block, dirty=True, read=0.0, checked=0.0,
        fault=None,
        # Begins anywhere, as the cursor's revision does.
        version=secrets.randbits(30),
    )  # fmt: skip


def _pages(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), PAGE):
        yield values[start : start + PAGE]
