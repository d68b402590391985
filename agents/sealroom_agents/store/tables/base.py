# SPDX-License-Identifier: Apache-2.0
"""What all tables share.

Times are unix seconds with fractions; ids, hashes and addresses are lower-case `0x` hex.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, MetaData, Text, TypeDecorator
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


class Words(TypeDecorator[str]):
    """Text for people, which anyone may have written: a revocation's reason, what an enclave prints.

    PostgreSQL takes no U+0000, and no UTF-8 has half of a surrogate pair. Both are kept as U+FFFD, so that
    nobody's words stop what is written down with them.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        return value.replace("\0", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
