# SPDX-License-Identifier: Apache-2.0
"""Table schemas: the four column types that a study may use, and the digest that names a schema."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from sealroom.encoding import canonical, sha256

COLUMN_TYPES = frozenset({"int64", "float64", "string", "bool"})
"""Arrow type names that a column may have."""

MAX_COLUMNS = 1024
MAX_ROWS = 50_000_000
"""Rows of one table that a field is released from."""
COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
OWNER_ID = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,30}")
"""An owner's short name. It fits the contract's `bytes32`, with room to spare."""
DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""A dataset's name among its owner's. It is also a file name."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    """Name, unique in the table."""
    type: str
    """One of `COLUMN_TYPES`."""


def schema_hash(columns: Iterable[Column] | None) -> bytes:
    """Digest of a schema, 32 bytes: SHA-256 of the canonical JSON array of [name, type], sorted by name.

    The order of columns in a file does not change what a study can read from it. A file that is no table
    has the digest of the empty array.
    """
    return sha256(canonical([list(column) for column in sorted(columns or ())]))
