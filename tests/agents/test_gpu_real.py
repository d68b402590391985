# SPDX-License-Identifier: Apache-2.0
"""Evidence of real H100 GPUs, with manifests and tokens that NVIDIA signed; skipped where they are absent."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from tests.minted_gpu import Mint, entry
from tests.real_gpu import LATER, OLD, THEN, TOLD_AT, attest_gpu, needs_vectors, recorded, rim, vectors

from sealroom.errors import SealroomError
from sealroom_agents.attestation.gpu import (
    Fetched,
    Material,
    State,
    Terms,
    Trust,
    Walk,
    read_report,
    verify_rim,
    walk_gpus,
)
from sealroom_agents.attestation.gpu.chain import DEVICE_ROOT, RIM_ROOT

pytestmark = needs_vectors


def walk(*gpus: dict[str, Any], now: int = LATER, nonce: str | None = None, **more: Any) -> Walk:
    """Verify evidence for the nonce that it has, or another."""
    wanted = bytes.fromhex(nonce or gpus[0]["nonce"])
    return walk_gpus(json.dumps(gpus).encode(), nonce=wanted, now=now, **more)


def code(found: Walk) -> str:
    """Why a walk broke."""
    assert found.broken is not None and found.broken.code is not None and found.state is State.UNVERIFIED
    return str(found.broken.code)


@pytest.mark.parametrize(
    ("version", "ueid", "vbios", "fwid"),
    [
        ("535.86.09", "395803620356496203949105887342232667833655422354", "96.00.5e.00.01", False),
        ("550.90.07", "478176379286082186618948445787393647364802107249", "96.00.9f.00.01", True),
        ("580.159.03", "509096176156678437554566035365892618958504054724", "96.00.74.00.20", True),
    ],
)
def test_a_genuine_h100_that_signed_the_nonce_is_told_as_that_and_no_more(
    version: str, ueid: str, vbios: str, fwid: bool
) -> None:
    found = walk(recorded(version))
    assert (found.broken, found.state, found.asked_all) == (None, State.SIGNATURE_VERIFIED, False)
    (gpu,) = found.gpus
    assert (gpu.ueid, gpu.chip, gpu.driver, gpu.vbios) == (ueid, "GH100", version, vbios)
    assert (gpu.protected_pcie, gpu.vbios_matched, gpu.driver_matched) == (False, None, None)
    report = read_report(base64.b64decode(recorded(version)["evidence"]))
    assert (report.fwid is not None) is fwid


def test_the_very_bytes_of_nvattest_are_read() -> None:
    data = (vectors() / "nvidia" / "nvattest-evidence-590.12.json").read_bytes()
    nonce = bytes.fromhex(json.loads(data)[0]["nonce"])
    found = walk_gpus(data, nonce=nonce, now=LATER)
    assert found.state is State.SIGNATURE_VERIFIED
    assert (found.gpus[0].driver, found.gpus[0].protected_pcie) == ("590.12", True)


def test_a_production_guest_of_dstack_has_a_genuine_gpu_and_nvidias_service_says_the_same() -> None:
    """GP-05: its tokens are about this very device, driver, VBIOS and nonce."""
    folder = vectors() / "dstack-0.5.8-gpu1"
    tokens = (folder / "nras_response.json").read_bytes(), (folder / "nras_jwks.json").read_bytes()
    found = walk(*attest_gpu(), now=TOLD_AT, terms=Terms(count=1, tokens=tokens))
    assert (found.broken, found.state) == (None, State.SIGNATURE_VERIFIED)
    assert (found.links[-2].outcome, found.links[-2].words) == ("holds", "it attests 1 GPU")
    assert code(walk(*attest_gpu(), now=TOLD_AT + 3600, terms=Terms(tokens=tokens))) == "gpu-token-expired"
    assert code(walk(recorded("550.90.07"), now=TOLD_AT, terms=Terms(tokens=tokens))) == "gpu-token"
    for at in range(40, len(tokens[0]), 97):
        altered = tokens[0][:at] + bytes([tokens[0][at] ^ 1]) + tokens[0][at + 1 :]
        broken = walk(*attest_gpu(), now=TOLD_AT, terms=Terms(tokens=(altered, tokens[1])))
        assert code(broken).startswith("gpu-token"), at
    strange = (vectors() / "nvidia" / "h100-550.90.07.nras-v4.json").read_bytes()
    assert code(walk(*attest_gpu(), now=TOLD_AT, terms=Terms(tokens=(strange, tokens[1])))) == "gpu-token"


def test_twelve_measurements_of_a_vbios_are_those_of_its_signed_manifest() -> None:
    """GP-06."""
    version, name = OLD
    found = walk(recorded(version), now=THEN, material=Material({name: [Fetched(rim(name))]}))
    assert (found.broken, found.state, found.gpus[0].vbios_matched) == (None, State.VBIOS_MATCHED, 12)
    assert len(found.asked) == 3 + 3, "certificates of device and manifest whose standing NVIDIA tells"


def test_a_manifest_is_judged_when_it_was_fetched_and_may_not_be_older_than_asked() -> None:
    version, name = OLD
    material = Material({name: [Fetched(rim(name), THEN)]})
    assert walk(recorded(version), material=material).state is State.VBIOS_MATCHED
    assert code(walk(recorded(version), material=material, terms=Terms(rim_age_s=86_400))) == "gpu-rim-stale"
    unmarked = Material({name: [Fetched(rim(name))]})
    assert code(walk(recorded(version), material=unmarked)) == "gpu-rim-expired"


def test_a_measurement_that_differs_is_refused_and_named() -> None:
    """GP-06: a later report than the manifest, and a manifest that NVIDIA signed with another value."""
    name = "NV_GPU_VBIOS_1010_0205_862_9600740020"
    found = walk(recorded("580.159.03"), now=THEN, material=Material({name: [Fetched(rim(name))]}))
    assert code(found) == "gpu-measurement" and found.links[-1].words.endswith("of 96.00.74.00.20: 9")
    version, name = OLD
    other = rim(f"{name}_measurement_mismatch", "negative")
    found = walk(recorded(version), now=LATER, material=Material({name: [Fetched(other)]}))
    assert code(found) == "gpu-measurement" and found.links[-1].words.endswith(": 9")


def test_a_driver_manifest_is_authentic_and_active_where_it_says_so() -> None:
    found = verify_rim(rim("NV_GPU_DRIVER_GH100_550.144.03"), now=LATER)
    assert (found.product, found.version) == ("GH100", "550.144.03")
    assert sorted(found.golden) == [7, *range(21, 41)]


def refused(data: bytes, now: int = LATER) -> str:
    """The code of a manifest that is refused."""
    with pytest.raises(SealroomError) as caught:
        verify_rim(data, now=now)
    return str(caught.value.code)


def test_each_fault_of_a_manifest_has_its_own_code() -> None:
    """GP-06: NVIDIA's own wrong ones, and the authentic one altered."""
    name = "NV_GPU_DRIVER_GH100_550.144.03"
    authentic = rim(name)
    assert refused(rim("incorrect_cert_chain_driver_rim", "negative")) == "gpu-rim-chain"
    assert refused(authentic, THEN) == "gpu-rim-expired", "before its signer's certificate begins"
    assert refused(rim(OLD[1])) == "gpu-rim-expired", "after it ended"
    edited = authentic.replace(b'index="7" active="True"', b'index="7" active="False"')
    assert edited != authentic and refused(edited) == "gpu-rim-altered"
    start = authentic.index(b"SignatureValue>") + 15
    assert refused(authentic[:start] + b"A" * 128 + authentic[start + 128 :]) == "gpu-rim-signature"
    digest = authentic.index(b"DigestValue>") + 12
    assert refused(authentic[:digest] + b"A" * 64 + authentic[digest + 64 :]) == "gpu-rim-signature"
    assert refused(b"<!DOCTYPE x>" + authentic) == "gpu-rim-malformed"
    assert refused(authentic[:-30]) == "gpu-rim-malformed"
    with pytest.raises(SealroomError) as caught:
        verify_rim(authentic, now=LATER, root=DEVICE_ROOT)
    assert caught.value.code == "gpu-rim-chain"


def test_no_byte_of_a_manifest_can_be_changed() -> None:
    dice, authentic = random.Random(2), rim("NV_GPU_DRIVER_GH100_550.144.03")
    signed = verify_rim(authentic, now=LATER)
    taken = 0
    for _ in range(150):
        at = dice.randrange(len(authentic))
        altered = authentic[:at] + bytes([authentic[at] ^ 1 << dice.randrange(8)]) + authentic[at + 1 :]
        try:
            found = verify_rim(altered, now=LATER)
        except SealroomError:
            continue
        # White space of base64 may turn into other white space, which nothing is read from.
        assert (found.golden, found.version, found.product) == (signed.golden, signed.version, signed.product)
        taken += 1
    assert taken < 15


def test_a_zero_byte_behind_the_signature_changes_nothing_and_any_other_is_refused() -> None:
    """Real drivers add one; who takes the signature from the end then takes 95 bytes of it and that zero."""
    gpu = recorded("550.90.07")
    raw = base64.b64decode(gpu["evidence"])
    longer = entry(raw + b"\0", base64.b64decode(gpu["certificate"]))
    assert walk(longer).state is State.SIGNATURE_VERIFIED
    for tail in (b"\x01", b"\0\0"):
        behind = entry(raw + tail, base64.b64decode(gpu["certificate"]))
        assert code(walk(behind)) == "gpu-evidence-malformed"


@pytest.mark.parametrize("version", ["535.86.09", "550.90.07", "580.159.03"])
def test_no_bit_of_a_report_can_be_flipped(version: str) -> None:
    gpu, dice = recorded(version), random.Random(version)
    raw, pem = base64.b64decode(gpu["evidence"]), base64.b64decode(gpu["certificate"])
    for _ in range(150):
        at = dice.randrange(len(raw))
        altered = raw[:at] + bytes([raw[at] ^ 1 << dice.randrange(8)]) + raw[at + 1 :]
        found = walk(entry(altered, pem), nonce=gpu["nonce"])
        assert code(found) in ("gpu-evidence-malformed", "gpu-signature"), at


def test_a_report_that_is_cut_anywhere_is_malformed() -> None:
    gpu = recorded("550.90.07")
    raw, pem = base64.b64decode(gpu["evidence"]), base64.b64decode(gpu["certificate"])
    for end in [36, *range(37, len(raw), 61), len(raw) - 1]:
        cut = {**entry(raw[:end], pem), "nonce": gpu["nonce"]}
        assert code(walk(cut)) == "gpu-evidence-malformed", end


def test_what_nvidia_published_as_a_wrong_signature_is_refused() -> None:
    raw = bytes.fromhex(
        (vectors() / "nvidia" / "negative" / "invalid-signature.report.hex").read_text().strip()
    )
    pem = base64.b64decode(recorded("550.90.07")["certificate"])
    assert code(walk(entry(raw, pem))) == "gpu-signature"


def test_another_nonce_other_certificates_another_root_and_another_time_are_refused() -> None:
    """GP-01, GP-10: also NVIDIA's default nonce, and one device's report with another's certificates."""
    gpu, other = recorded("550.90.07"), recorded("580.159.03")
    assert code(walk(gpu, nonce="00" * 32)) == "gpu-nonce"
    assert code(walk(gpu, nonce=other["nonce"])) == "gpu-nonce"
    assert code(walk({**gpu, "certificate": other["certificate"]})) == "gpu-signature"
    pem = base64.b64decode(gpu["certificate"])
    parts = [part + b"-----END CERTIFICATE-----\n" for part in pem.split(b"-----END CERTIFICATE-----\n")[:-1]]
    for chosen in (parts[:-1], parts[1:], parts[:1], [*parts, parts[-1]], [parts[1], parts[0], *parts[2:]]):
        joined = base64.b64encode(b"".join(chosen)).decode()
        assert code(walk({**gpu, "certificate": joined})) == "gpu-chain"
    minted = base64.b64encode(Mint().device.pem).decode()
    assert code(walk({**gpu, "certificate": minted})) == "gpu-chain"
    assert code(walk(gpu, trust=Trust(devices=RIM_ROOT))) == "gpu-chain"
    assert code(walk(gpu, now=1_500_000_000)) == "gpu-chain", "before its certificates begin"


def test_several_gpus_count_only_if_each_is_another_one() -> None:
    """GP-04. The nonces of recordings differ, so the second one's is what refuses here."""
    gpu = recorded("550.90.07")
    assert code(walk(gpu, gpu)) == "gpu-count"
    assert code(walk(gpu, terms=Terms(count=2))) == "gpu-count"
    found = walk(gpu, recorded("580.159.03"))
    assert code(found) == "gpu-nonce" and found.links[-1].words.startswith("GPU 1: ")
