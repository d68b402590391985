# SPDX-License-Identifier: Apache-2.0
"""What the watcher saw of consortia, and what owners should know of."""

from __future__ import annotations

from sqlalchemy import BigInteger, Float, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from sealroom_agents.store.tables.base import ADDRESS_CHARACTERS, HASH_CHARACTERS, Base, Words


class ObservationRow(Base):
    """A change of a consortium's standing, as the watcher saw it."""

    __tablename__ = "observations"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """`revoked` or `superseded`."""
    steps: Mapped[int] = mapped_column(BigInteger)
    """Steps of the standing after the change."""
    standing: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    """The standing after it."""
    block: Mapped[int] = mapped_column(BigInteger)
    block_time: Mapped[float] = mapped_column(Float)
    seen: Mapped[float] = mapped_column(Float)
    owner: Mapped[str | None] = mapped_column(String(ADDRESS_CHARACTERS))
    reason: Mapped[str] = mapped_column(Words)


class WatchRow(Base):
    """What the watcher last knew of a consortium."""

    __tablename__ = "watched"

    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    steps: Mapped[int] = mapped_column(BigInteger)
    standing: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    block: Mapped[int] = mapped_column(BigInteger)
    revoked_by: Mapped[str | None] = mapped_column(String(ADDRESS_CHARACTERS))


class NoticeRow(Base):
    """Something that an owner should know of at once, and that ends no run."""

    __tablename__ = "notices"
    __table_args__ = (UniqueConstraint("consortium", "kind", "about", "text"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), index=True)
    kind: Mapped[str] = mapped_column(String(24))
    about: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    """What it is about: the account of a seat, the id of a dataset or of a proposal."""
    block: Mapped[int] = mapped_column(BigInteger)
    """Block in which it happened, or of the first look that saw it."""
    seen: Mapped[float] = mapped_column(Float)
    text: Mapped[str] = mapped_column(Words)
    """In words."""
