# SPDX-License-Identifier: Apache-2.0
"""Reading for the desk: one block, the same from every node that was named.

The block is the newest that all nodes have. Every answer is compared between them, byte for byte (CH-03), and
read at the block's hash (CH-05). Nothing here decides; what is read is shown to a person, who does.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import LOG_RANGE, MAX_WALK, Happening, Log, decoded, forward, walk
from sealroom_agents.chain.rpc import Head, Rpc, RpcFailure
from sealroom_agents.chains import require_supported
from sealroom_agents.errors import ChainError, ToolError

TIMEOUT_S = 20.0
"""How long one question to a node may take."""
BATCH = 100
"""Calls in one request."""
MAX_SCAN = 10_000
"""Ranges of blocks in which a contract's logs are looked for: 100 million blocks."""
MAX_AGE_S = 300
"""Age of a head beyond which the desk says so."""


@dataclass(frozen=True)
class Ask:
    """One view of a contract."""

    contract: str
    """Name of its ABI."""
    to: str
    """Its address."""
    function: str
    arguments: tuple[Any, ...] = ()


class Node:
    """One or several nodes that must agree, read at one block.

    `agree` off asks the first node that answers, and no other: for stopping, which must work when nodes lie
    or disagree.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        agree: bool = True,
        private_chain: int | None = None,
        reach: int = MAX_WALK,
    ) -> None:
        """reach: blocks with events that a walk goes back."""
        if not urls:
            raise ToolError(Code.CONFIGURATION, "no chain node was named", "pass --rpc URL")
        rpcs = [Rpc(url, timeout_s=TIMEOUT_S) for url in dict.fromkeys(urls)]
        if not agree:
            rpcs = [_first(rpcs)]
        self.rpcs = rpcs
        self.chain_id = self._same([rpc.chain_id() for rpc in rpcs], "the chain that they are on")
        require_supported(self.chain_id, private_chain=private_chain)
        self.head = self._common("latest")
        self.reach = reach
        self.unread = 0
        """Newest block whose events a walk left unread, because it had gone back as far as it may; 0 for
        none."""

    @property
    def url(self) -> str:
        """The node to which transactions go."""
        return self.rpcs[0].url

    @property
    def age_s(self) -> float:
        """Seconds since the block that is read."""
        return time.time() - self.head.timestamp

    def finalized(self) -> Head:
        """The newest block that all nodes call final."""
        return self._common("finalized")

    def call(self, contract: str, to: str, function: str, *arguments: Any, at: Head | None = None) -> Any:
        """One view, decoded. Raises `ChainError` `not-a-consortium` where the contract reverts."""
        (answer,) = self.calls([Ask(contract, to, function, arguments)], at=at)
        if isinstance(answer, RpcFailure):
            raise ChainError(
                Code.NOT_A_CONSORTIUM,
                f"{to} does not answer {function}: {answer.message}",
                "is the address right, and on this chain?",
            )
        return answer

    def calls(self, asks: Sequence[Ask], *, at: Head | None = None) -> list[Any]:
        """Views at the block, decoded; an `RpcFailure` where a contract reverts. Raises `ChainError`."""
        block = (at or self.head).hash
        data = [(ask.to, interface(ask.contract).encode(ask.function, *ask.arguments)) for ask in asks]
        found: list[list[bytes | RpcFailure]] = []
        for rpc in self.rpcs:
            answers: list[bytes | RpcFailure] = []
            for start in range(0, len(data), BATCH):
                answers += rpc.calls_at(block, data[start : start + BATCH])
            found.append(answers)
        read = []
        for ask, told in zip(asks, zip(*found, strict=True), strict=True):
            answer = self._same(list(told), f"{ask.function} of {ask.to}", key=_essence)
            if isinstance(answer, RpcFailure):
                if not answer.reverted:
                    raise ChainError(
                        Code.CHAIN_DISAGREES,
                        f"a node does not answer at block {self.head.number}: {answer.message}",
                        "try again; the chain has moved under the read",
                    )
                read.append(answer)
            else:
                read.append(interface(ask.contract).decode(ask.function, answer))
        return read

    def code(self, address: str) -> bytes:
        """Runtime code of an account; empty for one without."""
        return self._raw("eth_getCode", address, f"the code of {address}")

    def slot(self, address: str, slot: int) -> bytes:
        """One slot of a contract's storage, 32 bytes."""
        at = {"blockHash": "0x" + self.head.hash.hex(), "requireCanonical": True}
        answers = [
            rpc.data(rpc.request("eth_getStorageAt", [address, hex(slot), at]), 32) for rpc in self.rpcs
        ]
        return self._same(answers, f"the storage of {address}")

    def storage_proof(self, address: str, slots: Sequence[int]) -> tuple[bytes, set[bytes]]:
        """Root of a contract's whole storage, 32 bytes, and the nodes of its tree on the ways to some slots.

        Raises `ChainError` where a node does not prove its storage.
        """
        at = {"blockHash": "0x" + self.head.hash.hex(), "requireCanonical": True}
        roots: list[set[bytes]] = [set() for _ in self.rpcs]
        nodes: set[bytes] = set()
        for rpc, found in zip(self.rpcs, roots, strict=True):
            for start in range(0, len(slots), BATCH):
                asked = [f"0x{slot:064x}" for slot in slots[start : start + BATCH]]
                proof = rpc.request("eth_getProof", [address, asked, at])
                try:
                    found.add(rpc.data(proof["storageHash"], 32))
                    nodes |= {rpc.data(one) for each in proof["storageProof"] for one in each["proof"]}
                except (KeyError, TypeError):
                    raise rpc.malformed("a malformed proof") from None
        told = self._same(roots, f"the storage of {address}")
        if len(told) != 1:
            raise self.rpcs[0].malformed("several roots of one storage")
        return next(iter(told)), nodes

    def walk(self, consortium: str) -> Iterator[Happening]:
        """What happened to a consortium, the newest first; every node must tell the same.

        A walk goes back a bounded number of blocks; `unread` tells once it ended before the first event.
        Raises `ChainError` where a node leaves something out.
        """
        last = self.call("Consortium", consortium, "chronicle")["lastBlock"]
        walks = [walk(rpc, "Consortium", {"address": consortium}, last, most=self.reach) for rpc in self.rpcs]
        before = 0
        for blocks in zip(*walks, strict=True):
            found = self._same(list(blocks), f"what happened to {consortium}")
            before = found[0].fields["previousBlock"]
            yield from reversed(found)
        self.unread = max(self.unread, before)

    def events_of(self, address: str, contract: str, number: int) -> list[Happening]:
        """Events of a contract in one block, as the first node tells them: to see what one has just sent."""
        query = {"address": address}
        return decoded(
            contract, [log for part in forward(self.rpcs[0], query, number, number) for log in part]
        )

    def all_logs(self, address: str, *, from_block: int = 0) -> list[Log]:
        """All logs of a contract, oldest first: for one whose events do not name the block before them.

        Raises `way-unclear` where that would take too many questions: no log is left out in silence.
        """
        if self.head.number - from_block >= LOG_RANGE * MAX_SCAN:
            raise ToolError(
                Code.WAY_UNCLEAR,
                f"{self.head.number - from_block} blocks are too many to look for the events of {address}",
                "pass --from-block: a block before its first event",
            )
        return self._same(
            [
                [
                    log
                    for part in forward(
                        rpc, {"address": address}, from_block, self.head.number, most=MAX_SCAN
                    )
                    for log in part
                ]
                for rpc in self.rpcs
            ],
            f"the events of {address}",
            key=_told,
        )

    def _raw(self, method: str, address: str, what: str) -> bytes:
        at = {"blockHash": "0x" + self.head.hash.hex(), "requireCanonical": True}
        return self._same([rpc.data(rpc.request(method, [address, at])) for rpc in self.rpcs], what)

    def _common(self, tag: str) -> Head:
        heads = [rpc.head(tag) for rpc in self.rpcs]
        number = min(head.number for head in heads)
        same = [
            head if head.number == number else rpc.head(number)
            for rpc, head in zip(self.rpcs, heads, strict=True)
        ]
        return self._same(same, f"block {number}")

    @staticmethod
    def _same(answers: list[Any], what: str, *, key: Any = None) -> Any:
        first, *others = answers
        essence = (lambda value: value) if key is None else key
        if any(essence(other) != essence(first) for other in others):
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"the nodes disagree about {what}",
                "one of them lies or follows a fork; name the one that you run yourself",
            )
        return first


def _first(rpcs: Iterable[Rpc]) -> Rpc:
    last: ChainError | None = None
    for rpc in rpcs:
        try:
            rpc.chain_id()
        except ChainError as error:
            last = error
            continue
        return rpc
    raise last or ChainError(Code.CHAIN_UNREACHABLE, "no node answers")


def _essence(answer: bytes | RpcFailure) -> Any:
    return (answer.reverted, answer.data) if isinstance(answer, RpcFailure) else answer


def _told(logs: Sequence[Log]) -> list[Any]:
    return [(log.where.block_hash, log.where.index, log.topics, log.data) for log in logs]
