# SPDX-License-Identifier: Apache-2.0
"""The chain in memory: what the nodes show of each consortium that is followed, before anybody asks.

A thread for each node looks once a block, by one exchange (`chain.look`), and what follows from all nodes is
computed again whenever one has answered. Readers get what is there, without any exchange:

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

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from sealroom.codes import Code
from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.look import Ask, Look, Question, look, nothing
from sealroom_agents.chain.memory import Memory, Search
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.pace import MIN_PAUSE_S
from sealroom_agents.chain.picture import Picture
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.searching import found
from sealroom_agents.chain.seats import NodeState, Seat
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.chain.views import Place, Places
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView, Halt, LatestView

AWAIT_S = 12.0
"""Seconds for which a reader waits for what is not followed yet: one exchange, and a little."""
MAX_FOLLOWED = 64
"""Consortia that are followed; beyond it, those without runs about which nobody asked longest are dropped."""
MAX_SEARCHES = 2
"""Logs that are searched at once, for the content of a study or the words of a revocation."""
OUT_S = 1.0
"""Longest that a node is left out while too few others have a seat, seconds."""
ROUNDS = 6
"""Looks after which `refresh` does not wait for an answer any longer."""
CLOSE_S = 1.0
"""Longest that the end waits for one look under way, seconds."""
MAX_HEIGHTS = 64
"""Heights that are asked about because a revocation was seen there."""


class Follower:
    """Follows the chain through several nodes. Thread safe."""

    def __init__(
        self,
        nodes: Nodes,
        places: Places,
        contents: Contents,
        *,
        safe: bool = False,
        clock: Callable[[], float] = time.monotonic,
        fault: Callable[[], None] = lambda: None,
    ) -> None:
        """`safe`: whether the nodes' safe blocks are followed, too. `fault`: called when an error that nobody
        foresaw has ended a thread; the process is to end."""
        self._nodes = nodes
        self._places = places
        self._contents = contents
        self._tags = ("finalized", "latest", *(("safe",) if safe else ()))
        self._clock = clock
        self._fault = fault
        self._change = threading.Condition()
        self._picture = Picture(nodes, clock=clock)
        self._searches = ThreadPoolExecutor(MAX_SEARCHES, thread_name_prefix="follower-search")
        self._threads: list[threading.Thread] = []
        self._closed = False

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

    def close(self) -> None:
        """Look no more."""
        with self._change:
            self._closed = True
            self._change.notify_all()
        for thread in self._threads:
            thread.join(CLOSE_S)
        self._searches.shutdown(wait=False, cancel_futures=True)

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
                self._wake()
            self._change.wait_for(lambda: self._closed or self._knows(memory, run_id, tag), AWAIT_S)
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

    def refresh(self, timeout_s: float = AWAIT_S, *, every: bool = False) -> bool:
        """Wait for looks that begin after this call: of a quorum, or of every node that is not left out; and
        for what follows from them. Returns whether a quorum has looked within `timeout_s`."""
        deadline, since = time.monotonic() + timeout_s, self._clock()
        for _ in range(ROUNDS):
            with self._change:
                if not self._threads:
                    return False  # nothing is followed
                memories = self._picture.memories
                for memory in memories.values():
                    memory.missed.clear()
                goals = {seat: seat.begun + 1 for seat in self._wake()}
                needed = len(goals) if every else min(self._nodes.quorum, len(goals))

                def there(goals: dict[Seat, int] = goals, needed: int = needed) -> bool:
                    return self._closed or sum(seat.ended >= goal for seat, goal in goals.items()) >= needed

                for ready in (there, self._searched):
                    self._change.wait_for(ready, max(deadline - time.monotonic(), 0.0))
                open_ = any(seat.questions - seat.answered.keys() for seat in goals)
                due = open_ or not all(map(self._ready, memories.values()))
                if not due or time.monotonic() >= deadline:
                    break
        with self._change:
            seats = self._picture.seats.values()
            return self._nodes.sufficient([one for one in seats if one.at is not None and one.at >= since])

    def _searched(self) -> bool:
        return self._closed or not any(memory.searching for memory in self._picture.memories.values())

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
            self._start()
            self._wake()
        memory.touched = now
        if not self._ready(memory):
            self._change.wait_for(
                lambda: self._closed or self._ready(memory) or self._in_vain(memory), AWAIT_S
            )
        return memory

    @staticmethod
    def _ready(memory: Memory) -> bool:
        return (memory.view is not None or memory.view_error is not None) and (
            memory.settled is not None or memory.settled_error is not None
        )

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

    # --- looking --------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._threads or self._closed:
            return
        for number, seat in enumerate(self._picture.seats.values()):
            thread = threading.Thread(target=self._work, args=(seat,), name=f"follower-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, seat: Seat) -> None:
        done = False
        try:
            while self._wait_turn(seat):
                self._look(seat)
            done = True
        finally:
            # An error that is not named below leaves this thread, and Python reports it.
            if not done:
                self._fault()

    def _wake(self) -> list[Seat]:
        due = self._picture.wake()
        self._change.notify_all()
        return due

    def _judge(self) -> None:
        """Compute anew, and have looked for what that lacks. With the lock held."""
        self._picture.judge()
        searches, self._picture.searches = self._picture.searches, []
        if not self._closed:
            for search in searches:
                self._searches.submit(self._search, search)
        self._change.notify_all()

    def _wait_turn(self, seat: Seat) -> bool:
        """Wait until a node's next look is due; whether there is one."""
        with self._change:
            out = seat.breaker.out_s
            if out:
                seated = sum(not one.breaker.out_s for one in self._picture.seats.values())
                pause = out if seated >= self._nodes.quorum else min(out, OUT_S)
            else:
                pause = seat.pace.pause(self._clock()) if seat.at is not None else 0.0
            self._change.wait_for(lambda: seat.woken or self._closed, pause)
            seat.woken = False
            seat.begun += 1
            self._picture.drop()
            return not self._closed

    def _look(self, seat: Seat) -> None:
        with self._change:
            at, begun = self._clock(), seat.begun
            asks = [memory.ask for memory in self._picture.memories.values()]
            questions = [
                *seat.questions,
                *(one for one in self._picture.heights if one not in seat.questions),
            ]

        def taken(rpc: Rpc) -> None:
            looks = self._looks(rpc, asks, questions, chain_id)
            with self._change:
                self._picture.require_near(seat, looks[0].tags["latest"].head)
                for one in looks:
                    seat.take(one, at)

        error: ChainError | None = None
        try:
            chain_id = self._nodes.chain_id()
            seat.breaker.attempt(taken)
        except ChainError as failed:
            error = failed
        with self._change:
            if error is not None and error.code == Code.CHAIN_DISAGREES:
                seat.breaker.fail(error, lied=True)
                seat.forget()
            seat.failure = error
            if error is None:
                head = seat.heads["latest"]
                seat.at = at
                seat.pace.saw(head.number, head.timestamp, at)
            seat.ended = begun
            self._judge()

    def _looks(
        self, rpc: Rpc, asks: Sequence[Ask], questions: Sequence[Question], chain_id: int
    ) -> list[Look]:
        """One look for each lens; the first is of the lens of the most consortia. Raises `ChainError`."""
        placed: dict[Place | None, list[Ask]] = {}
        unknown = [ask.consortium for ask in asks if self._places.known(rpc, ask.consortium) is None]
        if unknown:
            self._places.many(rpc, unknown, rpc.head("latest"))
        lost: list[Ask] = []
        for ask in asks:
            place = self._places.known(rpc, ask.consortium)
            if place is None:
                lost.append(ask)
            else:
                placed.setdefault(place, []).append(ask)
        looks: list[Look] = []
        failure: ChainError | None = None
        for place, group in sorted(placed.items(), key=lambda one: -len(one[1])):
            try:
                looks.append(look(rpc, place, group, tags=self._tags, questions=questions, chain_id=chain_id))
            except ChainError as error:
                if failure is None and error.code != TOO_LARGE:
                    failure = error
        if failure is not None and not looks:
            raise failure
        if not looks:
            looks.append(look(rpc, None, (), tags=self._tags, questions=questions, chain_id=chain_id))
        self._nodes.require_recent(rpc, looks[0].tags["latest"].head)
        if lost:
            told = {ask.consortium: nothing(ask) for ask in lost}
            tags = {
                tag: replace(block, sights={**block.sights, **told}) for tag, block in looks[0].tags.items()
            }
            looks[0] = replace(looks[0], tags=tags)
        return looks

    # --- logs -----------------------------------------------------------------------------------

    def _search(self, search: Search) -> None:
        """Look for something in logs, and keep it or why it was not found."""
        error: ChainError | None = None
        done = False
        try:
            keep = found(search, self._contents, self._nodes)
            done = True
        except ChainError as failed:
            error, done = failed, True
        finally:
            if not done:
                self._fault()
        memory, name = search.memory, (search.what, search.key)
        with self._change:
            memory.searching.discard(name)
            if error is None:
                memory.missed.pop(name, None)
                keep(memory)
            else:
                memory.missed[name] = self._clock(), error
            self._judge()
