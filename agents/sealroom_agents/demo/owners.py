# SPDX-License-Identifier: Apache-2.0
"""The owners' officers: each acts through the Ape scripts, with an account of the local chain."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sealroom_agents.demo.stack import Stack

OPERATOR = 9
"""Account that deploys the contracts and hands out gas money."""
PARALLEL = 4
"""Commands at one time; each waits for blocks more than it computes."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Owners:
    """Runs `ape run` for one owner at a time."""

    stack: Stack
    """Where commands run."""
    chain: str
    """RPC URL."""
    ids: tuple[str, ...]
    """Owners in the order of their accounts."""

    def deploy(self, config: Path, out: Path) -> dict[str, Any]:
        """`ape run deploy`; returns the addresses."""
        self._ape(["deploy"], OPERATOR, "--config", str(config), "--out", str(out))
        addresses: dict[str, Any] = json.loads(out.read_text())
        return addresses

    def govern(self, owner: str, action: str, consortium: str, *arguments: str) -> dict[str, Any]:
        """`ape run govern ACTION` by an owner; returns what the script reports."""
        output = self._ape(
            ["govern", action], self.ids.index(owner), "--consortium", consortium, "--json", *arguments
        )
        return last_object(output)

    def _ape(self, script: list[str], account: int, *arguments: str) -> str:
        ape = str(Path(sys.executable).parent / "ape")
        return self.stack.run(
            ape, "run", *script, "--network", self.chain, "--account", f"TEST::{account}", *arguments
        ).stdout


def in_parallel(*jobs: Callable[[], Result]) -> list[Result]:
    """Run several commands at one time; raises the first error once all have ended.

    Who is interrupted does not wait for them: `Stack.stop` ends them.
    """
    pool, wait = ThreadPoolExecutor(PARALLEL), True
    try:
        return [future.result() for future in [pool.submit(job) for job in jobs]]
    except KeyboardInterrupt:
        wait = False
        raise
    finally:
        pool.shutdown(wait=wait, cancel_futures=not wait)


def last_object(output: str) -> dict[str, Any]:
    """The last JSON object that a command printed on a line of its own; empty when there is none."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    last: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return last
