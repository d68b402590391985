# SPDX-License-Identifier: Apache-2.0
"""All knowledge of the chain: reads that several nodes agree on, history from logs, transactions.

`ChainReader` answers with facts, `Transactor` sends. Neither decides anything: that is
`sealroom_agents.gate.policy`.
"""

from sealroom_agents.chain.client import BoardRow, ChainReader, FoundReceipt
from sealroom_agents.chain.history import (
    Approval,
    BatchAnchoring,
    CapSetting,
    History,
    OwnersChange,
    Pin,
    PlatformAdoption,
    Proposal,
    ReceiptAnchoring,
    Registration,
    Revocation,
    RunOpening,
    UnpinFailure,
    Withdrawal,
)
from sealroom_agents.chain.logs import Where
from sealroom_agents.chain.newest import Sight
from sealroom_agents.chain.nodes import MAX_AHEAD
from sealroom_agents.chain.receipts import Anchoring, Verdict
from sealroom_agents.chain.transactor import Run, Transactor, TxResult

__all__ = [
    "MAX_AHEAD",
    "Anchoring",
    "Approval",
    "BatchAnchoring",
    "BoardRow",
    "CapSetting",
    "ChainReader",
    "FoundReceipt",
    "History",
    "OwnersChange",
    "Pin",
    "PlatformAdoption",
    "Proposal",
    "ReceiptAnchoring",
    "Registration",
    "Revocation",
    "Run",
    "RunOpening",
    "Sight",
    "Transactor",
    "TxResult",
    "UnpinFailure",
    "Verdict",
    "Where",
    "Withdrawal",
]
