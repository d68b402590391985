# SPDX-License-Identifier: Apache-2.0
"""Logs of all blocks in turn, in ranges as wide as a node takes.

Nodes refuse wide ranges and long answers, each at a limit of its own and in words of its own, or answer such
a question not at all. So a range that is refused is halved, what was refused is the ceiling of the next ones,
and the ceiling creeps up again. A single block that is refused holds too many events of strangers that look
like ours: it is asked for address by address. No block is left out, and none is read twice.

A narrower range does not help where the node is asked too often, has not got the blocks yet, or keeps their
logs no more: that is an error by its own name, and nothing is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom_agents.chain.logs import REFUSED, Log, parsed
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure, asked_too_often
from sealroom_agents.chain.transport import TOO_LARGE, NoAnswer, TooOften
from sealroom_agents.errors import ChainError

SMALLEST = 10
"""Blocks of the first range, and of the smallest but a single block."""
WIDEST = 10_000
"""Blocks of the widest range."""
STEADY = 16
"""Ranges at the ceiling, without a refusal, after which it is raised."""
ADDRESSES = 64
"""Addresses in one question."""
STUBBORN = 20
"""Refusals of one contract's logs of one block after which they are passed over: what the state says of that
contract then shows that the index lacks some."""
PRUNED = 4444
"""JSON-RPC error code of a node that keeps no logs of such old blocks."""
_PRUNED_WORDS = re.compile(
    r"prun|history (is )?(not available|unavailable)|receipts? not available", re.IGNORECASE
)


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
        self._refusals: dict[tuple[str, int, str], int] = {}

    def read(
        self,
        rpc: Rpc,
        topics: Sequence[bytes],
        lower: int,
        upper: int,
        addresses: Callable[[], Sequence[str]],
        *,
        after: str = "",
    ) -> Range:
        """The logs with one of these first topics from block `lower` to `upper`, or to one before it where
        the node takes no more at once. addresses: of contracts, for a block with too many logs of others.
        after: hash of the block before `lower`, where it is known: the range goes on from that one.

        Raises `ChainError`, of the node: `TooOften` where it is asked too often, `chain-stale` where it has
        not got the blocks, `chain-disagrees` where they changed under the question.
        """
        span = self._spans.setdefault(rpc.url, _Span())
        while True:
            width = min(span.width, upper - lower + 1)
            try:
                found = _ask(rpc, {"topics": _topics(topics)}, lower, lower + width - 1, after)
            except ChainError as error:
                silent = isinstance(error, NoAnswer)
                if not (_answers(rpc) if silent else error.code in (REFUSED, TOO_LARGE)):
                    raise
                span.refused(width)
                if width == 1:
                    return self._by_address(rpc, topics, lower, addresses(), after)
                if silent:
                    raise  # it took its time: others go on before the narrower question
                continue
            span.taken(width)
            return found

    def _by_address(
        self, rpc: Rpc, topics: Sequence[bytes], number: int, addresses: Sequence[str], after: str
    ) -> Range:
        """One block, of some contracts only; of as many at once as the node takes."""
        found: list[tuple[Log, str]] = []
        skipped: list[str] = []
        last: Head | None = None
        for page in _pages(addresses):
            waiting = [page]
            while waiting:
                asked = waiting.pop()
                try:
                    part = _ask(
                        rpc, {"topics": _topics(topics), "address": list(asked)}, number, number, after
                    )
                except ChainError as error:
                    if error.code not in (REFUSED, TOO_LARGE):
                        raise
                    if len(asked) == 1:
                        if not self._stubborn(rpc.url, number, asked[0]):
                            raise ChainError(Code.CHAIN_UNREACHABLE, error.message, error.hint) from error
                        skipped += asked
                    else:
                        waiting += [asked[: len(asked) // 2], asked[len(asked) // 2 :]]
                    continue
                if last not in (None, part.last):
                    raise ChainError(
                        Code.CHAIN_DISAGREES, f"{rpc.shown_url} changed its blocks under a question"
                    )
                last = part.last
                found += zip(part.logs, part.addresses, strict=True)
        if last is None:
            raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses all logs of block {number}")
        found.sort(key=lambda one: one[0].where.index)
        return Range(last, tuple(log for log, _ in found), tuple(where for _, where in found), tuple(skipped))

    def _stubborn(self, url: str, number: int, address: str) -> bool:
        """Whether a node has refused these logs so often that it is no passing matter."""
        key = (url, number, address)
        if any(known[1] != number for known in self._refusals):
            self._refusals.clear()
        self._refusals[key] = self._refusals.get(key, 0) + 1
        return self._refusals[key] >= STUBBORN


def _topics(topics: Sequence[bytes]) -> list[list[str]]:
    return [["0x" + topic.hex() for topic in topics]]


def _ask(rpc: Rpc, query: dict[str, Any], lower: int, upper: int, after: str) -> Range:
    """The logs of a range and its last block, asked for before and after: between equal answers the branch
    did not change, and it is that of the block before."""
    asked = {**query, "fromBlock": hex(lower), "toBlock": hex(upper)}
    block = ("eth_getBlockByNumber", [hex(upper), False])
    earlier = [("eth_getBlockByNumber", [hex(lower - 1), False])] if after else []
    began, answer, ended, *before = rpc.batch([block, ("eth_getLogs", [asked]), block, *earlier])
    first, last = rpc.as_head(began, upper), rpc.as_head(ended, upper)
    if isinstance(answer, RpcFailure):
        raise _refusal(rpc, answer, lower, upper)
    if after and to_hex(rpc.as_head(before[0], lower - 1).hash) != after:
        raise ChainError(Code.CHAIN_DISAGREES, f"{rpc.shown_url} changed its blocks under a question")
    logs = parsed(rpc, answer)
    where = tuple("0x" + rpc.data(item.get("address"), 20).hex() for item in answer)
    order = [(log.where.block, log.where.index) for log in logs]
    if order != sorted(set(order)) or any(not lower <= log.where.block <= upper for log in logs):
        raise rpc.malformed("logs out of order, or of other blocks than were asked for")
    if any(item.get("removed") for item in answer) or not {*where} <= {*query.get("address", where)}:
        raise rpc.malformed("logs that were taken back, or of other contracts than were asked for")
    if not {"0x" + log.topics[0].hex() if log.topics else "" for log in logs} <= {*query["topics"][0]}:
        raise rpc.malformed("logs of other events than were asked for")
    hashes = {log.where.block: log.where.block_hash for log in logs} | {upper: last.hash}
    if first != last or any(log.where.block_hash != hashes[log.where.block] for log in logs):
        raise ChainError(Code.CHAIN_DISAGREES, f"{rpc.shown_url} changed its blocks under a question")
    return Range(last, tuple(logs), where)


def _refusal(rpc: Rpc, failure: RpcFailure, lower: int, upper: int) -> ChainError:
    """The error of a node that does not hand out the logs of a range."""
    if asked_too_often(failure):
        return TooOften(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} is asked too often: {failure.message}")
    if failure.code == PRUNED or _PRUNED_WORDS.search(failure.message):
        return ChainError(
            Code.CHAIN_UNREACHABLE,
            f"{rpc.shown_url} keeps no logs of the blocks {lower} to {upper}: {failure.message}",
            "add an endpoint that keeps old logs: they are read once, and the database keeps them",
        )
    return ChainError(REFUSED, f"{rpc.shown_url} refuses eth_getLogs: {failure.message}")


def _answers(rpc: Rpc) -> bool:
    """Whether a node that did not answer a wide question answers a small one: then it was the question."""
    try:
        rpc.head("latest")
    except ChainError:
        return False
    return True


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
