# SPDX-License-Identifier: Apache-2.0
"""Where a demo takes place: a folder, processes, commands, a screen; and the room that is set up there."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sealroom.encoding import normal_address, to_hex
from sealroom.model import Owner
from sealroom_agents.demo.commands import Commands, last_object, program
from sealroom_agents.demo.screen import Screen, short
from sealroom_agents.errors import DemoError
from sealroom_agents.local.contracts import OPERATOR, Deployment
from sealroom_agents.local.room import Room
from sealroom_agents.local.set_up import Deployer, set_up
from sealroom_agents.up.children import Children

ANY_PORTS = MappingProxyType({"chain": 0, "gate": 0, "console": 0})
"""A demo may run beside a room, and beside other demos."""
CHECKOUT = Path(__file__).resolve().parents[3]
"""Has the Ape project and the demo's study; an installed wheel has neither."""


@dataclass(frozen=True)
class Stage:
    """What all steps of a demo share."""

    folder: Path
    """Everything that is written."""
    children: Children
    """Processes."""
    commands: Commands
    screen: Screen

    def sealroom(self, *arguments: str, check: bool = True) -> str:
        """Run a `sealroom` command; returns its standard output."""
        return self.commands.run(program("sealroom"), *arguments, check=check).stdout

    def told(self, *arguments: str, check: bool = True) -> dict[str, Any]:
        """Run a `sealroom` command with --json; returns what it answers."""
        return last_object(self.sealroom(*arguments, "--json", check=check))

    def open_room(self, study: Path, *, guarantees: Sequence[str], deploy: Deployer | None = None) -> Room:
        """Set up a room for the study and its owners, as `sealroom up --local` does, and say so."""
        self.screen.step("  set up")
        self.screen.say(
            "a local chain with the contracts, a gate in its simulated machine, watcher, runner, console"
        )
        given = {} if deploy is None else {"deploy": deploy}
        room = set_up(self.children, self.folder, study, guarantees=guarantees, ports=ANY_PORTS, **given)
        self.screen.say(
            f"{room.threshold} of {len(room.owners)} owners adopted this gate and this machine   "
            f"{self.screen.elapsed():.0f} s"
        )
        return room


def by_ape(stage: Stage) -> Deployer:
    """Deploys with the script that an operator uses: `ape run deploy`, in the checkout."""

    def deploy(url: str, owners: Sequence[Owner], threshold: int, *, salt: bytes) -> Deployment:
        if not (CHECKOUT / ".build" / "__local__.json").exists():  # Ape's own cache
            stage.screen.say("Ape compiles the contracts first, once: a minute, or several on a busy machine")
        config, out = stage.folder / "deploy.json", stage.folder / "deployment.json"
        roster = [owner.to_json() for owner in owners]
        asked = {"owners": roster, "threshold": threshold, "salt": to_hex(salt)}
        config.write_text(json.dumps(asked, indent=1))
        path = str(Path(program("ape")).parent) + os.pathsep + os.environ.get("PATH", os.defpath)
        stage.commands.run(
            program("ape"), "run", "deploy", "--network", url, "--account", f"TEST::{OPERATOR}",
            "--config", str(config), "--out", str(out),
            folder=CHECKOUT, environment={"PATH": path, "APE_DATA_FOLDER": str(CHECKOUT / ".ape")},
        )  # fmt: skip
        made = json.loads(out.read_text())
        found = Deployment(**{name: normal_address(made[name]) for name in Deployment.__dataclass_fields__})
        stage.screen.say(
            f"ape run deploy: Consortium {short(found.consortium)}, DstackApp {short(found.app)}, and the "
            f"factory, ledger and lens of all consortia   {stage.screen.elapsed():.0f} s"
        )
        return found

    return deploy


def require_checkout() -> None:
    """Raises `DemoError` outside a checkout."""
    if not (CHECKOUT / "ape-config.yaml").exists():
        raise DemoError(
            "this needs a checkout of the project",
            hint="clone the repository, and install it from there; a study of yours: sealroom up --local",
        )
