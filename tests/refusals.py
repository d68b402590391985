# SPDX-License-Identifier: Apache-2.0
"""The gate's checks in the order in which the release protocol's page publishes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "enclave" / "spec" / "key-release.md"


@dataclass(frozen=True)
class Row:
    """One check of the page's table."""

    number: int
    message: str
    """Which message it is about: any, hello, evidence or lease."""
    check: str
    codes: tuple[str, ...]
    """What the gate answers where it fails."""
    status: int
    """HTTP status of that answer."""


def rows() -> list[Row]:
    """All checks, in the page's order."""
    section = PAGE.read_text().split("\n## Refusals\n")[1].split("\n## ")[0]
    found = []
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0].isdigit():
            number, message, check, codes, status = cells
            found.append(
                Row(int(number), message, check, tuple(re.findall(r"`([a-z-]+)`", codes)), int(status))
            )
    return found


ROWS = rows()
CODES = {row.number: row.codes for row in ROWS}
