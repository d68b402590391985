# SPDX-License-Identifier: Apache-2.0
"""What happened, from logs: each event with its transaction, as a record of its kind.

Events of a consortium and of its runs are walked back from the last one, which the state names, so that they
cost a question for each block in which something happened. Those of a dataset belong to no consortium, and
are looked for in ranges of blocks. Logs are for people to follow and for finding things; state is the truth,
and no decision rests on a log (CH-29).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_abi.exceptions import EncodingError

from sealroom.errors import FormatError
from sealroom.model import MAX_OWNERS, Books, State
from sealroom_agents.chain.contents import find_pin
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.dataset_events import DatasetEvent
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.history import History
from sealroom_agents.chain.logs import (
    LOG_RANGE,
    Happening,
    decoded,
    forward,
    hidden,
    parsed,
    walk,
)
from sealroom_agents.chain.owner_events import Decision, Pin, RosterChange, SeatMove
from sealroom_agents.chain.receipts import runs_query
from sealroom_agents.chain.rpc import MAX_BATCH, Head, Rpc, RpcFailure
from sealroom_agents.chain.views import STATE_GAS, ZERO_HASH, Places, read_state
from sealroom_agents.errors import ChainError

KEPT_S = 3600.0
"""Seconds after which a history is read anew."""
MAX_KEPT = 256
"""Histories that are kept."""
FIRST_ROLL = 1
"""How often seats have changed hands once the first owners sit."""

Seats = tuple[int, int]
"""How often seats had changed hands, and a bitmap of them: bit i for the holder of seat i."""


@dataclass(frozen=True)
class _Block:
    """What happened in one block."""

    number: int
    """Its number."""
    count: int
    """How many events there were, with those of which no record is made."""
    events: tuple[Event, ...]
    """Records of the others, in their order."""


@dataclass(frozen=True)
class _Stream:
    """The events of a consortium, or of its runs, up to some block."""

    blocks: tuple[_Block, ...] = ()
    """Oldest first."""
    unread: int = 0
    """Newest block before them of which not all was read; 0 if they go back to the first one."""

    @property
    def newest(self) -> int:
        """Number of the last block; 0 for none."""
        return self.blocks[-1].number if self.blocks else 0

    @property
    def count(self) -> int:
        """How many events there were."""
        return sum(block.count for block in self.blocks)

    def until(self, number: int) -> _Stream:
        """Up to a block."""
        return _Stream(tuple(block for block in self.blocks if block.number <= number), self.unread)


@dataclass(frozen=True)
class _Read:
    """What was read of one consortium."""

    began: float
    """When it was begun, seconds of the clock."""
    last: Head | None
    """The last block that was read; `None` before the first."""
    votes: _Stream
    """What the consortium's own events up to it say."""
    runs: _Stream
    """What those of its runs say."""


class Histories:
    """What finalized blocks say of consortia, read once and then from where it ended. Thread safe.

    By node, and for `KEPT_S` seconds only, so that what a node once made up does not stay. A chain that was
    put back below a block which it had called final, as development nodes allow, is read anew.
    """

    def __init__(self, places: Places, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], _Read] = OrderedDict()

    def read(self, rpc: Rpc, consortium: str) -> History:
        """Everything that happened to one consortium and its runs, up to the node's latest block.

        Raises `ChainError` `chain-unreachable` when the node hides or falsifies events.
        """
        key = (rpc.url, consortium)
        # In this order: the chain goes on between the two questions.
        final, head = rpc.head("finalized"), rpc.head("latest")
        read = self._begun(key, rpc, head)
        state = read_state(rpc, self._places, consortium, head)
        votes = _walked(rpc, "Consortium", {"address": consortium}, read.votes, state.last_block)
        books = _books(rpc, state.ledger, consortium, head)
        runs = _walked(rpc, "Ledger", runs_query(state.ledger, consortium), read.runs, books.last_block)
        if votes is None or runs is None:
            # What was kept is no part of what the state names now.
            with self._lock:
                self._kept.pop(key, None)
            raise hidden(rpc, state.last_block)
        if not votes.unread and votes.count != state.events:
            raise hidden(rpc, state.last_block)
        votes = _named(rpc, consortium, head, _with_last_pin(rpc, consortium, state, votes))
        if final.number >= (0 if read.last is None else read.last.number):
            kept = _Read(read.began, final, votes.until(final.number), runs.until(final.number))
            with self._lock:
                self._kept[key] = kept
                self._kept.move_to_end(key)
                while len(self._kept) > MAX_KEPT:
                    self._kept.popitem(last=False)
        events = [event for block in (*votes.blocks, *runs.blocks) for event in block.events]
        events.sort(key=lambda event: (event.at.block, event.at.index))
        return History(tuple(events), max(votes.unread, runs.unread))

    def _begun(self, key: tuple[str, str], rpc: Rpc, head: Head) -> _Read:
        """What was read before, as long as it still stands."""
        fresh = _Read(self._clock(), None, _Stream(), _Stream())
        with self._lock:
            read = self._kept.get(key)
        if read is None or read.last is None or self._clock() - read.began > KEPT_S:
            return fresh
        if head.number >= read.last.number and rpc.head(read.last.number).hash == read.last.hash:
            return read
        return fresh


def recent_dataset_events(rpc: Rpc, ledger: str, datasets: Sequence[bytes]) -> tuple[DatasetEvent, ...]:
    """What one node's logs say of some datasets, oldest first, of the newest `LOG_RANGE` blocks: one question
    as a rule, for pages that are drawn often."""
    if not datasets:
        return ()
    newest = rpc.head("latest").number
    query = {"address": ledger, "topics": [None, ["0x" + dataset.hex() for dataset in datasets]]}
    lower = max(0, newest + 1 - LOG_RANGE)
    happened = (event for part in forward(rpc, query, lower, newest) for event in decoded("Ledger", part))
    return tuple(event for event in records(happened) if isinstance(event, DatasetEvent))


def approvals_in(
    rpc: Rpc, consortium: str, study: bytes, tx: bytes, *, counted: bool = False
) -> frozenset[str]:
    """The accounts whose approval of `study` one node's receipt of a transaction tells of.

    counted: only those with which the transaction pinned it.
    """
    receipt = rpc.request("eth_getTransactionReceipt", ["0x" + tx.hex()])
    if receipt is None:
        return frozenset()
    if not isinstance(receipt, dict):
        raise rpc.malformed("a malformed receipt")
    accounts: set[str] = set()
    items = receipt.get("logs") or ()
    for item, log in zip(items, parsed(rpc, receipt.get("logs")), strict=True):
        if rpc.data(item.get("address"), 20).hex() != consortium.removeprefix("0x"):
            continue
        for event in decoded("Consortium", [log]):
            if event.name == "Approved" and not counted and bytes(event.fields["proposal"]) == study:
                accounts.add(event.fields["owner"].lower())
            elif event.name == "StudyPinned" and bytes(event.fields["study"]) == study:
                bitmap = event.fields["roll"], event.fields["approvals"]
                accounts.update(accounts_at(rpc, consortium, rpc.head("latest"), [bitmap])[bitmap])
    return frozenset(accounts)


def _walked(rpc: Rpc, contract: str, query: dict[str, Any], known: _Stream, last: int) -> _Stream | None:
    """A stream up to its newest event, in block `last`; `None` when it does not continue `known`."""
    if last == known.newest:
        return known
    back = walk(rpc, contract, query, last, floor=known.newest)
    found = list(back)
    lowest = found[-1][0].fields["previousBlock"] if found else last
    if not back.unread and lowest != known.newest:
        return None
    blocks = tuple(_block(happened) for happened in reversed(found))
    if back.unread:  # nothing links it to what was known
        return _Stream(blocks, back.unread)
    return _Stream(known.blocks + blocks, known.unread)


def _block(happened: Sequence[Happening]) -> _Block:
    return _Block(happened[0].where.block, len(happened), tuple(records(happened)))


def _with_last_pin(rpc: Rpc, consortium: str, state: State, stream: _Stream) -> _Stream:
    """The stream with the pin of the study that the state names, which a long history does not reach."""
    pins = (event for block in stream.blocks for event in block.events if isinstance(event, Pin))
    if not stream.unread or state.study == ZERO_HASH or any(pin.content.id == state.study for pin in pins):
        return stream
    try:
        found = find_pin(rpc, consortium, state)
    except ChainError:
        found = None  # the rest is told all the same, and that it is not all
    if found is None:
        return stream
    return replace(stream, blocks=(_block([found]), *stream.blocks))


def _named(rpc: Rpc, consortium: str, head: Head, stream: _Stream) -> _Stream:
    """The stream with the accounts of those who decided."""
    events = [event for block in stream.blocks for event in block.events]
    wanted = unnamed(events, complete=not stream.unread)
    if not wanted:
        return stream
    accounts = accounts_at(rpc, consortium, head, sorted(set(wanted.values())))
    blocks = (
        replace(block, events=tuple(with_names(block.events, wanted, accounts))) for block in stream.blocks
    )
    return replace(stream, blocks=tuple(blocks))


def unnamed(events: Iterable[Event], *, complete: bool) -> dict[Decision, Seats]:
    """Decisions among a consortium's events, and which seats made each: an event has a bitmap, and who held
    the seats follows from how often seats had changed hands before it. complete: whether `events` go back to
    the first."""
    wanted: dict[Decision, Seats] = {}
    roll = FIRST_ROLL if complete else None
    for event in events:
        before = event.roll if isinstance(event, Pin) else roll
        if isinstance(event, RosterChange | SeatMove):
            before, roll = event.roll - 1, event.roll
        if isinstance(event, Decision) and not event.owners and before is not None:
            wanted[event] = before, event.approvals
    return wanted


def with_names(
    events: Iterable[Event], wanted: Mapping[Decision, Seats], accounts: Mapping[Seats, tuple[str, ...]]
) -> Iterator[Event]:
    """Events, decisions with the accounts of those who made them, where these are known."""
    for event in events:
        named = isinstance(event, Decision) and wanted.get(event) in accounts
        yield replace(event, owners=accounts[wanted[event]]) if named else event  # type: ignore[call-arg, index]


def accounts_at(
    rpc: Rpc, consortium: str, head: Head, asked: Sequence[Seats]
) -> dict[Seats, tuple[str, ...]]:
    """Accounts of bitmaps, each after so many changes of seats. The contract keeps all holders, so an answer
    never changes."""
    contract = interface("Consortium")
    found = {}
    for start in range(0, len(asked), MAX_BATCH):
        page = asked[start : start + MAX_BATCH]
        calls = [(consortium, contract.encode("accountsAt", *one)) for one in page]
        for one, answer in zip(page, rpc.calls_at(head.hash, calls, gas=STATE_GAS), strict=True):
            raw = () if isinstance(answer, RpcFailure) else contract.decode("accountsAt", answer)
            found[one] = tuple(str(account).lower() for account in raw)[:MAX_OWNERS]
    return found


def _books(rpc: Rpc, ledger: str, consortium: str, head: Head) -> Books:
    contract = interface("Ledger")
    (answer,) = rpc.calls_at(head.hash, [(ledger, contract.encode("books", consortium))], gas=STATE_GAS)
    if isinstance(answer, RpcFailure):
        raise hidden(rpc, head.number)
    return Books.of_abi(contract.decode("books", answer))


def records(happened: Iterable[Happening]) -> Iterator[Event]:
    """Records of events; those of which none is made, or whose content is not what its id says, are left
    out."""
    for event in happened:
        kind = Event.KINDS.get(event.name)
        if kind is None:
            continue
        try:
            record = kind.of_abi(event.fields, at=event.where)
            if record.content_id not in (None, event.fields.get("proposal", event.fields.get("study"))):
                continue
        except (FormatError, ValueError, EncodingError):
            continue
        yield record
