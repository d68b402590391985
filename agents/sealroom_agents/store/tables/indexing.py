# SPDX-License-Identifier: Apache-2.0
"""What the chain says of a factory's consortia, as far as it was read: the index that pages are drawn from.

All of it can be made again from the chain. Rows of one factory share its cursor, and change with it in one
transaction.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from sealroom_agents.store.tables.base import ADDRESS_CHARACTERS, HASH_CHARACTERS, Base


class CursorRow(Base):
    """How far the chain was read for one factory, and who reads on."""

    __tablename__ = "index_cursors"

    id: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    factory: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), unique=True)
    chain_id: Mapped[int] = mapped_column(BigInteger)
    first: Mapped[int] = mapped_column(BigInteger)
    """Block from which on is read."""
    number: Mapped[int] = mapped_column(BigInteger)
    """Last block that was read; one before `first` in the beginning."""
    hash: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    """Its hash; empty in the beginning."""
    head: Mapped[int] = mapped_column(BigInteger)
    """The node's newest block at the last look."""
    final: Mapped[int] = mapped_column(BigInteger)
    """The newest block that it called final."""
    looked: Mapped[float] = mapped_column(Float)
    """When that was."""
    ready: Mapped[bool] = mapped_column(Boolean)
    """Whether the newest block was reached, once at least."""
    holder: Mapped[str | None] = mapped_column(String(64))
    """Which process reads on."""
    until: Mapped[float] = mapped_column(Float)
    """When its turn ends unless it renews it."""
    revision: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Rises with each change of what pages show that leaves the last block what it was."""


class BlockRow(Base):
    """A block that a range ended with: where a reorganisation may have left what was read."""

    __tablename__ = "index_blocks"

    cursor: Mapped[int] = mapped_column(ForeignKey("index_cursors.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    hash: Mapped[str] = mapped_column(String(HASH_CHARACTERS))


class ChainEventRow(Base):
    """One event of the factory, the ledger or a consortium, as its log has it."""

    __tablename__ = "index_events"
    __table_args__ = (
        Index("index_events_by_consortium", "cursor", "consortium", "block", "position"),
        Index("index_events_by_name", "cursor", "consortium", "name", "block", "position"),
        Index("index_events_by_subject", "cursor", "subject", "block", "position"),
    )

    cursor: Mapped[int] = mapped_column(ForeignKey("index_cursors.id"), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    position: Mapped[int] = mapped_column(Integer, primary_key=True)
    """Position of the log in its block."""
    block_hash: Mapped[bytes] = mapped_column(LargeBinary)
    tx: Mapped[str] = mapped_column(String(HASH_CHARACTERS))
    contract: Mapped[str] = mapped_column(String(16))
    """Whose event it is: `Consortium` or `Ledger`."""
    name: Mapped[str] = mapped_column(String(32))
    consortium: Mapped[str | None] = mapped_column(String(ADDRESS_CHARACTERS))
    """Which it concerns; of a dataset's most concern none in particular."""
    subject: Mapped[str | None] = mapped_column(String(HASH_CHARACTERS))
    """Id of the proposal, the run or the dataset, where it names one in a topic."""
    topics: Mapped[bytes] = mapped_column(LargeBinary)
    """32 bytes each."""
    data: Mapped[bytes] = mapped_column(LargeBinary)


class TimeRow(Base):
    """When a block was made in which something happened to a consortium that its owners confirmed."""

    __tablename__ = "index_times"

    cursor: Mapped[int] = mapped_column(ForeignKey("index_cursors.id"), primary_key=True)
    block: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    time: Mapped[int | None] = mapped_column(BigInteger)
    """Unix seconds; null where the chain has another block at that height than the events name."""


class ConsortiumRow(Base):
    """A consortium of the factory: its line of the board, and all that its pages show of state."""

    __tablename__ = "index_consortia"
    __table_args__ = (
        Index("index_consortia_by_number", "cursor", "declared", "number"),
        Index("index_consortia_by_status", "cursor", "status"),
        Index("index_consortia_to_read", "cursor", "dirty", "declared", "read"),
        Index("index_consortia_to_check", "cursor", "declared", "checked"),
    )

    cursor: Mapped[int] = mapped_column(ForeignKey("index_cursors.id"), primary_key=True)
    address: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    """Position in the factory's list, from 0."""
    block: Mapped[int] = mapped_column(BigInteger)
    """Block of its creation."""
    owners: Mapped[int] = mapped_column(Integer)
    confirmed: Mapped[int] = mapped_column(Integer)
    records: Mapped[int] = mapped_column(BigInteger)
    criteria: Mapped[str] = mapped_column(String(3))
    """A digit for each grade."""
    status: Mapped[int] = mapped_column(Integer)
    declared: Mapped[bool] = mapped_column(Boolean)
    """Whether only its creator speaks for it."""
    expiry: Mapped[int] = mapped_column(BigInteger)
    """When the live study ends, unix seconds; 0 without one."""
    names: Mapped[str] = mapped_column(Text)
    """Ids of its owners, each between line feeds."""
    facts_block: Mapped[int] = mapped_column(BigInteger)
    """Block of that look."""
    facts_since: Mapped[int] = mapped_column(BigInteger)
    """Block from which on it was so: that of the newest event before the look."""
    settled_block: Mapped[int] = mapped_column(BigInteger)
    moved: Mapped[int] = mapped_column(BigInteger)
    """Block of the newest event that concerns it."""
    dirty: Mapped[bool] = mapped_column(Boolean)
    """Whether something has happened since that look."""
    read: Mapped[float] = mapped_column(Float)
    """When it was read last, or could not be."""
    checked: Mapped[float] = mapped_column(Float)
    """When the number of its events was compared with the state last."""
    fault: Mapped[str | None] = mapped_column(Text)
    """What was wrong at the last look."""
    version: Mapped[int] = mapped_column(Integer)
    """Rises with each change."""
    facts: Mapped[str | None] = mapped_column(Text)
    """Its state as JSON; null before the first look."""
    settled: Mapped[str | None] = mapped_column(Text)
    """The newest earlier state that was final when it was replaced."""


_BOARD = ConsortiumRow.cursor, ConsortiumRow.declared
Index("index_consortia_by_newest", *_BOARD, ConsortiumRow.number.desc())
Index("index_consortia_by_records", *_BOARD, ConsortiumRow.records.desc(), ConsortiumRow.number)


class UseRow(Base):
    """A dataset that a consortium's pages show: what happens to it changes them."""

    __tablename__ = "index_uses"

    cursor: Mapped[int] = mapped_column(ForeignKey("index_cursors.id"), primary_key=True)
    dataset: Mapped[str] = mapped_column(String(HASH_CHARACTERS), primary_key=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True, index=True)


class SeatRow(Base):
    """An account that a consortium names: as an owner, or as one to whom a seat or a dataset is offered."""

    __tablename__ = "index_seats"
    __table_args__ = (Index("index_seats_by_account", "cursor", "account", "acted", "number"),)

    cursor: Mapped[int] = mapped_column(ForeignKey("index_cursors.id"), primary_key=True)
    consortium: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    account: Mapped[str] = mapped_column(String(ADDRESS_CHARACTERS), primary_key=True)
    number: Mapped[int] = mapped_column(Integer)
    """Position of the consortium in the factory's list."""
    acted: Mapped[bool] = mapped_column(Boolean)
    """Whether the account did something there itself; else a stranger may have named it."""
