# SPDX-License-Identifier: Apache-2.0
"""What waits for owners, what they signed, and what it may cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sealroom_agents.console.models.base import Address, Hash, Strict
from sealroom_agents.console.models.studies import Call, Dataset, Proposal

MAX_SIGNATURE_BYTES = 4096
"""Of an owner that is a contract: a Safe of sixty owners signs in fewer."""
TaskKind = Literal[
    "seat-offered",
    "dataset-offered",
    "removal",
    "decide-study",
    "decide-roster",
    "decide-platform",
    "decide-machines",
    "accept-seat",
    "accept-dataset",
    "register-dataset",
    "allow-dataset",
    "budget-short",
    "study-refused",
    "no-platform",
    "confirm-seat",
    "no-machine",
    "app-keeps-recipe",
    "hand-in-signature",
    "study-waits",
    "proposal-waits",
    "veto-stands",
    "run",
]
"""Those of `sealroom_agents.console.tasks.KINDS`."""


class ProposalContent(Strict):
    """A study that waits, with all that its approval says."""

    proposal: Proposal
    content: dict[str, Any] = Field(description="What owners approve: the id is its EIP-712 hash.")
    missing: list[str] = Field(description="Owners whose approval does not count yet.")
    required: list[str] = Field(description="Owners without whom it cannot be pinned.")
    signed: list[str] = Field(description="Of the missing ones those whose signature was handed in here.")


class Proposals(Strict):
    """Studies that wait for approvals, newest first."""

    proposals: list[ProposalContent]
    threshold: int
    waiting: int = Field(description="How many wait in all; of one owner the newest eight are told.")


class SignatureRequest(Strict):
    """An owner's signature of an approval."""

    study: Hash
    owner: Address = Field(description="Account that votes.")
    signature: str = Field(
        pattern=r"^0x([0-9a-f]{2})*$",
        max_length=2 + 2 * MAX_SIGNATURE_BYTES,
        description="Of the typed data `ApproveStudy`: r, s and v, 65 bytes; or of an owner that is a "
        "contract, such as a Safe, what its `isValidSignature` takes (EIP-1271), at most 4,096 bytes.",
        examples=["0x" + "5e" * 64 + "1b"],
    )


class Signature(Strict):
    """One that was handed in and verified."""

    owner: str
    account: Address
    signature: str
    by: Literal["key", "contract"] = Field(
        description="Whether the account's key signed, or the contract that the account is took it for its "
        "own just now, as a node of this console says."
    )


class Signatures(Strict):
    """What was gathered of one study, and the transaction that hands it in."""

    study: Hash
    approved: list[str] = Field(description="Owners whose approval counts on chain already.")
    signatures: list[Signature]
    threshold: int
    enough: bool = Field(description="Whether the transaction would pin the study, as things are.")
    call: Call | None = Field(
        description="The unsigned transaction that hands all of them in, which anybody may send; null where "
        "there is no signature."
    )


class Datasets(Strict):
    """Datasets that a consortium may use."""

    datasets: list[Dataset]


class ListedDataset(Strict):
    """A dataset that a consortium may use. One that several may use is told once of each."""

    consortium: Address
    dataset: Dataset


class DatasetPage(Strict):
    """Datasets of up to 25 consortia, the oldest consortium first."""

    datasets: list[ListedDataset]
    consortia: int = Field(description="How many consortia these are of, those without datasets included.")
    unread: int = Field(
        description="How many of them could not be read now: their datasets are missing here."
    )
    next: str | None = Field(description="Cursor of the next page; null at the end.", examples=["MjQ"])
    block: int = Field(description="Block up to which the chain was read.")
    late: str = Field(description="Why the answer may be older than the chain; empty where it is not.")


class Budgets(Strict):
    """What may be, and is, spent: ε in millionths, δ in parts of 10^12."""

    study: Hash | None
    epsilon_micro: int | None
    spent_micro: int | None
    left_micro: int | None
    delta_pico: int | None
    spent_pico: int | None
    left_pico: int | None
    max_runs: int | None
    runs: int
    datasets: list[Dataset]


class Anchored(Strict):
    """Receipts that were anchored in one event: one alone, or a batch."""

    block: int
    tx: Hash
    final: bool
    run: Hash | None = Field(description="The run; null for a batch.")
    study: Hash | None
    sequence: int = Field(description="Position of the first among the consortium's receipts, from 1.")
    count: int
    root: Hash | None = Field(description="Root of the batch's tree of receipts.")


class Receipts(Strict):
    """Receipts on chain, newest first."""

    anchored: list[Anchored]
    total: int = Field(description="Receipts in all.")


class Fits(Strict):
    """Whether a study fits what may be spent on the account's own datasets; ε in millionths."""

    run: int = Field(description="What one run takes.")
    runs: int = Field(description="How many it may have.")
    left: int = Field(description="What is left of the account's dataset with least.")
    fit: int = Field(description="How many runs fit.")


class Task(Strict):
    """One thing that awaits an account. Of names, all but printable ASCII stands by its number."""

    kind: TaskKind
    group: Literal["watch", "decide", "do", "wait", "running"] = Field(
        description="What may be taken from the account, what it decides, what it keeps in order, what "
        "waits for others, what runs."
    )
    consortium: Address
    name: str = Field(description="What the consortium is called here.", examples=["cardio-renal"])
    title: str = Field(examples=["May cardio-renal run on cohort-C?"])
    says: str
    about: Hash | None = Field(
        description="Id of the proposal, dataset or run; null for the consortium itself."
    )
    page: str = Field(description="Path of the page where it is read and done.")
    command: str = Field(
        description="The command line that does the same; empty where there is nothing to do."
    )
    missing: list[str] = Field(description="Owners who have not approved.")
    approved: int
    needed: int = Field(description="Approvals that it takes; 0 where nothing is voted for.")
    required: bool = Field(description="Whether it cannot take effect without this account.")
    budget: Fits | None = Field(description="Null where none of the account's datasets is used.")
    until: int | None = Field(description="From when it is void, or may be taken, unix seconds.")


class Tasks(Strict):
    """What awaits an account, from one page of consortia."""

    account: Address
    tasks: list[Task]
    consortia: int = Field(description="How many consortia these tasks are of.")
    unread: int = Field(description="How many of them could not be read now: their tasks are missing here.")
    total: int = Field(
        description="Consortia in all: those in which the account acted, or that the operator pinned."
    )
    strangers: int = Field(
        description="Further consortia that name the account, in which it never acted: anybody may have made "
        "them."
    )
    block: int = Field(description="Block up to which the chain was read.")
    late: str = Field(description="Why the answer may be older than the chain; empty where it is not.")
