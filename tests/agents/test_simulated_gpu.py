# SPDX-License-Identifier: Apache-2.0
"""Simulated GPUs: the verifier of real ones accepts them under their platform's root, and nowhere else."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.agents.shell import forked

from sealroom.gpu_rules import GpuRules
from sealroom_agents.attestation import INTEL
from sealroom_agents.attestation.gpu import (
    Fetched,
    Material,
    MaterialFolder,
    State,
    Terms,
    Trust,
    Walk,
    gpu_trust,
    load_material,
    walk_gpus,
)
from sealroom_agents.attestation.gpu.chain import DEVICE_ROOT, RIM_ROOT
from sealroom_agents.errors import AttestationError
from sealroom_agents.simulator import GuestAgent, SimulatedGpu, SimulatedPlatform
from sealroom_agents.simulator.gpu import encode_evidence
from sealroom_agents.simulator.gpu.data_centre import DRIVER, VBIOS
from sealroom_agents.simulator.gpu.pki import LABEL
from sealroom_agents.simulator.gpu.report import FWID

SEED = b"\x51" * 32
PLATFORM = SimulatedPlatform(SEED)
NOW = 1_780_000_000
NONCE = bytes(range(32))
RULES = GpuRules(
    architectures=("HOPPER",),
    min_driver=DRIVER,
    min_vbios=VBIOS,
    state="fully-matched",
    protected_pcie=False,
    ocsp_seconds=86_400,
    rim_seconds=86_400,
)
COMPOSE = b'{"name":"cardio-renal"}'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A platform's folder."""
    made = tmp_path_factory.mktemp("platform") / "platform"
    SimulatedPlatform.create(made, seed=SEED)
    return made


@pytest.fixture
def attest(tmp_path: Path) -> Iterator[Callable[[str], httpx.Response]]:
    """Asks the guest agent of a machine with two GPUs."""
    gpus = PLATFORM.machine_gpus(2)
    with (
        GuestAgent(PLATFORM, COMPOSE, bytes(20), gpus=gpus).serve(tmp_path / "g.sock") as running,
        httpx.Client(transport=httpx.HTTPTransport(uds=str(running.path)), base_url="http://guest") as client,
    ):
        yield lambda nonce: client.post("/v1/AttestGpu", json={"nonce": nonce})


def trust(platform: SimulatedPlatform = PLATFORM) -> Trust:
    """What goes with a platform's root."""
    return gpu_trust(platform.trust(), platform.gpu_roots())


def walk(gpus: tuple[SimulatedGpu, ...], *, trusted: Trust | None = None, **terms: Any) -> Walk:
    """Verify these GPUs, with all material at hand."""
    rims = {name: [Fetched(data, NOW)] for name, data in PLATFORM.gpus.manifests().items()}
    return walk_gpus(
        encode_evidence(gpus, NONCE),
        nonce=NONCE,
        now=NOW,
        material=Material(rims, PLATFORM.gpus.answers(gpus, NOW)),
        terms=Terms.under(RULES, **terms),
        trust=trusted or trust(),
    )


def code(found: Walk) -> str:
    """Why a walk broke."""
    assert found.broken is not None
    return str(found.broken.code)


def test_the_guest_agent_hands_out_evidence_that_is_fully_matched_by_what_the_platform_publishes(
    attest: Callable[[str], httpx.Response], folder: Path
) -> None:
    (bundle,) = attest(NONCE.hex()).json()["bundles"]
    assert (bundle["vendor"], bundle["format"]) == ("nvidia", "nvidia-nvattest-collect-evidence-json-v1")

    found = walk_gpus(
        bytes.fromhex(bundle["evidence"]),
        nonce=NONCE,
        now=int(time.time()),
        material=load_material(folder / "gpu" / "rims", folder / "gpu" / "ocsp"),
        terms=Terms.under(RULES, count=2),
        trust=gpu_trust(PLATFORM.trust(), (folder / "gpu" / "roots.pem").read_bytes()),
    )

    assert found.broken is None and found.state is State.FULLY_MATCHED and found.asked_all
    assert [gpu.ueid for gpu in found.gpus] == [gpu.ueid for gpu in PLATFORM.machine_gpus(2)]


@pytest.mark.parametrize("nonce", ["", "00" * 31, "00" * 33, "zz" * 32])
def test_a_nonce_of_another_size_is_refused_as_dstack_refuses_it(
    attest: Callable[[str], httpx.Response], nonce: str
) -> None:
    assert attest(nonce).status_code == 400


def test_a_machine_without_gpus_hands_out_no_bundle() -> None:
    assert GuestAgent(PLATFORM, COMPOSE, bytes(20)).attest_gpu({"nonce": NONCE.hex()}) == {"bundles": []}


def test_no_simulated_gpu_is_nvidias() -> None:
    """GP-10: NVIDIA's roots are the verifier's own, and a simulated root brings its own."""
    found = walk(PLATFORM.machine_gpus(1), trusted=Trust())
    assert code(found) == "gpu-chain"
    assert gpu_trust(INTEL, PLATFORM.gpu_roots()) == Trust(devices=DEVICE_ROOT, rims=RIM_ROOT)
    for certificate in PLATFORM.machine_gpus(1)[0].chain.certificates:
        assert LABEL in certificate.subject.rfc4514_string()


def test_a_gpu_of_another_simulated_platform_is_refused() -> None:
    other = SimulatedPlatform(b"\x52" * 32)
    assert code(walk(other.machine_gpus(1))) == "gpu-chain"


def _other_platform(_: list[bytes]) -> bytes:
    return SimulatedPlatform(b"\x52" * 32).gpu_roots()


@pytest.mark.parametrize(
    "roots",
    [
        _other_platform,
        lambda parts: b"".join(parts[:3]),
        lambda parts: b"".join([*parts, parts[0]]),
        # The root of manifests under the word about the root of devices.
        lambda parts: parts[2] + parts[1] + parts[2] + parts[3],
        lambda parts: parts[0] * 2 + parts[2] * 2,
        lambda parts: b"no certificate",
        lambda parts: b"".join(parts) + b" " * 16 * 1024,
    ],
)
def test_roots_for_which_the_platforms_root_does_not_vouch_are_refused(
    roots: Callable[[list[bytes]], bytes],
) -> None:
    """GP-10: who trusts a simulated platform takes no other mint's GPUs."""
    end = b"-----END CERTIFICATE-----\n"
    parts = [part + end for part in PLATFORM.gpu_roots().split(end)[:-1]]
    assert len(parts) == 4
    with pytest.raises(AttestationError) as caught:
        gpu_trust(PLATFORM.trust(), roots(parts))
    assert caught.value.code == "gpu-chain"


def test_the_same_seed_gives_the_same_devices_and_each_machine_its_own() -> None:
    again = SimulatedPlatform(SEED)
    assert again.gpu_roots() == PLATFORM.gpu_roots()
    assert again.gpus.machine("a", 2)[1].chain.pem == PLATFORM.gpus.machine("a", 2)[1].chain.pem
    known = {gpu.ueid for machine in ("a", "b") for gpu in PLATFORM.gpus.machine(machine, 2)}
    assert len(known) == 4


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"driver": "550.90.07"}, "gpu-not-allowed"),
        ({"vbios": "96.00.9f.00.01"}, "gpu-not-allowed"),
        ({"protected_pcie": True}, "gpu-not-allowed"),
        ({"reported": {FWID: bytes(48)}}, "gpu-fwid"),
        ({"arch": "BLACKWELL"}, "gpu-architecture"),
    ],
)
def test_bad_twins_are_refused(changes: dict[str, Any], expected: str) -> None:
    """GP-06, GP-10"""
    found = walk(PLATFORM.gpus.machine("machine-1", 1, **changes))
    # Without a manifest of theirs nothing is matched, so the older ones break at what owners ask.
    assert code(found) == expected


def test_a_platform_that_is_opened_a_year_later_has_fresh_manifests_and_answers(tmp_path: Path) -> None:
    """GP-07: each simulated machine opens it when it boots, so a room that lives on has them for its runs."""
    SimulatedPlatform.create(tmp_path / "p", seed=SEED)
    rims, answers = tmp_path / "p" / "gpu" / "rims", tmp_path / "p" / "gpu" / "ocsp"
    folder, now = MaterialFolder(rims, answers), int(time.time())
    long_ago = now - 365 * 86_400
    for path, answer in zip(
        sorted(answers.iterdir()), PLATFORM.gpus.answers(PLATFORM.machine_gpus(8), long_ago), strict=True
    ):
        path.write_bytes(answer)
    for path in rims.iterdir():
        os.utime(path, (long_ago, long_ago))
    evidence = encode_evidence(PLATFORM.machine_gpus(2), NONCE)

    def look() -> Walk:
        return walk_gpus(
            evidence, nonce=NONCE, now=int(time.time()), material=folder.read(), terms=Terms.under(RULES),
            trust=trust(),
        )  # fmt: skip

    assert code(look()) == "gpu-rim-stale"
    SimulatedPlatform.open(tmp_path / "p")
    assert look().state is State.FULLY_MATCHED


def test_the_command_runs_a_machine_with_gpus(tmp_path: Path) -> None:
    (tmp_path / "c").write_bytes(COMPOSE)
    refused = forked(
        "sealroom simulate guest --platform p --compose c --app-id 0x --socket s --gpus 9", tmp_path
    )
    assert refused.returncode == 2 and "9 is not in the range" in refused.stdout
    made = forked("sealroom simulate init --platform p --json", tmp_path)
    assert made.returncode == 0 and "SIMULATED" in json.loads(made.stdout)["label"]
    assert len(list((tmp_path / "p" / "gpu" / "rims").glob("*.xml"))) == 2
