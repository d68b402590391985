# SPDX-License-Identifier: Apache-2.0
"""Who asks for runs, and signatures of owners that wait until somebody hands them in."""

from __future__ import annotations

from sqlalchemy import Float, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from sealroom_agents.store.tables.base import ADDRESS_CHARACTERS, HASH_CHARACTERS, Base, Words


class TokenRow(Base):
    """An API token that the operator gave a researcher; the token itself is nowhere."""

    __tablename__ = "tokens"

    digest: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    """SHA-256 of the token, which is random and long: no slower hash is needed."""
    account: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    """The researcher's account, for which it stands."""
    label: Mapped[str] = mapped_column(Words)
    created: Mapped[float] = mapped_column(Float)
    expires: Mapped[float] = mapped_column(Float)
    ended: Mapped[float | None] = mapped_column(Float)
    """When the operator ended it."""


class GatheredRow(Base):
    """An owner's signature of an approval."""

    __tablename__ = "gathered_signatures"
    __table_args__ = (Index("gathered_by_proposal", "consortium", "proposal"),)

    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    proposal: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    owner: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    signature: Mapped[str] = mapped_column(Text)
    """As `0x` hex."""
    expires: Mapped[float] = mapped_column(Float, index=True)
    """When the proposal ends, and so this."""
