# SPDX-License-Identifier: Apache-2.0
"""Logs from one node: walked back from event to event, asked for in bounded ranges, or found by the time of
their block; parsed strictly.

Each event of a consortium, and each of its runs, names the block of the one before it, and the state names
the block of the last one. So what happened is walked back, at most one question for each block in which
something happened, however long the chain is; and a node that leaves an event out between two others breaks
the walk.

A log is a hint: a node can leave one out or make one up. Code that acts on a log compares it with state
first (CH-29).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.errors import ChainError

LOG_RANGE = 10_000
"""Blocks asked for in one `eth_getLogs`; many public nodes refuse more, and some as many."""
MAX_RANGES = 200
"""Ranges walked in one search, so that a search ends."""
MAX_WALK = 4096
"""Blocks with events that one walk goes back, so that a walk ends."""
MAX_EVENTS = 4096
"""Events of one consortium in one block that are read; a block has gas for a quarter."""
GROWTH = 4
"""How many times more blocks each question of a walk covers than the one before."""
SAME_TIME = 1000
"""Blocks that may have one time, and are searched for what happened then."""
MAX_PROBES = 160
"""Headers that are read to find the block of a time."""
FIRST_STEP = 1024
"""Blocks of the first step back from a known block to an earlier time."""
MAX_HALVINGS = 7
"""Times that a range is halved which a node refuses: down to less than 100 blocks."""
REFUSED = Code.REQUEST_REFUSED
"""Code of a node's no, inside this module."""
MAX_TOPICS = 4
"""Topics of one log, as the EVM has it."""


@dataclass(frozen=True)
class LogPosition:
    """Where an event happened."""

    block: int
    """Block number."""
    block_hash: bytes
    """Block hash, 32 bytes."""
    tx: str
    """Transaction hash, `0x` + 64 hex digits."""
    index: int
    """Position of the log in its block."""


@dataclass(frozen=True)
class Log:
    """One log, not decoded."""

    where: LogPosition
    topics: list[bytes]
    data: bytes


def topics(*words: bytes | None) -> list[str | None]:
    """A topic filter: `None` matches anything."""
    return [None if word is None else "0x" + word.hex() for word in words]


def address_topic(address: str) -> bytes:
    """An address as the 32 bytes of an indexed field."""
    return bytes(12) + bytes.fromhex(address.removeprefix("0x"))


def forward(
    rpc: Rpc, query: dict[str, Any], lower: int, upper: int, *, most: int = MAX_RANGES
) -> Iterator[list[Log]]:
    """Logs of `query` from block `lower` to `upper`, oldest first, range by range, `most` ranges; a search
    stops asking when it stops reading."""
    for start in range(lower, upper + 1, LOG_RANGE)[:most]:
        yield _asked(rpc, query, start, min(upper, start + LOG_RANGE - 1))


def backward(rpc: Rpc, query: dict[str, Any], upper: int, *, most: int = MAX_RANGES) -> Iterator[list[Log]]:
    """Logs of `query` from block `upper` back, newest range first, `most` ranges; a search stops asking when
    it stops reading."""
    for end in range(upper, -1, -LOG_RANGE)[:most]:
        yield _asked(rpc, query, max(0, end + 1 - LOG_RANGE), end)


@dataclass(frozen=True)
class Happening:
    """One event, decoded."""

    where: LogPosition
    """Where it happened."""
    name: str
    """Name of the event."""
    fields: dict[str, Any]
    """Its fields under their names."""


def decoded(contract: str, logs: Sequence[Log]) -> list[Happening]:
    """The events of a contract among logs; all else is passed over."""
    abi = interface(contract)
    return [
        Happening(log.where, *event)
        for log in logs
        if (event := abi.decode_log(log.topics, log.data)) is not None
    ]


class Walk(Iterator[list[Happening]]):
    """Events that name the one before them, newest block first, each block's in their order."""

    def __init__(
        self,
        rpc: Rpc,
        contract: str,
        query: dict[str, Any],
        last: int,
        *,
        floor: int = 0,
        most: int = MAX_WALK,
    ) -> None:
        """contract: whose events. query: address and topics, which all of them match. last: block of the
        newest one, as the state says; 0 for none. floor: block from which on down nothing is asked for.
        most: blocks to go back.

        The steps raise `ChainError` `chain-unreachable` when the node has not got the events of a block that
        must have some, or when they contradict each other.
        """
        self._rpc, self._contract, self._query = rpc, contract, query
        self._number, self._floor, self._left = last, floor, most
        self._span, self._widest = 1, LOG_RANGE
        self._asked: tuple[int, list[Log]] | None = None

    def __next__(self) -> list[Happening]:
        number, rpc = self._number, self._rpc
        if number <= self._floor or self._left <= 0:
            raise StopIteration
        found = decoded(self._contract, self._logs(number))
        links = [event.fields.get("previousBlock", number) for event in found]
        # The first of them names an earlier block, each later one its own.
        previous = links[0] if links else number
        if previous >= number or any(link != number for link in links[1:]) or len(found) > MAX_EVENTS:
            raise hidden(rpc, number)
        self._number, self._left = previous, self._left - 1
        return found

    def _logs(self, number: int) -> list[Log]:
        """Logs of one block. Each question covers more blocks before it than the one before, as long as the
        node takes that, so that events in many blocks one after the other cost few questions."""
        while self._asked is None or number < self._asked[0]:
            start = max(self._floor + 1, number - self._span + 1)
            asked = {**self._query, "fromBlock": hex(start), "toBlock": hex(number)}
            try:
                answer = self._rpc.request("eth_getLogs", [asked], refused=REFUSED)
            except ChainError as error:
                if error.code not in (REFUSED, TOO_LARGE):
                    raise
                if start == number:
                    raise ChainError(Code.CHAIN_UNREACHABLE, error.message, error.hint) from error
                self._span = self._widest = max(1, self._span // GROWTH**2)
                continue
            self._asked = start, _of_range(self._rpc, answer, start, number)
            self._span = min(GROWTH * self._span, self._widest)
        return [log for log in self._asked[1] if log.where.block == number]

    @property
    def unread(self) -> int:
        """Newest block that has events and was not read yet; 0 when the walk came to its floor. Once the walk
        has ended, anything but 0 says that it was cut: nothing is known of that block and those before it."""
        return self._number if self._number > self._floor else 0


def walk(
    rpc: Rpc, contract: str, query: dict[str, Any], last: int, *, floor: int = 0, most: int = MAX_WALK
) -> Walk:
    """A walk back: see `Walk`. Its `unread` tells whether it ended at its bound."""
    return Walk(rpc, contract, query, last, floor=floor, most=most)


def at_time(rpc: Rpc, query: dict[str, Any], when: int, upper: int) -> list[Log]:
    """Logs of `query` in the blocks of one time, unix seconds, up to block `upper`.

    So an event whose time the state keeps is found by some headers and one question for logs, however many
    other events lie between. What a node says of times is a hint like its logs. Raises `ChainError`
    `chain-unreachable` when its times do not lead anywhere.
    """
    first = _first_at(rpc, when, upper)
    return _asked(rpc, query, first, min(upper, first + SAME_TIME - 1))


def _first_at(rpc: Rpc, when: int, upper: int) -> int:
    """The first block whose time is at least `when`, which that of `upper` is."""
    high, step = rpc.head(upper), FIRST_STEP
    if high.timestamp < when:
        raise rpc.malformed(f"a block {upper} that is older than what happened before it")
    low: Head | None = None
    for probe in range(MAX_PROBES):
        if low is not None and high.number - low.number <= 1:
            return high.number
        if low is None:  # step back until before it
            if high.number == 0:
                return 0
            number, step = max(0, high.number - step), 4 * step
        elif probe % 2:
            number = (low.number + high.number) // 2
        else:  # as if blocks came evenly
            share = (when - low.timestamp) / max(1, high.timestamp - low.timestamp)
            guess = low.number + int(share * (high.number - low.number))
            number = min(max(guess, low.number + 1), high.number - 1)
        head = rpc.head(number)
        if head.timestamp < when:
            low = head
        else:
            high = head
    raise rpc.malformed("times of blocks that lead nowhere")


def hidden(rpc: Rpc, number: int) -> ChainError:
    """The error of a node that has not got the events of a block, or other ones."""
    return ChainError(
        Code.CHAIN_UNREACHABLE,
        f"{rpc.shown_url} does not have the logs of block {number}, in which something happened",
        "the node hides or falsifies them, or does not keep logs of that block: ask another one",
    )


def _asked(
    rpc: Rpc, query: dict[str, Any], lower: int, upper: int, *, halvings: int = MAX_HALVINGS
) -> list[Log]:
    """Logs of a range; of its halves where the node finds it too wide, or its logs too many."""
    asked = {**query, "fromBlock": hex(lower), "toBlock": hex(upper)}
    try:
        return _of_range(rpc, rpc.request("eth_getLogs", [asked], refused=REFUSED), lower, upper)
    except ChainError as error:
        if error.code not in (REFUSED, TOO_LARGE):
            raise
        if lower == upper or halvings == 0:
            raise ChainError(Code.CHAIN_UNREACHABLE, error.message, error.hint) from error
    middle = (lower + upper) // 2
    left = _asked(rpc, query, lower, middle, halvings=halvings - 1)
    return left + _asked(rpc, query, middle + 1, upper, halvings=halvings - 1)


def _of_range(rpc: Rpc, answer: Any, lower: int, upper: int) -> list[Log]:
    found = parsed(rpc, answer)
    if any(not lower <= log.where.block <= upper for log in found):
        raise rpc.malformed("logs of other blocks than were asked for")
    return found


def parsed(rpc: Rpc, answer: Any) -> list[Log]:
    """A node's logs. Raises `ChainError` `chain-unreachable` when they are none."""
    if not isinstance(answer, list):
        raise rpc.malformed("malformed logs")
    return [_log(rpc, item) for item in answer]


def _log(rpc: Rpc, item: Any) -> Log:
    named = item.get("topics") if isinstance(item, dict) else None
    if not isinstance(named, list) or len(named) > MAX_TOPICS:
        raise rpc.malformed("malformed logs")
    return Log(
        where=LogPosition(
            block=rpc.quantity(item.get("blockNumber")),
            block_hash=rpc.data(item.get("blockHash"), 32),
            tx="0x" + rpc.data(item.get("transactionHash"), 32).hex(),
            index=rpc.quantity(item.get("logIndex")),
        ),
        topics=[rpc.data(topic, 32) for topic in named],
        data=rpc.data(item.get("data")),
    )
