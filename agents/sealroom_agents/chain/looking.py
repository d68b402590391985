# SPDX-License-Identifier: Apache-2.0
"""The threads that look at the nodes: one for each, once a block; and what is searched in logs besides.

A round of one node is as many exchanges as its consortia need (`chain.lanes`). What one of them shows counts
as soon as it is there, so that those which are slow keep nobody waiting but themselves. An exchange has a
time of its own. Where it is over, the node is asked for nothing but its blocks: one that answers has a seat,
and it was the contracts that were slow.

An error that nobody foresaw ends the thread that made it. It is reported, the process is not ready for a
while (`trouble`), and a new thread goes on: what nobody looks at gets too old to count (CH-04).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.lanes import Group
from sealroom_agents.chain.look import Ask, Look, Question, look, nothing, require_chain
from sealroom_agents.chain.memory import Memory, Search
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.picture import Picture
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.searching import found
from sealroom_agents.chain.seats import Seat
from sealroom_agents.chain.views import Places
from sealroom_agents.errors import ChainError

MAX_SEARCHES = 2
"""Logs that are searched at once, for the content of a study or the words of a revocation."""
OUT_S = 1.0
"""Longest that a node is left out while too few others have a seat, seconds."""
CLOSE_S = 1.0
"""Longest that the end waits for one look under way, seconds."""
SHARE = 5
"""An exchange about consortia has this part of the time that the node has for any."""
USUAL = 4
"""Or so many times what this node's exchanges take, where that is longer."""
ROUND_SHARE = 5
"""After this part of it, a round begins no further exchange: the node's blocks are due again."""
JUDGE_S = 0.25
"""Seconds after which what exchanges have shown counts, while others of the same round go on."""
SLOW = frozenset({Code.CHAIN_UNREACHABLE, Code.ANSWER_TOO_LARGE})
"""Codes of an exchange that may be the contracts' doing."""
TROUBLE_S = 60.0
"""Seconds for which a process is not ready after a thread died."""

log = logging.getLogger(__name__)


class Looking:
    """Keeps a picture up to date. Thread safe."""

    def __init__(
        self, picture: Picture, nodes: Nodes, asked: Nodes, contents: Contents, *, tags: Sequence[str],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """`nodes`: the endpoints, for looks alone. `asked`: the same ones, for searches in logs."""
        self.change = threading.Condition()
        """Guards the picture; notified of each change."""
        self.closed = False
        """Whether nobody looks any more."""
        self._picture = picture
        self._nodes, self._asked, self._contents = nodes, asked, contents
        self._places = Places()
        self._tags = tuple(tags)
        self._clock = clock
        self._searches = ThreadPoolExecutor(MAX_SEARCHES, thread_name_prefix="follower-search")
        self._threads: dict[Seat, threading.Thread] = {}
        self._died_at: float | None = None
        self._died = ""

    @property
    def begun(self) -> bool:
        """Whether anything is looked at."""
        return bool(self._threads)

    @property
    def trouble(self) -> str | None:
        """Which thread has died of late; `None` when none has."""
        with self.change:
            self.start()
            died_at = self._died_at
            return self._died if died_at is not None and self._clock() - died_at < TROUBLE_S else None

    def start(self) -> None:
        """See that a thread looks at each node, once something is followed. With the lock held."""
        if self.closed or not self._picture.memories:
            return
        for number, seat in enumerate(self._picture.seats.values()):
            thread = self._threads.get(seat)
            if thread is None or not thread.is_alive():
                name = f"follower-{number}"
                thread = threading.Thread(target=self._work, args=(seat,), name=name, daemon=True)
                self._threads[seat] = thread
                thread.start()

    def close(self) -> None:
        """Look no more."""
        with self.change:
            self.closed = True
            self.change.notify_all()
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(CLOSE_S)
        self._searches.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> list[Seat]:
        """Have nodes looked at now; those that are. With the lock held."""
        due = self._picture.wake()
        self.change.notify_all()
        return due

    def judge(self) -> None:
        """Compute anew, and have looked for what that lacks. With the lock held."""
        self._picture.judge()
        searches, self._picture.searches = self._picture.searches, []
        if not self.closed:
            for search in searches:
                self._searches.submit(self._search, search)
        self.change.notify_all()

    # --- one node's thread ----------------------------------------------------------------------

    def _work(self, seat: Seat) -> None:
        done = False
        try:
            while self._wait_turn(seat):
                self._round(seat)
            done = True
        finally:
            if not done:  # the error itself leaves this thread, and Python reports it
                self._succeed(seat)

    def _succeed(self, seat: Seat) -> None:
        """Another thread takes the place of this one, which an error ends."""
        with self.change:
            what = f"the thread that looks at {seat.rpc.shown_url} was ended by an error"
            self._report(what)
            seat.failure = ChainError(Code.INTERNAL, what, "see the log")
            seat.breaker.fail(seat.failure)
            seat.ended = seat.begun
            self._threads.pop(seat, None)
            self.start()
            self.change.notify_all()

    def _report(self, what: str) -> None:
        self._died, self._died_at = what, self._clock()
        log.error("%s", what)

    def _wait_turn(self, seat: Seat) -> bool:
        """Wait until a node's next round is due; whether there is one."""
        with self.change:
            out = seat.breaker.out_s
            if out:
                seated = sum(not one.breaker.out_s for one in self._picture.seats.values())
                pause = out if seated >= self._nodes.quorum else min(out, OUT_S)
            else:
                pause = seat.pace.pause(self._clock()) if seat.at is not None else 0.0
            self.change.wait_for(lambda: seat.woken or self.closed, pause)
            seat.woken = False
            seat.begun += 1
            self._picture.drop()
            return not self.closed

    def _round(self, seat: Seat) -> None:
        """Look at one node: all that is due, as long as there is time."""
        begun = seat.begun
        error: ChainError | None = None
        try:
            chain_id = self._nodes.chain_id()
            seat.breaker.attempt(lambda rpc: self._exchanges(rpc, seat, chain_id))
        except ChainError as failed:
            error = failed
        with self.change:
            if error is not None and error.code == Code.CHAIN_DISAGREES:
                seat.breaker.fail(error, lied=True)
                seat.forget()
                self._places.forget(seat.rpc)
            seat.failure = error
            seat.ended = begun
            self.judge()

    def _exchanges(self, rpc: Rpc, seat: Seat, chain_id: int) -> None:
        """Raises `ChainError` for what is the node's own fault."""
        began = judged = self._clock()
        if seat.at is None or seat.breaker.kind is not None:  # it is new, or comes back
            require_chain(rpc, chain_id)
        with self.change:
            asks = seat.lanes.due([memory.ask for memory in self._picture.memories.values()], began)
        groups, strange = self._groups(rpc, seat, asks)
        if not groups or strange:
            self._blocks(rpc, seat, chain_id, strange)
        for number, group in enumerate(groups):
            if number and self._clock() - began > rpc.timeout_s / ROUND_SHARE:
                break
            self._exchange(rpc, seat, group, chain_id)
            if number + 1 < len(groups) and (not number or self._clock() - judged > JUDGE_S):
                with self.change:
                    self.judge()
                judged = self._clock()

    def _groups(self, rpc: Rpc, seat: Seat, asks: Sequence[Ask]) -> tuple[list[Group], list[Ask]]:
        """The exchanges of a round, and those that name no ledger and lens."""
        unknown = [ask.consortium for ask in asks if self._places.known(rpc, ask.consortium) is None]
        if unknown:
            self._places.many(rpc, unknown, rpc.head("latest"))
        places = {ask.consortium: self._places.known(rpc, ask.consortium) for ask in asks}
        named = {consortium: place for consortium, place in places.items() if place is not None}
        with self.change:
            groups = seat.lanes.groups([ask for ask in asks if ask.consortium in named], named, self._clock())
        return groups, [ask for ask in asks if ask.consortium not in named]

    def _exchange(self, rpc: Rpc, seat: Seat, group: Group, chain_id: int) -> None:
        """One exchange about some consortia. Raises `ChainError` for what is the node's own fault."""
        at, most = self._clock(), self._most(rpc, seat, group)
        try:
            seen = look(rpc, group.place, group.asks, timeout_s=most, **self._asking(seat, chain_id))
        except ChainError as error:
            if error.code not in SLOW:
                raise
            self._blocks(rpc, seat, chain_id, ())  # where this fails too, it was the node
            with self.change:
                seat.lanes.bad(group, self._clock())
            if len(group.asks) == 1:
                self._places.forget(rpc, group.asks[0].consortium)  # perhaps the node named a false one
            return
        with self.change:
            self._take(seat, seen, at)
            now = self._clock()
            seat.exchanged(now - at)
            if now - at > most:
                seat.lanes.bad(group, now)
                return
            for ask in group.asks:
                sight = seen.tags["latest"].sights.get(ask.consortium)
                if sight is None:
                    continue  # the chain moved on
                if self._picture.row(sight) is not None:
                    seat.lanes.good(ask.consortium, now)
                    continue
                self._places.forget(rpc, ask.consortium)  # a node may have named another ledger then
                seat.lanes.strange(ask.consortium, now)

    def _blocks(self, rpc: Rpc, seat: Seat, chain_id: int, strange: Sequence[Ask]) -> None:
        """An exchange about blocks alone; some addresses are no consortia, as this node has told."""
        at = self._clock()
        seen = look(rpc, None, (), timeout_s=rpc.timeout_s, **self._asking(seat, chain_id))
        told = {ask.consortium: nothing(ask) for ask in strange}
        tags = {tag: replace(block, sights={**block.sights, **told}) for tag, block in seen.tags.items()}
        with self.change:
            self._take(seat, replace(seen, tags=tags), at)
            seat.exchanged(self._clock() - at)
            for ask in strange:
                seat.lanes.strange(ask.consortium, self._clock())

    def _take(self, seat: Seat, seen: Look, at: float) -> None:
        """Keep what an exchange has shown. Raises `ChainError` for what is the node's own fault."""
        head = self._nodes.require_recent(seat.rpc, seen.tags["latest"].head)
        self._picture.require_near(seat, head)
        seat.take(seen, at)
        seat.pace.saw(head.number, head.timestamp, at)

    def _most(self, rpc: Rpc, seat: Seat, group: Group) -> float:
        """Seconds that an exchange may take; longer where a consortium that is asked alone was too slow, for
        it may be the node that is."""
        if seat.usual_s is None:
            return rpc.timeout_s
        most = max(rpc.timeout_s / SHARE, USUAL * seat.usual_s) * 2 ** seat.lanes.faults(group)
        return min(most, rpc.timeout_s / 2)

    def _asking(self, seat: Seat, chain_id: int) -> dict[str, Any]:
        with self.change:
            heights = [one for one in self._picture.heights if one not in seat.questions]
            questions: list[Question] = [*seat.questions, *heights]
        return {"tags": self._tags, "questions": questions, "chain_id": chain_id}

    # --- logs -----------------------------------------------------------------------------------

    def _search(self, search: Search) -> None:
        """Look for something in logs, and keep it or why it was not found."""
        keep: Callable[[Memory], Any] | None = None
        error = ChainError(
            Code.INTERNAL, f"a search in logs of {search.memory.consortium} was ended by an error"
        )
        try:
            keep = found(search, self._contents, self._asked)
        except ChainError as failed:
            error = failed
        except Exception:
            log.exception("%s", error.message)
            with self.change:
                self._report(error.message)
        memory, name = search.memory, (search.what, search.key)
        with self.change:
            memory.searching.discard(name)
            if keep is not None:
                memory.missed.pop(name, None)
                keep(memory)
            else:
                memory.missed[name] = self._clock(), error
            self.judge()
