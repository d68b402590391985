# SPDX-License-Identifier: Apache-2.0
"""Logs from one node: asked for in bounded ranges, or of exactly one block; parsed strictly.

A log is a hint: a node can leave one out or make one up. Whoever acts on what a log says compares it with
state (CH-29).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sealroom_agents.chain.rpc import Rpc, RpcFailure

LOG_RANGE = 10_000
"""Blocks asked for in one `eth_getLogs`; public nodes refuse more."""
MAX_RANGES = 200
"""Ranges walked in one search, so that a search ends."""
MAX_TOPICS = 4
"""Topics of one log, as the EVM has it."""


@dataclass(frozen=True)
class Where:
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

    where: Where
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


def backward(rpc: Rpc, query: dict[str, Any], upper: int) -> Iterator[Log]:
    """Newest first, from block `upper` back, at most `MAX_RANGES` ranges."""
    for _ in range(MAX_RANGES):
        lower = max(0, upper - LOG_RANGE + 1)
        yield from reversed(_asked(rpc, query, lower, upper))
        if lower == 0:
            return
        upper = lower - 1


def of_block(rpc: Rpc, query: dict[str, Any], number: int) -> list[Log]:
    """Logs of one block of the canonical chain: by its hash, and by its number where a node knows no hashes
    there (EIP-234)."""
    head = rpc.head(number)
    (answer,) = rpc.batch([("eth_getLogs", [{**query, "blockHash": "0x" + head.hash.hex()}])])
    if isinstance(answer, RpcFailure):
        return _asked(rpc, query, number, number)
    return parsed(rpc, answer)


def _asked(rpc: Rpc, query: dict[str, Any], lower: int, upper: int) -> list[Log]:
    asked = {**query, "fromBlock": hex(lower), "toBlock": hex(upper)}
    return parsed(rpc, rpc.request("eth_getLogs", [asked]))


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
        where=Where(
            block=rpc.quantity(item.get("blockNumber")),
            block_hash=rpc.data(item.get("blockHash"), 32),
            tx="0x" + rpc.data(item.get("transactionHash"), 32).hex(),
            index=rpc.quantity(item.get("logIndex")),
        ),
        topics=[rpc.data(topic, 32) for topic in named],
        data=rpc.data(item.get("data")),
    )
