# SPDX-License-Identifier: Apache-2.0
"""State at the nodes' newest blocks: what a majority of them shows alike, at one block hash.

The same block hash means the same state. So all that nodes say of one block is compared as a whole, and what
a strict majority of them says alike there, a quorum at least, is *settled*: the newest such block decides. A
node that says anything else of that block lies, and counts for nothing.

A node may also show a change in a block that the others do not have. It may be the first to see it (CH-02),
or it may have made the block up. So nothing is read while that is open: `chain-disagrees`, which passes. A
block that exists reaches the others within seconds, and its state is then settled. One that has not reached
them after `CONFIRM_S`, or in whose place they have another, was made up or has left the chain; for `VOID_S`
no lone change that this node shows of this consortium counts. That takes so many others as can settle a
state: where every node must agree, one that shows something else stops for as long as it does.

Many consortia are read by one batch of calls for each `CALLS` of them. A contract that answers nothing, too
much or something malformed, or needs too much gas, is left out of the result; the others are not affected.
A contract can tell nodes apart, so what nodes say of one is held against them for that one alone.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
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
CONFIRM_S = 6.0
"""Seconds within which the others must have a block in which one node shows a change; an honest block reaches
all nodes of a chain within four. Two such waits in a row end before a lease of 30 s that is renewed late."""
VOID_S = 3600.0
"""Seconds for which a node's lone changes of a consortium count for nothing, after one that was not
confirmed."""
MAX_CLAIMS = 4096
"""Lone changes that are remembered."""


@dataclass(frozen=True)
class Newest:
    """One node's newest state of one consortium."""

    head: Head
    """Its newest block."""
    state: State
    """The state at it."""


@dataclass(frozen=True)
class Settled:
    """The newest state of one consortium that a majority of the nodes shows alike."""

    head: Head
    """Of which block they say so."""
    state: State
    """The state at it."""
    rpcs: tuple[Rpc, ...]
    """The nodes that say so."""

    @property
    def latest(self) -> LatestView:
        """What follows from it, without `best`, and without the words of a revocation."""
        head, state = self.head, self.state
        stop = Halt(head.number, head.hash, self.rpcs[0].shown_url) if state.revokers else None
        return LatestView(
            block_number=head.number,
            block_time=head.timestamp,
            steps=state.steps,
            standing=state.standing,
            revoked_by=revoker(state),
            revocation_reason="",
            active_study=active_study(state),
            best=None,
            halt=stop,
        )


@dataclass(frozen=True)
class Snapshot:
    """A consortium as a majority of nodes shows it at its newest settled block."""

    latest: LatestView
    """What it says about stopping; without `best`, and without the words of a revocation."""
    platform: Platform | None
    """The gate and machines that it adopted."""


class Unsettled(ChainError):
    """One node shows a change in a block that the others do not have, or not yet."""


@dataclass(frozen=True)
class _Claim:
    """A change that one node showed in a block that the others did not have."""

    newest: Newest
    """The first of those that are not confirmed, or the one that was not."""
    since: float
    """When, seconds of the clock."""
    void_until: float | None = None
    """Until when nothing like it counts, seconds of the clock; `None` while it is open."""


@dataclass(frozen=True)
class Said:
    """What nodes say of a consortium at one block."""

    states: Mapping[Rpc, State | None]
    """By those that have the block; `None` for no consortium there."""
    whole: bool = True
    """Whether all have been asked."""


Ask = Callable[[Head], Said]
"""What the nodes say at one block."""


class Settling:
    """Decides what is settled, and remembers who showed what alone. Thread safe."""

    def __init__(self, nodes: Nodes, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes = nodes
        self._clock = clock
        self._lock = threading.Lock()
        self._claims: OrderedDict[tuple[Rpc, str], _Claim] = OrderedDict()

    def settled(self, consortium: str, found: Mapping[Rpc, Newest], ask: Ask) -> Settled:
        """The newest block of which a majority says the same. Raises `ChainError` `chain-disagrees` where
        there is none, or where a change is shown beyond it. `ask` says what the nodes show at a block."""
        settled, accepted = self._newest_settled(consortium, found, ask)
        ahead = {
            rpc: newest
            for rpc, newest in accepted.items()
            if newest.head.number >= settled.head.number
            and newest.head.hash != settled.head.hash
            and newest.state != settled.state
        }
        # Whether so many show nothing of it as can settle a state.
        outvoted = self._nodes.decisive(len(found) - len(ahead), len(found))
        self._check_claims(consortium, settled, found, ask, outvoted=outvoted)
        counting = [
            rpc for rpc, newest in ahead.items() if self._counts(rpc, consortium, newest) or not outvoted
        ]
        if counting:
            rpc = max(counting, key=lambda one: ahead[one].head.number)
            number = ahead[rpc].head.number
            what = "a revocation" if ahead[rpc].state.revokers else "a change"
            raise Unsettled(
                Code.CHAIN_DISAGREES,
                f"{rpc.shown_url} shows {what} of {consortium} in block {number}, which other nodes do not "
                "have, or not yet",
                "try again: it is settled once they have that block",
            )
        return settled

    def _newest_settled(
        self, consortium: str, found: Mapping[Rpc, Newest], ask: Ask
    ) -> tuple[Settled, dict[Rpc, Newest]]:
        """The newest settled state, and what those say who did not lie about a block."""
        accepted = dict(found)
        heads = {newest.head.hash: newest.head for newest in found.values()}
        first = next(iter(found.values())).state
        if all(newest.state == first for newest in found.values()):
            # Nobody disagrees about anything: no block needs to be asked about.
            return self._reached(found), accepted
        for head in sorted(heads.values(), key=lambda head: head.number, reverse=True):
            said = ask(head).states
            groups: list[tuple[State | None, list[Rpc]]] = []
            for rpc, state in said.items():
                group = next((rpcs for value, rpcs in groups if value == state), None)
                if group is None:
                    groups.append((state, [rpc]))
                else:
                    group.append(rpc)
            state, rpcs = max(groups, key=lambda group: len(group[1]))
            if state is not None and self._nodes.decisive(len(rpcs), len(found)):
                for rpc in said.keys() - set(rpcs):
                    self._nodes.warn(
                        rpc, f"shows another state of {consortium} than the others, of one block"
                    )
                    accepted.pop(rpc, None)
                return Settled(head, state, tuple(rpcs)), accepted
        # Their newest blocks are different ones, which not all have yet; most may show the same all the same.
        for newest in found.values():
            alike = {rpc: one for rpc, one in found.items() if one.state == newest.state}
            if self._nodes.decisive(len(alike), len(found)):
                theirs = {one.head.hash for one in alike.values()}
                for rpc in found.keys() - alike.keys():
                    if found[rpc].head.hash in theirs:
                        accepted.pop(rpc, None)
                return self._reached(alike), accepted
        raise ChainError(
            Code.CHAIN_DISAGREES,
            f"the nodes disagree about the newest state of {consortium}",
            "one of them lies or follows a fork: read through more nodes, or others",
        )

    def _reached(self, alike: Mapping[Rpc, Newest]) -> Settled:
        """What all of these nodes show, at the newest block that enough of them have reached."""
        number = self._nodes.enough(newest.head.number for newest in alike.values())
        there = [rpc for rpc, newest in alike.items() if newest.head.number == number]
        beyond = [rpc for rpc, newest in alike.items() if newest.head.number > number]
        return Settled(alike[there[0]].head, alike[there[0]].state, (*there, *beyond))

    # --- lone changes ---------------------------------------------------------------------------

    def _check_claims(
        self, consortium: str, settled: Settled, found: Mapping[Rpc, Newest], ask: Ask, *, outvoted: bool
    ) -> None:
        """Decide over what nodes showed alone before: confirmed, or void, or open still."""
        now = self._clock()
        for rpc in found:
            with self._lock:
                claim = self._claims.get((rpc, consortium))
            if claim is None:
                continue
            if claim.void_until is not None:
                if now >= claim.void_until:
                    self._forget(rpc, consortium)
                continue
            if claim.newest.head.number > settled.head.number and now - claim.since < CONFIRM_S:
                continue
            said = ask(claim.newest.head)
            if not said.whole:
                continue  # nobody is judged by an answer that is still to come
            agree = sum(state == claim.newest.state for one, state in said.states.items() if one != rpc)
            if self._nodes.decisive(agree + 1, len(found)):
                self._forget(rpc, consortium)
            elif outvoted:
                self._nodes.warn(
                    rpc,
                    f"showed a change of {consortium} in block {claim.newest.head.number} that the others "
                    f"did not confirm: for {VOID_S:.0f} s, what it alone shows of it does not count",
                )
                self._keep(rpc, consortium, _Claim(claim.newest, claim.since, now + VOID_S))

    def _counts(self, rpc: Rpc, consortium: str, newest: Newest) -> bool:
        """Whether a lone change counts; one that is new does."""
        with self._lock:
            claim = self._claims.get((rpc, consortium))
        if claim is None:
            self._keep(rpc, consortium, _Claim(newest, self._clock()))
            return True
        return claim.void_until is None

    def _keep(self, rpc: Rpc, consortium: str, claim: _Claim) -> None:
        with self._lock:
            self._claims[(rpc, consortium)] = claim
            self._claims.move_to_end((rpc, consortium))
            while len(self._claims) > MAX_CLAIMS:
                self._claims.popitem(last=False)

    def _forget(self, rpc: Rpc, consortium: str) -> None:
        with self._lock:
            self._claims.pop((rpc, consortium), None)


class NewestStates:
    """The newest state of consortia, as a majority of nodes shows it. Thread safe."""

    def __init__(self, nodes: Nodes, places: Places, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._nodes = nodes
        self._places = places
        self._settling = Settling(nodes, clock=clock)

    def one(self, consortium: str) -> Settled:
        """The newest settled state of one consortium. Raises `ChainError`."""

        def ask(rpc: Rpc) -> Newest:
            head = self._nodes.require_recent(rpc, rpc.head("latest"))
            return Newest(head, read_state(rpc, self._places, consortium, head))

        found = self._nodes.ask(ask)
        near = self._nodes.near({rpc: newest.head for rpc, newest in found.items()})
        return self._settled(consortium, {rpc: found[rpc] for rpc in near})

    def _settled(self, consortium: str, found: Mapping[Rpc, Newest]) -> Settled:
        return self._settling.settled(consortium, found, lambda head: self._said_of(consortium, head, found))

    def many(self, consortia: Sequence[str]) -> dict[str, Snapshot]:
        """The newest settled state of many consortia; those without one are left out.

        Raises `ChainError` when the chain itself cannot be read.
        """

        def ask(rpc: Rpc) -> tuple[Head, dict[str, State]]:
            self._nodes.require_supported(rpc)
            head = self._nodes.require_recent(rpc, rpc.head("latest"))
            named = self._places.many(rpc, consortia, head)
            seen = [(consortium, named[consortium]) for consortium in consortia if consortium in named]
            states: dict[str, State] = {}
            splits = Splits()
            for start in range(0, len(seen), CALLS):
                states |= _states(rpc, head, seen[start : start + CALLS], splits)
            return head, states

        answers = self._nodes.ask(ask)
        near = self._nodes.near({rpc: head for rpc, (head, _) in answers.items()})
        snapshots: dict[str, Snapshot] = {}
        for consortium in consortia:
            found = {
                rpc: Newest(answers[rpc][0], answers[rpc][1][consortium])
                for rpc in near
                if consortium in answers[rpc][1]
            }
            if not self._nodes.sufficient(found):
                continue
            try:
                settled = self._settled(consortium, found)
            except ChainError:
                continue  # the nodes, or a contract that tells them apart, disagree
            snapshots[consortium] = Snapshot(settled.latest, adopted(settled.state))
        return snapshots

    def _said_of(self, consortium: str, head: Head, found: Mapping[Rpc, Newest]) -> Said:
        """Asks the nodes whose newest block is another one."""
        said: dict[Rpc, State | None] = {
            rpc: newest.state for rpc, newest in found.items() if newest.head.hash == head.hash
        }

        def ask(rpc: Rpc) -> State | None:
            try:
                return read_state(rpc, self._places, consortium, head)
            except ChainError as error:
                if error.code != Code.NOT_A_CONSORTIUM:
                    raise
                return None

        said |= self._nodes.each(ask, [rpc for rpc in found if rpc not in said])
        return Said(said)


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
