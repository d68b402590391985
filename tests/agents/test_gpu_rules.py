# SPDX-License-Identifier: Apache-2.0
"""The owners' rules for GPUs: what a platform policy says of them, and evidence that keeps them or not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp
from tests.agents.shell import forked
from tests.minted_gpu import (
    DAY,
    DRIVER,
    DRIVER_INDICES,
    DRIVER_RIM,
    NOW,
    VBIOS,
    VBIOS_INDICES,
    VBIOS_RIM,
    Mint,
)
from tests.real_gpu import LATER, OLD, THEN, needs_vectors, recorded, vectors
from tests.vectors.make_policy import GPU_RULES, example

from sealroom.encoding import canonical
from sealroom.gpu_rules import STATES, GpuRules
from sealroom.platform_policy import PlatformPolicy
from sealroom_agents.attestation.gpu import Fetched, Gpu, Material, State, Terms, Walk, walk_gpus

NONCE = bytes(range(100, 132))
MINT = Mint()
RULES = GpuRules(
    architectures=("HOPPER",),
    min_driver=DRIVER,
    min_vbios=VBIOS,
    state="fully-matched",
    protected_pcie=False,
    ocsp_seconds=DAY,
    rim_seconds=DAY,
)
RIMS = {
    VBIOS_RIM: [Fetched(MINT.rim(VBIOS, VBIOS_INDICES), NOW - DAY)],
    DRIVER_RIM: [Fetched(MINT.rim(DRIVER, DRIVER_INDICES), NOW - DAY)],
}


def walk(
    rules: GpuRules = RULES,
    mint: Mint = MINT,
    rims: dict[str, list[Fetched]] = RIMS,
    answers: list[bytes] | None = None,
) -> Walk:
    """Verify under rules, with answers about every certificate unless others are given."""
    evidence, terms = mint.evidence(NONCE), Terms.under(rules)

    def once(said: list[bytes]) -> Walk:
        return walk_gpus(
            evidence, nonce=NONCE, now=NOW, trust=mint.trust, material=Material(rims, said), terms=terms
        )

    return once([mint.answer(pair) for pair in once([]).asked] if answers is None else answers)


def code(found: Walk) -> str:
    """Why a walk broke."""
    assert found.broken is found.links[-1] and found.state is State.UNVERIFIED
    return str(found.links[-1].code)


def test_evidence_that_keeps_all_rules_is_accepted() -> None:
    found = walk()
    assert (found.broken, found.state) == (None, State.FULLY_MATCHED)
    assert (found.links[-1].name, found.links[-1].words) == ("platform policy", "accepts fully-matched")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"min_driver": "570.172.09"}, "driver 570.172.08 is older than 570.172.09"),
        ({"min_driver": "571.1"}, "driver 570.172.08 is older than 571.1"),
        ({"min_vbios": "96.00.d0.00.04"}, "VBIOS 96.00.d0.00.03 is older than 96.00.d0.00.04"),
        ({"min_vbios": "97.00.00.00.00"}, "VBIOS 96.00.d0.00.03 is older than 97.00.00.00.00"),
        ({"architectures": ()}, "architecture HOPPER"),
    ],
)
def test_a_gpu_that_the_owners_do_not_accept_is_refused(changes: dict[str, Any], words: str) -> None:
    """GP-06: genuine, signed and matched, and older than the owners take."""
    found = walk(replace(RULES, **changes))
    assert code(found) == "gpu-not-allowed" and found.links[-1].words.endswith(words)


def test_versions_are_compared_number_by_number() -> None:
    """As text, 570.99 would be newer than 570.172, and 96.00.9f older than 96.00.a0 by chance alone."""
    assert walk(replace(RULES, min_driver="570.99.99", min_vbios="96.00.9f.ff.ff")).broken is None


def test_protected_pcie_is_accepted_where_owners_say_so() -> None:
    mint = replace(MINT, opaque={21: b"\xaa"})
    found = walk(mint=mint)
    assert code(found) == "gpu-not-allowed" and found.links[-1].words.endswith("protected PCIe is on")
    assert walk(replace(RULES, protected_pcie=True), mint).broken is None


def test_less_than_the_state_that_owners_ask_for_is_refused() -> None:
    """GP-06: each state with the manifests for it, and with one less."""
    at_hand: dict[str, dict[str, list[Fetched]]] = {
        "signature-verified": {},
        "vbios-matched": {VBIOS_RIM: RIMS[VBIOS_RIM]},
        "fully-matched": RIMS,
    }
    for asked in STATES:
        for state, rims in at_hand.items():
            found = walk(replace(RULES, state=asked), rims=rims)
            if STATES.index(state) >= STATES.index(asked):
                assert (found.broken, found.state) == (None, state)
            else:
                assert code(found) == "gpu-state" and state in found.links[-1].words


def test_no_word_of_nvidia_on_the_certificates_is_refused() -> None:
    """GP-07."""
    assert code(walk(answers=[])) == "gpu-status-missing"


def test_a_word_or_a_manifest_that_is_older_than_owners_allow_is_refused() -> None:
    """GP-06, GP-07."""
    assert code(walk(replace(RULES, ocsp_seconds=3599))) == "gpu-status-stale"
    assert code(walk(replace(RULES, rim_seconds=DAY - 1), answers=[])) == "gpu-rim-stale"


def test_a_revoked_certificate_is_refused_under_any_rules() -> None:
    asked = walk(answers=[]).asked
    said = [MINT.answer(pair) for pair in asked[:-1]]
    said.append(MINT.answer(asked[-1], status=ocsp.OCSPCertStatus.REVOKED))
    assert code(walk(answers=said)) == "gpu-revoked"


def test_a_policy_has_the_rules_of_its_document_or_none() -> None:
    document = json.loads(example())
    assert PlatformPolicy.parse(canonical(document)).gpu is None
    policy = PlatformPolicy.parse(canonical({**document, "gpu": GPU_RULES}))
    assert policy.gpu is not None and policy.gpu.to_json() == GPU_RULES
    assert PlatformPolicy.parse(policy.encode()) == policy
    assert policy.hash != PlatformPolicy.parse(canonical(document)).hash


def test_the_command_says_whether_the_owners_policy_accepts_a_gpu(tmp_path: Path) -> None:
    """A policy that takes no GPU at all, and one under which a mint gets no further than its certificates."""
    (tmp_path / "evidence.json").write_bytes(MINT.evidence(NONCE))
    (tmp_path / "none.json").write_text(example())
    command = f"sealroom gpu evidence.json --nonce {NONCE.hex()} --at {NOW} --policy"
    done = forked(f"{command} none.json", tmp_path)
    assert (done.returncode, done.stdout) == (1, "error: the platform policy accepts no GPU evidence\n")
    (tmp_path / "rules.json").write_bytes(canonical({**json.loads(example()), "gpu": GPU_RULES}))
    done = forked(f"{command} rules.json --json", tmp_path)
    assert (done.returncode, json.loads(done.stdout)["links"][-1]["code"]) == (1, "gpu-chain")


@needs_vectors
def test_a_real_gpu_is_judged_by_the_owners_rules(tmp_path: Path) -> None:
    """GP-06, GP-07: an H100 of 2023 with an old driver, and nobody asked about its certificates."""
    version, name = OLD
    gpu = recorded(version)
    material = Material({name: [Fetched((vectors() / "nvidia" / "rim" / f"{name}.xml").read_bytes(), THEN)]})
    rules = replace(RULES, min_driver=version, min_vbios="96.00.5e.00.01", state="vbios-matched")

    def judged(rules: GpuRules) -> Walk:
        return walk_gpus(
            json.dumps([gpu]).encode(), nonce=bytes.fromhex(gpu["nonce"]), now=LATER, material=material,
            terms=Terms.under(replace(rules, rim_seconds=LATER - THEN)),
        )  # fmt: skip

    assert code(judged(rules)) == "gpu-status-missing", "all else is accepted"
    assert code(judged(replace(rules, state="fully-matched"))) == "gpu-state"
    assert code(judged(replace(rules, min_driver="550.90.07"))) == "gpu-not-allowed"
    assert isinstance(judged(rules).gpus[0], Gpu) and judged(rules).gpus[0].driver == version
