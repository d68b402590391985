# SPDX-License-Identifier: Apache-2.0
"""`sealroom gpu`: one line a link, the first broken one by name, and requests to NVIDIA's responder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.x509 import ocsp
from tests.agents.shell import forked
from tests.minted_gpu import NOW, Mint
from tests.real_gpu import LATER, OLD, THEN, needs_vectors, recorded, vectors

NONCE = bytes(range(32))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Evidence that no NVIDIA made."""
    (tmp_path / "minted.json").write_bytes(Mint().evidence(NONCE))
    return tmp_path


def test_the_first_broken_link_is_named(folder: Path) -> None:
    done = forked(f"sealroom gpu minted.json --nonce {NONCE.hex()} --at {NOW}", folder)
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        "ok      form          1 GPU, HOPPER",
        "BROKEN  certificates  the certificates of the device: they do not end at NVIDIA’s root",
        "error: certificates: the certificates of the device: they do not end at NVIDIA’s root (gpu-chain)",
    ]


def test_a_broken_link_has_its_code_in_json(folder: Path) -> None:
    done = forked(f"sealroom gpu minted.json --nonce 0x{NONCE.hex()} --json", folder)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["state"], found["gpus"]) == (1, False, "unverified", [])
    assert (found["links"][-1]["name"], found["links"][-1]["code"]) == ("certificates", "gpu-chain")


def test_a_call_that_is_not_understood_ends_with_2(folder: Path) -> None:
    for options in (
        "",
        "--nonce 00",
        f"--nonce {NONCE.hex()} --tokens minted.json",
        f"--nonce {NONCE.hex()} --count 0",
    ):
        assert forked(f"sealroom gpu minted.json {options}", folder).returncode == 2


def test_a_file_that_is_larger_than_evidence_is_not_read(folder: Path) -> None:
    (folder / "large.json").write_bytes(b" " * 300_000)
    done = forked(f"sealroom gpu large.json --nonce {NONCE.hex()}", folder)
    assert done.returncode == 1 and "not GPU evidence" in done.stdout


@needs_vectors
def test_a_sitting_with_a_real_gpu(folder: Path) -> None:
    """What an auditor does: read, ask for manifests, and say as of when."""
    version, name = OLD
    gpu = recorded(version)
    (folder / "evidence.json").write_text(json.dumps([gpu]))
    (folder / "rims").mkdir()
    (folder / "rims" / f"{name}@{THEN}.xml").write_bytes(
        (vectors() / "nvidia" / "rim" / f"{name}.xml").read_bytes()
    )
    command = f"sealroom gpu evidence.json --nonce {gpu['nonce']} --count 1 --at {LATER}"
    done = forked(f"{command} --rims rims --ask asked", folder)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [
        "wrote 6 requests to asked",
        "ok      form              1 GPU, HOPPER",
        "ok      certificates      lead to NVIDIA’s root of devices",
        "ok      signature         each chip signed its report",
        "ok      nonce             made for this nonce",
        "ok      firmware          the boot ROM certified what reports",
        "ok      devices           1 GPU, none twice",
        "ok      VBIOS             12 measurements, each as NVIDIA expects",
        "-       driver            no manifest NV_GPU_DRIVER_GH100_535.86.09",
        "-       revocation        no answers of NVIDIA’s responder",
        "-       NVIDIA’s service  no tokens of it",
        "-       platform policy   none was given",
        "",
        "ueid           395803620356496203949105887342232667833655422354",
        "chip           GH100",
        "driver         535.86.09",
        "vbios          96.00.5e.00.01",
        "protectedPcie  False",
        "vbiosMatched   12",
        "",
        "vbios-matched; revocation not asked",
    ]
    requests = [ocsp.load_der_ocsp_request(path.read_bytes()) for path in (folder / "asked").glob("*.req")]
    assert len({one.serial_number for one in requests}) == 6
    other = forked(f"{command.replace(gpu['nonce'], '11' * 32)} --json", folder)
    assert (other.returncode, json.loads(other.stdout)["links"][-1]["code"]) == (1, "gpu-nonce")


@needs_vectors
def test_what_was_not_looked_at_is_no_failure_and_is_told(folder: Path) -> None:
    data = (vectors() / "nvidia" / "nvattest-evidence-590.12.json").read_bytes()
    (folder / "evidence.json").write_bytes(data)
    nonce = json.loads(data)[0]["nonce"]
    done = forked(f"sealroom gpu evidence.json --nonce {nonce} --at {LATER} --json", folder)
    found = json.loads(done.stdout)
    assert (done.returncode, found["ok"], found["state"]) == (0, True, "signature-verified")
    assert (found["revocation"], found["links"][-1]["outcome"]) == ("not-asked", "not asked")
    assert found["gpus"][0]["protectedPcie"] is True and found["gpus"][0]["driverMatched"] is None
