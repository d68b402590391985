# SPDX-License-Identifier: Apache-2.0
"""Logs from one node: asked for in bounded ranges, or of exactly one block; parsed strictly.

A log is a hint: a node can leave one out or make one up. Code that acts on a log
compares it with state first (CH-29).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.rpc import Rpc, RpcFailure
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.errors import ChainError

LOG_RANGE = 10_000
"""Blocks asked for in one `eth_getLogs`; many public nodes refuse more, and some as many."""
MAX_RANGES = 200
"""Ranges walked in one search, so that a search ends."""
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


def logs(rpc: Rpc, query: dict[str, Any], lower: int, upper: int) -> list[Log]:
    """All logs of `query` from block `lower` to `upper`, oldest first."""
    return [log for part in forward(rpc, query, lower, upper) for log in part]


def forward(rpc: Rpc, query: dict[str, Any], lower: int, upper: int) -> Iterator[list[Log]]:
    """The same range by range; a search stops asking when it stops reading."""
    for start in range(lower, upper + 1, LOG_RANGE):
        yield _asked(rpc, query, start, min(upper, start + LOG_RANGE - 1))


def backward(rpc: Rpc, query: dict[str, Any], upper: int, *, lowest: int = 0) -> Iterator[Log]:
    """Newest first, from block `upper` back to `lowest`, at most `MAX_RANGES` ranges."""
    for _ in range(MAX_RANGES):
        if upper < lowest:
            return
        lower = max(lowest, upper - LOG_RANGE + 1)
        yield from reversed(_asked(rpc, query, lower, upper))
        upper = lower - 1


def of_block(rpc: Rpc, query: dict[str, Any], number: int) -> list[Log]:
    """Logs of one block of the canonical chain: by its hash, and by its number where a node
    knows no hashes there (EIP-234)."""
    head = rpc.head(number)
    (answer,) = rpc.batch([("eth_getLogs", [{**query, "blockHash": "0x" + head.hash.hex()}])])
    if isinstance(answer, RpcFailure):
        return _asked(rpc, query, number, number)
    return _of_range(rpc, answer, number, number)


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
