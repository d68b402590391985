# SPDX-License-Identifier: Apache-2.0
"""The scripts as an operator and four owners use them, against an anvil."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.local_chain import ROOT, LocalChain, account
from tests.patience import PATIENCE_S

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
        network = "--network", self._chain.url, "--consortium", self.consortium
        return (*network, "--account", f"TEST::{owner}")


@pytest.mark.anvil
@pytest.mark.slow
def test_a_consortium_is_deployed_and_governed_from_the_command_line(tmp_path: Path) -> None:
    with LocalChain.start() as chain:
        desk = Desk(chain, tmp_path)
        owners = [
            {"account": account(n), "id": f"hospital-{letter}", "jurisdiction": "DE", "regimes": ["GDPR"]}
            for n, letter in enumerate("AB")
        ]
        deployment = desk.deploy({"owners": owners, "threshold": 1, "factory": chain.factory})
        assert deployment["ledger"] == chain.ledger

        platform = desk.file(
            "platform.json",
            {
                "gateRoot": HASH,
                "gateSigner": account(5),
                "gateCompose": HASH,
                "osImages": [HASH],
                "devices": [HASH],
            },
        )
        assert desk.govern("platform", 1, "--file", platform)["adopted"]

        registration = desk.file(
            "cohort.registration.json",
            {
                "datasetId": HASH,
                "indexDigest": HASH,
                "keyCommitment": HASH,
                "schemaHash": HASH,
                "rows": 1968,
                "name": "cohort-A",
            },
        )
        desk.govern("register", 0, "--registration", registration, "--cap", "4")
        desk.govern("cap", 0, "--dataset-id", HASH, "--cap", "4.5", "--delta", "0.00001", "--runs", "3")

        proposal = desk.file(
            "proposal.json",
            {
                "composeHash": HASH,
                "outputHash": HASH,
                "privacyHash": HASH,
                "datasets": [HASH],
                "epsilon": "4.5",
                "delta": "0.00001",
                "maxRuns": 3,
                "expiry": chain.head_time() + 30 * 24 * 3600,
            },
        )
        proposed = desk.govern("propose", 1, "--study", proposal)
        assert proposed["required"] == ["hospital-A"]
        study = "--study-id", proposed["study"]

        # Approval by the second owner by transaction, by the first on a machine without a network.
        progress = desk.govern("approve", 1, *study)
        assert (progress["pinned"], progress["missing"]) == (False, ["hospital-A"])
        request, signed = desk.file("request.json"), desk.file("approve.sig.json")
        desk.govern("approve", 0, *study, "--request", request)
        desk.run("govern", "sign", "--account", "TEST::0", "--request", request, "--out", signed)
        assert desk.govern("approve", OPERATOR, *study, "--signatures", signed)["pinned"]

        printed, _ = desk.run("govern", "status", "--network", chain.url, "--consortium", desk.consortium)
        assert f"study       {proposed['study']}  live" in printed
        assert "hospital-A/cohort-A  1,968 rows  ε 0 of 4.5, δ 0 of 1e-5 spent in 0 of 3 runs" in printed

        revoked = desk.govern("revoke", 1, "--reason", "consent withdrawn")
        assert chain.call("Consortium", desk.consortium, "revokedBy").lower() == account(1)
        assert revoked["epoch"] == proposed["epoch"] + 1
        said = desk.refused("approve", OPERATOR, *study, "--signatures", signed)
        assert "ConsortiumEpochMismatch(given=2, current=3)" in said
        status = json.loads(
            desk.run("govern", "status", "--network", chain.url, "--consortium", desk.consortium, "--json")[0]
        )
        assert (status["revokedBy"], status["revocationReason"]) == ("hospital-B", "consent withdrawn")

        # Both approve another study and one takes it back; then they change who they are.
        later = desk.govern("propose", 1, "--study", proposal)["study"]
        desk.govern("approve", 1, "--study", proposal)
        assert desk.govern("withdraw", 1, "--proposal", later)["approvals"] == []
        assert "ConsortiumWithdrawn" in desk.refused("approve", 1, "--study", proposal)
        roster = desk.file("roster.json", {"owners": owners[:1], "threshold": 1})
        assert desk.govern("owners", 0, "--file", roster)["seated"]
        assert "ConsortiumNotOwner" in desk.refused("revoke", 1, "--reason", "stop")


@pytest.mark.anvil
def test_what_people_get_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    with LocalChain.start() as chain:
        desk = Desk(chain, tmp_path)
        desk.consortium = "0x" + 40 * "a"
        said = desk.refused("revoke", 0, "--reason", "stop")
        error, hint = said.splitlines()
        assert error.startswith("error: 0x") and error.endswith(" holds no contract on chain 31337")
        assert hint == "hint: check --consortium and --network; deployment.json has the address"
