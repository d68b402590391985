# SPDX-License-Identifier: Apache-2.0
"""All knowledge of the chain: reads that several nodes agree on, history from logs, transactions.

`ChainReader` answers with facts, `FollowedChain` has them before it is asked, `Transactor` sends. None
of them decides anything: that is `sealroom_agents.gate.policy`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sealroom_agents.chain.board import BoardRow
    from sealroom_agents.chain.client import ChainReader
    from sealroom_agents.chain.followed import FollowedChain
    from sealroom_agents.chain.gas import GasMoney
    from sealroom_agents.chain.history import History
    from sealroom_agents.chain.logs import LogPosition
    from sealroom_agents.chain.newest import Snapshot
    from sealroom_agents.chain.nodes import MAX_AHEAD
    from sealroom_agents.chain.receipts import Anchoring
    from sealroom_agents.chain.rpc import Head
    from sealroom_agents.chain.run_reads import FoundReceipt
    from sealroom_agents.chain.seats import NodeState
    from sealroom_agents.chain.transactor import Opened, Transactor, TxResult

__all__ = [
    "MAX_AHEAD",
    "Anchoring",
    "BoardRow",
    "ChainReader",
    "FollowedChain",
    "FoundReceipt",
    "GasMoney",
    "Head",
    "History",
    "LogPosition",
    "NodeState",
    "Opened",
    "Snapshot",
    "Transactor",
    "TxResult",
]

_WHERE = {
    "MAX_AHEAD": "nodes",
    "Anchoring": "receipts",
    "BoardRow": "board",
    "ChainReader": "client",
    "FollowedChain": "followed",
    "FoundReceipt": "run_reads",
    "GasMoney": "gas",
    "Head": "rpc",
    "History": "history",
    "LogPosition": "logs",
    "NodeState": "seats",
    "Opened": "transactor",
    "Snapshot": "newest",
    "Transactor": "transactor",
    "TxResult": "transactor",
}
"""The module of each."""


def __getattr__(name: str) -> Any:
    # Late: who verifies a result without a node decodes events with `contracts`, and needs no HTTP.
    if name in _WHERE:
        return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
