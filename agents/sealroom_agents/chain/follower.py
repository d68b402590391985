# SPDX-License-Identifier: Apache-2.0
"""The chain in memory: what the nodes show of each consortium that is followed, before anybody asks.

A thread for each node looks once a block (`chain.looking`), as a rule by one exchange (`chain.look`). What
follows from all nodes is computed again whenever one has answered (`chain.picture`). Readers get what is
there, without any exchange:

* The *view*: the newest final block of which a quorum of nodes shows the same, byte for byte (CH-03). It
  never goes back, and a final block that is replaced stops everything until a person starts the process anew.
* The *newest state*, as `chain.newest` settles it: what one node alone shows stops, for as long as it takes
  until the others have confirmed it or have not (CH-02).
* What the ledger keeps of each run that holds a lease.

What is older than `MAX_AGE_S`, or three blocks, is refused, and so is what the nodes dispute (CH-04). A node
that fails, or lies about blocks, loses its seat for a while and is named in the log (`states`). One that
shows another state of a consortium than the others, at one block, counts for nothing there: a contract can
tell nodes apart, so that is held against it for this consortium alone.

Who asks about something that is not followed waits until a quorum has shown it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.looking import Looking
from sealroom_agents.chain.memory import Memory
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.pace import MIN_PAUSE_S
from sealroom_agents.chain.picture import Picture
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.seats import NodeState, Seat
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView, Halt, LatestView

AWAIT_S = 12.0
"""Seconds for which a reader waits for what is not followed yet: one exchange, and a little."""
MAX_FOLLOWED = 64
"""Consortia that are followed; beyond it, those without runs about which nobody asked longest are dropped."""
ROUNDS = 6
"""Looks after which `refresh` does not wait for an answer any longer."""
MAX_HEIGHTS = 64
"""Heights that are asked about because a revocation was seen there."""


class Follower:
    """Follows the chain through several nodes. Thread safe."""

    def __init__(
        self,
        nodes: Nodes,
        asked: Nodes,
        contents: Contents,
        *,
        safe: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`nodes`: the endpoints, for its looks alone. `asked`: the same ones, for what is looked for in logs
        and for what a contract says besides, however it answers. `safe`: whether the nodes' safe blocks are
        followed, too."""
        self._nodes = nodes
        self._clock = clock
        self._picture = Picture(nodes, clock=clock)
        tags = ("finalized", "latest", *(("safe",) if safe else ()))
        self._looking = Looking(self._picture, nodes, asked, contents, tags=tags, clock=clock)
        self._change = self._looking.change

    @property
    def floor(self) -> int:
        """Number of the highest block that a quorum called final; keep it across restarts."""
        return self._picture.floor

    @property
    def states(self) -> tuple[NodeState, ...]:
        """How each node stands."""
        with self._change:
            return tuple(seat.state for seat in self._picture.seats.values())

    @property
    def age_s(self) -> float | None:
        """Seconds since as many nodes have answered as are needed; `None` before that."""
        with self._change:
            at = self._picture.reached()
            return None if at is None else self._clock() - at

    @property
    def trouble(self) -> str | None:
        """Which part of it an error has ended of late; `None` when none has. Another goes on in its place."""
        return self._looking.trouble

    def close(self) -> None:
        """Look no more."""
        self._looking.close()

    # --- what readers get -----------------------------------------------------------------------

    def view(self, consortium: str) -> ChainView:
        """The agreed final view. Raises `ChainError`: `chain-unreachable`, `chain-stale`, `chain-disagrees`,
        `not-a-consortium`."""
        with self._change:
            memory = self._held(consortium)
            self._require(memory.view_error, memory.view_at)
            if memory.view is None:
                raise self._picture.lacking(f"{consortium} was not read within {AWAIT_S:.0f} s")
            return memory.view

    def latest(self, consortium: str) -> LatestView:
        """The newest state that most nodes show alike, without `best`. Raises as `view` does."""
        with self._change:
            memory = self._held(consortium)
            self._require(memory.settled_error, memory.settled_at)
            if memory.settled is None:
                raise self._picture.lacking(f"{consortium} was not read within {AWAIT_S:.0f} s")
            words = memory.words.get(memory.settled.state.standing, "")
            return replace(memory.settled.latest, revocation_reason=words)

    def commitment(self, consortium: str, run_id: bytes, tag: str = "latest") -> bytes | None:
        """What the ledger keeps of a run at the newest, `safe` or `finalized` blocks of a quorum, the same at
        all of them; `None` where fewer have it. Raises `ChainError`."""
        with self._change:
            memory = self._held(consortium)
            now = self._clock()
            if memory.follow(run_id, now):
                self._looking.wake()
            self._change.wait_for(lambda: self._looking.closed or self._knows(memory, run_id, tag), AWAIT_S)
            shown = self._picture.kept(memory, run_id, tag)
            if not self._nodes.sufficient(shown):
                raise self._picture.lacking("too few nodes say what the ledger keeps of the run")
        booked = {rpc: kept for rpc, kept in shown.items() if any(kept)}
        if not self._nodes.sufficient(booked):
            return None
        return self._nodes.agreed(booked, "a booked run")[0]

    def await_booked(self, consortium: str, run_id: bytes, timeout_s: float) -> bytes | None:
        """What a quorum keeps of a run, waited for; `None` when fewer have it in time. Raises as
        `commitment` does."""
        deadline = time.monotonic() + timeout_s
        while (found := self.commitment(consortium, run_id)) is None:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.refresh(min(left, AWAIT_S))
            with self._change:  # a node that does not have it needs a moment, not a question after the other
                self._change.wait(min(left, MIN_PAUSE_S))
        return found

    def replaced(self, halt: Halt, depth: int) -> bool:
        """Whether a quorum of nodes has another block in place of the one that showed a revocation, with
        `depth` blocks upon it. The first question says no: the nodes are asked from then on."""
        with self._change:
            self._picture.heights[halt.block_number] = self._clock()
            while len(self._picture.heights) > MAX_HEIGHTS:
                del self._picture.heights[min(self._picture.heights, key=self._picture.heights.__getitem__)]
            found: dict[Rpc, bytes] = {}
            for seat in self._picture.fresh():
                there = seat.answered.get(halt.block_number)
                high = seat.heads["latest"].number >= halt.block_number + depth
                if there is not None and there != halt.block_hash and high:
                    found[seat.rpc] = there
        return self._nodes.sufficient(found) and len(set(found.values())) == 1

    def refresh(
        self, timeout_s: float = AWAIT_S, *, every: bool = False, consortium: str | None = None
    ) -> bool:
        """Wait for looks that begin after this call: of a quorum, or of every node that is not left out; and
        for what follows from them. Returns whether a quorum has looked within `timeout_s`, as
        `looked_since` counts it."""
        deadline, since = time.monotonic() + timeout_s, self._clock()
        for _ in range(ROUNDS):
            with self._change:
                if not self._looking.begun:
                    return False  # nothing is followed
                memories = self._picture.memories
                for memory in memories.values():
                    memory.missed.clear()
                goals = {seat: seat.begun + 1 for seat in self._looking.wake()}
                needed = len(goals) if every else min(self._nodes.quorum, len(goals))

                def there(goals: dict[Seat, int] = goals, needed: int = needed) -> bool:
                    ended = sum(
                        seat.ended >= goal or (consortium is not None and seat.saw(consortium) >= since)
                        for seat, goal in goals.items()
                    )
                    return self._looking.closed or ended >= needed

                for ready in (there, self._searched):
                    self._change.wait_for(ready, max(deadline - time.monotonic(), 0.0))
                open_ = any(seat.questions - seat.answered.keys() for seat in goals)
                due = open_ or not all(map(self._settled, memories.values()))
                if not due or time.monotonic() >= deadline:
                    break
        return self.looked_since(since, consortium)

    def moment(self) -> float:
        """This moment, for `looked_since`."""
        return self._clock()

    def looked_since(self, moment: float, consortium: str | None = None) -> bool:
        """Whether a quorum has had a look that began after this moment: at blocks, and at this consortium
        where one is named."""
        with self._change:
            seats = self._picture.seats.values()
            saw = [seat.seen_at if consortium is None else seat.saw(consortium) for seat in seats]
            return self._nodes.sufficient([at for at in saw if at >= moment])

    def _searched(self) -> bool:
        return self._looking.closed or not any(memory.searching for memory in self._picture.memories.values())

    # --- waiting --------------------------------------------------------------------------------

    def _held(self, consortium: str) -> Memory:
        """The memory of a consortium, waited for when it is new. With the lock held."""
        now = self._clock()
        memories = self._picture.memories
        memory = memories.get(consortium)
        if memory is None:
            memory = memories[consortium] = Memory(consortium, now)
            memory.since = {seat: seat.begun for seat in self._picture.seats.values()}
            # Runs that hold a lease keep theirs, whoever else is asked about.
            idle = sorted(
                (each for each in memories.values() if not each.runs and each is not memory),
                key=lambda each: each.touched,
            )
            for each in idle[: max(len(memories) - MAX_FOLLOWED, 0)]:
                del memories[each.consortium]
            self._looking.start()
            self._looking.wake()
        memory.touched = now
        if not self._ready(memory):
            self._change.wait_for(
                lambda: self._looking.closed or self._ready(memory) or self._in_vain(memory), AWAIT_S
            )
        return memory

    @staticmethod
    def _ready(memory: Memory) -> bool:
        return (memory.view is not None or memory.view_error is not None) and (
            memory.settled is not None or memory.settled_error is not None
        )

    def _settled(self, memory: Memory) -> bool:
        """Whether it is ready, and no error stands only because its nodes have yet to be asked for the
        datasets that it wants now."""
        behind = memory.view_error is not None and self._picture.behind(memory)
        return self._ready(memory) and not behind

    def _in_vain(self, memory: Memory) -> bool:
        """Whether too few nodes answer, though all were asked since it was added."""
        tried = all(seat.ended > memory.since[seat] for seat in self._picture.seats.values())
        return tried and not memory.searching and not self._nodes.sufficient(self._picture.fresh())

    def _require(self, error: ChainError | None, at: float) -> None:
        """Raise where the nodes dispute something, or what was read is too old."""
        if self._picture.violated is not None:
            raise self._picture.violated
        if not self._nodes.sufficient(self._picture.fresh()):
            raise self._picture.lacking(f"too few nodes have answered for {self._picture.limit():.0f} s")
        if error is not None:
            raise error
        age = self._clock() - at
        if at and age > self._picture.limit():
            raise self._picture.lacking(
                f"what the nodes showed last is {age:.0f} s old (limit {self._picture.limit():.0f} s)"
            )

    def _knows(self, memory: Memory, run_id: bytes, tag: str) -> bool:
        return self._nodes.sufficient(self._picture.kept(memory, run_id, tag)) or self._in_vain(memory)
