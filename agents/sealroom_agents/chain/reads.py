# SPDX-License-Identifier: Apache-2.0
"""What all readers of contracts share: the nodes, and one view call of one or of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.views import Places
from sealroom_agents.errors import ChainError

T = TypeVar("T")


class Reads:
    """Reads of contracts through nodes. Thread safe."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._places = Places()

    def first(self, question: Callable[[Rpc], T]) -> T:
        """Ask one node after the other until one can be reached: for pages, not for decisions."""
        return self._nodes.first(question)

    def require_recent(self, rpc: Rpc, head: Head) -> Head:
        """A node's head, unless it is too far from our clock. Raises `ChainError` `chain-stale`."""
        return self._nodes.require_recent(rpc, head)

    def _latest_call(self, name: str, address: str, function: str, *arguments: Any) -> Any:
        """One view call at the head of the first node that answers: for pages, not for decisions."""
        return self._nodes.first(lambda rpc: at_head(rpc, name, address, function, *arguments))

    def _everywhere(
        self, ledger: str, function: str, *arguments: Any, at: bytes | None = None
    ) -> dict[Rpc, Any]:
        """One view call of the ledger at every node: at its head, or at the block of a hash."""
        if at is None:
            return self._nodes.ask(lambda rpc: at_head(rpc, "Ledger", ledger, function, *arguments))
        return self._nodes.ask(lambda rpc: at_block(rpc, at, "Ledger", ledger, function, *arguments))


def at_head(rpc: Rpc, name: str, address: str, function: str, *arguments: Any) -> Any:
    """One view call at the head of one node."""
    contract = interface(name)
    return contract.decode(function, rpc.call_latest(address, contract.encode(function, *arguments)))


def at_block(rpc: Rpc, block_hash: bytes, name: str, address: str, function: str, *arguments: Any) -> Any:
    """One view call at the block of a hash, of one node."""
    contract = interface(name)
    (answer,) = rpc.calls_at(block_hash, [(address, contract.encode(function, *arguments))])
    if isinstance(answer, RpcFailure):
        raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses {function}: {answer.message}")
    return contract.decode(function, answer)
