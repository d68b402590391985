# SPDX-License-Identifier: Apache-2.0
"""Several nodes as one: asked together, and believed only where they agree.

* Every node must show the same hash for the block that is read, and the same answer at that hash, else
  `chain-disagrees` (CH-03). The block is the newest one that *all* nodes call finalized.
* A node whose head is more than `MAX_HEAD_AGE_S` away from our clock, or whose finalized block went
  backwards, is `chain-stale` (CH-04).
* No answer from fewer nodes than `quorum` is used: `chain-unreachable`. By default every node must answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.errors import ChainError

MAX_HEAD_AGE_S = 90
"""Seconds between a node's head and our clock, either way, beyond which the node is stale."""

T = TypeVar("T")


class Nodes:
    """One or several RPC endpoints. Thread safe."""

    def __init__(
        self,
        rpc_urls: Sequence[str],
        *,
        timeout_s: float,
        quorum: int | None,
        expected_chain_id: int | None,
        finalized_floor: int,
        clock: Callable[[], float],
    ) -> None:
        if not rpc_urls:
            raise ChainError("configuration", "no RPC endpoint was given", "pass --rpc URL at least once")
        if len(set(rpc_urls)) != len(rpc_urls):
            raise ChainError(
                "configuration",
                "an RPC endpoint was given twice",
                "agreement of a node with itself says nothing",
            )
        self._quorum = len(rpc_urls) if quorum is None else quorum
        if not 1 <= self._quorum <= len(rpc_urls):
            raise ChainError(
                "configuration", f"a quorum of {self._quorum} of {len(rpc_urls)} endpoints makes no sense"
            )
        self.rpcs = tuple(Rpc(url, timeout_s=timeout_s) for url in rpc_urls)
        self._expected_chain_id = expected_chain_id
        self._chain_id: int | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._finalized_floor = finalized_floor
        self._pool = ThreadPoolExecutor(max_workers=4 * len(rpc_urls), thread_name_prefix="chain")

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen."""
        return self._finalized_floor

    def close(self) -> None:
        """Let worker threads and connections go."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for rpc in self.rpcs:
            rpc.close()

    def chain_id(self) -> int:
        """The chain id on which all nodes agree; asked once. Raises `ChainError` `chain-disagrees`
        (CH-07)."""
        if self._chain_id is None:
            ids = set(self.ask(lambda rpc: rpc.chain_id()).values())
            if len(ids) != 1:
                raise ChainError("chain-disagrees", f"the nodes are on different chains: {sorted(ids)}")
            (chain_id,) = ids
            if self._expected_chain_id is not None and chain_id != self._expected_chain_id:
                raise ChainError(
                    "chain-disagrees",
                    f"the nodes are on chain {chain_id}, not {self._expected_chain_id}",
                    "compare --chain-id with the RPC endpoint",
                )
            self._chain_id = chain_id
        return self._chain_id

    def finalized(self) -> tuple[Head, tuple[Rpc, ...]]:
        """The newest block that all answering nodes call finalized, and those nodes."""

        def newest(rpc: Rpc) -> Head:
            self.fresh(rpc, rpc.head("latest"))
            return rpc.head("finalized")

        heads = self.ask(newest)
        number = min(head.number for head in heads.values())
        rpcs = tuple(heads)
        at_number = self.ask(
            lambda rpc: heads[rpc] if heads[rpc].number == number else rpc.head(number), rpcs
        )
        head = agreed(at_number, f"the hash of block {number}")
        with self._lock:
            if head.number < self._finalized_floor:
                raise ChainError(
                    "chain-stale",
                    f"finalized block went back from {self._finalized_floor} to {head.number}",
                    "a node serves an old or another chain",
                )
            self._finalized_floor = head.number
        return head, rpcs

    def fresh(self, rpc: Rpc, head: Head) -> Head:
        """The head, unless it is too far from our clock."""
        age = self._clock() - head.timestamp
        if abs(age) > MAX_HEAD_AGE_S:
            raise ChainError(
                "chain-stale",
                f"the head of {rpc.shown_url} is {age:.0f} s away from this clock (limit {MAX_HEAD_AGE_S} s)",
                "check that the node is in sync, and the clock",
            )
        return head

    def ask(self, question: Callable[[Rpc], T], rpcs: Sequence[Rpc] | None = None) -> dict[Rpc, T]:
        """Ask nodes in parallel. A node that cannot be reached is passed over while `quorum` others answer;
        every other failure of any node decides, because it is a sign that something is wrong."""
        futures = [(rpc, self._pool.submit(question, rpc)) for rpc in (self.rpcs if rpcs is None else rpcs)]
        answers: dict[Rpc, T] = {}
        unreachable: ChainError | None = None
        for rpc, future in futures:
            try:
                answers[rpc] = future.result()
            except ChainError as error:
                if error.code != "chain-unreachable":
                    raise
                unreachable = error
        if len(answers) < self._quorum:
            raise unreachable or ChainError("chain-unreachable", "too few nodes answer")
        return answers

    def first(self, question: Callable[[Rpc], T]) -> T:
        """Ask one node after the other until one can be reached: for pages, not for decisions."""
        for rpc in self.rpcs[:-1]:
            try:
                return question(rpc)
            except ChainError as error:
                if error.code != "chain-unreachable":
                    raise
        return question(self.rpcs[-1])


def agreed(answers: dict[Rpc, T], what: str) -> T:
    """The one answer of all nodes. Raises `ChainError` `chain-disagrees`."""
    values = list(answers.values())
    if any(value != values[0] for value in values[1:]):
        raise ChainError(
            "chain-disagrees",
            f"the nodes disagree about {what}",
            "one of them lies or follows a fork; see the gate's log for their names",
        )
    return values[0]
