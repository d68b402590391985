# SPDX-License-Identifier: Apache-2.0
"""Reading the chain through several nodes that must agree.

Rules (each named by its id in the project's threat catalogue where it has one):

* Every node must show the same hash for the block that is read, and the same state at that hash, else
  `chain-disagrees` (CH-03). The block is the newest one that *all* nodes call finalized.
* All reads of one view name one block hash (CH-05, EIP-1898).
* A node whose head is more than `MAX_HEAD_AGE_S` away from our clock, or whose finalized block went
  backwards, is `chain-stale` (CH-04).
* Approvals count at the finalized block only (CH-01); a revocation counts as soon as *any* node shows it
  (CH-02).
* No answer from fewer nodes than `quorum` is used: `chain-unreachable`. By default every node must answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sealroom_agents.chain import events
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.events import History
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Head, Rpc, RpcFailure
from sealroom_agents.chain.views import ConsortiumState, decode_owner, read_candidate, read_state, read_view
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import ChainView, LatestView, OwnerRecord

MAX_HEAD_AGE_S = 90
"""Seconds between a node's head and our clock, either way, beyond which the node is stale."""
BOARD_PAGE = 100
"""Rows of the board read in one call."""

T = TypeVar("T")


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
class OpenedRun:
    """One run as the ledger holds it."""

    consortium: str
    """Consortium that opened it; the zero address when no such run was opened."""
    study: bytes
    """Study id."""
    epsilon_micro: int
    """Budget booked, micro-epsilon."""
    epoch: int
    """Epoch at which it was opened."""
    enclave_signer: str
    """Key that may sign its receipt."""
    grant_hash: bytes
    """EIP-712 digest of the grant."""
    opened_block: int
    """Block in which it was opened."""
    sequence: int
    """Position among the consortium's receipts, from 1; 0 while no receipt is anchored."""


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
        """`finalized_floor`: highest finalized block that an earlier process saw; nothing older is
        believed."""
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
        self._rpcs = tuple(Rpc(url, timeout_s=timeout_s) for url in rpc_urls)
        self._expected_chain_id = expected_chain_id
        self._chain_id: int | None = None
        self._clock = clock
        self._lock = threading.Lock()
        self._finalized_floor = finalized_floor
        self._pool = ThreadPoolExecutor(max_workers=4 * len(rpc_urls), thread_name_prefix="chain")

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Scheme and host of each endpoint."""
        return tuple(rpc.shown_url for rpc in self._rpcs)

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen; keep it across restarts."""
        return self._finalized_floor

    def close(self) -> None:
        """Let the worker threads go."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def chain_id(self) -> int:
        """The chain id on which all nodes agree; asked once. Raises `ChainError` `chain-disagrees`
        (CH-07)."""
        if self._chain_id is None:
            ids = set(self._ask(lambda rpc: rpc.chain_id()).values())
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

    def finalized_head(self) -> Head:
        """The newest block that every node calls finalized, after the staleness checks."""
        return self._finalized()[0]

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """Everything about a consortium at one finalized block, the same from every node.

        `compose_hash` asks also for the newest proposal of that recipe, where it is not the pinned one.
        Raises `ChainError`: `chain-unreachable`, `chain-stale`, `chain-disagrees`, `not-a-consortium`.
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()
        head, rpcs = self._finalized()
        views = self._ask(lambda rpc: read_view(rpc, consortium, head, chain_id=chain_id), rpcs)
        view = _agreed(views, f"the state of {consortium} at block {head.number}")
        return self._with_candidate(next(iter(views)), view, head, compose_hash)

    def latest_view(
        self, consortium: str, *, compose_hash: bytes | None = None, whole: bool = False
    ) -> LatestView:
        """The newest state that any node shows: grounds to refuse and to stop, never to grant.

        `best` is read when `whole` is set or a `compose_hash` is asked for.
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()

        def one(rpc: Rpc) -> tuple[Head, ConsortiumState]:
            head = self._fresh(rpc, rpc.head("latest"))
            return head, read_state(rpc, consortium, head)

        found = self._ask(one)
        ahead, (head, state) = max(found.items(), key=lambda item: item[1][0].number)
        revoked = next((one for _, one in found.values() if one.revoked_by is not None), None)
        best = None
        if whole or compose_hash is not None:
            best = read_view(ahead, consortium, head, chain_id=chain_id)
            best = self._with_candidate(ahead, best, head, compose_hash)
        return LatestView(
            block_number=head.number,
            block_time=head.timestamp,
            epoch=max(one.epoch for _, one in found.values()),
            revoked_by=revoked.revoked_by if revoked else None,
            revocation_reason=revoked.revocation_reason if revoked else "",
            active_study=state.active_study,
            best=best,
        )

    def view_at(self, consortium: str, block: int) -> ChainView:
        """Everything about a consortium at one past block, the same from every node that keeps its state.

        For auditors: it says what held then, and no more. Raises `ChainError` as `finalized_view` does.
        """
        consortium = consortium.lower()
        chain_id = self.chain_id()
        heads = self._ask(lambda rpc: rpc.head(block))
        head = _agreed(heads, f"the hash of block {block}")
        views = self._ask(lambda rpc: read_view(rpc, consortium, head, chain_id=chain_id), tuple(heads))
        return _agreed(views, f"the state of {consortium} at block {block}")

    def run(self, ledger: str, run_id: bytes) -> OpenedRun | None:
        """One run at the latest block, `None` when the ledger never opened it."""
        raw = self._latest_call("Ledger", ledger, "run", run_id)
        if int(raw["consortium"], 16) == 0:
            return None
        return OpenedRun(
            consortium=raw["consortium"].lower(),
            study=bytes(raw["study"]),
            epsilon_micro=raw["epsilonMicro"],
            epoch=raw["epoch"],
            enclave_signer=raw["enclaveSigner"].lower(),
            grant_hash=bytes(raw["grantHash"]),
            opened_block=raw["openedBlock"],
            sequence=raw["sequence"],
        )

    def booked(self, ledger: str, run_id: bytes) -> tuple[str, bytes] | None:
        """Consortium and grant hash of an opened run at the head of every node; `None` while any lacks it.

        The node that sent a transaction could invent its receipt. Raises `ChainError` (CH-03).
        """
        contract = interface("Ledger")
        data = "0x" + contract.encode("run", run_id).hex()

        def one(rpc: Rpc) -> tuple[str, bytes]:
            answer = rpc.request("eth_call", [{"to": ledger, "data": data}, "latest"])
            raw = contract.decode("run", bytes.fromhex(str(answer).removeprefix("0x")))
            return raw["consortium"].lower(), bytes(raw["grantHash"])

        answers = self._ask(one)
        if any(int(consortium, 16) == 0 for consortium, _ in answers.values()):
            return None
        return _agreed(answers, "a booked run")

    def consortia(self, factory: str) -> list[str]:
        """Addresses of all consortia of a factory, oldest first, at the latest block."""
        return [address.lower() for address in self._latest_call("Factory", factory, "consortia")]

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

    def owners(self, consortium: str) -> tuple[OwnerRecord, ...]:
        """The owners of a consortium at the latest block."""
        return tuple(decode_owner(raw) for raw in self._latest_call("Consortium", consortium, "owners"))

    def study_history(self, consortium: str, *, from_block: int = 0) -> History:
        """Everything that happened to a consortium, oldest first, from the first node's logs.

        Logs are for people to follow: no decision rests on them (CH-29).
        """
        return self._first(lambda rpc: events.study_history(rpc, consortium.lower(), from_block=from_block))

    def app_answer(self, app: str, boot_info: tuple[Any, ...]) -> tuple[str, bool, str]:
        """`(owner, allowed, reason)` of a DstackApp for one boot, agreed at the finalized block.

        `boot_info` are the fields of `AppBootInfo` in the contract's order.
        """
        contract = interface("DstackApp")
        head, rpcs = self._finalized()

        def one(rpc: Rpc) -> tuple[str, bool, str]:
            calls = [(app, contract.encode("owner")), (app, contract.encode("isAppAllowed", boot_info))]
            owner, answer = rpc.calls_at(head.hash, calls)
            if isinstance(owner, RpcFailure) or isinstance(answer, RpcFailure):
                return "0x" + 40 * "0", False, "the app contract reverts"
            allowed, reason = contract.decode("isAppAllowed", answer)
            return contract.decode("owner", owner).lower(), bool(allowed), str(reason)

        return _agreed(self._ask(one, rpcs), f"the answer of app {app} at block {head.number}")

    # --- agreement and freshness ----------------------------------------------------------------

    def _finalized(self) -> tuple[Head, tuple[Rpc, ...]]:
        """The newest block that all answering nodes call finalized, and those nodes."""

        def newest(rpc: Rpc) -> Head:
            self._fresh(rpc, rpc.head("latest"))
            return rpc.head("finalized")

        heads = self._ask(newest)
        number = min(head.number for head in heads.values())
        rpcs = tuple(heads)
        at_number = self._ask(
            lambda rpc: heads[rpc] if heads[rpc].number == number else rpc.head(number), rpcs
        )
        head = _agreed(at_number, f"the hash of block {number}")
        with self._lock:
            if head.number < self._finalized_floor:
                raise ChainError(
                    "chain-stale",
                    f"finalized block went back from {self._finalized_floor} to {head.number}",
                    "a node serves an old or another chain",
                )
            self._finalized_floor = head.number
        return head, rpcs

    def _fresh(self, rpc: Rpc, head: Head) -> Head:
        age = self._clock() - head.timestamp
        if abs(age) > MAX_HEAD_AGE_S:
            raise ChainError(
                "chain-stale",
                f"the head of {rpc.shown_url} is {age:.0f} s away from this clock (limit {MAX_HEAD_AGE_S} s)",
                "check that the node is in sync, and the clock",
            )
        return head

    def _ask(self, question: Callable[[Rpc], T], rpcs: Sequence[Rpc] | None = None) -> dict[Rpc, T]:
        """Ask nodes in parallel. A node that cannot be reached is passed over while `quorum` others answer;
        every other failure of any node decides, because it is a sign that something is wrong."""
        futures = [(rpc, self._pool.submit(question, rpc)) for rpc in (self._rpcs if rpcs is None else rpcs)]
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

    def _first(self, question: Callable[[Rpc], T]) -> T:
        """Ask one node after the other until one can be reached."""
        for rpc in self._rpcs[:-1]:
            try:
                return question(rpc)
            except ChainError as error:
                if error.code != "chain-unreachable":
                    raise
        return question(self._rpcs[-1])

    def _latest_call(self, name: str, address: str, function: str, *arguments: Any) -> Any:
        """One view call at the head of the first node that answers: for pages, not for decisions."""
        contract = interface(name)
        data = "0x" + contract.encode(function, *arguments).hex()

        def one(rpc: Rpc) -> Any:
            answer = rpc.request("eth_call", [{"to": address, "data": data}, "latest"])
            return contract.decode(function, bytes.fromhex(str(answer).removeprefix("0x")))

        return self._first(one)

    def _with_candidate(self, rpc: Rpc, view: ChainView, head: Head, compose_hash: bytes | None) -> ChainView:
        if compose_hash is None or (view.study is not None and view.study.compose_hash == compose_hash):
            return view
        study = events.newest_proposal(rpc, view.consortium, compose_hash, until=head.number)
        if study is None:
            return view
        return replace(view, candidate=read_candidate(rpc, view.consortium, head, study))


def _agreed(answers: dict[Rpc, T], what: str) -> T:
    """The one answer of all nodes. Raises `ChainError` `chain-disagrees`."""
    values = list(answers.values())
    if any(value != values[0] for value in values[1:]):
        raise ChainError(
            "chain-disagrees",
            f"the nodes disagree about {what}",
            "one of them lies or follows a fork; see the gate's log for their names",
        )
    return values[0]
