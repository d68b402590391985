# SPDX-License-Identifier: Apache-2.0
"""A whole run that demands a GPU: `docs/own-study.md` typed as it stands, with a demand in its recipe.

Gate, enclave, runner and verifier are the real programs, in processes of their own; the GPU is simulated.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sealroom.envelope import parse_envelope
from sealroom_agents import child_processes
from sealroom_agents.attestation.gpu import read_evidence
from tests.pages import blocks
from tests.patience import until
from tests.test_local_room import BIN, ENVIRONMENT, LIMIT_S, PAGE, UP, typed

DEMAND = "gpu: {kind: h100, count: 2, mode: passthrough}\n"

pytestmark = [pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(3 * LIMIT_S)]


def test_a_run_that_demands_gpus_is_granted_and_proven_as_far_as_it_goes(tmp_path: Path) -> None:
    """GP-01, GP-04, GP-07."""
    before, after = "".join(blocks(PAGE, "sh")).split(UP)
    assert before.count("gpu: none\n") == 1
    typed(before.replace("gpu: none\n", DEMAND), tmp_path)
    ready = tmp_path / "ready.json"
    with (tmp_path / "up.log").open("wb") as out:
        up = child_processes.start(
            [str(BIN / "sealroom"), *UP.split()[1:], "--ready-file", str(ready)], cwd=tmp_path,
            env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(ready.exists, up)
        printed = typed(after, tmp_path)
    finally:
        child_processes.kill(up.pid)
        up.wait()
    assert "holds, on a simulated machine" in printed, printed
    assert "2 h100, passthrough, SIMULATED GPUs" in printed and "TDISP" in printed, printed
    assert "Fully-matched;" in printed, printed
    envelope = parse_envelope((tmp_path / "banks.envelope.json").read_bytes())
    devices = [device.ueid for device in read_evidence(envelope.gpu_evidence)]
    log = (tmp_path / ".sealroom" / "gate" / "audit.jsonl").read_text().splitlines()
    (granted,) = [entry["facts"] for entry in map(json.loads, log) if entry["event"] == "granted"]
    assert len(set(devices)) == 2 and granted["gpus"] == devices
    assert granted["gpuState"] == "fully-matched"
