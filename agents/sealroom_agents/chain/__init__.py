# SPDX-License-Identifier: Apache-2.0
"""All knowledge of the chain: reads that several nodes agree on, history from logs, transactions.

`ChainReader` answers with facts, `Transactor` sends. Neither decides anything:
that is `sealroom_agents.gate.policy`.
"""

from sealroom_agents.chain.board import BoardRow
from sealroom_agents.chain.client import ChainReader
from sealroom_agents.chain.gas import GasMoney
from sealroom_agents.chain.history import History
from sealroom_agents.chain.logs import LogPosition
from sealroom_agents.chain.newest import Snapshot
from sealroom_agents.chain.nodes import MAX_AHEAD
from sealroom_agents.chain.receipts import Anchoring
from sealroom_agents.chain.rpc import Head
from sealroom_agents.chain.run_reads import FoundReceipt
from sealroom_agents.chain.transactor import Opened, Transactor, TxResult

__all__ = [
    "MAX_AHEAD",
    "Anchoring",
    "BoardRow",
    "ChainReader",
    "FoundReceipt",
    "GasMoney",
    "Head",
    "History",
    "LogPosition",
    "Opened",
    "Snapshot",
    "Transactor",
    "TxResult",
]
