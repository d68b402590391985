# SPDX-License-Identifier: Apache-2.0
"""The GPUs of a run, walked again from the envelope alone: as far as the gate came, and no further."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from cryptography.x509 import ocsp
from tests.agents.test_verification import Bench, bench, edited
from tests.agents.worked import STUDY_YAML, WorkedRun, fresh_platform, judged_by, make_run, render_recipe

from sealroom.encoding import canonical, to_base64
from sealroom_agents.attestation import trust_under
from sealroom_agents.attestation.gpu import Material, read_material, write_material
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.simulator.gpu import GPU_RULES, encode_evidence

__all__ = ["bench"]

GPUS = STUDY_YAML.replace("gpu: none", "gpu: {kind: h100, count: 1, mode: passthrough}")
DAY = 86_400


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One that demands a GPU."""
    return render_recipe(tmp_path_factory.mktemp("gpus"), study=GPUS)


@pytest.fixture(scope="module")
def run(bench: Bench, recipe: bytes) -> WorkedRun:
    """A run whose gate had all at hand."""
    return shown(bench, recipe)


def shown(
    bench: Bench,
    recipe: bytes,
    evidence: Callable[[SimulatedPlatform, bytes], bytes] | None = None,
    material: bytes | None = None,
) -> WorkedRun:
    """A run of a gate that grants for any evidence; `evidence` is of the platform and the nonce."""
    evidence = evidence or (lambda platform, nonce: encode_evidence(platform.machine_gpus(1), nonce))
    return make_run(
        bench.platform, bench.gate, recipe, gpu_evidence=lambda nonce: evidence(bench.platform, nonce),
        gpu_material=judged_by(bench.platform) if material is None else material,
    )  # fmt: skip


def unproven(bench: Bench, run: WorkedRun, words: str, **options: Any) -> None:
    """The walk breaks at the GPUs, for a reason that the words tell."""
    link = bench.walk(run.envelope(), **options)[-1]
    assert (link.name, link.code) == ("report-data", "gpu-evidence-unverified")
    assert words in link.detail, link.detail


def under(bench: Bench, **changes: Any) -> dict[str, Any]:
    """With the owners' platform policy, whose rules for GPUs are the platform's but for `changes`."""
    policy = bench.platform.policy(gpu=replace(GPU_RULES, **changes))
    return {"trust": trust_under(policy, bench.trust), "policy": policy}


def test_gpus_of_a_run_are_verified_offline_as_far_as_the_gate_came(bench: Bench, run: WorkedRun) -> None:
    """GP-01, GP-06, GP-07: the words say how far, and claim no more, nor that they are in this machine."""
    links = bench.walk(run.envelope())
    (link,) = [one for one in links if one.name == "report-data"]
    assert all(one.ok for one in links)
    for words in ("SIMULATED", "Fully-matched;", "certificates were good at the grant", "TDISP"):
        assert words in link.detail
    assert all(one.ok for one in bench.walk(run.envelope(), **under(bench)))


def test_years_later_it_holds_at_the_time_of_the_grant(bench: Bench, run: WorkedRun) -> None:
    """GP-07: answers and manifests have long run out; what counts is that they held then."""
    later = int(time.time()) + 10 * 365 * DAY
    assert all(one.ok for one in bench.walk(run.envelope(), now=later, **under(bench)))


@pytest.mark.parametrize(
    ("kept", "state"),
    [("NV_GPU_VBIOS", "Vbios-matched, with no manifest of the driver;"),
     ("NV_GPU_NONE", "Signature-verified, with no manifest of VBIOS or driver;")],
)  # fmt: skip
def test_what_a_gate_had_no_manifest_for_is_told_and_under_the_owners_rules_refused(
    bench: Bench, recipe: bytes, kept: str, state: str
) -> None:
    """GP-06: without a manifest nothing counts as one that matched."""
    whole = read_material(judged_by(bench.platform))
    some = {name: rims for name, rims in whole.rims.items() if name.startswith(kept)}
    run = shown(bench, recipe, material=write_material(Material(some, whole.answers)))
    (link,) = [one for one in bench.walk(run.envelope()) if one.name == "report-data"]
    assert link.ok and state in link.detail
    unproven(bench, run, "(gpu-state)", **under(bench))


Change = Callable[[dict[str, Any]], object]


def _other_text(archive: dict[str, Any]) -> None:
    archive["manifests"][0]["manifest"] = archive["manifests"][0]["manifest"].replace("0", "1", 1)


def _swapped(archive: dict[str, Any]) -> None:
    one, other = archive["manifests"]
    one["manifest"], other["manifest"] = other["manifest"], one["manifest"]


CHANGES: Mapping[str, tuple[Change, str]] = {
    "a manifest by another hand": (_other_text, "(gpu-rim-"),
    "one manifest as the other": (_swapped, "(gpu-rim-other)"),
    "fetched after the grant": (
        lambda archive: archive["manifests"][0].update(fetched=int(time.time()) + DAY),
        "(gpu-rim-stale)",
    ),
    "no answers": (lambda archive: archive.update(answers=[]), "nobody's word"),
    "an answer less": (lambda archive: archive["answers"].pop(), "(gpu-status-missing)"),
    "twice the same": (
        lambda archive: archive["answers"].insert(0, archive["answers"][0]),
        "not strictly increasing",
    ),
    "manifests in another order": (
        lambda archive: archive["manifests"].reverse(),
        "not strictly increasing",
    ),
    "more in it": (lambda archive: archive.update(more=1), "gpu-evidence-malformed"),
    "another version": (lambda archive: archive.update(version=2), "gpu-evidence-malformed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_material_that_does_not_decide_as_the_gate_says_breaks_the_walk(
    bench: Bench, recipe: bytes, name: str
) -> None:
    """GP-06, GP-07: though the gate had granted for it."""
    change, words = CHANGES[name]
    archive = json.loads(judged_by(bench.platform))
    change(archive)
    unproven(bench, shown(bench, recipe, material=canonical(archive)), words)


@pytest.mark.parametrize("material", [b"", b"x", b" " + b"{}"], ids=["none", "no JSON", "nothing in it"])
def test_evidence_without_what_it_was_judged_by_breaks_the_walk(
    bench: Bench, recipe: bytes, material: bytes
) -> None:
    """GP-06."""
    unproven(bench, shown(bench, recipe, material=material), "(gpu-evidence-malformed)")


def test_material_has_one_spelling(bench: Bench, recipe: bytes) -> None:
    spaced = json.dumps(json.loads(judged_by(bench.platform))).encode()
    unproven(bench, shown(bench, recipe, material=spaced), "not canonical JSON")


def test_other_material_than_the_grant_names_breaks_the_walk(bench: Bench, run: WorkedRun) -> None:
    """GP-06: a manifest that is missing, or genuine and another one, in an envelope after its grant."""
    archive = json.loads(run.gpu_material)
    archive["manifests"].pop()
    for other in (b"", canonical(archive), judged_by(fresh_platform())):
        changed = edited(
            run.envelope(), lambda e, other=other: e["release"].update(gpuMaterial=to_base64(other))
        )
        assert bench.broken(changed) == ("grant", "grant-mismatch")


@pytest.mark.parametrize(
    ("changes", "rules", "words"),
    [
        ({"status": ocsp.OCSPCertStatus.REVOKED}, None, "(gpu-revoked)"),
        ({"made": -2 * DAY, "until": -DAY}, None, "(gpu-status-stale)"),
        ({"made": -2 * DAY}, {"ocsp_seconds": DAY}, "(gpu-status-stale)"),
        ({}, {"min_driver": "999.1"}, "(gpu-not-allowed)"),
        ({}, {"min_vbios": "ff.00.00.00.00"}, "(gpu-not-allowed)"),
    ],
    ids=["revoked", "ended", "older than the policy lets it be", "driver", "VBIOS"],
)
def test_a_gate_that_took_what_it_must_not_is_found_out(
    bench: Bench, recipe: bytes, changes: dict[str, Any], rules: dict[str, Any] | None, words: str
) -> None:
    """GP-06, GP-07: the gate's word alone proves none of it."""
    now = int(time.time())
    moved = {name: value + now if isinstance(value, int) else value for name, value in changes.items()}
    run = shown(bench, recipe, material=judged_by(bench.platform, **moved))
    unproven(bench, run, words, **({} if rules is None else under(bench, **rules)))
    if rules is not None:
        assert all(one.ok for one in bench.walk(run.envelope())), "its rules alone refuse it"


def test_manifests_older_than_the_policy_lets_them_be_are_refused(bench: Bench, recipe: bytes) -> None:
    """GP-06."""
    archive = json.loads(judged_by(bench.platform))
    for manifest in archive["manifests"]:
        manifest["fetched"] -= 2 * DAY
    run = shown(bench, recipe, material=canonical(archive))
    unproven(bench, run, "(gpu-rim-stale)", **under(bench, rim_seconds=DAY))
    assert all(one.ok for one in bench.walk(run.envelope()))


def test_a_policy_that_accepts_no_gpus_proves_none(bench: Bench, run: WorkedRun) -> None:
    """GP-06: a gate that judges by it could not have granted."""
    policy = bench.platform.policy()
    none = {"trust": trust_under(policy, bench.trust), "policy": policy}
    unproven(bench, run, "the platform policy accepts no GPUs", **none)


@pytest.mark.parametrize(
    "evidence",
    [
        lambda platform, nonce: b"",
        lambda platform, nonce: encode_evidence(platform.machine_gpus(1), bytes(32)),
        lambda platform, nonce: encode_evidence(platform.machine_gpus(2), nonce),
        lambda platform, nonce: encode_evidence(fresh_platform().machine_gpus(1), nonce),
        lambda platform, nonce: encode_evidence(
            platform.gpus.machine("machine-1", 1, protected_pcie=True), nonce
        ),
    ],
    ids=["none", "of another run", "too many", "of another mint", "connected otherwise"],
)
def test_gpus_that_are_not_those_that_the_recipe_demands_break_the_walk(
    bench: Bench, recipe: bytes, evidence: Callable[[SimulatedPlatform, bytes], bytes]
) -> None:
    """GP-01, GP-04, GP-10: though the gate had granted for it."""
    run = shown(bench, recipe, evidence)
    assert bench.broken(run.envelope()) == ("report-data", "gpu-evidence-unverified")


def test_gpus_prove_nothing_where_the_roots_of_simulated_ones_are_not_known(
    bench: Bench, run: WorkedRun
) -> None:
    """GP-10: the root of a platform alone, without its word on GPUs."""
    with_none = replace(bench, trust=replace(bench.trust, gpu_roots=b""))
    assert with_none.broken(run.envelope()) == ("report-data", "gpu-chain")
