# SPDX-License-Identifier: Apache-2.0
"""How a CSV is written: what its owner says of it, and nothing that is guessed from its cells."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom.codes import Code
from sealroom_agents.errors import ToolError


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written. Raises `ToolError` `not-csv` for a delimiter that cannot be one."""

    delimiter: str = ","
    """Between its cells."""

    def __post_init__(self) -> None:
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0':
            raise ToolError(Code.NOT_CSV, f"the delimiter {self.delimiter!r} is not one character of ASCII")
