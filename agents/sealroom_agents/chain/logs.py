# SPDX-License-Identifier: Apache-2.0
"""Logs from one node: walked back from event to event, or asked for in bounded ranges; parsed strictly.

Each event of a consortium, and each of its runs, names the block of the one before it, and the state names
the block of the last one. So what happened is walked back, one question for each block in which something
happened, however long the chain is; and a node that leaves an event out between two others breaks the walk.

A log is a hint: a node can leave one out or make one up. Code that acts on a log compares it with state
first (CH-29).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import Rpc
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


def walk(
    rpc: Rpc, contract: str, query: dict[str, Any], last: int, *, floor: int = 0, most: int = MAX_WALK
) -> Iterator[list[Happening]]:
    """Events that name the one before them, newest block first, each block's in their order.

    contract: whose events. query: address and topics, which all of them match. last: block of the newest one,
    as the state says; 0 for none. floor: block from which on down nothing is asked for. most: blocks to go
    back. Raises `ChainError` `chain-unreachable` when the node has not got the events of a block that must
    have some, or when they contradict each other.
    """
    number = last
    for _ in range(most):
        if number <= floor:
            return
        found = decoded(contract, _of_range(rpc, _logs(rpc, query, number), number, number))
        links = [event.fields.get("previousBlock", number) for event in found]
        # The first of them names an earlier block, each later one its own.
        previous = links[0] if links else number
        if previous >= number or any(link != number for link in links[1:]) or len(found) > MAX_EVENTS:
            raise hidden(rpc, number)
        yield found
        number = previous


def _logs(rpc: Rpc, query: dict[str, Any], number: int) -> Any:
    """What a node answers of one block."""
    asked = {**query, "fromBlock": hex(number), "toBlock": hex(number)}
    return rpc.request("eth_getLogs", [asked])


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
