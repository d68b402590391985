# SPDX-License-Identifier: Apache-2.0
"""Consortia, their studies and datasets, and what owners decide."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sealroom_agents.console.models.base import Address, Hash, Strict
from sealroom_agents.console.models.recipes import Guarantee

MAX_REASON_BYTES = 256
"""What the contract keeps of a revocation's reason."""
Status = Literal["declared", "forming", "live", "revoked"]
Grade = Literal["miss", "partial", "match"]
Sort = Literal["newest", "oldest", "records"]


class Owner(Strict):
    """One owner, beside the study that is spoken of."""

    id: str
    account: Address
    jurisdiction: str
    regimes: list[str]
    approved: bool
    withdrawn: bool = Field(
        description="Took its approval back, or said in advance that it does not approve."
    )
    required: bool
    confirmed: bool = Field(description="Did something here with its own account or signature.")
    revoked: bool = Field(description="Its veto stands: nothing is pinned without its approval.")
    tx: Hash | None


class Proposal(Strict):
    """One study that waits for approvals."""

    study: Hash
    compose_hash: Hash
    name: str | None
    guarantee: Guarantee | None = Field(description="Null where the recipe's bytes are not known here.")
    proposed_by: str = Field(description="Owner whose approval was the first.")
    block: int = Field(description="Block of that approval.")
    epsilon_micro: int
    delta_pico: int
    max_runs: int
    expiry: int
    approved: list[str] = Field(description="Owners whose approval counts.")
    closed_by: list[str] = Field(
        description="Owners by whose no it cannot be pinned any more; empty where it still can."
    )


class Governing(Strict):
    """A roster, a platform or machines that wait for votes."""

    id: Hash
    kind: Literal["roster", "platform", "machines"]
    content: list[list[str]] = Field(description="Label and value of all that it says.")
    approved: list[str] = Field(description="Owners who signed.")
    missing: list[str] = Field(description="Owners who have not.")
    closed_by: list[str] = Field(
        description="Owners by whose no it cannot take effect any more; empty where it still can."
    )
    needed: int
    expiry: int
    removes: list[str] = Field(description="Owners who would lose their seats.")


class Notice(Strict):
    """What an owner should know of at once."""

    kind: str = Field(examples=["seat-offered"])
    about: str
    block: int
    text: str


class Dataset(Strict):
    """A dataset with what may be, and is, spent on it: ε in millionths, δ in parts of 10^12."""

    id: Hash
    name: str
    holder: str
    version: int = Field(description="Version that the study uses, or the newest.")
    pinned: bool = Field(description="Whether the study names this version.")
    rows: int
    lifetime: dict[str, int]
    allowance: dict[str, int]


class Study(Strict):
    """One consortium with its present study."""

    consortium: Address
    app: Address
    ledger: Address
    chain_id: int
    block: int
    basis: Hash = Field(description="What an approval of a study has to follow.")
    steps: int = Field(description="How often the standing changed: owners, platform, or a revocation.")
    nonce: int = Field(description="Studies pinned so far; what a new study must name.")
    status: Status
    records: int
    criteria: dict[str, Grade]
    threshold: int
    owners: list[Owner]
    study: Hash | None
    state: str | None = Field(description="pending, live, expired, stopped or past; null without a study.")
    compose_hash: Hash | None
    name: str | None
    question: str | None
    guarantee: Guarantee | None = Field(description="Null where the recipe's bytes are not known here.")
    epsilon_micro: int | None
    spent_micro: int | None
    delta_pico: int | None = Field(description="δ of all runs together, in parts of 10^12.")
    spent_pico: int | None
    max_runs: int | None
    runs: int
    receipts: int
    expiry: int | None
    revoked_by: str | None
    revocation_reason: str
    proposals: list[Proposal] = Field(
        description="Every study that waits, newest first; of one owner the newest eight."
    )
    governing: list[Governing] = Field(description="What else waits for votes, newest first.")
    notices: list[Notice] = Field(description="What owners should know of at once, newest first.")
    datasets: list[Dataset]
    waiting: int = Field(description="How many studies wait in all.")


class Activity(Strict):
    """One thing that happened to a consortium."""

    block: int
    tx: Hash
    kind: str = Field(examples=["approval-withdrawn"])
    who: str = Field(description="Name of the owner who did it; empty where it was no single owner.")
    what: str
    reason: str = Field(description="The owner's own words, where it gave any.")
    final: bool = Field(description="Whether its block is final; until then it may still be replaced.")
    time: int | None = Field(description="When its block was made; null where that was not read.")
    run: Hash | None = Field(description="Id of the run that it is of; null where of none, or of many.")
    study: Hash | None = Field(description="Id of the study that it is of, or that it ended; null for none.")
    datasets: list[Hash] = Field(
        description="Ids of the datasets that it is of: the one that it tells of, or all of its study."
    )
    accounts: list[Address] = Field(
        description="Accounts of the owners who did it, in the order of their names in `who`."
    )


class Booked(Strict):
    """What runs of a period booked on one dataset: ε in millionths, δ in parts of 10^12."""

    dataset: Hash
    name: str = Field(description="Empty for a dataset that is not offered here any more.")
    holder: str
    runs: int
    epsilon_micro: int
    delta_pico: int


class Spending(Strict):
    """What runs of a period booked, by dataset."""

    datasets: list[Booked]
    whole: bool = Field(description="Whether all runs of the period were added up.")


class ActivityPage(Strict):
    """A page of what happened, newest first."""

    activities: list[Activity]
    total: int


class Studies(Strict):
    """A page of the board."""

    studies: list[Study]
    total: int
    block: int = Field(description="Block up to which the chain was read.")
    late: str = Field(description="Why the answer may be older than the chain; empty where it is not.")


class CallRequest(Strict):
    """What a wallet shall be asked to sign."""

    consortium: Address
    action: Literal["approve", "withdraw", "revoke"]
    study: Hash | None = Field(None, description="For approve and withdraw: the study's id.")
    reason: str | None = Field(
        None, max_length=MAX_REASON_BYTES, description="For revoke: why; at most 256 bytes."
    )


class Call(Strict):
    """A transaction, unsigned. A signer should build it anew and compare."""

    chain_id: int
    to: Address
    function: str = Field(examples=["revoke(string)"])
    data: str = Field(pattern=r"^0x[0-9a-f]+$")
