# SPDX-License-Identifier: Apache-2.0
"""State at each node's newest block, and when a revocation that one node shows counts.

A revocation that one node shows stops everything: that node may be the first to see it (CH-02). A node could
lie in the same way, so its answer counts only while it is plausible:

* its head is at most `MAX_AHEAD` blocks before what most others have;
* its standing can follow from the one that is final: each block takes it at most one step further, and
  without a step it is the same;
* no quorum of other nodes has the block that it names without the revocation, or without the new standing,
  for the same hash means the same state.

An answer that is not plausible stops nothing. Neither does the answer of a node that is only behind: where a
quorum has its block, and newer ones without the revocation.

Many consortia are read by one batch of calls for each `CALLS` of them. A contract that answers nothing, too
much or something malformed, or needs too much gas, is left out of the result; the others are not affected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sealroom.codes import Code
from sealroom.model import Platform, State
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.chain.views import (
    CALLS,
    STATE_GAS,
    Place,
    Places,
    active_study,
    adopted,
    decode_state,
    read_state,
    revoker,
)
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import Halt, LatestView

MAX_SPLITS = 16
"""Times that one node's too long answer is asked for again in halves, in one look."""


@dataclass(frozen=True)
class Newest:
    """One node's newest state of one consortium."""

    head: Head
    """Its newest block."""
    state: State
    """The state at it."""


@dataclass(frozen=True)
class Snapshot:
    """A consortium as a quorum of nodes shows it at their newest blocks."""

    latest: LatestView
    """What it says about stopping; without `best`, and without the words of a revocation."""
    platform: Platform | None
    """The gate and machines that it adopted, as the node says that is furthest ahead."""


def read_one(nodes: Nodes, places: Places, consortium: str) -> dict[Rpc, Newest]:
    """The newest state of one consortium at each node that is accepted. Raises `ChainError`."""

    def one(rpc: Rpc) -> Newest:
        head = nodes.require_recent(rpc, rpc.head("latest"))
        return Newest(head, read_state(rpc, places, consortium, head))

    found = nodes.ask(one)
    near = nodes.near({rpc: newest.head for rpc, newest in found.items()})
    return plausible(nodes, places, consortium, {rpc: found[rpc] for rpc in near})


def read_many(nodes: Nodes, places: Places, consortia: Sequence[str]) -> dict[str, Snapshot]:
    """The newest state of many consortia; those that cannot be seen are left out.

    Raises `ChainError` when the chain itself cannot be read.
    """

    def one(rpc: Rpc) -> tuple[Head, dict[str, State]]:
        nodes.require_supported(rpc)
        head = nodes.require_recent(rpc, rpc.head("latest"))
        named = places.many(rpc, consortia, head)
        seen = [(consortium, named[consortium]) for consortium in consortia if consortium in named]
        states: dict[str, State] = {}
        splits = Splits()
        for start in range(0, len(seen), CALLS):
            states |= _states(rpc, head, seen[start : start + CALLS], splits)
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
                found = plausible(nodes, places, consortium, found)
            except ChainError:
                continue  # the nodes, or a contract that tells them apart, disagree
            ahead = max(found.values(), key=lambda newest: newest.head.number)
            snapshots[consortium] = Snapshot(summary(nodes, found), adopted(ahead.state))
    return snapshots


def summary(nodes: Nodes, found: dict[Rpc, Newest]) -> LatestView:
    """What the nodes say together, without `best` and without words."""
    reached = nodes.enough(newest.head.number for newest in found.values())
    stop = stopping(found)
    active = {active_study(newest.state) for newest in found.values()}
    last = max((newest.state for newest in found.values()), key=lambda state: state.steps)
    return LatestView(
        block_number=reached,
        block_time=next(one.head.timestamp for one in found.values() if one.head.number == reached),
        steps=last.steps,
        standing=last.standing,
        revoked_by=revoker(found[stop].state) if stop else None,
        revocation_reason="",
        active_study=active.pop() if len(active) == 1 else None,
        best=None,
        halt=Halt(found[stop].head.number, found[stop].head.hash, stop.shown_url) if stop else None,
    )


def stopping(found: dict[Rpc, Newest]) -> Rpc | None:
    """The node furthest ahead of those that show a revocation."""
    stops = [rpc for rpc, newest in found.items() if newest.state.revokers]
    return max(stops, key=lambda rpc: found[rpc].head.number, default=None)


def plausible(nodes: Nodes, places: Places, consortium: str, found: dict[Rpc, Newest]) -> dict[Rpc, Newest]:
    """What can be true of `found`. Raises `ChainError` `chain-disagrees` when too little is left.

    No node is left out here: the contract that answers may be the one that tells the nodes apart.
    """
    accepted = _possible(nodes, places, consortium, found)
    for rpc, newest in list(accepted.items()):
        ahead = any(newest.state.steps > other.state.steps for other in accepted.values())
        if (newest.state.revokers or ahead) and _settled(nodes, places, consortium, rpc, accepted):
            del accepted[rpc]
    if not nodes.sufficient(accepted):
        raise ChainError(
            Code.CHAIN_DISAGREES,
            f"the nodes disagree about the newest state of {consortium}",
            "one of them lies or follows a fork; see the log for its name",
        )
    return accepted


def _possible(nodes: Nodes, places: Places, consortium: str, found: dict[Rpc, Newest]) -> dict[Rpc, Newest]:
    """Without the nodes whose standing cannot follow from the final one; all of them while they agree."""
    if len({(one.state.standing, one.state.steps, one.state.revokers) for one in found.values()}) == 1:
        return found
    final, base = _final(nodes, places, consortium)
    accepted: dict[Rpc, Newest] = {}
    for rpc, one in found.items():
        if _follows(one, final, base):
            accepted[rpc] = one
        else:
            nodes.warn(rpc, f"shows a standing of {consortium} that cannot follow from block {final.number}")
    return accepted


def _follows(one: Newest, final: Head, base: State | None) -> bool:
    """Whether a state can follow from the final one, `base`; `None` for a consortium that was not there."""
    steps = 0 if base is None else base.steps
    # A node that is behind what is final shows an older state, which stops nothing that is not stopped.
    further = max(0, one.head.number - final.number)
    if not one.state.steps <= steps + further:
        return False
    if base is None or one.state.steps != base.steps:
        return True
    # Without a step nobody revoked. A seat, with its veto, may have another holder.
    return one.state.standing == base.standing and len(one.state.revokers) <= len(base.revokers)


def _final(nodes: Nodes, places: Places, consortium: str) -> tuple[Head, State | None]:
    """The final block, and where the consortium stood there, as a quorum shows it."""
    head, rpcs = nodes.finalized()

    def one(rpc: Rpc) -> State | None:
        try:
            return read_state(rpc, places, consortium, head)
        except ChainError as error:
            if error.code != Code.NOT_A_CONSORTIUM:
                raise
            return None  # it is younger

    return head, nodes.agreed(nodes.ask(one, rpcs), f"the state of {consortium} at block {head.number}")[0]


def _settled(
    nodes: Nodes, places: Places, consortium: str, claimant: Rpc, accepted: dict[Rpc, Newest]
) -> bool:
    """Whether a quorum of the others has the claimant's very block, and knows better."""
    head, claimed = accepted[claimant].head, accepted[claimant].state

    def denies(state: State) -> bool:
        return not state.revokers if claimed.revokers else state.steps < claimed.steps

    others = [rpc for rpc, one in accepted.items() if rpc is not claimant and denies(one.state)]
    if not nodes.sufficient(others):
        return False
    try:
        states = nodes.ask(lambda rpc: read_state(rpc, places, consortium, head), others)
    except ChainError:
        return False  # they don't have that block, or not yet
    if nodes.sufficient([one for one in states.values() if denies(one)]):
        nodes.warn(claimant, f"shows a change of {consortium} that no other node has in that block")
        return True
    return nodes.sufficient([rpc for rpc in states if accepted[rpc].head.number > head.number])


@dataclass
class Splits:
    """How often a node may still answer too much in one look."""

    left: int = MAX_SPLITS


def _states(rpc: Rpc, head: Head, named: Sequence[tuple[str, Place]], splits: Splits) -> dict[str, State]:
    """The state of each consortium that has one; halved when some answer makes all of them too long."""
    lens = interface("Lens")
    calls = [(place.lens, lens.encode("state", consortium)) for consortium, place in named]
    try:
        answers = rpc.calls_at(head.hash, calls, gas=STATE_GAS)
    except ChainError as error:
        if error.code != TOO_LARGE:
            raise
        if len(named) == 1 or splits.left == 0:
            return {}
        splits.left -= 1
        middle = len(named) // 2
        return _states(rpc, head, named[:middle], splits) | _states(rpc, head, named[middle:], splits)
    states: dict[str, State] = {}
    for (consortium, place), answer in zip(named, answers, strict=True):
        if isinstance(answer, RpcFailure):
            continue
        try:
            states[consortium] = decode_state(answer, place)
        except ChainError:
            continue
    return states
