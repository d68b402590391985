# SPDX-License-Identifier: Apache-2.0
"""What runner, watcher and console share: runs, recipes, events and observations.

The chain is the truth about approvals, budgets and revocations; this database only says what the processes
did about it. SQLite (with a write-ahead log) by default, PostgreSQL by URL.
"""

from sealroom_agents.store.claims import CLAIM_S
from sealroom_agents.store.database import Store
from sealroom_agents.store.records import (
    ENDS,
    ORDER,
    RUNNING,
    Event,
    Holder,
    LastSeen,
    Notice,
    Observation,
    Run,
)

__all__ = [
    "CLAIM_S",
    "ENDS",
    "ORDER",
    "RUNNING",
    "Event",
    "Holder",
    "LastSeen",
    "Notice",
    "Observation",
    "Run",
    "Store",
]
