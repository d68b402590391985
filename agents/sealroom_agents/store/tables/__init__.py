# SPDX-License-Identifier: Apache-2.0
"""The tables as this version reads and writes them, one module per group.

`migrations` makes them: a change here comes with a revision there, and a test compares the two.
"""

from sealroom_agents.store.tables.asking import GatheredRow, TokenRow
from sealroom_agents.store.tables.base import ADDRESS_CHARACTERS, HASH_CHARACTERS, Base
from sealroom_agents.store.tables.indexing import (
    BlockRow,
    ChainEventRow,
    ConsortiumRow,
    CursorRow,
    SeatRow,
    TimeRow,
    UseRow,
)
from sealroom_agents.store.tables.runs import EventRow, RecipeRow, RunRow
from sealroom_agents.store.tables.watching import NoticeRow, ObservationRow, WatchRow

__all__ = [
    "ADDRESS_CHARACTERS",
    "HASH_CHARACTERS",
    "Base",
    "BlockRow",
    "ChainEventRow",
    "ConsortiumRow",
    "CursorRow",
    "EventRow",
    "GatheredRow",
    "NoticeRow",
    "ObservationRow",
    "RecipeRow",
    "RunRow",
    "SeatRow",
    "TimeRow",
    "TokenRow",
    "UseRow",
    "WatchRow",
]
