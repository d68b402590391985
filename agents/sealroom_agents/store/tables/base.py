# SPDX-License-Identifier: Apache-2.0
"""What all tables share.

Times are unix seconds with fractions; ids, hashes and addresses are lower-case `0x` hex.
"""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

HASH_CHARACTERS = 66
"""`0x` and 64 hex digits."""
ADDRESS_CHARACTERS = 42
"""`0x` and 40 hex digits."""
NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
"""How constraints and indexes are called, so that a later revision finds them on every database."""


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMES)
