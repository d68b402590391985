# SPDX-License-Identifier: Apache-2.0
"""The scripts as an operator and four owners use them, against an anvil."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sealroom.recipe import parse, render
from sealroom.schema import schema_hash
from sealroom_agents.owner.registration import Registration
from tests.local_chain import ROOT, Dataset, LocalChain, account
from tests.patience import PATIENCE_S, until

OPERATOR = 9
HASH = "0x" + 64 * "a"


class Desk:
    """One folder with files, and the commands on one chain."""

    def __init__(self, chain: LocalChain, folder: Path) -> None:
        self._chain = chain
        self._folder = folder
        self.consortium = ""

    def file(self, name: str, content: dict[str, Any] | None = None) -> str:
        path = self._folder / name
        if content is not None:
            path.write_text(json.dumps(content))
        return str(path)

    def run(self, *arguments: str, rc: int = 0) -> tuple[str, str]:
        """Standard output and standard error of `ape run …`."""
        done = subprocess.run(
            [str(ROOT / ".venv" / "bin" / "ape"), "run", *arguments],
            cwd=ROOT,
            env={**os.environ, "APE_DATA_FOLDER": str(ROOT / ".ape")},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == rc, done.stdout + done.stderr
        return done.stdout, done.stderr

    def deploy(self, config: dict[str, Any]) -> dict[str, Any]:
        out = self.file("deployment.json")
        printed, _ = self.run(
            "deploy",
            *("--network", self._chain.url, "--account", f"TEST::{OPERATOR}"),
            *("--config", self.file("deploy.json", config), "--out", out, "--json"),
        )
        deployment: dict[str, Any] = json.loads(printed)
        assert deployment == json.loads(Path(out).read_text())
        self.consortium = deployment["consortium"]
        return deployment

    def govern(self, action: str, owner: int, *options: str) -> dict[str, Any]:
        """The outcome as JSON; nothing else may be on standard output."""
        printed, _ = self.run("govern", action, *self._who(owner), *options, "--json")
        return dict(json.loads(printed))

    def refused(self, action: str, owner: int, *options: str) -> str:
        """What is said of a refusal."""
        printed, said = self.run("govern", action, *self._who(owner), *options, "--json", rc=1)
        assert printed == ""
        return said

    def _who(self, owner: int) -> tuple[str, ...]:
        return (*self.at, "--account", f"TEST::{owner}")

    @property
    def at(self) -> tuple[str, ...]:
        """Which consortium, on which chain."""
        return "--network", self._chain.url, "--consortium", self.consortium

    def read(self, action: str, *options: str) -> dict[str, Any]:
        """What an action answers that needs no account."""
        printed, _ = self.run("govern", action, *self.at, *options, "--json")
        return dict(json.loads(printed))


@pytest.mark.anvil
@pytest.mark.slow
def test_a_consortium_is_deployed_and_governed_from_the_command_line(tmp_path: Path) -> None:
    with LocalChain.start() as chain:
        desk = Desk(chain, tmp_path)
        owners = [
            {"account": account(n), "id": f"hospital-{letter}", "jurisdiction": "DE", "regimes": ["GDPR"]}
            for n, letter in enumerate("ABCD")
        ]
        deployment = desk.deploy({"owners": owners, "threshold": 1, "ledger": chain.ledger})
        assert (deployment["ledger"], deployment["lens"]) == (chain.ledger, chain.lens)
        out = ("--config", desk.file("deploy.json"), "--out", desk.file("deployment.json"))
        _, said = desk.run("deploy", "--network", chain.url, "--account", "TEST::9", *out, rc=1)
        assert f"holds the deployment of {desk.consortium} on chain 31337" in said

        platform = {
            "gateRoot": HASH,
            "gateSigner": account(5),
            "gateCompose": HASH,
            "policyHash": HASH,
            "osImages": [HASH],
            "devices": [HASH],
        }
        adopted = desk.govern("platform", 1, "--file", desk.file("platform.json", platform))
        assert adopted["effective"]

        recipe = desk.file("app-compose.json")
        Path(recipe).write_bytes(render(ROOT / "enclave" / "studies" / "cardio-renal"))
        room = replace(chain.create_consortium(["hospital-A"], threshold=1), consortium=desk.consortium)
        for n, spec in enumerate(parse(Path(recipe).read_bytes()).datasets):
            one = Dataset(owner=n, name=spec.name, schema_hash=schema_hash(spec.columns))
            if n:
                chain.register(room, one, cap_micro=4_500_000, cap_pico=3_000_000)
                continue
            given = Registration(
                dataset=one.id, owner=account(n), name=one.name, number=1, version=one.version
            )
            file = desk.file(f"{one.name}.registration.json", given.to_json())
            caps = "--lifetime", "9", "--lifetime-delta", "9e-6", "--cap", "4.5", "--delta", "3e-6"
            desk.govern("register", n, "--registration", file, *caps)

        # The first by transaction, the second on a machine without a network, and two at once.
        study = desk.govern("propose", 0, "--recipe", recipe, "--runs", "3")["proposal"]
        (open_,) = desk.read("pending")["proposals"]
        assert (open_["id"], open_["missing"]) == (study, ["hospital-B", "hospital-C", "hospital-D"])
        request, signed = desk.file("request.json"), desk.file("approve.sig.json")
        desk.run("govern", "approve", study, *desk.at, "--blind", "--owner", account(1), "--request", request)
        desk.run(
            "govern",
            "sign",
            "--account",
            "TEST::1",
            "--request",
            request,
            "--recipe",
            recipe,
            "--out",
            signed,
        )
        desk.govern("approve", 2, study, "--recipe", recipe)
        other = desk.file("other.sig.json")
        desk.govern("approve", 3, study, "--recipe", recipe, "--sign", other)
        handed_in = "--signatures", signed, "--signatures", other
        assert desk.govern("approve", OPERATOR, study, *handed_in)["effective"]

        printed, _ = desk.run("govern", "status", *desk.at)
        assert f"{study}  live until" in printed and "hospital-A/cohort-A  1,000 rows" in printed
        assert desk.govern("revoke", 1, "--reason", "consent withdrawn")["by"] == "hospital-B"
        assert desk.read("status")["revokedBy"] == "hospital-B"
        said = desk.refused("confirm", OPERATOR)
        assert f"{account(OPERATOR)} is no owner" in said and "hospital-A" in said


@pytest.mark.anvil
@pytest.mark.slow
def test_two_owners_who_vote_in_one_block_both_have_the_gas_that_they_need(tmp_path: Path) -> None:
    """Each estimate is of the state before both: the later vote is the last that is needed, and adopts."""
    platform = {
        "gateRoot": HASH, "gateSigner": account(5), "gateCompose": HASH, "policyHash": HASH,
        "osImages": [HASH], "devices": [HASH],
    }  # fmt: skip
    with LocalChain.start() as chain, ThreadPoolExecutor() as pool:
        desk = Desk(chain, tmp_path)
        room = chain.create_consortium(["hospital-A", "hospital-B", "hospital-C"], threshold=3)
        desk.consortium = room.consortium
        file = desk.file("platform.json", platform)
        desk.govern("platform", 2, "--file", file)
        chain.rpc("evm_setAutomine", False)
        voting = [pool.submit(desk.govern, "platform", n, "--file", file) for n in (0, 1)]
        until(lambda: int(chain.rpc("txpool_status")["pending"], 16) == 2)
        chain.mine()
        chain.rpc("evm_setAutomine", True)
        assert len({one.result(PATIENCE_S)["block"] for one in voting}) == 1
        assert desk.read("status")["platform"]


@pytest.mark.anvil
def test_what_people_get_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    with LocalChain.start() as chain:
        desk = Desk(chain, tmp_path)
        desk.consortium = "0x" + 40 * "a"
        said = desk.refused("confirm", 0)
        error, hint = said.splitlines()
        assert error.startswith("error: 0x") and error.endswith(" holds no contract on chain 31337")
        assert hint == "hint: check --consortium and the network; deployment.json has the address"
        _, said = desk.run("govern", "confirm", *desk.at, "--account", "nobody", rc=1)
        assert "error: there is no account nobody" in said
