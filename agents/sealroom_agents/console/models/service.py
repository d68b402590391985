# SPDX-License-Identifier: Apache-2.0
"""The console itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from sealroom_agents.console.models.base import Address, Hash, Strict


class Condition(Strict):
    """One thing that the console needs."""

    name: str = Field(examples=["chain"])
    ok: bool
    message: str = Field(examples=["block 1234 is final"])
    hint: str | None = None


class Readiness(Strict):
    """Whether the console can do its work."""

    status: Literal["ready", "not-ready"]
    conditions: list[Condition]


class Health(Strict):
    """Whether the process lives."""

    status: Literal["ok"]


class Console(Strict):
    """Whose answers these are."""

    version: str = Field(description="Version of this interface.", examples=["2.0"])
    chain_id: int | None = Field(
        description="The chain that is shown; null before it was looked at.", examples=[31337]
    )
    factory: Address
    key: Hash = Field(description="Ed25519 public key that signs every answer; the `keyid` of signatures.")
    algorithm: Literal["ed25519"]
    attestation: dict[str, Any] | None = Field(
        description="The quote that binds the key to a confidential VM; null where the console runs in none."
    )
