# SPDX-License-Identifier: Apache-2.0
"""The chain of a room."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import ChainError, DemoError
from sealroom_agents.up.children import Child, Children

CHAIN_ID = 31337
ACCOUNTS = 20
"""Accounts of the local chain; the owners' are the first."""
READY_S = 300.0
"""How long a process may take until it works, and the chain until a block is final: seconds."""


def start_chain(children: Children, folder: Path, port: int) -> str:
    """A chain with one block a second and finality two blocks behind, which a later call goes on with."""
    url = f"http://127.0.0.1:{port}"
    states = folder / "chain"
    states.mkdir(parents=True, exist_ok=True)
    # Past some hundred blocks anvil writes one file a block, into the user's home unless told otherwise.
    command = (
        anvil(), "--port", str(port), "--block-time", "1", "--slots-in-an-epoch", "1", "--silent",
        "--accounts", str(ACCOUNTS), "--chain-id", str(CHAIN_ID), "--cache-path", str(states / "cache"),
        "--state", str(states / "state.json"), "--state-interval", "10", "--preserve-historical-states",
    )  # fmt: skip
    children.start(Child("chain", command, probe=lambda: answers(url), stop_s=30.0), within_s=READY_S)
    return url


def anvil() -> str:
    """The program that is the local chain: of this environment, or else on the PATH. Raises `DemoError`."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("anvil", path=os.pathsep.join((beside, os.environ.get("PATH", os.defpath))))
    if found is None:
        raise DemoError(
            "anvil, which is the local chain, is not on the PATH",
            hint="curl -L https://foundry.paradigm.xyz | bash; foundryup. In a checkout: make setup",
        )
    return found


def answers(url: str) -> bool:
    """Whether a node is there."""
    try:
        Rpc(url).chain_id()
    except ChainError:
        return False
    return True


def wait_until_final(url: str) -> None:
    """Wait until what is in the newest block now is finalized: only then does an approval count."""
    rpc = Rpc(url)
    newest, deadline = rpc.head("latest").number, time.monotonic() + READY_S
    while rpc.head("finalized").number < newest:
        if time.monotonic() > deadline:
            raise DemoError(f"block {newest} of the local chain does not become final")
        time.sleep(0.1)
