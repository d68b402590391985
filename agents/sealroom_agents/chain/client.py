# SPDX-License-Identifier: Apache-2.0
"""Reading the chain through several nodes that must agree.

Rules (each named by its id in the project's threat catalogue where it has one):

* What is read for a decision is the same from every node, at one finalized block
  (`sealroom_agents.chain.nodes`: CH-03, CH-04).
* All reads of one view name one block hash (CH-05, EIP-1898).
* Approvals count at the finalized block only (CH-01). A revocation counts as soon as a majority shows it, and
  nothing is read while one node alone does (CH-02, `sealroom_agents.chain.newest`).
* State is the proof, a log a hint (CH-29): a study's content counts by its hash, a run's opening by the
  commitment that the ledger keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median_low
from typing import Any

from sealroom.codes import Code
from sealroom.model import Study
from sealroom_agents.chain.board import BoardReads
from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.events import approvals_in
from sealroom_agents.chain.follower import Follower
from sealroom_agents.chain.gas import GasMoney
from sealroom_agents.chain.newest import NewestStates, Settled, Snapshot, Unsettled
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.owner_reads import OwnerReads
from sealroom_agents.chain.page_reads import PageReads
from sealroom_agents.chain.proofs import ProofReads
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Head, Rpc, RpcFailure
from sealroom_agents.chain.run_reads import RunReads
from sealroom_agents.chain.views import (
    STATE_GAS,
    Seen,
    active_study,
    read,
    read_candidates,
    read_state,
    view_of,
)
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import (
    ChainView,
    Halt,
    LatestView,
)

MIN_DEPTH = 8
"""Blocks upon a block after which it counts as the one of its height, short of finality."""
SETTLE_S = 1.0
"""Seconds for which a block that one node alone has is waited for."""
SETTLE_PAUSE_S = 0.2
"""Pause between two looks, seconds."""


class ChainReader(PageReads, OwnerReads, RunReads, BoardReads, ProofReads):
    """A reader over one or several RPC endpoints. Thread safe.

    >>> reader = ChainReader(["http://127.0.0.1:8545"], timeout_s=5.0)      # doctest: +SKIP
    >>> reader.finalized_view("0x…").standing                               # doctest: +SKIP
    """

    def __init__(
        self,
        rpc_urls: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        quorum: int | None = None,
        expected_chain_id: int | None = None,
        private_chain: int | None = None,
        finalized_floor: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`finalized_floor`: highest finalized block that an earlier process saw; anything older is refused.
        `private_chain`: id of a chain that is none of `sealroom_agents.chains`, and is to be followed."""
        super().__init__(
            Nodes(
                rpc_urls,
                timeout_s=timeout_s,
                quorum=quorum,
                expected_chain_id=expected_chain_id,
                private_chain=private_chain,
                finalized_floor=finalized_floor,
                clock=clock,
            )
        )
        self._contents = Contents()
        self._apart: list[Nodes] = []
        self._newest = NewestStates(self._nodes, self._places)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Scheme and host of each endpoint."""
        return tuple(rpc.shown_url for rpc in self._nodes.rpcs)

    @property
    def available(self) -> dict[str, bool]:
        """By scheme and host, whether each endpoint is asked: one that fails is left out for a while."""
        return self._nodes.available

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen; keep it across restarts."""
        return self._nodes.finalized_floor

    def follow(
        self,
        *,
        safe: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> Follower:
        """A follower through the same endpoints; see there. What this reader is asked does not count for it:
        strangers cause such questions."""
        nodes = self._nodes.apart()
        self._apart.append(nodes)
        return Follower(nodes, self._nodes, self._contents, safe=safe, clock=clock)

    def close(self) -> None:
        """Let worker threads and connections go, also those of followers."""
        for nodes in (self._nodes, *self._apart):
            nodes.close()

    def chain_id(self) -> int:
        """The chain id on which all nodes agree; asked once.
        Raises `ChainError` `chain-disagrees` (CH-07), or `chain-unsupported`."""
        return self._nodes.chain_id()

    def finalized_head(self) -> Head:
        """The newest block that every node calls finalized, after the staleness checks."""
        return self._nodes.finalized()[0]

    def gas_money(self, address: str) -> GasMoney:
        """What an account has, and what gas costs: the lower median of what nodes with a recent block say."""

        def one(rpc: Rpc) -> tuple[int, int]:
            self._nodes.require_recent(rpc, rpc.head("latest"))
            block = rpc.request("eth_getBlockByNumber", ["latest", False])
            if not isinstance(block, dict):
                raise rpc.malformed("a malformed block")
            balance = rpc.quantity(rpc.request("eth_getBalance", [address, "latest"]), 2**256 - 1)
            return balance, rpc.quantity(block.get("baseFeePerGas", "0x0"))

        balances, fees = zip(*self._nodes.ask(one).values(), strict=True)
        return GasMoney(median_low(balances), median_low(fees))

    # --- consortia ------------------------------------------------------------------------------

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """Everything about a consortium at one finalized block, the same from every node.

        `compose_hash` asks also for the newest proposal of that recipe, where it is not the pinned one.
        Raises `ChainError`: `chain-unreachable`, `chain-stale`, `chain-disagrees`, `not-a-consortium`.
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()
        head, rpcs = self._nodes.finalized()
        rpc, view = self._agreed_view(consortium, head, rpcs, chain_id)
        return self._with_candidate(rpc, view, head, compose_hash)

    def latest_view(
        self, consortium: str, *, compose_hash: bytes | None = None, whole: bool = False
    ) -> LatestView:
        """The newest state that a majority of nodes shows alike: grounds to refuse and to stop, never to
        grant.

        `best` is read when `whole` is set or a `compose_hash` is asked for. Raises `ChainError`
        `chain-disagrees` where a node shows a change that the others do not have yet (CH-02).
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()
        settled = self._settled(consortium)
        latest, head, (rpc, *others) = settled.latest, settled.head, settled.rpcs
        reason = self._contents.reason(settled.rpcs, consortium, settled.state)
        best = None
        if whole or compose_hash is not None:
            best = self._view(rpc, consortium, head, chain_id, others=others)
            if best.revoked_by is not None:
                best = replace(best, revocation_reason=reason)
            best = self._with_candidate(rpc, best, head, compose_hash)
        return replace(latest, revocation_reason=reason, best=best)

    def _settled(self, consortium: str) -> Settled:
        """The newest settled state, looked for again for `SETTLE_S` where a node is ahead with a change."""
        until = time.monotonic() + SETTLE_S
        while True:
            try:
                return self._newest.one(consortium)
            except Unsettled:
                if time.monotonic() >= until:
                    raise
                time.sleep(SETTLE_PAUSE_S)

    def snapshots(self, consortia: Sequence[str]) -> dict[str, Snapshot]:
        """The newest state of many consortia, by as few requests as it takes: those that can be seen.

        Raises `ChainError` when the chain itself cannot be read.
        """
        return self._newest.many([consortium.lower() for consortium in consortia])

    def replaced(self, halt: Halt) -> bool:
        """Whether a quorum of nodes has another block in place of the one that showed a revocation, with
        `MIN_DEPTH` blocks upon it: a reorganisation took it. Raises `ChainError`."""

        def one(rpc: Rpc) -> bytes | None:
            head = self._nodes.require_recent(rpc, rpc.head("latest"))
            return rpc.head(halt.block_number).hash if head.number >= halt.block_number + MIN_DEPTH else None

        found = {
            rpc: seen for rpc, seen in self._nodes.ask(one).items() if seen not in (None, halt.block_hash)
        }
        return self._nodes.sufficient(found) and len(set(found.values())) == 1

    def view_at(self, consortium: str, block: int) -> ChainView:
        """Everything about a consortium at one past block, the same from every node that keeps its state.

        For auditors: it says what held then, and no more. Raises `ChainError` as `finalized_view` does.
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()
        heads = self._nodes.ask(lambda rpc: rpc.head(block))
        head, rpcs = self._nodes.agreed(heads, f"the hash of block {block}")
        return self._agreed_view(consortium, head, rpcs, chain_id)[1]

    def approvals_in(
        self, consortium: str, study: bytes, tx: bytes, *, counted: bool = False
    ) -> frozenset[str]:
        """The accounts whose approval of `study` one transaction brought on chain, by their own event or in
        the pin that counted them; the same from every node. Empty for a transaction that is not there.

        counted: only those with which the transaction pinned the study. Accounts are those of the time.
        """
        consortium = consortium.lower()
        found = self._nodes.ask(lambda rpc: approvals_in(rpc, consortium, study, tx, counted=counted))
        return self._nodes.agreed(found, f"transaction 0x{tx.hex()}")[0]

    # --- dstack's app ----------------------------------------------------------

    def app_answer(self, app: str, boot_info: tuple[Any, ...]) -> tuple[str, bool, str]:
        """`(owner, allowed, reason)` of a DstackApp for one boot, agreed at the finalized block.

        `boot_info` are the fields of `AppBootInfo` in the contract's order.
        """
        contract = interface("DstackApp")
        head, rpcs = self._nodes.finalized()

        def one(rpc: Rpc) -> tuple[str, bool, str]:
            calls = [(app, contract.encode("owner")), (app, contract.encode("isAppAllowed", boot_info))]
            owner, answer = rpc.calls_at(head.hash, calls, gas=STATE_GAS)
            if isinstance(owner, RpcFailure) or isinstance(answer, RpcFailure):
                return "0x" + 40 * "0", False, "the app contract reverts"
            allowed, reason = contract.decode("isAppAllowed", answer)
            return contract.decode("owner", owner).lower(), bool(allowed), str(reason)

        what = f"the answer of app {app} at block {head.number}"
        return self._nodes.agreed(self._nodes.ask(one, rpcs), what)[0]

    # --- inside ---------------------------------------------------------------------------------

    def _agreed_view(
        self, consortium: str, head: Head, rpcs: Sequence[Rpc], chain_id: int
    ) -> tuple[Rpc, ChainView]:
        """The view that all nodes show at one block, and one of them."""
        what = f"the state of {consortium} at block {head.number}"

        def ask(study: Study | None) -> Seen:
            nonlocal rpcs
            answers = self._nodes.ask(
                lambda rpc: read(rpc, self._places, consortium, head, study=study), rpcs
            )
            seen, rpcs = self._nodes.agreed(answers, what)
            return seen

        seen, study = self._whole(consortium, ask, lambda: rpcs)
        reason = self._contents.reason(rpcs, consortium, seen.row.state)
        return rpcs[0], view_of(consortium, head, seen, chain_id=chain_id, study=study, reason=reason)

    def _view(
        self, rpc: Rpc, consortium: str, head: Head, chain_id: int, *, others: Sequence[Rpc]
    ) -> ChainView:
        """The view that one node shows; what its hashes are of may come from `others`."""
        seen, study = self._whole(
            consortium,
            lambda study: read(rpc, self._places, consortium, head, study=study),
            lambda: (rpc, *others),
        )
        return view_of(consortium, head, seen, chain_id=chain_id, study=study)

    def _whole(
        self, consortium: str, ask: Callable[[Study | None], Seen], rpcs: Callable[[], Sequence[Rpc]]
    ) -> tuple[Seen, Study | None]:
        """What is seen with the datasets of the active study: as a rule the one that it was before."""
        study = self._contents.last(consortium)
        seen = ask(study)
        active = self._contents.active(rpcs(), consortium, seen.row.state)
        if active is not None and active != study:
            seen = ask(active)
            if active_study(seen.row.state) != active.id:
                raise ChainError(Code.CHAIN_DISAGREES, "a node contradicts itself about the active study")
        return seen, active

    def _with_candidate(self, rpc: Rpc, view: ChainView, head: Head, compose_hash: bytes | None) -> ChainView:
        if compose_hash is None or (view.study is not None and view.study.compose_hash == compose_hash):
            return view
        last = read_state(rpc, self._places, view.consortium, head).last_block
        study, unread = self._contents.proposed(
            rpc, view.consortium, compose_hash, last=last, until=head.number
        )
        if study is None:
            return replace(view, unsearched=unread)
        found = read_candidates(rpc, self._places, view.consortium, head, [study])
        return replace(view, candidate=found[0] if found else None)
