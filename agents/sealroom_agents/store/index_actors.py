# SPDX-License-Identifier: Apache-2.0
"""Which events tell of what some accounts did, as a condition of a query."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Boolean, and_, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from sealroom_agents.store.index_records import Wanted
from sealroom_agents.store.tables import ChainEventRow

EVENT = ChainEventRow.__table__.c
DECISIONS = ("StudyPinned", "PlatformAdopted", "MachinesAdded", "RosterChanged")
"""Events that tell of the vote by which something took effect, and name nobody in a topic."""
HOLDERS = ("DatasetRegistered", "DatasetMoved")
"""Events with which a dataset has another holder."""
OF_HOLDERS = ("VersionAdded", "LifetimeSet", "Allowed")
"""What the holder of a dataset did, which these events do not name."""


class Holds(FunctionElement[bool]):
    """Whether bytes hold others, which each database asks in words of its own."""

    type = Boolean()
    inherit_cache = True
    name = "holds"


@compiles(Holds, "sqlite")
def _instr(element: Holds, compiler: Any, **options: Any) -> str:
    whole, part = element.clauses
    return f"instr({compiler.process(whole, **options)}, {compiler.process(part, **options)}) > 0"


@compiles(Holds, "postgresql")
def _position(element: Holds, compiler: Any, **options: Any) -> str:
    whole, part = element.clauses
    return f"position({compiler.process(part, **options)} in {compiler.process(whole, **options)}) > 0"


def by_accounts(wanted: Wanted) -> Iterator[Any]:
    """What some accounts did: what names one in a topic, what was decided by its vote, and what happened to
    a dataset while it was the holder."""
    words = [bytes(12) + bytes.fromhex(one[2:]) for one in wanted.accounts]

    def names_one(event: Any) -> Any:
        return or_(*(Holds(event.topics, word) for word in words))

    yield names_one(EVENT)
    if wanted.decided:
        yield and_(EVENT.name.in_(DECISIONS), EVENT.subject.in_(wanted.decided))
    came, later = (ChainEventRow.__table__.alias().c for _ in range(2))

    def began(event: Any) -> Any:
        same = (event.cursor == EVENT.cursor, event.subject == EVENT.subject)
        return and_(*same, event.name.in_(HOLDERS), _before(event, EVENT))

    replaced = (
        select(later.block).where(began(later), _before(came, later)).correlate_except(later.block.table)
    )
    held = select(came.block).where(began(came), names_one(came), ~replaced.exists())
    yield and_(EVENT.name.in_(OF_HOLDERS), held.correlate_except(came.block.table).exists())


def _before(one: Any, other: Any) -> Any:
    return or_(one.block < other.block, and_(one.block == other.block, one.position < other.position))
