# SPDX-License-Identifier: Apache-2.0
"""Logs of all blocks in turn, in ranges as wide as a node takes.

Nodes refuse wide ranges and long answers, each at a limit of its own and in words of its own. So a range that
is refused is halved, what was refused is the ceiling of the next ones, and the ceiling creeps up again. A
single block that is refused holds too many events of strangers that look like ours: it is asked for address
by address. No block is left out, and none is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.logs import REFUSED, Log, parsed
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.errors import ChainError

SMALLEST = 10
"""Blocks of the first range, and of the smallest but a single block."""
WIDEST = 10_000
"""Blocks of the widest range."""
STEADY = 16
"""Ranges at the ceiling, without a refusal, after which it is raised."""
ADDRESSES = 64
"""Addresses in one question."""


@dataclass
class _Span:
    """How wide a range one node takes."""

    width: int = SMALLEST
    ceiling: int = WIDEST
    steady: int = 0

    def refused(self, width: int) -> None:
        """A range of so many blocks was refused."""
        self.width = self.ceiling = max(1, width // 2)
        self.steady = 0

    def taken(self, width: int) -> None:
        """One was answered."""
        if width < self.width:
            return  # there were no more blocks: it says nothing of the limit
        self.steady += width >= self.ceiling
        if self.steady >= STEADY:
            self.ceiling, self.steady = min(WIDEST, self.ceiling + max(1, self.ceiling // 4)), 0
        self.width = min(max(2 * self.width, 1), self.ceiling)


@dataclass(frozen=True)
class Range:
    """What a range of blocks has."""

    last: Head
    """Its last block."""
    logs: tuple[Log, ...]
    """Its logs, in their order."""
    addresses: tuple[str, ...]
    """Address of each log's contract."""
    skipped: tuple[str, ...] = ()
    """Addresses whose logs the node refuses even alone."""


class Scan:
    """Reads on from block to block, and keeps for each node how wide a range it takes."""

    def __init__(self) -> None:
        self._spans: dict[str, _Span] = {}

    def read(
        self,
        rpc: Rpc,
        topics: Sequence[bytes],
        lower: int,
        upper: int,
        addresses: Callable[[], Sequence[str]],
    ) -> Range:
        """The logs with one of these first topics from block `lower` to `upper`, or to one before it where
        the node takes no more at once. addresses: of contracts, for a block with too many logs of others.

        Raises `ChainError`, of the node; `chain-disagrees` where blocks changed under the question.
        """
        span = self._spans.setdefault(rpc.url, _Span())
        while True:
            width = min(span.width, upper - lower + 1)
            try:
                found = _ask(rpc, {"topics": _topics(topics)}, lower, lower + width - 1)
            except ChainError as error:
                if error.code not in (REFUSED, TOO_LARGE):
                    raise
                span.refused(width)
                if width == 1:
                    return _by_address(rpc, topics, lower, addresses())
                continue
            span.taken(width)
            return found


def _topics(topics: Sequence[bytes]) -> list[list[str]]:
    return [["0x" + topic.hex() for topic in topics]]


def _ask(rpc: Rpc, query: dict[str, Any], lower: int, upper: int) -> Range:
    """The logs of a range and its last block, asked for before and after: between equal answers the branch
    did not change."""
    asked = {**query, "fromBlock": hex(lower), "toBlock": hex(upper)}
    block = ("eth_getBlockByNumber", [hex(upper), False])
    before, answer, after = rpc.batch([block, ("eth_getLogs", [asked]), block])
    if isinstance(answer, RpcFailure):
        raise ChainError(REFUSED, f"{rpc.shown_url} refuses eth_getLogs: {answer.message}")
    first, last = rpc.as_head(before, upper), rpc.as_head(after, upper)
    logs = parsed(rpc, answer)
    order = [(log.where.block, log.where.index) for log in logs]
    if order != sorted(set(order)) or any(not lower <= log.where.block <= upper for log in logs):
        raise rpc.malformed("logs out of order, or of other blocks than were asked for")
    if first != last or any(log.where.block == upper and log.where.block_hash != last.hash for log in logs):
        raise ChainError(Code.CHAIN_DISAGREES, f"{rpc.shown_url} changed its blocks under a question")
    where = tuple("0x" + rpc.data(item.get("address"), 20).hex() for item in answer)
    return Range(last, tuple(logs), where)


def _by_address(rpc: Rpc, topics: Sequence[bytes], number: int, addresses: Sequence[str]) -> Range:
    """One block, of some contracts only; of as many at once as the node takes."""
    found: list[tuple[Log, str]] = []
    skipped: list[str] = []
    last: Head | None = None
    for page in _pages(addresses):
        waiting = [page]
        while waiting:
            asked = waiting.pop()
            try:
                part = _ask(rpc, {"topics": _topics(topics), "address": list(asked)}, number, number)
            except ChainError as error:
                if error.code not in (REFUSED, TOO_LARGE):
                    raise
                if len(asked) == 1:
                    skipped += asked
                else:
                    waiting += [asked[: len(asked) // 2], asked[len(asked) // 2 :]]
                continue
            if last not in (None, part.last):
                raise ChainError(Code.CHAIN_DISAGREES, f"{rpc.shown_url} changed its blocks under a question")
            last = part.last
            found += zip(part.logs, part.addresses, strict=True)
    if last is None:
        raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses all logs of block {number}")
    found.sort(key=lambda one: one[0].where.index)
    return Range(last, tuple(log for log, _ in found), tuple(where for _, where in found), tuple(skipped))


def _pages(addresses: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(addresses), ADDRESSES):
        yield addresses[start : start + ADDRESSES]


def first_block(rpc: Rpc, address: str, head: int) -> int:
    """The block in which a contract was deployed, or an earlier one where the node does not keep old state.

    Raises `ChainError` `not-a-consortium` when there is none now.
    """

    def there(number: int) -> bool | None:
        (answer,) = rpc.batch([("eth_getCode", [address, hex(number)])])
        return None if isinstance(answer, RpcFailure) else bool(rpc.data(answer))

    if there(head) is False:
        raise ChainError(
            Code.NOT_A_CONSORTIUM, f"there is no factory at {address}", "compare --factory with the chain"
        )
    low, high = -1, head  # without code, with code
    while high - low > 1:
        middle = (low + high) // 2
        found = there(middle)
        if found is None:
            # State of old blocks is gone: it may have been deployed before.
            return low + 1
        low, high = (low, middle) if found else (middle, high)
    return high
