# SPDX-License-Identifier: Apache-2.0
"""The guarantees that a recipe may promise, each with the one sentence that every reader of it is shown.

The console's pages have the same table (`face/model/model.ts`). Spec: `enclave/spec/recipe.md`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """Why one person's data stays apart from another's."""

    name: str
    """As recipes name it."""
    sentence: str
    """What it promises, and on what the promise rests, for people."""
    by_script: bool
    """Whether a script computes; else a relation does."""
    must_read: bool
    """Whether the promise rests on reading that script: it is shown in red."""

    @property
    def by_blocks(self) -> bool:
        """Whether the script runs once for each block of people."""
        return self.name == BY_BLOCKS


BY_CONSTRUCTION = "by-construction"
"""A relation keeps people apart, whoever wrote it."""
BY_BLOCKS = "by-blocks"
"""A script sees one block of people at a time, and each block's numbers are clamped and noised."""
BY_READING = "by-reading"
"""A script is trusted to keep people apart: who reads it finds no other way."""

GUARANTEES = {
    one.name: one
    for one in (
        Guarantee(
            name=BY_CONSTRUCTION,
            sentence="Each person's rows depend on that person's data alone, whoever wrote the study: only "
            "SQL that keeps people apart compiles, and only what was compiled runs.",
            by_script=False,
            must_read=False,
        ),
        Guarantee(
            name=BY_BLOCKS,
            sentence="Each person is in one block, the script sees one block at a time, and noise hides "
            "whatever a block hands in. It does not cover a script written to leave a trace in the machine's "
            "speed for the blocks after it.",
            by_script=True,
            must_read=False,
        ),
        Guarantee(
            name=BY_READING,
            sentence="The promise rests on reading the script: no code checks that it makes each person's "
            "row from that person's data alone, and a script that does not can let exact records leave.",
            by_script=True,
            must_read=True,
        ),
    )
}
"""By name."""
GUARANTEE = re.compile("|".join(GUARANTEES))
"""The name of one of them."""
