# SPDX-License-Identifier: Apache-2.0
"""What a page from disk says of a consortium: read at one block, the same from every node that was named."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.codes import Code
from sealroom_agents.chain import History
from sealroom_agents.chain.events import Histories
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.run_events import BatchAnchoring, ReceiptAnchoring, RunOpening, RunRefusal
from sealroom_agents.chain.views import Places
from sealroom_agents.errors import ChainError
from sealroom_agents.governance.node import Node
from sealroom_agents.index.facts import Facts
from sealroom_agents.index.reading import facts_at

OF_RUNS = (RunOpening, RunRefusal, ReceiptAnchoring, BatchAnchoring)
"""Events that such a page does not show."""


def look(urls: Sequence[str], consortium: str, *, private_chain: int | None) -> tuple[Facts, History]:
    """State and owners' events of a consortium. Raises `ChainError`: `chain-disagrees` where nodes tell
    different things, `not-a-consortium`, `chain-unreachable`."""
    node = Node(urls, private_chain=private_chain)
    first, *others = [_one(node, rpc, consortium) for rpc in node.rpcs]
    if any(other != first for other in others):
        raise ChainError(
            Code.CHAIN_DISAGREES,
            f"the nodes disagree about {consortium}",
            "one of them lies or follows a fork; name the one that you run yourself",
        )
    return first


def _one(node: Node, rpc: Rpc, consortium: str) -> tuple[Facts, History]:
    places, head = Places(), node.head
    read = Histories(places).read(rpc, consortium)
    # Blocks may come between the two questions.
    events = [one for one in read.events if one.at.block <= head.number and not isinstance(one, OF_RUNS)]
    history = History(tuple(events), read.unread)
    _, facts = facts_at(rpc, places, consortium, head, history, chain_id=node.chain_id)
    return facts, history
