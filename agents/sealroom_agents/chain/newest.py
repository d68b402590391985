# SPDX-License-Identifier: Apache-2.0
"""State at each node's newest block, and when a revocation that one node shows counts.

A revocation that one node shows stops everything: that node may be the first to see it (CH-02). A node could
lie in the same way, so its answer counts only while it is plausible:

* its head is at most `MAX_AHEAD` blocks before what most others have;
* its epoch is at most what the blocks between could hold;
* no quorum of other nodes has the block that it names without the revocation, for the same hash means the
  same state.

An answer that is not plausible stops nothing. Neither does the answer of a node that is only behind: where a
quorum has its block, and newer ones without the revocation.

Many consortia are read by one batch of calls for each `CALLS` of them. A contract that answers nothing, too
much or something malformed, or needs too much gas, is left out of the result; the others are not affected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.model import Platform
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.chain.views import ConsortiumState, decode_state, read_state
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import Halt, LatestView

EPOCHS_PER_BLOCK = 2**14
"""Epochs that one block can hold: a revocation costs more than 4,000 gas,
and a block has less than 65 million."""
CALLS = 32
"""Consortia in one batch."""
CALL_GAS = 2_000_000
"""Gas that one of them may ask for; a consortium of the most owners, images and devices needs a third."""
MAX_SPLITS = 16
"""Times that one node's too long answer is asked for again in halves, in one look."""
MAX_STATE_BYTES = 32 * 1024
"""Bytes that one of them may answer; a consortium of the most owners, images and devices has a third."""


@dataclass(frozen=True)
class Newest:
    """One node's newest state of one consortium."""

    head: Head
    """Its newest block."""
    state: ConsortiumState
    """The state at it."""


@dataclass(frozen=True)
class Snapshot:
    """A consortium as a quorum of nodes shows it at their newest blocks."""

    latest: LatestView
    """What it says about stopping; without `best`, and without the words of a revocation."""
    platform: Platform | None
    """The gate and machines that it adopted, as the node says that is furthest ahead."""


def read_one(nodes: Nodes, consortium: str) -> dict[Rpc, Newest]:
    """The newest state of one consortium at each node that is accepted. Raises `ChainError`."""

    def one(rpc: Rpc) -> Newest:
        head = nodes.require_recent(rpc, rpc.head("latest"))
        return Newest(head, read_state(rpc, consortium, head))

    found = nodes.ask(one)
    near = nodes.near({rpc: newest.head for rpc, newest in found.items()})
    return plausible(nodes, consortium, {rpc: found[rpc] for rpc in near})


def read_many(nodes: Nodes, consortia: Sequence[str]) -> dict[str, Snapshot]:
    """The newest state of many consortia; those that cannot be seen are left out.

    Raises `ChainError` when the chain itself cannot be read.
    """

    def one(rpc: Rpc) -> tuple[Head, dict[str, ConsortiumState]]:
        head = nodes.require_recent(rpc, rpc.head("latest"))
        states: dict[str, ConsortiumState] = {}
        splits = Splits()
        for start in range(0, len(consortia), CALLS):
            states |= _states(rpc, head, consortia[start : start + CALLS], splits)
        return head, states

    answers = nodes.ask(one)
    near = nodes.near({rpc: head for rpc, (head, _) in answers.items()})
    snapshots: dict[str, Snapshot] = {}
    for consortium in consortia:
        found = {
            rpc: Newest(answers[rpc][0], answers[rpc][1][consortium])
            for rpc in near
            if consortium in answers[rpc][1]
        }
        if nodes.sufficient(found):
            try:
                found = plausible(nodes, consortium, found)
            except ChainError:
                continue  # the nodes, or a contract that tells them apart, disagree
            ahead = max(found.values(), key=lambda newest: newest.head.number)
            snapshots[consortium] = Snapshot(summary(nodes, found), ahead.state.platform)
    return snapshots


def summary(nodes: Nodes, found: dict[Rpc, Newest]) -> LatestView:
    """What the nodes say together, without `best` and without words."""
    reached = nodes.enough(newest.head.number for newest in found.values())
    stop = stopping(found)
    active = {newest.state.active_study for newest in found.values()}
    return LatestView(
        block_number=reached,
        block_time=next(one.head.timestamp for one in found.values() if one.head.number == reached),
        epoch=max(newest.state.epoch for newest in found.values()),
        revoked_by=found[stop].state.revoked_by if stop else None,
        revocation_reason="",
        active_study=active.pop() if len(active) == 1 else None,
        best=None,
        halt=Halt(found[stop].head.number, found[stop].head.hash, stop.shown_url) if stop else None,
    )


def stopping(found: dict[Rpc, Newest]) -> Rpc | None:
    """The node furthest ahead of those that show a revocation."""
    stops = [rpc for rpc, newest in found.items() if newest.state.revoked_by is not None]
    return max(stops, key=lambda rpc: found[rpc].head.number, default=None)


def plausible(nodes: Nodes, consortium: str, found: dict[Rpc, Newest]) -> dict[Rpc, Newest]:
    """What can be true of `found`. Raises `ChainError` `chain-disagrees` when too little is left.

    No node is left out here: the contract that answers may be the one that tells the nodes apart.
    """
    accepted = _possible(nodes, consortium, found)
    for rpc, newest in list(accepted.items()):
        if newest.state.revoked_by is not None and _settled(nodes, consortium, rpc, accepted):
            del accepted[rpc]
    if not nodes.sufficient(accepted):
        raise ChainError(
            Code.CHAIN_DISAGREES,
            f"the nodes disagree about the newest state of {consortium}",
            "one of them lies or follows a fork; see the log for its name",
        )
    return accepted


def _possible(nodes: Nodes, consortium: str, found: dict[Rpc, Newest]) -> dict[Rpc, Newest]:
    epoch = nodes.enough(one.state.epoch for one in found.values())
    lowest = min(one.head.number for one in found.values())
    accepted: dict[Rpc, Newest] = {}
    for rpc, one in found.items():
        if one.state.epoch > epoch + EPOCHS_PER_BLOCK * (one.head.number - lowest + 1):
            nodes.warn(rpc, f"shows epoch {one.state.epoch} of {consortium}, the others {epoch}")
        else:
            accepted[rpc] = one
    return accepted


def _settled(nodes: Nodes, consortium: str, claimant: Rpc, accepted: dict[Rpc, Newest]) -> bool:
    """Whether a quorum of the others has the claimant's very block, and knows better."""
    others = [rpc for rpc, one in accepted.items() if rpc is not claimant and one.state.revoked_by is None]
    if not nodes.sufficient(others):
        return False
    head = accepted[claimant].head
    try:
        states = nodes.ask(lambda rpc: read_state(rpc, consortium, head), others)
    except ChainError:
        return False  # they don't have that block, or not yet
    if nodes.sufficient([one for one in states.values() if one.revoked_by is None]):
        nodes.warn(claimant, f"shows a revocation of {consortium} that no other node has in that block")
        return True
    return nodes.sufficient([rpc for rpc in states if accepted[rpc].head.number > head.number])


@dataclass
class Splits:
    """How often a node may still answer too much in one look."""

    left: int = MAX_SPLITS


def _states(rpc: Rpc, head: Head, consortia: Sequence[str], splits: Splits) -> dict[str, ConsortiumState]:
    """The state of each consortium that has one; halved when some answer makes all of them too long."""
    contract = interface("Consortium")
    call = contract.encode("state")
    try:
        answers = rpc.calls_at(head.hash, [(address, call) for address in consortia], gas=CALL_GAS)
    except ChainError as error:
        if error.code != TOO_LARGE:
            raise
        if len(consortia) == 1 or splits.left == 0:
            return {}
        splits.left -= 1
        middle = len(consortia) // 2
        return _states(rpc, head, consortia[:middle], splits) | _states(rpc, head, consortia[middle:], splits)
    states: dict[str, ConsortiumState] = {}
    for address, answer in zip(consortia, answers, strict=True):
        if isinstance(answer, RpcFailure) or len(answer) > MAX_STATE_BYTES:
            continue
        try:
            states[address] = decode_state(contract.decode("state", answer))
        except ChainError:
            continue
    return states
