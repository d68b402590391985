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
from dataclasses import dataclass, replace
from typing import Any

from sealroom import typed
from sealroom.codes import Code
from sealroom.model import Opening, Owner, Receipt, Study, Verdict
from sealroom_agents.chain import receipts
from sealroom_agents.chain.contents import Contents
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.events import Histories, approvals_in, recent_dataset_events
from sealroom_agents.chain.history import DatasetEvent, History
from sealroom_agents.chain.newest import NewestStates, Settled, Snapshot, Unsettled
from sealroom_agents.chain.nodes import MAX_HEAD_AGE_S, Nodes
from sealroom_agents.chain.receipts import NOT_ANCHORED, Anchoring
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Head, Rpc, RpcFailure
from sealroom_agents.chain.views import (
    MAX_LISTED,
    Places,
    Seen,
    active_study,
    read,
    read_candidates,
    read_datasets,
    read_offered,
    read_state,
    read_study_datasets,
    view_of,
)
from sealroom_agents.chain.waiting import read_handovers, read_pending
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import (
    CandidateRecord,
    ChainView,
    DatasetRecord,
    Halt,
    Handover,
    LatestView,
    PendingRecord,
)

MIN_DEPTH = 8
"""Blocks upon a block after which it counts as the one of its height, short of finality."""
SETTLE_S = 1.0
"""Seconds for which a block that one node alone has is waited for."""
SETTLE_PAUSE_S = 0.2
"""Pause between two looks, seconds."""
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
    confirmed: int
    """How many of them did something there with their own account or signature."""
    records: int
    """Sum of the rows, as declared, of the newest versions of what owners offer it."""
    criteria: tuple[int, int, int]
    """≥ 3 owners; more than one jurisdiction; HIPAA/GDPR-grade: each 0 miss, 1 partial, 2 match."""
    status: int
    """0 declared by its creator, until k owners confirmed; 1 forming, 2 live, 3 revoked."""


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
        self._nodes = Nodes(
            rpc_urls,
            timeout_s=timeout_s,
            quorum=quorum,
            expected_chain_id=expected_chain_id,
            private_chain=private_chain,
            finalized_floor=finalized_floor,
            clock=clock,
        )
        self._places = Places()
        self._contents = Contents()
        self._newest = NewestStates(self._nodes, self._places)
        self._histories = Histories(self._places)

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
        Raises `ChainError` `chain-disagrees` (CH-07), or `chain-unsupported`."""
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

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """The owners of a consortium at the latest block of the first node that answers."""
        return tuple(Owner.of_abi(raw) for raw in self._latest_call("Consortium", consortium, "owners"))

    def candidates(self, consortium: str, studies: Sequence[Study]) -> list[CandidateRecord]:
        """Studies with their approvals at the head of the first node that answers, by any proposer.

        In the order given, at most `MAX_CANDIDATES`, without those of which the contract knows nothing.
        """
        consortium = consortium.lower()
        if not studies:
            return []

        def one(rpc: Rpc) -> list[CandidateRecord]:
            return read_candidates(rpc, self._places, consortium, rpc.head("latest"), studies)

        return self._nodes.first(one)

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that the owners let a consortium use, at the head of the first node that answers."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[DatasetRecord, ...]:
            head = rpc.head("latest")
            ids = read_offered(rpc, self._places, consortium, head)
            found: tuple[DatasetRecord, ...] = ()
            for start in range(0, len(ids), MAX_LISTED):
                page = ids[start : start + MAX_LISTED]
                found += read_datasets(rpc, self._places, consortium, head, page)
            return found

        return self._nodes.first(one)

    def datasets(self, consortium: str, study: Study) -> tuple[DatasetRecord, ...]:
        """Datasets of any study in the versions that it names, at the head of the first node that answers."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[DatasetRecord, ...]:
            return read_study_datasets(rpc, self._places, consortium, rpc.head("latest"), study)

        return self._nodes.first(one)

    def pending(self, consortium: str, proposals: Sequence[bytes]) -> list[PendingRecord]:
        """Votes for rosters, platforms and machines that can still take effect, at the head of the first node
        that answers; of at most `MAX_PENDING` proposals, in the order given."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> list[PendingRecord]:
            return read_pending(rpc, self._places, consortium, rpc.head("latest"), proposals)

        return self._nodes.first(one)

    def handovers(self, consortium: str, datasets: Sequence[bytes]) -> tuple[Handover, ...]:
        """Seats, and those of `datasets`, that are offered to another account, at the head of the first node
        that answers."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[Handover, ...]:
            return read_handovers(rpc, self._places, consortium, rpc.head("latest"), datasets)

        return self._nodes.first(one)

    def study_history(self, consortium: str) -> History:
        """Everything that happened to a consortium, oldest first, from the first node that shows it whole.

        Logs are for people to follow: no decision rests on them (CH-29).
        """
        consortium = consortium.lower()
        return self._nodes.first(lambda rpc: self._histories.read(rpc, consortium))

    def recent_dataset_history(self, ledger: str, datasets: Sequence[bytes]) -> tuple[DatasetEvent, ...]:
        """What happened to some datasets in the newest 10,000 blocks, oldest first, from the first node's
        logs."""
        return self._nodes.first(lambda rpc: recent_dataset_events(rpc, ledger, datasets))

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

    # --- runs and receipts ----------------------------------------------------------------------

    def booked(self, ledger: str, consortium: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of an opened run, at the heads of a quorum; `None` while fewer nodes have it.

        With `at`, the hash of a block, at that block instead. The node that sent a transaction
        could invent its receipt, so a caller that opened a run compares this with the hash of its
        opening. Raises `ChainError` (CH-03).
        """
        found = self._everywhere(ledger, "commitment", consortium, run_id, at=at)
        booked = {rpc: bytes(kept) for rpc, kept in found.items() if kept != ZERO_HASH}
        if not self._nodes.sufficient(booked):
            return None
        return self._nodes.agreed(booked, "a booked run")[0]

    def opening(
        self, ledger: str, consortium: str, run_id: bytes, kept: bytes, *, from_block: int | None = None
    ) -> Opening:
        """The opening of which the ledger keeps the hash `kept`, from the first node whose log has it.

        from_block: a block before it, as a rule not long before. Raises `ChainError` `chain-unreachable` when
        no node has a log that fits.
        """

        def look(rpc: Rpc) -> Opening:
            found = receipts.find_opening(
                rpc, ledger, consortium=consortium, run_id=run_id, from_block=from_block
            )
            if found is None or typed.opening_hash(found[0]) != kept:
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
            return found[0]

        return self._nodes.first(look)

    def receipt(
        self, ledger: str, receipt: Receipt, signature: bytes, *, from_block: int | None = None
    ) -> FoundReceipt | None:
        """What the chain has about a receipt that the enclave signed; `None` if its run was never opened.

        Logs say where to look, from `from_block` on and then from the newest back, and `Ledger.verify` at
        the head of every node says whether it is so. Raises `ChainError`: `chain-unreachable` when a node
        has no log of what its ledger has, `chain-disagrees` when the log is false.
        """
        consortium, run_id = receipt.consortium, receipt.run_id

        def look(rpc: Rpc) -> tuple[Opening, Anchoring | None] | None:
            if _latest(rpc, "Ledger", ledger, "commitment", consortium, run_id) == ZERO_HASH:
                return None
            opened = receipts.find_opening(
                rpc, ledger, consortium=consortium, run_id=run_id, from_block=from_block
            )
            if opened is None:
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
            opening, block = opened
            found = receipts.find_anchoring(rpc, ledger, opening, from_block=block)
            if found is None and _latest(rpc, "Ledger", ledger, "isAnchored", consortium, opening.number):
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's receipt")
            return opening, found

        found = self._nodes.first(look)
        if found is None:
            return None
        opening, anchoring = found
        proof = (anchoring or NOT_ANCHORED).proof(signature)
        arguments = (receipt.solidity(), opening.solidity(), proof)
        verdicts = self._everywhere(ledger, "verify", *arguments)
        agreed, _ = self._nodes.agreed(verdicts, f"run 0x{run_id.hex()}")
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
        return [str(row["consortium"]).lower() for row in self._board_page(factory, first, most)]

    def board(self, factory: str) -> list[BoardRow]:
        """The board of studies at the latest block, read page by page."""
        rows: list[BoardRow] = []
        count = int(self._latest_call("Factory", factory, "consortiumCount"))
        while len(rows) < count:
            page = self._board_page(factory, len(rows), count - len(rows))
            if not page:
                break
            rows.extend(
                BoardRow(
                    consortium=row["consortium"].lower(),
                    owners=int(row["owners"]),
                    confirmed=int(row["confirmed"]),
                    records=int(row["records"]),
                    criteria=(int(row["criteria"][0]), int(row["criteria"][1]), int(row["criteria"][2])),
                    status=int(row["status"]),
                )
                for row in page
            )
        return rows

    def _board_page(self, factory: str, first: int, most: int) -> Any:
        """Rows of the board from number `first` on: fewer where a node has not the gas for that many, since
        anyone can fill the rows of consortia of its own."""
        contract = interface("Factory")

        def one(rpc: Rpc) -> Any:
            size = min(most, BOARD_PAGE)
            while True:
                call = {"to": factory, "data": "0x" + contract.encode("board", first, size).hex()}
                (answer,) = rpc.batch([("eth_call", [call, "latest"])])
                if not isinstance(answer, RpcFailure):
                    return contract.decode("board", rpc.data(answer))
                if size == 1:
                    raise ChainError(
                        Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses the board: {answer.message}"
                    )
                size = max(1, size // 2)

        return self._nodes.first(one)

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
