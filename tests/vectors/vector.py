# SPDX-License-Identifier: Apache-2.0
"""The vector file: `name: value` lines, an empty line, then the raw bytes of the case.

One file is one case, and a case that must fail has one fault. `expect` is `success` or the code of the error,
`stage` names its class, so that a late check cannot hide that an early one is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Vector:
    """One case."""

    fields: Mapping[str, str]
    """What stands before the empty line; bytes are hex."""
    body: bytes
    """What stands after it."""

    def hex(self, name: str) -> bytes:
        """A field that holds bytes."""
        return bytes.fromhex(self.fields[name])

    def write(self, path: Path) -> None:
        """Write the case to its file."""
        head = "".join(f"{name}: {value}\n" for name, value in self.fields.items())
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(head.encode() + b"\n" + self.body)


def read(path: Path) -> Vector:
    """Read a case from its file."""
    head, _, body = path.read_bytes().partition(b"\n\n")
    lines = (line.split(": ", 1) for line in head.decode().split("\n"))
    return Vector({name: value for name, value in lines}, body)


def cases(kind: str) -> list[Path]:
    """All files of one format, by name."""
    return sorted(path for path in (FOLDER / kind).iterdir() if not path.name.startswith("."))
