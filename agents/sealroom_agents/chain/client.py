# SPDX-License-Identifier: Apache-2.0
"""Reading the chain through several nodes that must agree.

Rules (each named by its id in the project's threat catalogue where it has one):

* What is read for a decision is the same from every node, at one finalized block
  (`sealroom_agents.chain.nodes`: CH-03, CH-04).
* All reads of one view name one block hash (CH-05, EIP-1898).
* Approvals count at the finalized block only (CH-01); a revocation counts as soon as *any* node shows it
  (CH-02).
* State is the proof, a log a hint (CH-29): a study's content counts by its hash, a run's opening by the
  commitment that the ledger keeps.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sealroom import typed
from sealroom.codes import Code
from sealroom.model import Opening, Owner, Receipt, Study, Verdict
from sealroom_agents.chain import receipts
from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.events import Histories, approvals_in
from sealroom_agents.chain.history import History
from sealroom_agents.chain.newest import Snapshot, read_many, read_one, stopping, summary
from sealroom_agents.chain.nodes import MAX_HEAD_AGE_S, Nodes
from sealroom_agents.chain.receipts import NOT_ANCHORED, Anchoring
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Head, Rpc, RpcFailure
from sealroom_agents.chain.views import read_candidates, read_state, read_view
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import CandidateRecord, ChainView, Halt, LatestView

MIN_DEPTH = 8
"""Blocks upon a block after which it counts as the one of its height, short of finality."""
BOARD_PAGE = 100
"""Rows of the board read in one call."""
ZERO_HASH = bytes(32)

__all__ = ["MAX_HEAD_AGE_S", "BoardRow", "ChainReader", "FoundReceipt"]


@dataclass(frozen=True)
class BoardRow:
    """One consortium on the board of studies, as the Factory shows it."""

    consortium: str
    """Address."""
    owners: int
    """Number of owners."""
    records: int
    """Sum of the registered rows."""
    criteria: tuple[int, int, int]
    """≥ 3 owners; more than one jurisdiction; HIPAA/GDPR-grade: each 0 miss, 1 partial, 2 match."""
    status: int
    """0 forming, 1 live, 2 revoked."""


@dataclass(frozen=True)
class FoundReceipt:
    """What the chain has about one receipt."""

    opening: Opening
    """The run's opening, as the log says; true if `verdict.opened`."""
    anchoring: Anchoring | None
    """Where the logs say that the receipt stands; true if `verdict.anchored`."""
    verdict: Verdict
    """What `Ledger.verify` says of both, the same from every node."""


class ChainReader:
    """A reader over one or several RPC endpoints. Thread safe.

    >>> reader = ChainReader(["http://127.0.0.1:8545"], timeout_s=5.0)      # doctest: +SKIP
    >>> reader.finalized_view("0x…").epoch                                  # doctest: +SKIP
    """

    def __init__(
        self,
        rpc_urls: Sequence[str],
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        quorum: int | None = None,
        expected_chain_id: int | None = None,
        finalized_floor: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`finalized_floor`: highest finalized block that an earlier process
        saw; anything older is refused."""
        self._nodes = Nodes(
            rpc_urls,
            timeout_s=timeout_s,
            quorum=quorum,
            expected_chain_id=expected_chain_id,
            finalized_floor=finalized_floor,
            clock=clock,
        )
        self._contents = Contents()
        self._histories = Histories()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Scheme and host of each endpoint."""
        return tuple(rpc.shown_url for rpc in self._nodes.rpcs)

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen; keep it across restarts."""
        return self._nodes.finalized_floor

    def close(self) -> None:
        """Let worker threads and connections go."""
        self._nodes.close()

    def chain_id(self) -> int:
        """The chain id on which all nodes agree; asked once.
        Raises `ChainError` `chain-disagrees` (CH-07)."""
        return self._nodes.chain_id()

    def finalized_head(self) -> Head:
        """The newest block that every node calls finalized, after the staleness checks."""
        return self._nodes.finalized()[0]

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
        """The newest state that any node shows: grounds to refuse and to stop, never to grant.

        `best` is read when `whole` is set or a `compose_hash` is asked for.
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()

        found = read_one(self._nodes, consortium)
        ahead = max(found, key=lambda rpc: found[rpc].head.number)
        head, state = found[ahead].head, found[ahead].state
        stop = stopping(found)
        reason = "" if stop is None else self._contents.reason((stop,), consortium, found[stop].state)
        best = None
        if whole or compose_hash is not None:
            others = tuple(rpc for rpc in found if rpc is not ahead)
            study = self._contents.pinned((ahead, *others), consortium, state)
            best = read_view(ahead, consortium, head, chain_id=chain_id, state=state, study=study)
            if best.revoked_by is not None:
                best = replace(best, revocation_reason=reason)
            best = self._with_candidate(ahead, best, head, compose_hash)
        return replace(summary(self._nodes, found), revocation_reason=reason, best=best)

    def snapshots(self, consortia: Sequence[str]) -> dict[str, Snapshot]:
        """The newest state of many consortia, by as few requests as it takes: those that can be seen.

        Raises `ChainError` when the chain itself cannot be read.
        """
        return read_many(self._nodes, [consortium.lower() for consortium in consortia])

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

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """The owners of a consortium at the latest block."""
        return tuple(Owner.of_abi(raw) for raw in self._latest_call("Consortium", consortium, "owners"))

    def candidates(self, consortium: str, studies: Sequence[Study]) -> list[CandidateRecord]:
        """Studies with their approvals at the head of the first node that answers, by any proposer.

        In the order given, at most `MAX_CANDIDATES`, without those of which the contract knows nothing.
        """
        consortium = consortium.lower()
        if not studies:
            return []
        return self._nodes.first(lambda rpc: read_candidates(rpc, consortium, rpc.head("latest"), studies))

    def study_history(self, consortium: str, *, from_block: int = 0) -> History:
        """Everything that happened to a consortium, oldest first, from the first node's logs.

        Logs are for people to follow: no decision rests on them (CH-29).
        """
        consortium = consortium.lower()
        return self._nodes.first(lambda rpc: self._histories.read(rpc, consortium, from_block=from_block))

    def approvals_in(self, consortium: str, study: bytes, tx: bytes) -> frozenset[str]:
        """The accounts whose approval of `study` one transaction brought on chain, by their own event or in
        the pin that counted them; the same from every node. Empty for a transaction that is not there.
        """
        consortium = consortium.lower()
        found = self._nodes.ask(lambda rpc: approvals_in(rpc, consortium, study, tx))
        return self._nodes.agreed(found, f"transaction 0x{tx.hex()}")[0]

    # --- runs and receipts ----------------------------------------------------------------------

    def booked(self, ledger: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of an opened run, at the heads of a quorum; `None` while fewer nodes have it.

        With `at`, the hash of a block, at that block instead. The node that sent a transaction
        could invent its receipt, so a caller that opened a run compares this with the hash of its
        opening. Raises `ChainError` (CH-03).
        """
        found = self._everywhere(ledger, "commitment", run_id, at=at)
        booked = {rpc: bytes(kept) for rpc, kept in found.items() if kept != ZERO_HASH}
        if not self._nodes.sufficient(booked):
            return None
        return self._nodes.agreed(booked, "a booked run")[0]

    def opening(self, ledger: str, run_id: bytes, kept: bytes, *, from_block: int) -> Opening:
        """The opening of which the ledger keeps the hash `kept`, from the first node whose log has it.

        Raises `ChainError` `chain-unreachable` when no node has a log, from `from_block` on, that fits.
        """

        def look(rpc: Rpc) -> Opening:
            found = receipts.find_opening(rpc, ledger, consortium=None, run_id=run_id, from_block=from_block)
            if found is None or typed.opening_hash(found) != kept:
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
            return found

        return self._nodes.first(look)

    def receipt(
        self, ledger: str, receipt: Receipt, signature: bytes, *, from_block: int | None = None
    ) -> FoundReceipt | None:
        """What the chain has about a receipt that the enclave signed; `None` if its run was never opened.

        Logs say where to look, from `from_block` on or from the newest block back, and `Ledger.verify` at
        the head of every node says whether it is so. Raises `ChainError`: `chain-unreachable` when a node
        has no log of what its ledger has, `chain-disagrees` when the log is false.
        """

        def look(rpc: Rpc) -> tuple[Opening, Anchoring | None] | None:
            if _latest(rpc, "Ledger", ledger, "commitment", receipt.run_id) == ZERO_HASH:
                return None
            opening = receipts.find_opening(
                rpc, ledger, consortium=receipt.consortium, run_id=receipt.run_id, from_block=from_block
            )
            if opening is None:
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
            found = receipts.find_anchoring(rpc, ledger, opening)
            if found is None and _latest(
                rpc, "Ledger", ledger, "isAnchored", opening.run.consortium, opening.number
            ):
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's receipt")
            return opening, found

        found = self._nodes.first(look)
        if found is None:
            return None
        opening, anchoring = found
        proof = (anchoring or NOT_ANCHORED).proof(signature)
        arguments = (receipt.solidity(), opening.solidity(), proof)
        verdicts = self._everywhere(ledger, "verify", *arguments)
        agreed, _ = self._nodes.agreed(verdicts, f"run 0x{receipt.run_id.hex()}")
        verdict = Verdict.of_abi(agreed)
        if not verdict.opened and (anchoring is None or anchoring.batch):
            # Nothing but the opening goes into what the ledger keeps of such a run.
            raise ChainError(
                Code.CHAIN_DISAGREES, "the log of the run's opening is not what the ledger opened"
            )
        return FoundReceipt(opening=opening, anchoring=anchoring, verdict=verdict)

    # --- the factory, and dstack's app ----------------------------------------------------------

    def consortia(self, factory: str) -> list[str]:
        """Addresses of all consortia of a factory, oldest first, at the latest block."""
        return [address.lower() for address in self._latest_call("Factory", factory, "consortia")]

    def listed(self, factory: str, *, first: int, most: int) -> list[str]:
        """Addresses of at most `most` consortia of a factory, from number `first` on; the list only grows."""
        rows = self._latest_call("Factory", factory, "board", first, min(most, BOARD_PAGE))
        return [str(row["consortium"]).lower() for row in rows]

    def board(self, factory: str) -> list[BoardRow]:
        """The board of studies at the latest block, read page by page."""
        rows: list[BoardRow] = []
        count = int(self._latest_call("Factory", factory, "consortiumCount"))
        while len(rows) < count:
            page = self._latest_call(
                "Factory", factory, "board", len(rows), min(BOARD_PAGE, count - len(rows))
            )
            if not page:
                break
            rows.extend(
                BoardRow(
                    consortium=row["consortium"].lower(),
                    owners=int(row["owners"]),
                    records=int(row["records"]),
                    criteria=(int(row["criteria"][0]), int(row["criteria"][1]), int(row["criteria"][2])),
                    status=int(row["status"]),
                )
                for row in page
            )
        return rows

    def app_answer(self, app: str, boot_info: tuple[Any, ...]) -> tuple[str, bool, str]:
        """`(owner, allowed, reason)` of a DstackApp for one boot, agreed at the finalized block.

        `boot_info` are the fields of `AppBootInfo` in the contract's order.
        """
        contract = interface("DstackApp")
        head, rpcs = self._nodes.finalized()

        def one(rpc: Rpc) -> tuple[str, bool, str]:
            calls = [(app, contract.encode("owner")), (app, contract.encode("isAppAllowed", boot_info))]
            owner, answer = rpc.calls_at(head.hash, calls)
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
        states = self._nodes.ask(lambda rpc: read_state(rpc, consortium, head), rpcs)
        state, rpcs = self._nodes.agreed(states, what)
        study = self._contents.pinned(rpcs, consortium, state)
        views = self._nodes.ask(
            lambda rpc: read_view(rpc, consortium, head, chain_id=chain_id, state=state, study=study), rpcs
        )
        view, rpcs = self._nodes.agreed(views, what)
        if view.revoked_by is not None:
            view = replace(view, revocation_reason=self._contents.reason(rpcs, consortium, state))
        return rpcs[0], view

    def _with_candidate(self, rpc: Rpc, view: ChainView, head: Head, compose_hash: bytes | None) -> ChainView:
        if compose_hash is None or (view.study is not None and view.study.compose_hash == compose_hash):
            return view
        study = self._contents.proposed(rpc, view.consortium, compose_hash, until=head.number)
        if study is None:
            return view
        found = read_candidates(rpc, view.consortium, head, [study])
        return replace(view, candidate=found[0] if found else None)

    def _latest_call(self, name: str, address: str, function: str, *arguments: Any) -> Any:
        """One view call at the head of the first node that answers: for pages, not for decisions."""
        return self._nodes.first(lambda rpc: _latest(rpc, name, address, function, *arguments))

    def _everywhere(
        self, ledger: str, function: str, *arguments: Any, at: bytes | None = None
    ) -> dict[Rpc, Any]:
        """One view call of the ledger at every node: at its head, or at the block of a hash."""
        if at is None:
            return self._nodes.ask(lambda rpc: _latest(rpc, "Ledger", ledger, function, *arguments))
        return self._nodes.ask(lambda rpc: _at(rpc, at, "Ledger", ledger, function, *arguments))


def _latest(rpc: Rpc, name: str, address: str, function: str, *arguments: Any) -> Any:
    """One view call at the head of one node."""
    contract = interface(name)
    return contract.decode(function, rpc.call_latest(address, contract.encode(function, *arguments)))


def _at(rpc: Rpc, block_hash: bytes, name: str, address: str, function: str, *arguments: Any) -> Any:
    """One view call at the block of a hash, of one node."""
    contract = interface(name)
    (answer,) = rpc.calls_at(block_hash, [(address, contract.encode(function, *arguments))])
    if isinstance(answer, RpcFailure):
        raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses {function}: {answer.message}")
    return contract.decode(function, answer)
