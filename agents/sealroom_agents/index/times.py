# SPDX-License-Identifier: Apache-2.0
"""When things happened: the times of the blocks that events name, which no log has."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom_agents.chain.rpc import Rpc

MOST = 128
"""Blocks whose headers one exchange asks for."""


def times(rpc: Rpc, blocks: Sequence[tuple[int, bytes]]) -> dict[int, int | None]:
    """Unix seconds of some blocks, by their numbers; `None` where the node has another block there than the
    events name. blocks: number and hash of each, at most `MOST`. Raises `ChainError`."""
    answers = rpc.batch([("eth_getBlockByNumber", [hex(number), False]) for number, _ in blocks])
    found: dict[int, int | None] = {}
    for (number, block_hash), answer in zip(blocks, answers, strict=True):
        head = rpc.as_head(answer, number)
        found[number] = head.timestamp if head.hash == block_hash else None
    return found
