# SPDX-License-Identifier: Apache-2.0
"""What each node has shown lately, and how nodes that speak of one final block are counted.

A node has a *seat* as long as it answers, and does not lie about the chain. One that fails is left out for a
while (`chain.breaker`), and what it showed before counts until it is too old.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from sealroom.codes import Code
from sealroom_agents.chain.breaker import Breaker
from sealroom_agents.chain.lanes import Lanes
from sealroom_agents.chain.look import Block, Look, Question, Sight
from sealroom_agents.chain.pace import Pace
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.errors import ChainError

KEPT = 16
"""Blocks of one node that are kept."""


@dataclass(frozen=True)
class Shown:
    """What a node showed of one consortium at the block of a tag."""

    head: Head
    """The block."""
    sight: Sight
    """What it showed."""
    at: float
    """When the look began, seconds of the follower's clock."""


@dataclass(frozen=True)
class NodeState:
    """One node, for people and for measurements."""

    node: str
    """Scheme and host."""
    kind: str
    """`seated`, `new` before its first answer, or the code of why it was left out."""
    head: int | None
    """Number of the newest block that it showed."""


class Seat:
    """The memory of one node. Guarded by its follower's lock."""

    def __init__(self, rpc: Rpc, breaker: Breaker) -> None:
        self.rpc = rpc
        self.breaker = breaker
        self.pace = Pace()
        self.lanes = Lanes()
        """How the consortia behave that it is asked about."""
        self.usual_s: float | None = None
        """What its good exchanges take; `None` before the first."""
        self.at: float | None = None
        """When its last good look began; `None` before the first, and after a lie."""
        self.heads: dict[str, Head] = {}
        """Its blocks by tag."""
        self.shown: dict[str, dict[str, Shown]] = {}
        """What it shows by tag and consortium."""
        self.blocks: OrderedDict[bytes, Block] = OrderedDict()
        """Its last blocks by hash."""
        self.finals: OrderedDict[int, Block] = OrderedDict()
        """Blocks that it calls final, by number."""
        self.answered: dict[Question, bytes | None] = {}
        """Hash of the block of each question that is open; `None` where it does not have it."""
        self.questions: set[Question] = set()
        """What it is to be asked besides."""
        self.begun = 0
        """Looks that have begun."""
        self.ended = 0
        """The last look that has ended, well or not."""
        self.woken = False
        """Whether its next look is due now."""
        self.failure: ChainError | None = None
        """Why its last look failed."""

    @property
    def state(self) -> NodeState:
        """How it stands."""
        kind = self.breaker.kind
        newest = self.heads.get("latest")
        seated = "new" if self.at is None else "seated"
        return NodeState(
            self.rpc.shown_url,
            seated if kind is None else str(kind),
            None if newest is None else newest.number,
        )

    @property
    def seen_at(self) -> float:
        """When its last good look began; long ago before the first."""
        return -inf if self.at is None else self.at

    def saw(self, consortium: str) -> float:
        """When the look at its newest block began that it showed a consortium in last; long ago before the
        first."""
        shown = self.shown.get("latest", {}).get(consortium)
        return -inf if shown is None or self.at is None else shown.at

    def exchanged(self, took_s: float) -> None:
        """A good exchange has taken so long. Slow ones count little: they may be the contracts' doing."""
        usual = took_s if self.usual_s is None else self.usual_s
        self.usual_s = (3 * usual + min(took_s, 2 * usual)) / 4

    def forget(self) -> None:
        """Count nothing that it showed."""
        self.at = None
        for kept in (self.heads, self.shown, self.blocks, self.finals, self.answered):
            kept.clear()

    def take(self, look: Look, at: float) -> None:
        """Keep a look that began at `at`. Raises `ChainError` for one that contradicts an earlier one, or
        itself."""
        final, newest = look.tags["finalized"], look.tags["latest"]
        safe = look.tags.get("safe", newest)
        if safe.head.number > newest.head.number:
            raise self._stale("calls a block safe that it has not got")
        if final.head.number > safe.head.number:
            raise self._stale("calls a block final that it has not got, or that is not safe")
        before = self.heads.get("finalized")
        if before is not None and final.head.number < before.number:
            raise self._stale(f"went back from final block {before.number} to {final.head.number}")
        self.at = at
        for question, block in look.asked.items():
            self.answered[question] = None if block is None else block.head.hash
        for tag, block in look.tags.items():
            self.heads[tag] = block.head
            shown = self.shown.setdefault(tag, {})
            shown.update({one: Shown(block.head, sight, at) for one, sight in block.sights.items()})
        for block in (*look.tags.values(), *look.asked.values()):
            if block is not None:
                shown_before = self.blocks.get(block.head.hash)
                known = {} if shown_before is None else shown_before.sights
                self.blocks[block.head.hash] = Block(block.head, block.parent, {**known, **block.sights})
                self.blocks.move_to_end(block.head.hash)
        for block in (final, *(one for one in look.asked.values() if one is not None)):
            if block.head.number <= final.head.number:
                self._keep_final(self.blocks[block.head.hash])
        while len(self.blocks) > KEPT:
            self.blocks.popitem(last=False)

    def _stale(self, what: str) -> ChainError:
        return ChainError(Code.CHAIN_STALE, f"{self.rpc.shown_url} {what}")

    def _keep_final(self, block: Block) -> None:
        before = self.finals.get(block.head.number)
        if before is not None and before.head.hash != block.head.hash:
            raise ChainError(
                Code.CHAIN_DISAGREES, f"{self.rpc.shown_url} replaces final block {block.head.number}"
            )
        self.finals[block.head.number] = block
        self.finals.move_to_end(block.head.number)
        while len(self.finals) > KEPT:
            self.finals.popitem(last=False)


@dataclass(frozen=True)
class Agreed:
    """A block that a quorum calls final, with the same sight of one consortium."""

    block: Block
    """The block, as one of them shows it."""
    sight: Sight
    """What all of them show."""
    rpcs: tuple[Rpc, ...]
    """Those nodes."""


def agreed(
    consortium: str, finals: Mapping[Rpc, Mapping[int, Block]], *, target: int, quorum: int, whole: bool
) -> Agreed | None:
    """The newest final block of which `quorum` nodes show the same; `None` while too few have answered.

    finals: of each node that may have `target` the blocks that it calls final. whole: whether no other node
    is waited for. Raises `ChainError` `chain-disagrees` where two answers have a quorum each, or where all
    have answered about `target`, and no answer has one.
    """
    for number in sorted({number for blocks in finals.values() for number in blocks}, reverse=True):
        groups: dict[tuple[object, ...], list[Rpc]] = {}
        for rpc, blocks in finals.items():
            block = blocks.get(number)
            sight = None if block is None else block.sights.get(consortium)
            if block is not None and sight is not None:
                key = block.head.hash, sight.core, sight.datasets, sight.place
                groups.setdefault(key, []).append(rpc)
        best = [rpcs for rpcs in groups.values() if len(rpcs) >= quorum]
        if len(best) == 1:
            block = finals[best[0][0]][number]
            return Agreed(block, block.sights[consortium], tuple(best[0]))
        # While the datasets that are asked for change, answers differ that say the same.
        answered = whole and (
            sum(len(rpcs) for rpcs in groups.values()) == len(finals) and len({key[2] for key in groups}) == 1
        )
        if len(best) > 1 or (number >= target and answered):
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"the nodes disagree about {consortium} at final block {number}",
                "one of them lies or follows a fork; see the log for their names",
            )
    return None
