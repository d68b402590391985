# SPDX-License-Identifier: Apache-2.0
"""The script that Phala Cloud puts into an app-compose, which dstack runs as root before any container.

A recipe with a script is refused, but for the scripts of this list: somebody has read each of them as an
attacker would, and `enclave/spec/recipe.md` (Phala Cloud) says what it opens. The text is not here: the
recipe's own bytes hold it, for owners to read, and its hash says that it is the one that was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sealroom.encoding import sha256

MEMBER = "pre_launch_script"
"""Where an app-compose holds it."""
SCRIPT_FILE = "pre_launch.sh"
"""Where a study's folder holds it."""
MAX_SCRIPT_BYTES = 64 * 1024
HINTS_VARIABLE = "SEALROOM_HINTS"
"""The one variable that such a recipe takes from whoever runs it: hints, as base64."""


@dataclass(frozen=True)
class Script:
    """One text that may stand in a recipe."""

    name: str
    """What it calls itself."""
    size: int
    """Bytes of its UTF-8."""
    digest: str
    """SHA-256 of them, hex."""


SCRIPTS = (
    Script(
        "Phala Cloud Pre-Launch Script v0.0.14",
        12_328,
        "0e289ab44fa756e02a3e850d60c22ab1cbf90cade311f98f555fad74a1c40d0a",
    ),
)


def known(text: Any) -> Script | None:
    """The script of the list that this is; `None` for all else."""
    if not isinstance(text, str):
        return None
    data = text.encode("utf-8", "surrogatepass")
    digest = sha256(data).hex()
    return next((each for each in SCRIPTS if (each.size, each.digest) == (len(data), digest)), None)
