# SPDX-License-Identifier: Apache-2.0
"""Runs: how they are asked for, and how they stand."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sealroom_agents.console.models.base import MAX_OWNERS, Address, Hash, Missing, OwnerId, Strict

MAX_COMPOSE_CHARACTERS = 360_000
"""256 KiB as base64."""
State = Literal[
    "waiting",
    "queued",
    "starting",
    "attesting",
    "computing",
    "anchoring",
    "done",
    "refused",
    "revoked",
    "cancelled",
    "failed",
]


class Signed(Strict):
    """A signature by the account that asks, over EIP-712 typed data that `docs/rest.md` shows."""

    account: Address
    expires: int = Field(ge=0, description="Unix seconds, within an hour from now.", examples=[1_800_000_000])
    signature: str = Field(pattern=r"^0x[0-9a-f]{130}$", description="r, s and v, 65 bytes.")


class SignedRequest(Signed):
    """The same of a request for a run. Its digest is the run's id: it makes one run, wherever it is sent."""

    salt: Hash = Field(description="Random.")


class RunRequest(Strict):
    """Ask for a run."""

    compose: str | None = Field(
        None,
        min_length=1,
        max_length=MAX_COMPOSE_CHARACTERS,
        description="The recipe: the bytes of app-compose.json, as base64 or as text. At most 256 KiB.",
    )
    compose_hash: Hash | None = Field(
        None,
        description="In place of `compose`: a recipe that was handed in before, with `PUT /v1/recipes/…`.",
    )
    owners: list[OwnerId] = Field(
        min_length=1,
        max_length=MAX_OWNERS,
        description="Ids of the owners whose consortium shall run it.",
        examples=[["hospital-A", "hospital-B"]],
    )
    consortium: Address | None = Field(
        None,
        description="Address of the consortium; needed where several have these owners, and with `signed`.",
    )
    signed: SignedRequest | None = Field(
        None,
        description="By a researcher whom the recipe names, or an owner. Not needed with an API token, nor "
        "where the recipe lets anyone ask.",
    )


class CancelRequest(Strict):
    """Take a run back."""

    signed: Signed | None = Field(
        None, description="By whoever asked for the run, or an owner. Not needed with an API token."
    )


class RunAccepted(Strict):
    """A run was taken; it starts as soon as nothing is missing."""

    id: Hash
    compose_hash: Hash
    consortium: Address
    researcher: Address | None = Field(description="Account that asked; null where nobody said.")
    state: str = Field(examples=["waiting"])
    missing: list[Missing]


class RunEvent(Strict):
    """One thing that happened to a run."""

    id: int
    time: float
    phase: str = Field(examples=["attesting"])
    code: str | None
    message: str


class RunPhase(Strict):
    """One of the five phases of a run that trains a model."""

    name: Literal["sealed", "training", "evaluating", "checkpoint verified", "released"]
    state: Literal["waiting", "under way", "done", "broken", "not reached"]
    says: str
    ended: float | None = Field(description="When it ended; training and evaluating end in one instant.")
    proof: dict[str, str] = Field(description="Digests of what it proved, once the envelope is published.")


class RunState(RunAccepted):
    """A run as it stands."""

    state: State
    code: str | None = Field(description="Why it ended otherwise than done.")
    message: str | None
    created: float
    updated: float
    events: list[RunEvent]
    phases: list[RunPhase] = Field(description="Of a run that trains a model; empty for others.")
    payload: dict[str, Any] | None = Field(description="The result; null until its receipt is on chain.")
    envelope: dict[str, Any] | None = Field(
        description="The Sign-RPC envelope; null until its receipt is on chain."
    )
    envelope_digest: Hash | None = Field(
        description="SHA-256 of the envelope's bytes, which `GET /v1/envelopes/…` has."
    )


class RunLine(Strict):
    """A run in a list."""

    id: Hash
    compose_hash: Hash
    consortium: Address
    researcher: Address | None
    state: State
    code: str | None
    message: str | None
    created: float
    updated: float


class RunPage(Strict):
    """Runs, newest first."""

    runs: list[RunLine]
    next: str | None = Field(description="Cursor of the next page; null where this is the last one.")
