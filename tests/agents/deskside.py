# SPDX-License-Identifier: Apache-2.0
"""An owner's desk beside a chain: the small study of `staged.Stage`, its card, and a file to seal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.agents.shell import forked
from tests.agents.staged import Stage, make_stage
from tests.agents.worked import WorkedGate, make_card, write_cohort
from tests.local_chain import LocalChain

SEAL = "sealroom seal --owner hospital-A --simulated-root root.der --yes"


@dataclass(frozen=True)
class OwnersDesk:
    """A folder with card and input, and the study's stage."""

    stage: Stage
    folder: Path

    @property
    def chain(self) -> LocalChain:
        return self.stage.chain

    def write_card(self, *, gate: WorkedGate | None = None, recipe: bytes | None = None) -> None:
        """The study card, of this gate and this recipe where they are given."""
        stage = self.stage
        view = stage.reader.finalized_view(stage.room.consortium)
        card = make_card(gate or stage.gate, recipe or stage.recipe)
        owners = tuple(replace(card.owners[0], id=one.id, account=one.account) for one in view.owners)
        place = {"consortium": view.consortium, "app": view.app, "ledger": view.ledger}
        (self.folder / "study.json").write_bytes(replace(card, owners=owners, **place).encode())

    def run(self, command: str, status: int, *, rpc: str | None = "") -> str:
        """Run a command; with this node, the chain's own by default, or without one."""
        self.chain.mine()  # a head of now
        asked = "" if rpc is None else f" --rpc {rpc or self.chain.url}"
        done = forked(command + asked, self.folder)
        assert done.returncode == status, done.stdout
        return done.stdout

    def json(self, command: str, status: int, *, rpc: str | None = "") -> dict[str, Any]:
        """The same with --json: what it prints on stdout."""
        self.chain.mine()
        asked = "" if rpc is None else f" --rpc {rpc or self.chain.url}"
        done = forked(f"{command}{asked} --json 2>errors", self.folder)
        assert done.returncode == status, (self.folder / "errors").read_text()
        return dict(json.loads(done.stdout))

    def answers(self, command: str, status: int, *, rpc: str | None = "") -> dict[str, dict[str, Any]]:
        """What was asked, by name."""
        told = self.json(command, status, rpc=rpc)
        return {one["name"]: one for one in told["asked"]["answers"]}


@contextmanager
def owners_desk(chain: LocalChain, folder: Path) -> Iterator[OwnersDesk]:
    """The desk; the chain becomes again what it was, since what is registered here has fixed names."""
    snapshot = chain.snapshot()
    desk = OwnersDesk(make_stage(chain, folder / "stage"), folder)
    desk.write_card()
    (folder / "root.der").write_bytes(desk.stage.platform.root_der)
    write_cohort(folder / "cohort-A.parquet")
    yield desk
    chain.restore(snapshot)
