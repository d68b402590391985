# SPDX-License-Identifier: Apache-2.0
"""What each node shows at its own newest block, and when a node is believed that says stop.

One node is enough to stop: it may be the first to see a revocation (CH-02). So it is also the way in which
one node can lie, and its word counts only while it can be true:

* its head is at most `MAX_AHEAD` blocks before what most others have;
* its epoch is at most what the blocks between could hold;
* no quorum of other nodes has the very block that it names, without the revocation: the same hash means the
  same state.

A node that says otherwise is passed over, and stops nothing. Nor does a node that is only behind: where a
quorum has its block, and newer ones in which the revocation is no more.
"""

from __future__ import annotations

from dataclasses import dataclass

from sealroom_agents.chain.nodes import MAX_AHEAD, Nodes
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.views import ConsortiumState, read_state
from sealroom_agents.errors import ChainError

EPOCHS_PER_BLOCK = 2**14
"""Epochs that one block can hold: a revocation costs more than 4,000 gas, and a block has less than 65
million."""


@dataclass(frozen=True)
class Newest:
    """One node's newest state of one consortium."""

    head: Head
    """Its newest block."""
    state: ConsortiumState
    """The state at it."""


def plausible(nodes: Nodes, consortium: str, found: dict[Rpc, Newest]) -> dict[Rpc, Newest]:
    """What can be true of `found`. Raises `ChainError` `chain-disagrees` when too little is left."""
    believed = _possible(nodes, found)
    for rpc, newest in list(believed.items()):
        if newest.state.revoked_by is not None and _settled(nodes, consortium, rpc, believed):
            del believed[rpc]
    if not nodes.sufficient(believed):
        raise ChainError(
            "chain-disagrees",
            f"the nodes disagree about the newest state of {consortium}",
            "one of them lies or follows a fork; see the log for its name",
        )
    return believed


def _possible(nodes: Nodes, found: dict[Rpc, Newest]) -> dict[Rpc, Newest]:
    number = nodes.enough(one.head.number for one in found.values())
    epoch = nodes.enough(one.state.epoch for one in found.values())
    lowest = min(one.head.number for one in found.values())
    believed: dict[Rpc, Newest] = {}
    for rpc, one in found.items():
        blocks = one.head.number - lowest + 1
        if one.head.number > number + MAX_AHEAD:
            nodes.drop(rpc, f"shows block {one.head.number}, the others {number}")
        elif one.state.epoch > epoch + EPOCHS_PER_BLOCK * blocks:
            nodes.drop(rpc, f"shows epoch {one.state.epoch}, the others {epoch}")
        else:
            believed[rpc] = one
    return believed


def _settled(nodes: Nodes, consortium: str, claimant: Rpc, believed: dict[Rpc, Newest]) -> bool:
    """Whether a quorum of the others has the claimant's very block, and knows better."""
    others = [rpc for rpc, one in believed.items() if rpc is not claimant and one.state.revoked_by is None]
    if not nodes.sufficient(others):
        return False
    head = believed[claimant].head
    try:
        states = nodes.ask(lambda rpc: read_state(rpc, consortium, head), others)
    except ChainError:
        return False  # they don't have that block, or not yet
    if nodes.sufficient([one for one in states.values() if one.revoked_by is None]):
        nodes.drop(claimant, f"shows a revocation of {consortium} that no other node has in that block")
        return True
    return nodes.sufficient([rpc for rpc in states if believed[rpc].head.number > head.number])
