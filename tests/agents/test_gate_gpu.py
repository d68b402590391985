# SPDX-License-Identifier: Apache-2.0
"""No key leaves without the evidence of the GPUs that a recipe demands: the real gate, chain and verifier.

Only the hardware is simulated, under roots for which the simulated platform vouches.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp
from tests.gate_world import GPU_RULES, PLATFORM, Enclave, World, granted, refused

from sealroom.gpu_demand import GpuDemand
from sealroom.key_release import evidence_digest
from sealroom.key_release.messages import MAX_GPU_EVIDENCE
from sealroom_agents.attestation import INTEL
from sealroom_agents.attestation.gpu import (
    State,
    Terms,
    gpu_trust,
    read_material,
    walk_gpus,
    write_material,
)
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.gate.gpus import GpuJudge
from sealroom_agents.simulator import SimulatedGpu, SimulatedPlatform
from sealroom_agents.simulator.gpu import encode_evidence

pytestmark = pytest.mark.anvil

ONE = GpuDemand(kind="h100", count=1, mode="passthrough")
TWO = replace(ONE, count=2)
DAY = 86_400


@pytest.fixture
def ruled(approved: World) -> World:
    """The owners' platform policy has rules for GPUs."""
    approved.judge_gpus()
    return approved


def enclave(
    world: World, demand: GpuDemand | None = ONE, gpus: tuple[SimulatedGpu, ...] | None = None
) -> Enclave:
    """An enclave whose recipe demands GPUs, on a machine that has them."""
    count = 0 if demand is None else demand.count
    shown = PLATFORM.machine_gpus(count) if gpus is None else gpus
    return Enclave(world, demand=demand, options={"gpus": shown})


def unproven(asked: Enclave, code: str, shown: Callable[[bytes], bytes] | None = None) -> None:
    """The gate refuses, and its message names why; `shown` is other evidence, of the nonce."""
    transcript, challenge = asked.hello()
    gpus = None if shown is None else shown(asked.gpu_nonce(transcript))
    answer = asked.send(asked.evidence(transcript, challenge, gpus=gpus))
    refused(answer, "gpu-evidence-unverified")
    assert f"({code})" in json.loads(answer.content)["message"], answer.text


def test_keys_leave_for_the_gpus_that_are_demanded_and_the_log_names_them(ruled: World) -> None:
    granted(enclave(ruled, TWO).ask())
    log = [json.loads(line) for line in (ruled.state / "audit.jsonl").read_text().splitlines()]
    (facts,) = [entry["facts"] for entry in log if entry["event"] == "granted"]
    assert facts["gpuState"] == "fully-matched"
    assert facts["gpus"] == [gpu.ueid for gpu in PLATFORM.machine_gpus(2)]


def test_the_grant_names_what_the_gate_judged_by_and_a_walk_with_no_more_comes_to_the_same_end(
    ruled: World,
) -> None:
    """GP-06, GP-07: of all that lies in the folder, what decided, at the time of the grant."""
    asked = enclave(ruled)
    transcript, challenge = asked.hello()
    message = asked.evidence(transcript, challenge)
    reply = granted(asked.send(message))
    assert reply.grant.evidence == evidence_digest(
        quote=message.quote,
        event_log=message.event_log,
        gpu_evidence=message.gpu_evidence,
        gpu_material=reply.gpu_material,
    )
    material = read_material(reply.gpu_material)
    found = walk_gpus(
        message.gpu_evidence,
        nonce=asked.gpu_nonce(transcript),
        now=reply.grant.issued,
        material=material,
        terms=Terms.under(GPU_RULES, count=1),
        trust=gpu_trust(PLATFORM.trust(), PLATFORM.gpu_roots()),
    )
    assert found.broken is None and found.state is State.FULLY_MATCHED and found.asked_all
    assert write_material(found.used) == reply.gpu_material
    assert len(material.answers) == len(found.asked)
    lying = len(list((ruled.gpu_material / "ocsp").glob("*.der")))
    assert len(material.answers) < lying, "of one GPU, where the folder has those of two"


def test_a_run_without_gpus_has_nothing_that_they_were_judged_by(ruled: World) -> None:
    assert granted(enclave(ruled, None).ask()).gpu_material == b""


def test_a_run_that_demands_none_is_granted_under_rules_for_gpus_too(ruled: World) -> None:
    granted(enclave(ruled, None).ask())


def test_a_demand_is_refused_where_owners_have_no_rules_for_gpus(approved: World) -> None:
    """GP-06: what nobody has rules for is not taken, also where it is genuine."""
    refused(enclave(approved).ask(), "gpu-evidence-unverified")


def test_an_enclave_that_omits_the_evidence_gets_no_key(ruled: World) -> None:
    """GP-01."""
    asked = enclave(ruled)
    transcript, challenge = asked.hello()
    refused(asked.send(asked.evidence(transcript, challenge, gpus=b"")), "gpu-evidence-unverified")


def test_evidence_that_no_recipe_demands_is_refused_though_genuine(ruled: World) -> None:
    """GP-01."""
    asked = enclave(ruled, None)
    transcript, challenge = asked.hello()
    shown = encode_evidence(PLATFORM.machine_gpus(1), asked.gpu_nonce(transcript))
    refused(asked.send(asked.evidence(transcript, challenge, gpus=shown)), "gpu-evidence-unverified")


def test_evidence_of_another_run_is_refused(ruled: World) -> None:
    """GP-01: genuine, of this machine, and a moment old; also of the same run under another challenge."""
    other = enclave(ruled)
    before, _ = other.hello()
    nonce = other.gpu_nonce(before)
    unproven(enclave(ruled), "gpu-nonce", lambda _: encode_evidence(PLATFORM.machine_gpus(1), nonce))
    unproven(other, "gpu-nonce", lambda _: encode_evidence(PLATFORM.machine_gpus(1), nonce))


def test_evidence_that_the_quote_does_not_bind_is_refused(ruled: World) -> None:
    """GP-02: the enclave's hardware vouches for these bytes and no others."""
    asked = enclave(ruled)
    transcript, challenge = asked.hello()
    shown = encode_evidence(PLATFORM.machine_gpus(1, "machine-2"), asked.gpu_nonce(transcript))
    message = replace(asked.evidence(transcript, challenge), gpu_evidence=shown)
    refused(asked.send(message), "report-data-mismatch")


def test_a_gpu_of_another_mint_is_refused(ruled: World) -> None:
    """GP-10."""
    unproven(enclave(ruled, gpus=SimulatedPlatform(b"\x09" * 32).machine_gpus(1)), "gpu-chain")


def _under_anothers_certificates(nonce: bytes) -> bytes:
    first, second = json.loads(encode_evidence(PLATFORM.machine_gpus(2), nonce))
    return json.dumps([first, second | {"evidence": first["evidence"]}]).encode()


def _with_a_bit_less(nonce: bytes) -> bytes:
    (gpu,) = json.loads(encode_evidence(PLATFORM.machine_gpus(1), nonce))
    report = bytearray(base64.b64decode(gpu["evidence"]))
    report[60] ^= 1
    return json.dumps([gpu | {"evidence": base64.b64encode(report).decode()}]).encode()


@pytest.mark.parametrize(
    ("shown", "demand", "code"),
    [
        (_under_anothers_certificates, TWO, "gpu-signature"),
        (_with_a_bit_less, ONE, "gpu-signature"),
        (lambda nonce: encode_evidence(PLATFORM.machine_gpus(1) * 2, nonce), TWO, "gpu-count"),
        (lambda nonce: encode_evidence(PLATFORM.machine_gpus(1), nonce), TWO, "gpu-count"),
        (lambda nonce: encode_evidence(PLATFORM.machine_gpus(2), nonce), ONE, "gpu-count"),
        (lambda nonce: b"[]", ONE, "gpu-evidence-malformed"),
        (lambda nonce: b"x", ONE, "gpu-evidence-malformed"),
    ],
    ids=["another's report", "one bit", "one twice", "too few", "too many", "none", "no JSON"],
)
def test_each_gpu_signs_for_itself_once(
    ruled: World, shown: Callable[[bytes], bytes], demand: GpuDemand, code: str
) -> None:
    """GP-04."""
    unproven(enclave(ruled, demand), code, shown)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"arch": "BLACKWELL"}, "gpu-architecture"),
        ({"driver": "550.54.14"}, "gpu-not-allowed"),
        ({"vbios": "96.00.30.00.01"}, "gpu-not-allowed"),
        ({"protected_pcie": True}, "gpu-not-allowed"),
        ({"driver": "580.95.05"}, "gpu-state"),
    ],
)
def test_a_gpu_that_owners_do_not_accept_is_refused(ruled: World, changes: dict[str, Any], code: str) -> None:
    """GP-06, GP-10: the last is newer than the oldest, and nobody has a manifest of it."""
    unproven(enclave(ruled, gpus=PLATFORM.gpus.machine("machine-1", 1, **changes)), code)


def test_a_gpu_that_is_connected_otherwise_than_demanded_is_refused(approved: World) -> None:
    """GP-04: owners accept both, and approved a recipe that demands one."""
    approved.judge_gpus(replace(GPU_RULES, protected_pcie=True))
    on = PLATFORM.gpus.machine("machine-1", 1, protected_pcie=True)
    protected = replace(ONE, mode="protected-pcie")
    unproven(enclave(approved, ONE, on), "gpu-not-allowed")
    unproven(enclave(approved, protected), "gpu-not-allowed")
    granted(enclave(approved, protected, on).ask())


def _old(world: World) -> None:
    world.judge_by(made=world.clock() - DAY - 1, until=world.clock() + DAY)


def _expired(world: World) -> None:
    world.judge_by(made=world.clock() - 3600, until=world.clock())


def _withheld(world: World) -> None:
    for answer in (world.gpu_material / "ocsp").glob("*.der"):
        answer.unlink()


def _revoked(world: World) -> None:
    world.judge_by(status=ocsp.OCSPCertStatus.REVOKED)


def _without_manifests(world: World) -> None:
    for manifest in (world.gpu_material / "rims").glob("*.xml"):
        manifest.unlink()


def _old_manifests(world: World) -> None:
    for manifest in (world.gpu_material / "rims").glob("*.xml"):
        os.utime(manifest, (0, world.clock() - GPU_RULES.rim_seconds - 1))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (_old, "gpu-status-stale"),
        (_expired, "gpu-status-stale"),
        (_withheld, "gpu-status-missing"),
        (_revoked, "gpu-revoked"),
        (_without_manifests, "gpu-state"),
        (_old_manifests, "gpu-rim-stale"),
    ],
)
def test_what_the_operator_keeps_must_be_fresh_and_say_good(
    ruled: World, change: Callable[[World], None], code: str
) -> None:
    """GP-06, GP-07: it is read anew for each evidence, and a file without a time is as old as the file."""
    change(ruled)
    unproven(enclave(ruled), code)
    ruled.judge_by()
    granted(enclave(ruled).ask())


def test_evidence_that_is_too_long_is_not_read(ruled: World) -> None:
    """RE-06."""
    asked = enclave(ruled)
    transcript, challenge = asked.hello()
    message = asked.evidence(transcript, challenge, gpus=b"x" * (MAX_GPU_EVIDENCE + 1))
    refused(asked.send(message), "malformed", 400)


def test_a_gate_that_lost_its_folder_releases_nothing(ruled: World) -> None:
    ruled.gpu_material.rename(ruled.gpu_material.with_name("away"))
    refused(enclave(ruled).ask(), "gpu-evidence-unverified")


@pytest.mark.parametrize("missing", ["rims", "ocsp", "roots.pem"])
def test_a_gate_with_rules_and_nothing_to_judge_by_does_not_start(ruled: World, missing: str) -> None:
    """GP-07."""
    (ruled.gpu_material / missing).rename(ruled.state / "away")
    with pytest.raises(ConfigurationError) as caught:
        ruled.start_gate()
    assert caught.value.code == "gpu-evidence-unverified" and "--gpu-material" in (caught.value.hint or "")


def test_a_folder_of_another_platform_vouches_for_nothing(ruled: World) -> None:
    """GP-10."""
    (ruled.gpu_material / "roots.pem").write_bytes(SimulatedPlatform(b"\x09" * 32).gpu_roots())
    with pytest.raises(ConfigurationError) as caught:
        ruled.start_gate()
    assert caught.value.code == "gpu-chain"


def test_under_intels_root_no_simulated_gpu_proves_anything(ruled: World, tmp_path: Path) -> None:
    """GP-10: the folder's roots are not even read."""
    judge = GpuJudge.open(GPU_RULES, ruled.gpu_material, trust=INTEL)
    with pytest.raises(Exception, match="gpu-chain"):
        judge.require(
            encode_evidence(PLATFORM.machine_gpus(1), bytes(32)), ONE, nonce=bytes(32), now=ruled.clock()
        )
