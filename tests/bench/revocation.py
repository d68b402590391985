# SPDX-License-Identifier: Apache-2.0
"""From the revocation's transaction to the dead job: the demo's own story, timed by its processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from sealroom_agents.demo.screen import Screen
from sealroom_agents.demo.stack import Stack, empty_folder
from sealroom_agents.demo.story import tell

CHECKOUT = Path(__file__).resolve().parents[2]


class Silent(Screen):
    """Keeps the story to itself."""

    def title(self, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def refused(self, code: str, text: str) -> None:
        pass

    def plain(self, text: str) -> None:
        pass


def run() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="sealroom-bench-") as folder:
        stack = Stack(root=CHECKOUT, folder=empty_folder(Path(folder) / "demo"))
        try:
            told = tell(stack, Silent(), keep=False)
        finally:
            stack.stop()
    yield "| from the revocation's block | seconds |"
    yield "|---|---|"
    for name, seconds in told.revocation.items():
        yield f"| {name} | {seconds:.1f} |"
    yield ""
    yield "block time 1 s, lease 6 s; the block's own time has a resolution of one second"
