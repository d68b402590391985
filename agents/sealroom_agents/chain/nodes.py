# SPDX-License-Identifier: Apache-2.0
"""Several nodes read as one: an answer counts only when a quorum of them agrees.

* What is read is what `quorum` nodes show alike, at one block for which they show the same hash (CH-03). The
  block is the newest one that `quorum` nodes call finalized. By default that is every node; with fewer, a
  node that is silent or shows something else is passed over, named in the log, and asked again later.
* A quorum is more than half of the nodes, so that two answers never have one each. Where none has one, the
  read fails: `chain-disagrees`. What `n - quorum` nodes do, whatever it is, makes no false answer count; to
  have one count takes `quorum` liars, and to stop reading takes `n - quorum + 1`.
* A node whose head is more than `MAX_HEAD_AGE_S` away from our clock, or more than `MAX_AHEAD` blocks before
  the others, or whose finalized block went backwards, is `chain-stale` (CH-04).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, wait
from typing import TypeVar

from sealroom.codes import Code
from sealroom_agents.chain.breaker import Breaker
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.transport import TOO_LARGE
from sealroom_agents.chains import is_quorum, require_supported
from sealroom_agents.errors import CHAIN_CODES, ChainError, ConfigurationError

MAX_HEAD_AGE_S = 90
"""Seconds between a node's head and our clock, either way, beyond which the node is stale."""
GRACE_S = 2.0
"""Seconds that a slow node gets to disagree, or to show a revocation, when enough others have answered."""
MAX_AHEAD = 512
"""Blocks that one node's head may be before the others'; more is no head but a lie."""

MAX_WARNED = 1024
"""Warnings that are remembered, so that each is given once."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Nodes:
    """One or several RPC endpoints. Thread safe."""

    def __init__(
        self,
        rpc_urls: Sequence[str],
        *,
        timeout_s: float,
        quorum: int | None,
        expected_chain_id: int | None,
        private_chain: int | None,
        finalized_floor: int,
        clock: Callable[[], float],
    ) -> None:
        if not rpc_urls:
            raise ConfigurationError(
                Code.CONFIGURATION, "no RPC endpoint was given", "pass --rpc URL at least once"
            )
        if len(set(rpc_urls)) != len(rpc_urls):
            raise ConfigurationError(
                Code.CONFIGURATION,
                "an RPC endpoint was given twice",
                "agreement of a node with itself says nothing",
            )
        self._quorum = len(rpc_urls) if quorum is None else quorum
        if not is_quorum(self._quorum, len(rpc_urls)):
            raise ConfigurationError(
                Code.CONFIGURATION,
                f"{self._quorum} of {len(rpc_urls)} endpoints are no quorum",
                f"let more than half of them agree: {len(rpc_urls) // 2 + 1} to {len(rpc_urls)}",
            )
        self._timeout_s = timeout_s
        self.rpcs = tuple(Rpc(url, timeout_s=timeout_s) for url in rpc_urls)
        self._expected_chain_id = expected_chain_id
        self._private_chain = private_chain
        self._supported: set[Rpc] = set()
        self._chain_id: int | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._warned: set[tuple[Rpc, str]] = set()
        self._finalized_floor = finalized_floor
        self._breakers = {rpc: Breaker(rpc) for rpc in self.rpcs}

    def apart(self) -> Nodes:
        """The same endpoints for another purpose: with connections, threads and circuit breakers of their
        own, so that what is asked for one does not count for the other."""
        return Nodes(
            [rpc.url for rpc in self.rpcs],
            timeout_s=self._timeout_s,
            quorum=self._quorum,
            expected_chain_id=self._expected_chain_id,
            private_chain=self._private_chain,
            finalized_floor=self._finalized_floor,
            clock=self._clock,
        )

    def same(self, rpcs: Sequence[Rpc]) -> tuple[Rpc, ...]:
        """Of these nodes those with the URLs of others."""
        urls = {rpc.url for rpc in rpcs}
        return tuple(rpc for rpc in self.rpcs if rpc.url in urls)

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen."""
        return self._finalized_floor

    @property
    def available(self) -> dict[str, bool]:
        """By scheme and host, whether each endpoint is asked; two of one host count as the worse one."""
        found: dict[str, bool] = {}
        for rpc, breaker in self._breakers.items():
            found[rpc.shown_url] = found.get(rpc.shown_url, True) and breaker.available
        return found

    @property
    def quorum(self) -> int:
        """Nodes that must answer alike."""
        return self._quorum

    def breaker(self, rpc: Rpc) -> Breaker:
        """Whether a node is asked."""
        return self._breakers[rpc]

    def close(self) -> None:
        """Let worker threads and connections go."""
        for breaker in self._breakers.values():
            breaker.close()

    def chain_id(self) -> int:
        """The chain id on which all nodes agree; asked once.
        Raises `ChainError` `chain-disagrees` (CH-07), or `chain-unsupported`."""
        if self._chain_id is None:
            chain_id, _ = self.agreed(self.ask(lambda rpc: rpc.chain_id()), "the chain that they are on")
            if self._expected_chain_id is not None and chain_id != self._expected_chain_id:
                raise ChainError(
                    Code.CHAIN_DISAGREES,
                    f"the nodes are on chain {chain_id}, not {self._expected_chain_id}",
                    "compare --chain-id with the RPC endpoint",
                )
            require_supported(chain_id, private_chain=self._private_chain)
            self._chain_id = chain_id
        return self._chain_id

    def require_supported(self, rpc: Rpc) -> None:
        """Refuse a node of a chain that cannot be followed; asked once. Raises `ChainError`."""
        if self._chain_id is None and rpc not in self._supported:
            require_supported(rpc.chain_id(), private_chain=self._private_chain)
            self._supported.add(rpc)

    def finalized(self) -> tuple[Head, tuple[Rpc, ...]]:
        """The newest block that `quorum` nodes call finalized, and the nodes that agree on it."""

        # What was seen before this question: callers who ask at the same time overtake each other.
        floor = self._finalized_floor

        def newest(rpc: Rpc) -> tuple[Head, Head]:
            # In this order: the chain goes on between the two questions.
            final = rpc.head("finalized")
            latest = self.require_recent(rpc, rpc.head("latest"))
            if final.number > latest.number:
                raise ChainError(Code.CHAIN_STALE, f"{rpc.shown_url} calls a block final that it has not got")
            return latest, final

        heads = self.ask(newest)
        number = self.enough(final.number for _, final in heads.values())
        rpcs = tuple(rpc for rpc, (_, final) in heads.items() if final.number >= number)
        at_number = self.ask(
            lambda rpc: heads[rpc][1] if heads[rpc][1].number == number else rpc.head(number), rpcs
        )
        head, rpcs = self.agreed(at_number, f"the hash of block {number}")
        if head.number < floor:
            raise ChainError(
                Code.CHAIN_STALE,
                f"finalized block went back from {floor} to {head.number}",
                "a node serves an old or another chain",
            )
        with self._lock:
            self._finalized_floor = max(self._finalized_floor, head.number)
        return head, rpcs

    def require_recent(self, rpc: Rpc, head: Head) -> Head:
        """The head, unless it is too far from our clock."""
        age = self._clock() - head.timestamp
        if abs(age) > MAX_HEAD_AGE_S:
            raise ChainError(
                Code.CHAIN_STALE,
                f"the head of {rpc.shown_url} is {age:.0f} s away from this clock (limit {MAX_HEAD_AGE_S} s)",
                "check that the node is in sync, and the clock",
            )
        return head

    def ask(self, question: Callable[[Rpc], T], rpcs: Sequence[Rpc] | None = None) -> dict[Rpc, T]:
        """Ask nodes in parallel. One that fails is passed over while `quorum` others answer.

        Raises `ChainError` of what failed: of the contract's own code when all say so, else
        `chain-disagrees`, `chain-stale` or `chain-unreachable`.
        """
        breakers = [self._breakers[rpc] for rpc in (self.rpcs if rpcs is None else rpcs)]
        available = [breaker for breaker in breakers if breaker.available]
        answers, failures = self._collect(
            question, available if len(available) >= self._quorum else breakers, needed=self._quorum
        )
        if len(answers) < self._quorum:
            raise decisive(list(failures.values()), answered=bool(answers))
        for rpc, failure in failures.items():
            if failure.code == TOO_LARGE:  # it is the node's doing, since the same question had good answers
                self._breakers[rpc].fail(failure)
        return answers

    def each(self, question: Callable[[Rpc], T], rpcs: Sequence[Rpc]) -> dict[Rpc, T]:
        """What those of some nodes answer that answer within `GRACE_S`, without an error."""
        return self._collect(question, [self._breakers[rpc] for rpc in rpcs], needed=0)[0]

    def present(self) -> tuple[Rpc, ...]:
        """Nodes that are not left out, or all of them where too few are left."""
        there = tuple(rpc for rpc in self.rpcs if self._breakers[rpc].available)
        return there if self.sufficient(there) else self.rpcs

    def _collect(
        self, question: Callable[[Rpc], T], breakers: Sequence[Breaker], *, needed: int
    ) -> tuple[dict[Rpc, T], dict[Rpc, ChainError]]:
        """Answers and errors: the slow are waited for as long as they are needed, then `GRACE_S` longer."""
        asked = {breaker.ask(question): breaker.rpc for breaker in breakers}
        answers: dict[Rpc, T] = {}
        failures: dict[Rpc, ChainError] = {}
        left = set(asked)
        while left:
            lacking = len(answers) < needed
            done, left = wait(
                left, None if lacking else GRACE_S, FIRST_COMPLETED if lacking else ALL_COMPLETED
            )
            for future in done:
                try:
                    answers[asked[future]] = future.result()
                except ChainError as error:
                    failures[asked[future]] = error
            if not lacking:
                break
        for future in left:
            future.cancel()
            self._breakers[asked[future]].late()
        return answers, failures

    def agreed(self, answers: dict[Rpc, T], what: str) -> tuple[T, tuple[Rpc, ...]]:
        """The one answer that `quorum` nodes give, and those nodes; the log names the others.

        Raises `ChainError` `chain-disagrees` when no answer, or more than one, has that many.
        """
        groups: list[tuple[T, list[Rpc]]] = []
        for rpc, answer in answers.items():
            for value, rpcs in groups:
                if value == answer:
                    rpcs.append(rpc)
                    break
            else:
                groups.append((answer, [rpc]))
        accepted = [group for group in groups if len(group[1]) >= self._quorum]
        if len(accepted) != 1:
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"the nodes disagree about {what}",
                "one of them lies or follows a fork; see the gate's log for their names",
            )
        value, rpcs = accepted[0]
        for rpc in answers:
            if rpc not in rpcs:
                self.warn(rpc, f"shows something else about {what}")
        return value, tuple(rpcs)

    def sufficient(self, nodes: Sized) -> bool:
        """Whether so many nodes are a quorum."""
        return len(nodes) >= self._quorum

    def decisive(self, count: int, total: int) -> bool:
        """Whether `count` of `total` nodes that were asked decide: a quorum, and more than half."""
        return count >= max(self._quorum, total // 2 + 1)

    def near(self, heads: Mapping[Rpc, Head]) -> tuple[Rpc, ...]:
        """Nodes whose head is at most `MAX_AHEAD` before the others'; any other is left out for a while.

        Raises `ChainError` `chain-disagrees` when too few are left.
        """
        number = self.enough(head.number for head in heads.values())
        for rpc, head in heads.items():
            if head.number > number + MAX_AHEAD:
                why = f"{rpc.shown_url} shows block {head.number}, the others {number}"
                self._breakers[rpc].fail(ChainError(Code.CHAIN_STALE, why))
        near = tuple(rpc for rpc, head in heads.items() if head.number <= number + MAX_AHEAD)
        if not self.sufficient(near):
            raise ChainError(
                Code.CHAIN_DISAGREES,
                "the nodes disagree about how long the chain is",
                "one of them lies; see the log for its name",
            )
        return near

    def warn(self, rpc: Rpc, what: str) -> None:
        """Name a node in the log, once for each thing that it says."""
        with self._lock:
            if (rpc, what) in self._warned:
                return
            if len(self._warned) >= MAX_WARNED:
                self._warned.clear()
            self._warned.add((rpc, what))
        log.warning("%s %s", rpc.shown_url, what)

    def enough(self, numbers: Iterable[int]) -> int:
        """The largest number that at least `quorum` of these, and more than half, reach."""
        ordered = sorted(numbers, reverse=True)
        return ordered[min(len(ordered), max(self._quorum, len(ordered) // 2 + 1)) - 1]

    def first(self, question: Callable[[Rpc], T]) -> T:
        """Ask one node after the other until one can be reached: for pages, not for decisions."""

        def one(rpc: Rpc) -> T:
            self.require_supported(rpc)
            return question(rpc)

        breakers = sorted(
            (self._breakers[rpc] for rpc in self.rpcs), key=lambda breaker: not breaker.available
        )
        for breaker in breakers[:-1]:
            try:
                return breaker.ask(one).result()
            except ChainError as error:
                if error.code != Code.CHAIN_UNREACHABLE:
                    raise
        return breakers[-1].ask(one).result()


def decisive(failures: Sequence[ChainError], *, answered: bool) -> ChainError:
    """The failure to tell of when too few nodes answer."""
    failures = [
        error if error.code != TOO_LARGE else ChainError(Code.CHAIN_UNREACHABLE, error.message)
        for error in failures
    ]
    own = [error for error in failures if error.code in CHAIN_CODES]
    if own:
        return own[0]
    if failures and answered:
        # Some say that the contract answers, and some that it does not.
        return ChainError(Code.CHAIN_DISAGREES, failures[0].message, failures[0].hint)
    return failures[0] if failures else ChainError(Code.CHAIN_UNREACHABLE, "too few nodes answer")
