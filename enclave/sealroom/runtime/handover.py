# SPDX-License-Identifier: Apache-2.0
"""How large the table of one release is on its way from the analysis to the custodian, how large it may be,
and what the custodian takes for it.

A table with lists may be larger than another one: of lists a few entries at a time are computed on, of all
else the whole.
"""

from __future__ import annotations

import os

from sealroom.privacy.kind import Columns

TABLE_BYTES = 2**32
"""Largest table of one release, on a machine however large."""

TABLE_SHARE = 1 / 16
"""The part of the machine's memory that such a table may take. Were what a kind makes of it too much, the
kernel would end the custodian, at a time that the analysis chose."""

LISTS_SHARE = 1 / 4
"""The same for columns of lists, of which a million entries at a time are computed on."""

MADE = 7
"""What a kind makes of a table, in tables: a model makes most."""

CUSTODIAN_BYTES = 256 * 2**20
"""What the custodian takes beside: Python, numpy, torch for a model, and entries that are computed on."""


def table_limit(columns: Columns, machine: int | None = None) -> int:
    """Most bytes of a table with these columns that the analysis hands over for one release, on a machine of
    so many bytes, or on this one: its lists and all else take no more than their shares together."""
    lists, others = _row_bytes(columns)
    share = (lists + others) / (lists / LISTS_SHARE + others / TABLE_SHARE)
    return min(TABLE_BYTES, int((machine or machine_bytes()) * share))


def table_bytes(columns: Columns, rows: int) -> int:
    """How large such a table of a relation's result is: its lists are of small whole numbers, and people are
    numbered."""
    return sum(_row_bytes(columns)) * rows


def lists_bytes(columns: Columns, rows: int) -> int:
    """How large the lists of such a table are: they are made for the release, and let go after it."""
    return _row_bytes(columns)[0] * rows


def custodian_bytes(columns: Columns, rows: int) -> int:
    """About how many bytes the custodian takes at most to release a field from such a table."""
    lists, others = _row_bytes(columns)
    return CUSTODIAN_BYTES + (lists + (1 + MADE) * others) * rows


def machine_bytes() -> int:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _row_bytes(columns: Columns) -> tuple[int, int]:
    """Bytes of a row on the wire (`parse_rows`), of its lists and of all else, with entries of lists and the
    person at their shortest."""
    lists = 2 * sum(width for _, width in columns.vectors)
    return lists, 8 + 8 * len(columns.numbers) + 4 * len(columns.groups)
