# SPDX-License-Identifier: Apache-2.0
"""The tables of the gate's database; what is kept in them is said in `sessions`."""

from __future__ import annotations

from sqlalchemy import BigInteger, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

MAX_BY_CHARACTERS = 128
"""What is kept of who showed a revocation."""
SCHEMA = 2
"""Version of the tables and of what stands in them; a change that an earlier gate would misread raises it."""


class Base(DeclarativeBase):
    """What all tables share."""


class LeaseRow(Base):
    """One run's lease."""

    __tablename__ = "lease"
    consortium: Mapped[str] = mapped_column(String(42), primary_key=True)
    run_id: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    study: Mapped[bytes] = mapped_column(LargeBinary(32))
    standing: Mapped[bytes] = mapped_column(LargeBinary(32))
    signer: Mapped[str] = mapped_column(String(42))
    counter: Mapped[int] = mapped_column(BigInteger)
    until: Mapped[int] = mapped_column(BigInteger)
    ended: Mapped[str | None] = mapped_column(String(64))


class OpeningRow(Base):
    """What the ledger booked of a run with a lease."""

    __tablename__ = "opening"
    consortium: Mapped[str] = mapped_column(String(42), primary_key=True)
    run_id: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    ledger: Mapped[str] = mapped_column(String(42))
    since: Mapped[int] = mapped_column(BigInteger)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class HaltRow(Base):
    """A revocation that was seen and that no final block has decided yet."""

    __tablename__ = "halted"
    consortium: Mapped[str] = mapped_column(String(42), primary_key=True)
    block_number: Mapped[int] = mapped_column(BigInteger)
    block_hash: Mapped[bytes] = mapped_column(LargeBinary(32))
    by: Mapped[str] = mapped_column(String(MAX_BY_CHARACTERS))
    since: Mapped[int] = mapped_column(BigInteger)


class AuditHeadRow(Base):
    """The end of the audit log; one row."""

    __tablename__ = "audit_head"
    id: Mapped[int] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))


class MarkRow(Base):
    """The highest value under a name."""

    __tablename__ = "mark"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    value: Mapped[int] = mapped_column(BigInteger)
