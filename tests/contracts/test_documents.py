# SPDX-License-Identifier: Apache-2.0
"""The files of governance: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scripts._command import Complaint
from scripts._deploy import Config
from scripts._documents import (
    Request,
    SignatureFile,
    gather,
    load_platform,
    load_registration,
    load_study,
)

from sealroom.errors import FormatError
from sealroom.model import ApproveStudy
from sealroom.model.units import delta_text, epsilon_text, read_delta, read_epsilon

HASH = "0x" + 64 * "a"
OTHER_HASH = "0x" + 64 * "1"
ADDRESS = "0x" + 40 * "b"
STUDY = {
    "composeHash": HASH,
    "outputHash": HASH,
    "privacyHash": HASH,
    "datasets": [HASH, OTHER_HASH],
    "epsilon": "4.5",
    "delta": "0.00001",
    "maxRuns": 3,
    "expiry": 1_800_000_000,
}
PLATFORM = {
    "gateRoot": HASH,
    "gateSigner": "0x" + 40 * "B",
    "gateCompose": HASH,
    "osImages": [HASH],
    "devices": [HASH, OTHER_HASH],
}
REGISTRATION = {
    "datasetId": HASH,
    "indexDigest": HASH,
    "keyCommitment": HASH,
    "schemaHash": HASH,
    "rows": 7874,
    "name": "cohort-A",
}
OWNER = {"account": ADDRESS, "id": "hospital-A", "jurisdiction": "DE", "regimes": ["GDPR", "SOC 2"]}
CONFIG = {"owners": [OWNER], "threshold": 1}
SIGNATURE = SignatureFile(
    kind="ApproveStudy",
    chain_id=31337,
    consortium=ADDRESS,
    proposal=b"\xaa" * 32,
    owner=ADDRESS,
    signature=b"\x01" * 65,
)

Write = Callable[[Any], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write JSON to a file of its own."""

    def to_file(content: Any) -> Path:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return to_file


def test_a_proposal_is_read_and_its_datasets_put_in_order(write: Write) -> None:
    study = load_study(write(STUDY), epoch=7, nonce=2)
    assert study.datasets == (b"\x11" * 32, b"\xaa" * 32)
    assert (study.epsilon_micro, study.delta_pico) == (4_500_000, 10_000_000)
    assert (study.max_runs, study.epoch, study.nonce) == (3, 7, 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epsilon": 4.5}, "floats"),
        ({"epsilon": "4.5000001"}, "at most six decimals"),
        ({"epsilon": "0"}, "above zero"),
        ({"delta": "0.0000000000001"}, "at most 12 decimals"),
        ({"delta": "1"}, "below one"),
        ({"maxRuns": 0}, "maxRuns"),
        ({"datasets": [HASH, HASH]}, "datasets twice"),
        ({"composeHash": "0x12"}, "composeHash"),
        ({"extra": 1}, "unknown field 'extra'"),
        ({"epoch": 3}, "unknown field 'epoch'"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_proposal_that_says_something_else_is_refused(
    write: Write, change: dict[str, Any], words: str
) -> None:
    with pytest.raises((FormatError, Complaint)) as caught:
        load_study(write(STUDY | change), epoch=7, nonce=2)
    assert words in str(caught.value) or words == "floats"


def test_a_proposal_is_complete_but_for_delta(write: Write) -> None:
    pure = {key: value for key, value in STUDY.items() if key != "delta"}
    assert load_study(write(pure), epoch=7, nonce=2).delta_pico == 0
    for name in pure:
        with pytest.raises(FormatError, match=f"lacks {name}"):
            load_study(write({key: value for key, value in STUDY.items() if key != name}), epoch=7, nonce=2)


def test_a_name_twice_is_refused(write: Write) -> None:
    """Two readers could otherwise see two proposals in one file."""
    with pytest.raises(Complaint, match="twice"):
        load_study(write('{"epsilon": "1", "epsilon": "9"}'), epoch=1, nonce=0)


def test_a_platform_is_read_and_put_in_order(write: Write) -> None:
    platform = load_platform(write(PLATFORM))
    assert platform.devices == (b"\x11" * 32, b"\xaa" * 32)
    assert platform.gate_signer == ADDRESS
    assert load_platform(write(platform.to_json())) == platform


def test_a_registration_is_read(write: Write) -> None:
    assert load_registration(write(REGISTRATION)).rows == 7874
    assert load_registration(write(REGISTRATION | {"rows": None})).rows == 0
    with pytest.raises(FormatError, match="not an integer"):
        load_registration(write(REGISTRATION | {"rows": -1}))


@pytest.mark.parametrize(
    ("written", "micro", "shown"),
    [("4.5", 4_500_000, "4.5"), ("1", 1_000_000, "1"), ("0.000001", 1, "0.000001"), ("10", 10_000_000, "10")],
)
def test_epsilon_is_exact(written: str, micro: int, shown: str) -> None:
    assert read_epsilon(written, "epsilon") == micro
    assert epsilon_text(micro) == shown


@pytest.mark.parametrize(
    ("written", "pico", "shown"),
    [
        ("0", 0, "0"),
        ("0.00001", 10_000_000, "1e-5"),
        ("0.000000000001", 1, "1e-12"),
        ("0.5", 5 * 10**11, "0.5"),
    ],
)
def test_delta_is_exact(written: str, pico: int, shown: str) -> None:
    assert read_delta(written, "delta") == pico
    assert delta_text(pico) == shown


def test_a_signature_survives_its_file(tmp_path: Path) -> None:
    SIGNATURE.save(tmp_path / "a.json")
    assert SignatureFile.load(tmp_path / "a.json") == SIGNATURE
    assert list(tmp_path.iterdir()) == [tmp_path / "a.json"]


def gathered(tmp_path: Path, *signatures: SignatureFile) -> list[SignatureFile]:
    paths = []
    for n, signature in enumerate(signatures):
        paths.append(tmp_path / f"{n}.json")
        signature.save(paths[-1])
    return gather(paths, kind="ApproveStudy", chain_id=31337, consortium=ADDRESS, proposal=SIGNATURE.proposal)


def test_signatures_are_gathered_in_the_contract_s_order(tmp_path: Path) -> None:
    """CH-11: by address, and nobody twice."""
    low = replace(SIGNATURE, owner="0x" + 40 * "1")
    assert gathered(tmp_path, SIGNATURE, low, SIGNATURE) == [low, SIGNATURE]


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "AdoptPlatform"},
        {"chain_id": 1},
        {"consortium": "0x" + 40 * "c"},
        {"proposal": b"\xab" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_signature_for_something_else_is_not_handed_in(tmp_path: Path, change: dict[str, Any]) -> None:
    """CH-07, CH-08, CH-26: the contract would refuse it too; here nobody pays for that."""
    with pytest.raises(Complaint, match="something else"):
        gathered(tmp_path, SIGNATURE, replace(SIGNATURE, **change))


def request(write: Write) -> Request:
    study = load_study(write(STUDY), epoch=7, nonce=2)
    return Request(vote=ApproveStudy(owner=ADDRESS, study=study), chain_id=31337, consortium=ADDRESS)


def test_a_request_survives_its_file(write: Write) -> None:
    asked = request(write)
    assert Request.load(write(asked.json())) == asked


@pytest.mark.parametrize("part", ["primaryType", "types", "domain", "message"])
def test_a_request_with_something_hidden_in_it_is_refused(write: Write, part: str) -> None:
    """What is signed is what is shown."""
    asked = request(write).json()
    if part == "primaryType":
        asked[part] = "AdoptPlatform"
    elif part == "types":
        asked[part]["ApproveStudy"].append({"name": "extra", "type": "uint256"})
    else:
        asked[part]["extra"] = 1
    with pytest.raises(Complaint, match="not a request"):
        Request.load(write(asked))


def test_a_wrong_field_of_a_request_is_named(write: Write) -> None:
    asked = request(write).json()
    del asked["message"]["study"]["epoch"]
    with pytest.raises(Complaint, match=r"not a request.* lacks epoch"):
        Request.load(write(asked))


def test_a_configuration_is_read() -> None:
    config = Config.parse(CONFIG)
    (owner,) = config.owners
    assert owner.solidity() == (ADDRESS, b"hospital-A".ljust(32, b"\0"), b"DE", 2 | 32)
    assert len(config.salt) == 32
    assert config.salt != Config.parse(CONFIG).salt


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"owners": []}, "names no owner"),
        ({"threshold": 2}, "threshold"),
        ({"threshold": 0}, "threshold"),
        ({"owners": [OWNER | {"regimes": ["ISO"]}]}, "hospital-A.* known are HIPAA"),
        ({"owners": [OWNER | {"jurisdiction": "Germany"}]}, "jurisdiction"),
        ({"owners": [OWNER | {"account": "hospital.eth"}]}, "address"),
        ({"owners": [OWNER] * 17}, "at most 16"),
        ({"ledger": ADDRESS, "factory": ADDRESS}, "brings its ledger"),
        ({"app": ADDRESS, "factory": ADDRESS}, "makes apps of its own"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        Config.parse(CONFIG | change)
