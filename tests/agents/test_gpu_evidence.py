# SPDX-License-Identifier: Apache-2.0
"""Evidence of GPUs as a guest hands it out: each fault of its form, its certificates and its reports."""

from __future__ import annotations

import base64
import json
import random
import struct
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.minted_gpu import (
    DEVICE_NAMES,
    DRIVER,
    FWID,
    NOW,
    VBIOS,
    Mint,
    block,
    device_chain,
)

from sealroom_agents.attestation.gpu import Outcome, State, Terms, Walk, walk_gpus

NONCE = bytes(range(100, 132))
MINT = Mint()


def walk(evidence: bytes, mint: Mint = MINT, nonce: bytes = NONCE, **more: Any) -> Walk:
    """Verify at the moment of the mint, under its roots."""
    return walk_gpus(evidence, nonce=nonce, now=NOW, trust=mint.trust, **more)


def code(found: Walk) -> str:
    """Why a walk broke: at its last link."""
    assert found.broken is found.links[-1] and found.state is State.UNVERIFIED
    return str(found.links[-1].code)


def test_a_walk_names_each_link_and_what_was_not_looked_at() -> None:
    found = walk(MINT.evidence(NONCE))
    assert [(link.name, link.outcome) for link in found.links] == [
        ("form", Outcome.HOLDS),
        ("certificates", Outcome.HOLDS),
        ("signature", Outcome.HOLDS),
        ("nonce", Outcome.HOLDS),
        ("firmware", Outcome.HOLDS),
        ("devices", Outcome.HOLDS),
        ("VBIOS", Outcome.NOT_ASKED),
        ("driver", Outcome.NOT_ASKED),
        ("revocation", Outcome.NOT_ASKED),
        ("NVIDIA’s service", Outcome.NOT_ASKED),
        ("platform policy", Outcome.NOT_ASKED),
    ]
    assert (found.state, found.asked_all) == (State.SIGNATURE_VERIFIED, False)
    assert [(gpu.driver, gpu.vbios) for gpu in found.gpus] == [(DRIVER, VBIOS)]


def test_a_mint_is_no_nvidia() -> None:
    """GP-10: the roots are known by their fingerprints, and names in certificates count for nothing."""
    found = walk_gpus(MINT.evidence(NONCE), nonce=NONCE, now=NOW)
    assert code(found) == "gpu-chain"


@pytest.mark.parametrize(
    "evidence",
    [
        b"", b"{}", b"[]", b"[1]", b"[[]]", b"null", b'"x"', b"[{}]", b"\xff", b"[", b"[]]", b'[],"more":1',
        b"[" * 100_000, b"[" + b" " * 300_000 + b"]",
    ],
)  # fmt: skip
def test_what_is_no_array_of_gpus_is_malformed(evidence: bytes) -> None:
    assert code(walk(evidence)) == "gpu-evidence-malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": "-"}, {"certificate": ""}, {"certificate": 1}, {"certificate": "AAAA"},
        {"evidence": None}, {"evidence": "AAAA"}, {"evidence": "A" * 40_000}, {"nonce": "00" * 32},
        {"nonce": NONCE.hex().upper()}, {"nonce": None}, {"more": 1}, {"version": "2.0"},
        {"driver_version": "570.172.09"}, {"vbios_version": "96.00.D0.00.04"},
    ],
    ids=str,
)  # fmt: skip
def test_a_member_of_another_form_or_that_contradicts_the_report_is_malformed(
    changes: dict[str, Any],
) -> None:
    assert code(walk(MINT.evidence(NONCE, **changes))) == "gpu-evidence-malformed"


def test_what_stands_beside_a_report_may_say_the_same() -> None:
    told = {"driver_version": DRIVER, "vbios_version": VBIOS.upper(), "version": "1.0"}
    assert walk(MINT.evidence(NONCE, **told)).state is State.SIGNATURE_VERIFIED


@pytest.mark.parametrize("arch", ["BLACKWELL", "hopper", "", None, []])
def test_another_architecture_is_not_verified(arch: Any) -> None:
    assert code(walk(MINT.evidence(NONCE, arch=arch))) == "gpu-architecture"


def test_a_chip_of_another_family_is_refused() -> None:
    """GP-10: the chip that the certificates name must be the architecture's."""
    for place in (0, 1):
        names = tuple("GB100 A01 X" if n == place else name for n, name in enumerate(DEVICE_NAMES))
        mint = Mint(device=device_chain(names=names))
        assert code(walk(mint.evidence(NONCE), mint)) == "gpu-architecture"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"end": NOW}, "is valid from"),
        ({"begin": NOW + 1}, "is valid from"),
        ({"unfit": 1}, "not signed by the next"),
        ({"names": DEVICE_NAMES[:3] + DEVICE_NAMES[4:]}, "4 certificates"),
        ({"names": (*DEVICE_NAMES[:4], "More", DEVICE_NAMES[4])}, "6 certificates"),
    ],
)
def test_certificates_that_do_not_hold_are_refused(changes: dict[str, Any], words: str) -> None:
    mint = Mint(device=device_chain(**changes))
    found = walk(mint.evidence(NONCE), mint)
    assert code(found) == "gpu-chain" and words in found.links[-1].words


def test_certificates_that_somebody_else_signed_are_refused() -> None:
    """The names are the same, and the root is; the keys are not."""
    other = Mint()
    mixed = b"".join(MINT.device.pem.partition(b"-----END CERTIFICATE-----\n")[:2])
    mixed += other.device.pem.partition(b"-----END CERTIFICATE-----\n")[2]
    entry = MINT.entry(NONCE)
    entry["certificate"] = base64.b64encode(mixed).decode()
    found = walk_gpus(json.dumps([entry]).encode(), nonce=NONCE, now=NOW, trust=other.trust)
    assert code(found) == "gpu-chain" and "not signed by the next" in found.links[-1].words


def test_no_bit_of_a_certificate_can_be_flipped() -> None:
    """GP-10: whatever library reads a broken one, evidence with it is refused, and nothing else happens."""
    dice = random.Random(3)
    ders = [one.public_bytes(Encoding.DER) for one in MINT.device.certificates]
    whole = MINT.entry(NONCE)

    def with_certificates(found: list[bytes]) -> Walk:
        pems = (
            f"-----BEGIN CERTIFICATE-----\n{base64.encodebytes(der).decode()}-----END CERTIFICATE-----\n"
            for der in found
        )
        text = base64.b64encode("".join(pems).encode()).decode()
        return walk(json.dumps([{**whole, "certificate": text}]).encode())

    assert with_certificates(ders).state is State.SIGNATURE_VERIFIED
    version, curve = bytes.fromhex("a003020102"), bytes.fromhex("06052b81040022")
    for place, der in enumerate(ders):
        flips = [
            der.replace(version, version[:-1] + b"\x06"),
            der.replace(curve, curve[:-1] + b"\x21"),
            *(
                der[:at] + bytes([der[at] ^ 1 << dice.randrange(8)]) + der[at + 1 :]
                for at in (dice.randrange(len(der)) for _ in range(40))
            ),
        ]
        for flipped in flips:
            assert flipped != der
            found = with_certificates([*ders[:place], flipped, *ders[place + 1 :]])
            assert code(found) in ("gpu-evidence-malformed", "gpu-chain", "gpu-signature")


def test_firmware_that_the_boot_rom_did_not_certify_is_refused() -> None:
    other = Mint(opaque={20: bytes(48)})
    assert code(walk(other.evidence(NONCE), other)) == "gpu-fwid"
    uncertified = Mint(device=device_chain(fwid=None))
    assert code(walk(uncertified.evidence(NONCE), uncertified)) == "gpu-fwid"
    short = Mint(device=device_chain(fwid=FWID[:32]), opaque={20: b""})
    assert code(walk(short.evidence(NONCE), short)) == "gpu-fwid"


def test_a_report_without_firmware_is_of_an_older_driver() -> None:
    older = Mint(opaque={20: b""})
    assert walk(older.evidence(NONCE), older).state is State.SIGNATURE_VERIFIED


def test_a_report_that_another_key_signed_is_refused() -> None:
    report = Mint().report(NONCE)
    assert code(walk(MINT.evidence(NONCE, report=report))) == "gpu-signature"


@pytest.mark.parametrize("nonce", [bytes(32), NONCE[:31], NONCE + b"\0", b"", bytes(31) + b"\x01"])
def test_a_report_for_another_nonce_is_refused(nonce: bytes) -> None:
    """GP-01."""
    assert code(walk(MINT.evidence(NONCE), nonce=nonce)) == "gpu-nonce"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("request", bytes.fromhex("10e001ff") + NONCE + b"\0"),
        ("request", bytes.fromhex("11e000ff") + NONCE + b"\0"),
        ("head", bytes.fromhex("12600000")),
        ("head", bytes.fromhex("11e00000")),
        ("blocks", b"\x3f"),
        ("blocks", b"\x41"),
        ("record", block(1)),
        ("record", block(1) * 64),
        ("record", b"".join(block(index, FWID) for index in range(64))),
        ("record", b"".join(block(index, bytes(47)) for index in range(1, 65))),
        ("record", b"".join(block(index).replace(b"\x01\x33\0", b"\x02\x33\0") for index in range(1, 65))),
        ("opaque", b""),
        ("opaque", struct.pack("<HH", 3, 60_000)),
        ("opaque", struct.pack("<HH", 3, 0) * 2),
    ],
)
def test_a_report_of_another_form_is_malformed_though_its_signature_holds(part: str, value: bytes) -> None:
    report = MINT.report(NONCE, **{part: value})
    assert code(walk(MINT.evidence(NONCE, report=report))) == "gpu-evidence-malformed"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (3, b"570 172\0"), (3, b"\xff\xfe\0"), (3, b""), (6, bytes(7)), (6, b""), (11, b"\x54"),
        (15, b"8/9\0"), (17, b"../..\0"), (18, b"x" * 17), (20, bytes(47)), (11, b"\x55\x55"), (21, b"\x00"),
    ],
)  # fmt: skip
def test_a_field_of_a_report_of_another_form_is_malformed(kind: int, value: bytes) -> None:
    mint = replace(MINT, opaque={kind: value})
    assert code(walk(mint.evidence(NONCE), mint)) == "gpu-evidence-malformed"


def test_fields_that_nobody_knows_yet_are_passed_over() -> None:
    mint = replace(MINT, opaque={900: b"new"})
    assert walk(mint.evidence(NONCE), mint).state is State.SIGNATURE_VERIFIED
    many = replace(MINT, opaque={900 + n: b"new" for n in range(64)})
    assert code(walk(many.evidence(NONCE), many)) == "gpu-evidence-malformed"


def test_protected_pcie_is_told_and_absent_where_drivers_are_older() -> None:
    for value, told in ((b"\xaa", True), (b"\x55", False), (b"", False)):
        mint = replace(MINT, opaque={21: value})
        assert walk(mint.evidence(NONCE), mint).gpus[0].protected_pcie is told


def test_one_device_twice_more_or_fewer_are_refused() -> None:
    """GP-04."""
    one = MINT.entry(NONCE)
    assert code(walk(json.dumps([one, one]).encode())) == "gpu-count"
    assert code(walk(json.dumps([one]).encode(), terms=Terms(count=2))) == "gpu-count"
    assert code(walk(json.dumps([one] * 17).encode())) == "gpu-evidence-malformed"


def test_one_boot_rom_that_certified_two_leaves_is_one_device() -> None:
    """GP-04: by its leaves alone it would be two."""
    chain = device_chain(serial=7)
    chain.links = [chain.links[0], *MINT.device.links[1:]]
    again = Mint(device=chain)
    found = walk(json.dumps([MINT.entry(NONCE), again.entry(NONCE)]).encode(), terms=Terms(count=2))
    assert code(found) == "gpu-count" and "twice" in found.links[-1].words


def test_two_devices_under_one_root_are_two_and_a_fault_says_of_which() -> None:
    """GP-04, GP-10."""
    chain = device_chain(serial=7)
    chain.links = [*chain.links[:2], *MINT.device.links[2:]]
    second = Mint(device=chain)
    assert second.trust.devices == MINT.trust.devices
    two = json.dumps([MINT.entry(NONCE), second.entry(NONCE)]).encode()
    found = walk(two, terms=Terms(count=2))
    assert (found.state, len(found.gpus)) == (State.SIGNATURE_VERIFIED, 2)
    assert found.links[5].words == "2 GPUs, none twice"
    wrong = json.dumps([MINT.entry(NONCE), second.entry(NONCE, report=MINT.report(NONCE))]).encode()
    assert code(walk(wrong)) == "gpu-signature"
    assert walk(wrong).links[-1].words == "GPU 1: the device did not sign this report"
