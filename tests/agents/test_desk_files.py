# SPDX-License-Identifier: Apache-2.0
"""The files of governance: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from tests.local_chain import account, private_key

from sealroom.encoding import to_hex
from sealroom.errors import FormatError, SealroomError
from sealroom.model import VOTES, ApproveStudy, Owner, Revoke, Roster, Study, Validity, Withdraw
from sealroom.model.units import delta_text, epsilon_text, read_delta, read_epsilon
from sealroom_agents.governance.files import (
    BALLOTS,
    content_file,
    load_content,
    load_machines,
    load_owners,
    load_platform,
    load_terms,
)
from sealroom_agents.governance.requests import Request, SignatureFile, gather

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
    "policyHash": HASH,
    "osImages": [HASH],
    "devices": [HASH, OTHER_HASH],
}
OWNER = {"account": ADDRESS, "id": "hospital-A", "jurisdiction": "DE", "regimes": ["GDPR", "SOC 2"]}
SIGNATURE = SignatureFile(
    kind="ApproveStudy",
    chain_id=31337,
    consortium=ADDRESS,
    proposal=b"\xaa" * 32,
    digest=b"\xab" * 32,
    owner=ADDRESS,
    signer=ADDRESS,
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
    terms = load_terms(write(STUDY | {"versions": [3, 0]}))
    assert terms.datasets == (b"\x11" * 32, b"\xaa" * 32) and terms.versions == (0, 3)
    assert (terms.epsilon_micro, terms.delta_pico, terms.max_runs) == (4_500_000, 10_000_000, 3)
    assert load_terms(write(STUDY)).versions == (0, 0)


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
        ({"versions": [1]}, "versions"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_proposal_that_says_something_else_is_refused(
    write: Write, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(FormatError) as caught:
        load_terms(write(STUDY | change))
    assert words in str(caught.value) or words == "floats"


def test_a_proposal_is_complete_but_for_delta(write: Write) -> None:
    pure = {key: value for key, value in STUDY.items() if key != "delta"}
    assert load_terms(write(pure)).delta_pico == 0
    for name in pure:
        with pytest.raises(FormatError, match=f"lacks {name}"):
            load_terms(write({key: value for key, value in pure.items() if key != name}))


def test_a_name_twice_is_refused(write: Write) -> None:
    """Two readers could otherwise see two proposals in one file."""
    with pytest.raises(FormatError, match="twice"):
        load_terms(write('{"epsilon": "1", "epsilon": "9"}'))


def test_a_platform_is_read_and_put_in_order(write: Write) -> None:
    platform = load_platform(write(PLATFORM))
    assert platform.devices == (b"\x11" * 32, b"\xaa" * 32)
    assert platform.gate_signer == ADDRESS
    assert load_platform(write(platform.to_json())) == platform


def test_owners_and_machines_are_read_as_people_write_them(write: Write) -> None:
    one = {**OWNER, "account": "0x" + 40 * "B", "regimes": ["UK-GDPR", "SOC2"]}
    (owner,) = load_owners(write(one))
    assert (owner.account, owner.regimes) == (ADDRESS, ("UK GDPR", "SOC 2"))
    assert len(load_owners(write({"owners": [one, {**one, "id": "hospital-B"}], "threshold": 1}))) == 2
    assert load_machines(write({"osImages": [HASH, OTHER_HASH], "devices": []})).os_images[0] == b"\x11" * 32
    with pytest.raises(FormatError, match=r"hospital-A.*jurisdiction"):
        load_owners(write({**OWNER, "jurisdiction": "Germany"}))


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


def signed(number: int, *, over: SignatureFile = SIGNATURE) -> SignatureFile:
    """One of anvil's accounts signs a digest for its own vote."""
    signature = Account.unsafe_sign_hash(over.digest, private_key(number)).signature
    return replace(over, owner=account(number), signer=account(number), signature=bytes(signature))


def save(path: Path, signature: SignatureFile) -> Path:
    path.write_text(json.dumps(signature.json()))
    return path


def test_a_signature_survives_its_file(tmp_path: Path) -> None:
    assert SignatureFile.load(save(tmp_path / "a.json", SIGNATURE)) == SIGNATURE


def gathered(tmp_path: Path, *signatures: SignatureFile) -> list[SignatureFile]:
    paths = []
    for n, signature in enumerate(signatures):
        paths.append(save(tmp_path / f"{n}.json", signature))
    return gather(paths, kind="ApproveStudy", chain_id=31337, consortium=ADDRESS, proposal=SIGNATURE.proposal)


def test_signatures_are_gathered_in_the_contract_s_order(tmp_path: Path) -> None:
    """CH-11: by address, and nobody twice."""
    first, second = sorted((signed(1), signed(2)), key=lambda one: one.owner)
    assert gathered(tmp_path, second, first, second) == [first, second]


@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_names_another_s_signer_takes_nobody_s_place(tmp_path: Path, place: int) -> None:
    """CH-11: a signer is recovered from the signature, whatever the file says."""
    good = signed(1)
    false = replace(good, signature=signed(2, over=good).signature)
    files = [good, false] if place else [false, good]
    found = gathered(tmp_path, *files)
    assert len(found) == 2 and [one for one in found if one.signer == account(1)] == [good]
    broken = replace(good, signature=bytes(65))
    assert good in gathered(tmp_path, *files, broken)


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
    with pytest.raises(SealroomError, match="something else"):
        gathered(tmp_path, SIGNATURE, replace(SIGNATURE, **change))


def study(write: Write) -> Study:
    return load_terms(write(STUDY)).at(basis=b"\x07" * 32, nonce=2)


def requests(write: Write) -> dict[str, Request]:
    """One of each kind that an owner can sign."""
    owner = Owner(account=ADDRESS, jurisdiction="DE", regimes=("GDPR", "SOC 2"), id="hospital-A")
    validity = Validity(expiry=1_800_000_000, follows=b"\x09" * 32)
    platform = load_platform(write(PLATFORM))
    machines = load_machines(write({"osImages": [HASH], "devices": []}))
    roster = Roster(remove=("hospital-B",), add=(owner,), threshold=2)
    votes = [
        ApproveStudy(owner=ADDRESS, study=study(write)),
        *(
            BALLOTS[type(content)](owner=ADDRESS, **{content.struct.lower(): content})
            for content in (platform.under(validity), machines.under(validity), roster.under(validity))
        ),
        Withdraw(owner=ADDRESS, proposal=b"\x08" * 32),
        Revoke(owner=ADDRESS, reason="consent withdrawn", returns=3),
    ]
    assert {type(vote) for vote in votes} == set(VOTES)
    return {vote.struct: Request(vote=vote, chain_id=31337, consortium=ADDRESS) for vote in votes}


def test_a_request_of_each_kind_survives_its_file(write: Write) -> None:
    for asked in requests(write).values():
        assert Request.load(write(asked.json())) == asked


@pytest.mark.parametrize("part", ["primaryType", "types", "domain", "message"])
def test_a_request_with_something_hidden_in_it_is_refused(write: Write, part: str) -> None:
    """What is signed is what is shown."""
    for kind, whole in requests(write).items():
        asked = whole.json()
        if part == "primaryType":
            asked[part] = "Withdraw" if kind != "Withdraw" else "Revoke"
        elif part == "types":
            asked[part][kind].append({"name": "extra", "type": "uint256"})
        else:
            asked[part]["extra"] = 1
        with pytest.raises(SealroomError) as refused:
            Request.load(write(asked))
        assert refused.value.code == "vote-request-malformed"


def test_a_wrong_field_of_a_request_is_named(write: Write) -> None:
    asked = requests(write)["ApproveStudy"].json()
    del asked["message"]["study"]["basis"]
    with pytest.raises(SealroomError, match=r"no request.* lacks basis"):
        Request.load(write(asked))


def test_a_request_of_an_owner_that_no_contract_would_seat_is_refused(write: Write) -> None:
    """Typed data holds ids as bytes; what they spell is read as strictly as in any other file."""
    asked = requests(write)["ChangeRoster"].json()
    asked["message"]["roster"]["add"][0]["id"] = to_hex(b"hospital\x1b[2J".ljust(32, b"\0"))
    with pytest.raises(SealroomError) as refused:
        Request.load(write(asked))
    assert refused.value.code == "vote-request-malformed"


def test_a_proposal_survives_its_file(write: Write) -> None:
    for asked in requests(write).values():
        for name in ("study", "platform", "machines", "roster"):
            content = getattr(asked.vote, name, None)
            if content is not None:
                assert load_content(write(content_file(name, content))) == content
    with pytest.raises(FormatError) as refused:
        load_content(write({**content_file("study", study(write)), "version": 1}))
    assert refused.value.code == "unsupported-version"
