# SPDX-License-Identifier: Apache-2.0
"""Reads the chain on, block by block, into the index: one process at a time, whatever the number of readers.

A step takes one range of blocks: its logs and the new cursor are one transaction. Where the hash of the last
block is not the chain's any more, what came after the newest common block is dropped first. At the newest
block, consortia to which something has happened are looked at, a bounded number at each step.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.reads import at_head
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.scan import Scan, first_block
from sealroom_agents.chain.transport import TooOften
from sealroom_agents.chain.views import CALLS, Places
from sealroom_agents.errors import AgentError, ChainError, StoreError
from sealroom_agents.index.listing import Misplaced, listed
from sealroom_agents.index.reading import differing, lines, look_at
from sealroom_agents.index.rows import sort, topics
from sealroom_agents.index.times import MOST, times
from sealroom_agents.store import Store
from sealroom_agents.store.index import Index
from sealroom_agents.store.index_records import Cursor, Look, Mark, Piece

EVERY_S = 0.5
"""Pause between two looks at the newest block, seconds."""
LONGEST_PAUSE_S = 60.0
"""Longest pause that a node can ask for, seconds."""
LOOKS = 16
"""Consortia that one step looks at."""
OLD_S = 3600.0
"""Seconds after which a confirmed consortium is looked at though nothing happened: days pass too."""
JOIN_S = 5.0
"""Seconds for which the thread's last step is waited for."""
UNKNOWN_OWNERS = -1
"""Number of owners of a consortium whose line the factory does not show."""
TELL_S = 1.0
"""Seconds between two words on how far a rebuild is."""
FAULT_PAUSE_S = 5.0
"""Pause after a fault of the index itself, seconds."""
BEHIND_S = 10.0
"""Seconds for which a node may be behind what was read of it before that counts as a shorter chain."""

log = logging.getLogger(__name__)


class Follower:
    """Follows one factory. One step at a time; `run` is for a thread of its own."""

    def __init__(
        self,
        chain: ChainReader,
        store: Store,
        *,
        factory: str,
        from_block: int | None = None,
        clock: Callable[[], float] = time.time,
        fault_pause_s: float = FAULT_PAUSE_S,
    ) -> None:
        """from_block: block of the factory's deployment, where the node cannot tell. fault_pause_s: pause
        after a fault of the index itself."""
        self._fault_pause_s = fault_pause_s
        self._chain = chain
        self._index = Index(store, factory)
        self._factory = factory
        self._from_block = from_block
        self._clock = clock
        self._holder = secrets.token_hex(16)
        self._scan = Scan()
        self._places = Places()
        self._ledger = ""
        self._checked: Mark | None = None
        self._listed: Mark | None = None
        self._timed: Mark | None = None
        self._behind_since: float | None = None

    def step(self) -> bool:
        """One range of blocks, or one look at the newest. True when there is more to do at once.

        Raises `ChainError`, `StoreError`. Does nothing while another process reads on.
        """
        chain_id, cursor = self._chain.chain_id(), self._index.cursor()
        if cursor is None:
            self._index.begin(chain_id=chain_id, first=self._first())
        elif cursor.chain_id != chain_id:
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"the database indexes chain {cursor.chain_id}, the nodes are on {chain_id}",
                "give the database of that chain, or a new one",
            )
        if not self._index.hold(self._holder):
            return False
        return self._chain.first(self._step)

    def catch_up(self) -> None:
        """Steps until there is nothing more to do. Raises as `step` does."""
        while self.step():
            pass

    def begin_again(self) -> None:
        """Drop what was read. Nothing is dropped where the chain does not answer. Raises as `step` does."""
        self._index.begin_again(chain_id=self._chain.chain_id(), first=self._first())

    def run(self, stop: Event) -> None:
        """Steps until told to stop. What goes wrong is told once, and tried again, whatever it is: pages and
        readiness say meanwhile that what they show is old."""
        told = ""
        while not stop.is_set():
            pause = EVERY_S
            try:
                more = self.step()
                pause = 0.0 if more else EVERY_S
                told = ""
            except AgentError as error:
                if isinstance(error, TooOften):
                    pause = min(max(error.after_s, EVERY_S), LONGEST_PAUSE_S)
                if error.message != told:
                    log.warning("the index waits: %s", error.message)
                told = error.message
            except Exception as error:
                pause = self._fault_pause_s
                if repr(error) != told:
                    log.exception("the index waits: its own fault")
                told = repr(error)
            stop.wait(pause)
        with suppress(AgentError):
            self.release()

    def release(self) -> None:
        """Let another process read on at once."""
        self._index.release(self._holder)

    # --- inside ---------------------------------------------------------------------------------

    def _first(self) -> int:
        def first(rpc: Rpc) -> int:
            head = rpc.head("latest").number
            found = first_block(rpc, self._factory, head)
            return found if self._from_block is None else min(self._from_block, head)

        return self._chain.first(first)

    def _step(self, rpc: Rpc) -> bool:
        cursor = self._index.cursor()
        if cursor is None:
            return True
        final, head = rpc.heads()
        self._chain.require_recent(rpc, head)
        if self._moved(rpc, cursor, head):
            return True
        if head.number < cursor.at.number:
            return False
        if head.number > cursor.at.number:
            return self._read_on(rpc, cursor, head, final)
        return self._look(rpc, cursor.at, head, final)

    def _moved(self, rpc: Rpc, cursor: Cursor, head: Head) -> bool:
        """Whether the chain has not got the last block any more; then what came after the newest block that
        it has still is dropped."""
        at = cursor.at
        if not at.hash:
            return False
        if head.number < at.number:
            now = time.monotonic()
            self._behind_since = now if self._behind_since is None else self._behind_since
            if now - self._behind_since < BEHIND_S:
                return False
        elif self._hash(rpc, at.number, head) == at.hash:
            self._behind_since = None
            return False
        self._behind_since = None
        for mark in self._index.blocks():
            if mark.number <= head.number and self._hash(rpc, mark.number, head) == mark.hash:
                common = mark
                break
        else:
            common = Mark(cursor.first - 1, "")
        log.warning("the chain was reorganised: back from block %d to %d", at.number, common.number)
        self._index.roll_back(self._holder, at, common)
        return True

    @staticmethod
    def _hash(rpc: Rpc, number: int, head: Head) -> str:
        return to_hex(head.hash if head.number == number else rpc.head(number).hash)

    def _read_on(self, rpc: Rpc, cursor: Cursor, head: Head, final: Head) -> bool:
        ledger = self._ledger or self._find_ledger(rpc)
        lower = cursor.at.number + 1
        found = self._scan.read(rpc, topics(), lower, head.number, self._addresses, after=cursor.at.hash)
        told = sort(found, factory=self._factory, ledger=ledger)
        upto = Mark(found.last.number, to_hex(found.last.hash))
        piece = Piece(
            upto=upto, head=head.number, final=min(final.number, head.number),
            created=told.created, events=told.events, ran=told.ran,
        )  # fmt: skip
        if not self._index.append(self._holder, cursor.at, piece):
            return False
        if found.skipped:
            log.warning("%s refuses the logs of %s", rpc.shown_url, ", ".join(found.skipped[:5]))
        return True

    def _find_ledger(self, rpc: Rpc) -> str:
        self._ledger = str(at_head(rpc, "Factory", self._factory, "ledger")).lower()
        return self._ledger

    def _addresses(self) -> list[str]:
        return [self._factory, self._ledger, *self._index.addresses()]

    def _look(self, rpc: Rpc, at: Mark, head: Head, final: Head) -> bool:
        """Look at what moved. A node that fails ends the step, and what was seen before it is kept."""
        try:
            return self._looked(rpc, at, head, final)
        except Misplaced as error:
            return self._list_again(rpc, at, head, error.message)

    def _looked(self, rpc: Rpc, at: Mark, head: Head, final: Head) -> bool:
        new = self._index.unlined()
        wanted = [] if new else self._index.to_read(most=LOOKS, now=self._clock(), old_s=OLD_S)
        looks: list[Look] = []
        failed: ChainError | None = None
        compare = not new and not wanted and self._checked != at
        checked = self._index.to_check(most=CALLS) if compare else []
        differ: list[str] = []
        try:
            if compare:
                differ, count = differing(rpc, self._places, self._index, self._factory, checked, head)
                if count != self._index.count():
                    return self._list_again(
                        rpc, at, head, f"the factory has {count} consortia, the index {self._index.count()}"
                    )
            if new:
                looks = self._lines(rpc, head, new)
            for address, number in wanted:
                looks.append(self._one(rpc, head, address, number))
        except Misplaced:
            raise
        except ChainError as error:
            failed = error
        for look in looks:
            if look.fault is not None:
                log.warning("%s is not shown as it is: %s", look.address, look.fault)
        kept = self._index.looked(
            self._holder, at, looks,
            head=head.number, final=final.number, checked=checked, differ=differ,
        )  # fmt: skip
        if failed is not None:
            raise failed
        if kept and compare:
            self._checked = at
        return kept and (bool(wanted or new or differ) or self._time(rpc, at))

    def _time(self, rpc: Rpc, at: Mark) -> bool:
        """Ask when blocks were made in which something happened, some at a time. True when there are more."""
        if self._timed == at:
            return False
        blocks = self._index.untimed(most=MOST)
        if len(blocks) < MOST:
            self._timed = at
        return bool(blocks) and self._index.timed(self._holder, at, times(rpc, blocks))

    def _one(self, rpc: Rpc, head: Head, address: str, number: int) -> Look:
        """One consortium. Where the node answers other questions, that it does not answer this one is a fault
        of this one alone. Raises `ChainError` where it does not, or where the block is gone."""
        try:
            return look_at(
                rpc, self._places, self._index, address, head,
                chain_id=self._chain.chain_id(), factory=self._factory, number=number,
            )  # fmt: skip
        except Misplaced:
            raise
        except ChainError as error:
            if rpc.head(head.number) != head:
                raise
            return Look(address, head.number, fault=error.message)

    def _list_again(self, rpc: Rpc, at: Mark, head: Head, why: str) -> bool:
        """Make the rows of consortia from the factory's list: a node hid or made up an event of creation.
        Raises `ChainError` where the list of the same block does not end the difference."""
        if self._listed == at:
            raise rpc.malformed("a list of consortia that contradicts itself")
        log.warning("consortia are listed again: %s", why)
        self._listed = at
        return self._index.list_again(self._holder, at, listed(rpc, self._factory, head))

    def _lines(self, rpc: Rpc, head: Head, new: Sequence[tuple[str, int]]) -> list[Look]:
        """The lines of consortia that have none yet; they stand one after the other in the factory's list."""
        address, first = new[0]
        named = [one for place, (one, number) in enumerate(new) if number == first + place]
        try:
            return lines(rpc, self._factory, head, first, named)
        except Misplaced:
            raise
        except ChainError as error:
            if error.code != Code.NOT_A_CONSORTIUM:
                raise
            return [Look(address, head.number, fault=error.message, line={"owners": UNKNOWN_OWNERS})]


@contextmanager
def following(follower: Follower) -> Iterator[None]:
    """Follow in a thread of its own meanwhile."""
    stop = Event()
    thread = threading.Thread(target=follower.run, args=(stop,), name="index", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(JOIN_S)


def rebuild(
    chain: ChainReader,
    store: Store,
    *,
    factory: str,
    from_block: int | None = None,
    told: Callable[[int, int], object] = lambda number, head: None,
) -> None:
    """Drop the index of a factory and read all of it from the chain again. `told` is called every second with
    the block that was read, and the newest one.

    Raises `ChainError`, `StoreError`, the latter also while another process reads on.
    """
    follower = Follower(chain, store, factory=factory, from_block=from_block)
    follower.begin_again()
    index, told_at = Index(store, factory), 0.0
    while follower.step():
        cursor = index.cursor()
        if cursor is not None and time.monotonic() - told_at >= TELL_S:
            told_at = time.monotonic()
            told(cursor.at.number, cursor.head)
    follower.release()
    cursor = index.cursor()
    if cursor is None or not cursor.ready:
        raise StoreError(
            Code.DATABASE, "another process reads the chain into this database", "stop the console first"
        )
