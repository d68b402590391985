# SPDX-License-Identifier: Apache-2.0
"""From contract storage to facts: everything about one consortium, read from one node at one block hash.

Two rounds of calls. The first takes `Consortium.state()`, one snapshot of the contract; the second asks for
what that snapshot names: the app's switches, the study's datasets, the ledger's books. Both name the same
block hash, so that the answers belong together (CH-05) even when the chain moves in between. The contract
keeps of a study only its hash; `sealroom_agents.chain.contents` finds what it is the hash of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.model import Budget, Owner, Platform, Spending, Study
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.rpc import MAX_BATCH, Head, Rpc, RpcFailure
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord

ZERO_ADDRESS = "0x" + 40 * "0"
ZERO_HASH = bytes(32)
MAX_COUNTER = 2**40 - 1
"""Largest epoch, number or block that the contract keeps."""
NOTHING = Spending(epsilon_micro=0, delta_pico=0, runs=0)
"""What no run has booked."""
MAX_CANDIDATES = MAX_BATCH // 2
"""Proposed studies that are read at once: two calls each."""


@dataclass(frozen=True)
class ConsortiumState:
    """What `Consortium.state()` answers at one block."""

    epoch: int
    """Epoch."""
    nonce: int
    """Number of studies pinned so far."""
    active_study: bytes | None
    """Id of the pinned study, or `None`."""
    live: bool
    """Whether it may open runs."""
    approved_block: int
    """Block in which it was pinned; 0 without one."""
    revoked_by: str | None
    """Who revoked, or `None`."""
    revoked_block: int
    """In which block; 0 without a revocation."""
    threshold: int
    """Approvals that a study needs."""
    app: str
    """Address of the DstackApp."""
    ledger: str
    """Address of the Ledger."""
    owners: tuple[Owner, ...]
    """Owners."""
    platform: Platform | None
    """Adopted platform, or `None`."""
    approvals: tuple[str, ...]
    """Accounts that approved the active study."""


def read_state(rpc: Rpc, consortium: str, head: Head) -> ConsortiumState:
    """`Consortium.state()` at one block.

    Raises `ChainError`: `not-a-consortium` when the address answers something else, `chain-disagrees` when
    the block isn't canonical any more, `chain-unreachable`.
    """
    contract = interface("Consortium")
    (data,) = _calls(rpc, head, [(consortium, contract.encode("state"))])
    return decode_state(contract.decode("state", data))


def read_view(
    rpc: Rpc,
    consortium: str,
    head: Head,
    *,
    chain_id: int,
    state: ConsortiumState,
    study: Study | None,
) -> ChainView:
    """The whole view at one block; `state` was read at it, and `study` is the content of its active study."""
    app, ledger, contract = interface("DstackApp"), interface("Ledger"), interface("Consortium")
    calls: list[tuple[str, bytes]] = [
        (state.app, app.encode("requireTcbUpToDate")),
        (state.app, app.encode("allowAnyDevice")),
    ]
    if study is not None:
        calls.append((state.app, app.encode("allowedComposeHashes", study.compose_hash)))
        calls.append((state.ledger, ledger.encode("spending", consortium, study.id)))
        for dataset in study.datasets:
            calls.append((consortium, contract.encode("dataset", dataset)))
            calls.append((state.ledger, ledger.encode("budget", consortium, dataset)))
    answers = iter(_calls(rpc, head, calls))
    require_tcb = bool(app.decode("requireTcbUpToDate", next(answers)))
    allow_any_device = bool(app.decode("allowAnyDevice", next(answers)))
    app_allows = False
    spending = NOTHING
    datasets: list[DatasetRecord] = []
    if study is not None:
        app_allows = bool(app.decode("allowedComposeHashes", next(answers)))
        spending = Spending.of_abi(ledger.decode("spending", next(answers)))
        for dataset in study.datasets:
            raw = contract.decode("dataset", next(answers))
            budget = ledger.decode("budget", next(answers))
            datasets.append(decode_dataset(dataset, raw, state.owners, budget))
    return ChainView(
        chain_id=chain_id,
        consortium=consortium,
        app=state.app,
        ledger=state.ledger,
        block_number=head.number,
        block_hash=head.hash,
        block_time=head.timestamp,
        epoch=state.epoch,
        nonce=state.nonce,
        threshold=state.threshold,
        owners=state.owners,
        platform=state.platform,
        study=study,
        live=state.live,
        approved_block=state.approved_block,
        approvals=state.approvals,
        revoked_by=state.revoked_by,
        revoked_block=state.revoked_block,
        revocation_reason="",
        datasets=tuple(datasets),
        spending=spending,
        app_allows=app_allows,
        require_tcb=require_tcb,
        allow_any_device=allow_any_device,
    )


def read_candidates(rpc: Rpc, consortium: str, head: Head, studies: Sequence[Study]) -> list[CandidateRecord]:
    """Proposed studies with their approvals at one block, in one batch.

    At most `MAX_CANDIDATES`, and without those for which the contract does not answer there.
    """
    contract = interface("Consortium")
    calls = []
    for study in studies[:MAX_CANDIDATES]:
        calls.append((consortium, contract.encode("approvals", study.id)))
        calls.append((consortium, contract.encode("requiredOwners", list(study.datasets))))
    answers = iter(rpc.calls_at(head.hash, calls))
    found = []
    for study, approvals, required in zip(studies, answers, answers, strict=False):
        if isinstance(approvals, RpcFailure):
            continue
        # The owner of a dataset may have left since; then it is unknown who is
        # required, and it is not needed.
        owners = () if isinstance(required, RpcFailure) else contract.decode("requiredOwners", required)
        found.append(
            CandidateRecord(
                study=study,
                approvals=tuple(account.lower() for account in contract.decode("approvals", approvals)),
                required=tuple(account.lower() for account in owners),
            )
        )
    return found


def decode_state(raw: dict[str, Any]) -> ConsortiumState:
    """`State` as facts. Raises `ChainError` `not-a-consortium` for numbers that no consortium reaches."""
    counters = (raw["epoch"], raw["nonce"], raw["approvedBlock"], raw["revokedBlock"])
    if max(counters) > MAX_COUNTER:
        raise ChainError(
            Code.NOT_A_CONSORTIUM, f"{max(counters)} is no epoch, number or block of a consortium"
        )
    return ConsortiumState(
        epoch=raw["epoch"],
        nonce=raw["nonce"],
        active_study=None if raw["activeStudy"] == ZERO_HASH else bytes(raw["activeStudy"]),
        live=raw["live"],
        approved_block=raw["approvedBlock"],
        revoked_by=_address_or_none(raw["revokedBy"]),
        revoked_block=raw["revokedBlock"],
        threshold=raw["threshold"],
        app=raw["app"].lower(),
        ledger=raw["ledger"].lower(),
        owners=tuple(Owner.of_abi(owner) for owner in raw["owners"]),
        platform=decode_platform(raw["platform"]),
        approvals=tuple(account.lower() for account in raw["approvals"]),
    )


def decode_platform(raw: dict[str, Any]) -> Platform | None:
    """`Platform` as facts; all zero before the first adoption."""
    return None if raw["gateRoot"] == ZERO_HASH else Platform.of_abi(raw)


def decode_dataset(
    dataset: bytes, raw: dict[str, Any], owners: tuple[Owner, ...], budget: dict[str, Any]
) -> DatasetRecord:
    """`Dataset` with its `Budget` as facts."""
    account = raw["owner"].lower()
    owner_id = next((owner.id for owner in owners if owner.account == account), "")
    return DatasetRecord.of_abi(raw, id=dataset, owner_id=owner_id, budget=Budget.of_abi(budget))


def _calls(rpc: Rpc, head: Head, calls: list[tuple[str, bytes]]) -> list[bytes]:
    answers: list[bytes] = []
    for (address, _), answer in zip(calls, rpc.calls_at(head.hash, calls), strict=True):
        if isinstance(answer, RpcFailure):
            if answer.reverted:
                raise ChainError(Code.NOT_A_CONSORTIUM, f"{address} reverts: {answer.message}")
            # A node that no longer (or not yet) has this block as canonical says so here.
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"{rpc.shown_url} does not answer at block {head.number}: {answer.message}",
                "try again; the chain has moved under the read",
            )
        answers.append(answer)
    return answers


def _address_or_none(account: str) -> str | None:
    return None if account.lower() == ZERO_ADDRESS else account.lower()
