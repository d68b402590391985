# SPDX-License-Identifier: Apache-2.0
"""Recipes and runs, and what happened to each run."""

from __future__ import annotations

from sqlalchemy import Boolean, Float, ForeignKey, Index, Integer, String, Text, false
from sqlalchemy.orm import Mapped, mapped_column

from sealroom_agents.store.tables.base import ADDRESS_CHARACTERS, HASH_CHARACTERS, Base, Words


class RecipeRow(Base):
    """One recipe that was handed in; its bytes are in the content store."""

    __tablename__ = "recipes"

    compose_hash: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    size: Mapped[int] = mapped_column(Integer)
    created: Mapped[float] = mapped_column(Float, index=True)


class RunRow(Base):
    """One run, from its submission to its end."""

    __tablename__ = "runs"
    __table_args__ = (
        Index("runs_to_settle", "settled", "state", "id"),
        Index("runs_by_age", "created", "id"),
    )

    id: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    researcher: Mapped[str | None] = mapped_column(String(ADDRESS_CHARACTERS))
    """Account that asked for it; null where nobody said."""
    compose_hash: Mapped[str] = mapped_column(ForeignKey("recipes.compose_hash"), index=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    state: Mapped[str] = mapped_column(String(16), index=True)
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Words)
    missing: Mapped[str] = mapped_column(Text, default="[]")
    """JSON list of what the run waits for."""
    runner: Mapped[str | None] = mapped_column(String(128))
    """Name of the runner that claimed it, for people."""
    holder: Mapped[str | None] = mapped_column(String(64), index=True)
    """Id of the process that holds it."""
    place: Mapped[str | None] = mapped_column(String(64))
    """Id of the state folder in which what it made lies."""
    fence: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """How often it was claimed."""
    until: Mapped[float | None] = mapped_column(Float)
    """When the claim ends unless it is renewed."""
    lease_until: Mapped[float | None] = mapped_column(Float)
    """When its lease ends unless the gate renews it, by the runner's clock."""
    lease_seconds: Mapped[int | None] = mapped_column(Integer)
    """For how long the gate renewed it."""
    created: Mapped[float] = mapped_column(Float)
    updated: Mapped[float] = mapped_column(Float)
    draft: Mapped[str | None] = mapped_column(String(HASH_CHARACTERS))
    """Digest of the enclave's envelope before its receipt is on chain: never shown."""
    envelope: Mapped[str | None] = mapped_column(String(HASH_CHARACTERS), index=True)
    """Digest of the envelope with its anchor."""
    envelope_before: Mapped[str | None] = mapped_column(String(HASH_CHARACTERS), index=True)
    """Digest of the same as it was published first, before its proofs were final."""
    settled: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether the published envelope has the proofs that it can have."""
    failure: Mapped[str | None] = mapped_column(Text)
    """The failure file of a run that failed after its keys were released."""
    observation: Mapped[int | None] = mapped_column(ForeignKey("observations.id"))
    """What the watcher saw that ends this run."""
    killed: Mapped[float | None] = mapped_column(Float)
    """When its last process was dead."""
    idempotency_key: Mapped[str | None] = mapped_column(String(128), unique=True)
    request_digest: Mapped[str | None] = mapped_column(String(HASH_CHARACTERS))
    """SHA-256 of the request that the key came with."""


class EventRow(Base):
    """One thing that happened to a run."""

    __tablename__ = "run_events"
    __table_args__ = (Index("run_events_by_run", "run", "id"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    run: Mapped[str] = mapped_column(ForeignKey("runs.id"))
    time: Mapped[float] = mapped_column(Float)
    phase: Mapped[str] = mapped_column(String(32))
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Words)
