# SPDX-License-Identifier: Apache-2.0
"""All knowledge of the chain: reads that several nodes agree on, history from logs, transactions.

`ChainReader` answers with facts, `Transactor` sends. Neither decides anything: that is
`sealroom_agents.policy`.
"""

from sealroom_agents.chain.client import BoardRow, ChainReader, OpenedRun
from sealroom_agents.chain.events import (
    Approval,
    History,
    Pin,
    PlatformAdoption,
    Proposal,
    ReceiptAnchoring,
    Registration,
    Revocation,
    RunOpening,
    Where,
)
from sealroom_agents.chain.transactor import Run, Transactor, TxResult

__all__ = [
    "Approval",
    "BoardRow",
    "ChainReader",
    "History",
    "OpenedRun",
    "Pin",
    "PlatformAdoption",
    "Proposal",
    "ReceiptAnchoring",
    "Registration",
    "Revocation",
    "Run",
    "RunOpening",
    "Transactor",
    "TxResult",
    "Where",
]
