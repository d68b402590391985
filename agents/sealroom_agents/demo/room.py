# SPDX-License-Identifier: Apache-2.0
"""Setting up: a local chain, the contracts, one gate in its simulated CVM, runner, watcher and console."""

from __future__ import annotations

import copy
import json
import secrets
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from sealroom.encoding import from_hex
from sealroom.files import PRIVATE, write_atomic
from sealroom.keys import address_of
from sealroom.recipe import compose_hash
from sealroom_agents.demo.owners import OPERATOR, Owners, in_parallel
from sealroom_agents.demo.screen import Screen, short
from sealroom_agents.demo.stack import Stack, rpc, wait_until_final
from sealroom_agents.simulator import SIMULATED_OS_IMAGE, SimulatedPlatform

GAS_MONEY_WEI = 10**19
"""What gate and runner get on the local chain: 10 ether."""
CHAIN_ID = "31337"
GATE_COMPOSE = {
    "manifest_version": 2,
    "name": "sealroom-gate",
    "runner": "docker-compose",
    "docker_compose_file": "services:\n  gate:\n    command: sealroom gate\n",
    "kms_enabled": True,
    "gateway_enabled": False,
    "public_logs": False,
    "public_sysinfo": False,
    "public_tcbinfo": False,
    "allowed_envs": [],
}
"""What the simulated CVM of the demo's gate boots; its hash is the gate compose that the owners adopt."""


@dataclass
class Room:
    """What all steps of the demo share."""

    stack: Stack
    """Processes and files."""
    owners: Owners
    """The owners' officers."""
    threshold: int
    """So many of them decide."""
    consortium: str
    """Address."""
    app: str
    """Address of the DstackApp."""
    gate: str
    """URL."""
    console: str
    """URL."""
    recipe: bytes
    """The exact bytes that everything is bound to."""
    policy: Path
    """The platform policy that the owners adopt with the gate."""

    @property
    def chain(self) -> str:
        """RPC URL."""
        return self.owners.chain

    @property
    def folder(self) -> Path:
        """Everything that is written."""
        return self.stack.folder

    @property
    def root(self) -> Path:
        """The simulated platform's root certificate."""
        return self.folder / "platform" / "root.der"

    @property
    def trust(self) -> tuple[str, ...]:
        """Options of commands that verify: the local chain, and the root that stands in for Intel's."""
        return "--rpc", self.chain, "--simulated-root", str(self.root)

    def sealroom(self, *arguments: str, check: bool = True) -> str:
        """Run a `sealroom` command; returns its standard output."""
        return self.stack.run(sealroom(), *arguments, check=check).stdout

    def govern(self, owner: str, action: str, *arguments: str) -> dict[str, Any]:
        """One act of an owner on this consortium."""
        return self.owners.govern(owner, action, self.consortium, *arguments)


def sealroom() -> str:
    """The command of this virtual environment."""
    return str(Path(sys.executable).parent / "sealroom")


def open_room(
    stack: Stack,
    screen: Screen,
    study: Path,
    *,
    guarantees: tuple[str, ...],
    export: Callable[[Path], object] | None = None,
) -> Room:
    """Start everything; the owners adopt the gate, its machine, and a policy that accepts these guarantees.

    The owners are those of the study's `owners.json`. Their files are in `homes/`, where `export` writes
    them, or else the study's `cohort.py`.
    """
    screen.step("  set up")
    if not (stack.root / ".build" / "__local__.json").exists():  # Ape's own cache
        screen.say("Ape compiles the contracts first, once: a minute, or several on a busy machine")
    began = time.monotonic()
    folder = stack.folder
    chain = stack.start_chain()
    platform = folder / "platform"
    stack.run(sealroom(), "simulate", "init", "--platform", str(platform))
    policy = folder / "platform-policy.json"
    policy.write_bytes(SimulatedPlatform.open(platform).policy(guarantees=guarantees).encode())
    token = _secret_file(folder / "watch.token")
    runner_key = _secret_file(folder / "runner.key")
    roster = json.loads((study / "owners.json").read_text())
    owners = Owners(stack=stack, chain=chain, ids=tuple(owner["id"] for owner in roster["owners"]))
    recipe = folder / "app-compose.json"

    gate, deployment, *_ = in_parallel(
        lambda: {"url": _start_gate(stack, chain, platform, policy, token)},
        lambda: owners.deploy(_deploy_config(folder, roster, chain), folder / "deployment.json"),
        lambda: _nothing(
            stack.run(sys.executable, str(study / "cohort.py"), "--out", str(folder / "homes"))
            if export is None
            else export(folder / "homes")
        ),
        lambda: _nothing(stack.run(sealroom(), "recipe", str(study), "--out", str(recipe))),
    )
    room = Room(
        stack=stack, owners=owners, threshold=roster["threshold"], consortium=deployment["consortium"],
        app=deployment["app"], gate=gate["url"], console="", recipe=recipe.read_bytes(), policy=policy,
    )  # fmt: skip
    identity = httpx.get(f"{room.gate}/v1/gate", timeout=10).json()
    _fund(chain, identity["signer"])
    _fund(chain, address_of(from_hex(runner_key.read_text())))
    database = f"sqlite:///{folder / 'sealroom.db'}"
    common = ("--rpc", chain, "--factory", deployment["factory"], "--database", database)
    stack.start(
        "watcher", sealroom(), "watcher", *common, "--gate", room.gate, "--watch-token-file", str(token)
    )
    stack.start(
        "runner", sealroom(), "runner", "--rpc", chain, "--gate", room.gate, "--database", database,
        "--platform", str(platform), "--datasets", str(folder / "sealed"), "--state", str(folder / "runs"),
        "--key-file", str(runner_key),
    )  # fmt: skip
    room.console = stack.start_ready("console", sealroom(), "console", *common, "--port", "0")["url"]
    _adopt_platform(room, platform)
    wait_until_final(chain)
    screen.say(
        f"chain, contracts (Consortium {short(room.consortium)}, DstackApp {short(room.app)}), gate, runner, "
        "watcher, console"
    )
    screen.say(
        f"{room.threshold} of {len(owners.ids)} owners sign, one transaction: this gate, this machine   "
        f"{time.monotonic() - began:.0f} s"
    )
    return room


def _start_gate(stack: Stack, chain: str, platform: Path, policy: Path, token: Path) -> str:
    """The gate, in a CVM of its own; returns its URL."""
    compose = stack.folder / "gate-compose.json"
    compose.write_text(json.dumps(GATE_COMPOSE, separators=(",", ":"), sort_keys=True))
    socket = stack.folder / "gate.sock"
    stack.start_ready(
        "gate-guest", sealroom(), "simulate", "guest", "--platform", str(platform), "--compose", str(compose),
        "--app-id", "0x" + compose_hash(compose.read_bytes())[:20].hex(), "--socket", str(socket),
    )  # fmt: skip
    return stack.start_ready(
        "gate", sealroom(), "gate", "--rpc", chain, "--chain-id", CHAIN_ID, "--guest-agent", str(socket),
        "--platform", str(platform), "--platform-policy", str(policy),
        "--watch-token-file", str(token), "--state", str(stack.folder / "gate"), "--port", "0",
    )["url"]  # fmt: skip


def _deploy_config(folder: Path, roster: dict[str, Any], chain: str) -> Path:
    """The study's owners, each with an account of the local chain."""
    accounts: Any = rpc(chain, "eth_accounts")
    config = copy.deepcopy(roster)
    for owner, account in zip(config["owners"], accounts, strict=False):
        owner["account"] = account
    path = folder / "deploy.json"
    path.write_text(json.dumps(config, indent=1))
    return path


def _adopt_platform(room: Room, platform: Path) -> None:
    """As many owners as decide sign which gate and which machine they trust; one hands the signatures in.

    The first asks the gate, verifies its evidence and writes the proposal; each of the others does the same
    before it votes for that file.
    """
    machine = SimulatedPlatform.open(platform).machine("machine-1")
    proposal = str(room.folder / "platform.json")
    verified = (
        "--gate", room.gate, "--policy", str(room.policy), "--simulated-root", str(room.root),
        "--os-image", "0x" + SIMULATED_OS_IMAGE.hex(), "--device", "0x" + machine.device_id.hex(),
    )  # fmt: skip
    first, *_ = voters = room.owners.ids[: room.threshold]
    room.govern(first, "platform", *verified, "--out", proposal, "--draft")
    signatures = {owner: str(room.folder / f"platform-{owner}.json") for owner in voters}
    vote = ("approve", "--proposal", proposal)
    in_parallel(
        *(partial(room.govern, owner, *vote, *verified, "--sign", path) for owner, path in signatures.items())
    )
    given = [part for path in signatures.values() for part in ("--signatures", path)]
    room.govern(first, *vote, *given)


def _secret_file(path: Path) -> Path:
    """32 random bytes as hex in a file that only this user can read."""
    write_atomic(path, b"0x" + secrets.token_hex(32).encode(), mode=PRIVATE)
    return path


def _fund(chain: str, target: str) -> None:
    accounts: Any = rpc(chain, "eth_accounts")
    rpc(chain, "eth_sendTransaction", {"from": accounts[OPERATOR], "to": target, "value": hex(GAS_MONEY_WEI)})


def _nothing(_: object) -> dict[str, Any]:
    return {}
