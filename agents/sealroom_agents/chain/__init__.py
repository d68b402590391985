# SPDX-License-Identifier: Apache-2.0
"""All knowledge of the chain: reads that several nodes agree on, history from logs, transactions.

`ChainReader` answers with facts, `Transactor` sends. Neither decides anything:
that is `sealroom_agents.gate.policy`.
"""

from sealroom_agents.chain.client import BoardRow, ChainReader, FoundReceipt
from sealroom_agents.chain.history import (
    Approval,
    BatchAnchoring,
    CapSetting,
    DatasetRegistration,
    History,
    OwnersChange,
    Pin,
    PlatformAdoption,
    Proposal,
    ReceiptAnchoring,
    Revocation,
    RunOpening,
    UnpinFailure,
    Withdrawal,
)
from sealroom_agents.chain.logs import LogPosition
from sealroom_agents.chain.newest import Snapshot
from sealroom_agents.chain.nodes import MAX_AHEAD
from sealroom_agents.chain.receipts import Anchoring
from sealroom_agents.chain.transactor import Transactor, TxResult

__all__ = [
    "MAX_AHEAD",
    "Anchoring",
    "Approval",
    "BatchAnchoring",
    "BoardRow",
    "CapSetting",
    "ChainReader",
    "DatasetRegistration",
    "FoundReceipt",
    "History",
    "LogPosition",
    "OwnersChange",
    "Pin",
    "PlatformAdoption",
    "Proposal",
    "ReceiptAnchoring",
    "Revocation",
    "RunOpening",
    "Snapshot",
    "Transactor",
    "TxResult",
    "UnpinFailure",
    "Withdrawal",
]
