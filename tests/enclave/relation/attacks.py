# SPDX-License-Identifier: Apache-2.0
"""The attack table: what becomes of each query, and how many rows a person it may give.

It lies in `attacks.txt`, a line a query. `ok` is compiled, and then put to the neighbour test; any other word
is the code that it is refused by, without `relation-`. The comments name what the queries try.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Attack(NamedTuple):
    """One query of the table."""

    verdict: str
    rows: int
    sql: str


def _read() -> tuple[Attack, ...]:
    text = Path(__file__).with_suffix(".txt").read_text()
    parts = [line.split("|", 2) for line in text.splitlines() if line and not line.startswith("#")]
    return tuple(Attack(verdict, int(rows), sql) for verdict, rows, sql in parts)


ATTACKS = _read()
ACCEPTED = tuple(each for each in ATTACKS if each.verdict == "ok")
