# SPDX-License-Identifier: Apache-2.0
"""All knowledge of the chain: reads that several nodes agree on, history from logs, transactions.

`ChainReader` answers with facts, `Transactor` sends. Neither decides anything:
that is `sealroom_agents.gate.policy`.
"""

from sealroom_agents.chain.client import BoardRow, ChainReader, FoundReceipt
from sealroom_agents.chain.history import (
    AllowanceSetting,
    Approval,
    BatchAnchoring,
    Confirmation,
    DatasetEvent,
    DatasetMove,
    DatasetOffer,
    DatasetRegistration,
    Decision,
    Event,
    History,
    LifetimeSetting,
    MachinesAddition,
    Pin,
    PlatformAdoption,
    Proposal,
    ProposedMachines,
    ProposedPlatform,
    ProposedRoster,
    ReceiptAnchoring,
    Revocation,
    RosterChange,
    RunOpening,
    RunRefusal,
    SeatMove,
    SeatOffer,
    UnpinFailure,
    VersionAddition,
    Withdrawal,
)
from sealroom_agents.chain.logs import LogPosition
from sealroom_agents.chain.newest import Snapshot
from sealroom_agents.chain.nodes import MAX_AHEAD
from sealroom_agents.chain.receipts import Anchoring
from sealroom_agents.chain.transactor import Opened, Transactor, TxResult

__all__ = [
    "MAX_AHEAD",
    "AllowanceSetting",
    "Anchoring",
    "Approval",
    "BatchAnchoring",
    "BoardRow",
    "ChainReader",
    "Confirmation",
    "DatasetEvent",
    "DatasetMove",
    "DatasetOffer",
    "DatasetRegistration",
    "Decision",
    "Event",
    "FoundReceipt",
    "History",
    "LifetimeSetting",
    "LogPosition",
    "MachinesAddition",
    "Opened",
    "Pin",
    "PlatformAdoption",
    "Proposal",
    "ProposedMachines",
    "ProposedPlatform",
    "ProposedRoster",
    "ReceiptAnchoring",
    "Revocation",
    "RosterChange",
    "RunOpening",
    "RunRefusal",
    "SeatMove",
    "SeatOffer",
    "Snapshot",
    "Transactor",
    "TxResult",
    "UnpinFailure",
    "VersionAddition",
    "Withdrawal",
]
