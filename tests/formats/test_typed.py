# SPDX-License-Identifier: Apache-2.0
"""EIP-712 structures and their signatures."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.errors import FormatError, KeyMaterialError
from sealroom.keys import address_of
from sealroom.model import (
    VOTES,
    ChangeOwners,
    Grant,
    Opening,
    Owner,
    Platform,
    PlatformProposal,
    Receipt,
    Record,
    Roster,
    Run,
    Study,
)
from tests.formats.worked import CHAIN_ID, CONSORTIUM, GATE_SIGNER, GRANT, GRANT_SIGNATURE, LEDGER, envelope
from tests.formats.worked import PROPOSED as STUDY

PLATFORM = Platform(
    gate_root=b"\x01" * 32,
    gate_signer="0x" + "02" * 20,
    gate_compose=b"\x03" * 32,
    os_images=(b"\x04" * 32,),
    devices=(),
)
OWNER = address_of(GATE_SIGNER)
ROSTER = (
    Owner(account="0x" + "05" * 20, id="hospital-A", jurisdiction="DE", regimes=("HIPAA", "GDPR")),
    Owner(account="0x" + "06" * 20, id="hospital-B", jurisdiction="FR", regimes=("GDPR",)),
)
RUN = Run(
    run_id=GRANT.run_id,
    consortium=CONSORTIUM,
    study=GRANT.study,
    epsilon_micro=GRANT.epsilon_micro,
    delta_pico=GRANT.delta_pico,
    epoch=GRANT.epoch,
    enclave_signer=GRANT.enclave_signer,
    grant_hash=envelope().receipt.grant_hash,
)
OPENING = Opening(
    run=RUN,
    compose_hash=GRANT.compose_hash,
    number=6,
    opened_block=1236,
    approved_block=1200,
    approvals=0b101,
    roster=2,
)
AT: dict[str, Any] = {"chain_id": CHAIN_ID, "consortium": CONSORTIUM}
CONTRACTS = Path(__file__).parents[2] / "contracts"
MESSAGE = typed.grant(GRANT, chain_id=CHAIN_ID, consortium=CONSORTIUM)


def test_a_grant_has_the_digest_that_a_wallet_computes() -> None:
    shown = typed.typed_data(GRANT, typed.gate_domain(CHAIN_ID, CONSORTIUM))

    assert typed.digest(encode_typed_data(full_message=json.loads(json.dumps(shown)))) == typed.digest(
        MESSAGE
    )


def test_signatures_are_those_of_eth_account() -> None:
    assert Account.sign_message(MESSAGE, GATE_SIGNER).signature == typed.sign(MESSAGE, GATE_SIGNER)
    assert typed.recover(MESSAGE, GRANT_SIGNATURE) == address_of(GATE_SIGNER)


def _high_s(signature: bytes) -> bytes:
    s = typed.CURVE_ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])


@pytest.mark.parametrize(
    "change",
    [
        _high_s,
        lambda signature: signature[:64] + bytes([signature[64] - 27]),
        lambda signature: signature[:64],
        lambda signature: signature + b"\0",
        lambda signature: bytes(32) + signature[32:],
        lambda signature: signature[:32] + bytes(32) + signature[64:],
        lambda signature: b"\xff" * 32 + signature[32:],
    ],
    ids=["high-s", "v 0 or 1", "64 bytes", "66 bytes", "r = 0", "s = 0", "r beyond the order"],
)
def test_another_encoding_of_a_signature_is_refused(change) -> None:  # type: ignore[no-untyped-def]
    """CH-09. The high-s twin is a valid signature by the same key, which eth_account accepts."""
    assert typed.recover(MESSAGE, GRANT_SIGNATURE) == address_of(GATE_SIGNER)
    with pytest.raises(KeyMaterialError) as caught:
        typed.recover(MESSAGE, change(GRANT_SIGNATURE))
    assert caught.value.code == "signature-invalid"


def test_each_field_of_a_grant_is_signed() -> None:
    for name, value in vars(GRANT).items():
        other = value + 1 if isinstance(value, int) else None
        other = bytes(32) if isinstance(value, bytes) else other
        other = "0x" + "00" * 20 if isinstance(value, str) else other
        changed = typed.grant(replace(GRANT, **{name: other}), chain_id=CHAIN_ID, consortium=CONSORTIUM)
        assert typed.digest(changed) != typed.digest(MESSAGE), name


def test_a_signature_is_bound_to_chain_contract_and_type() -> None:
    zero = bytes(32)
    digests = {
        typed.digest(MESSAGE),
        typed.digest(typed.grant(GRANT, chain_id=1, consortium=CONSORTIUM)),
        typed.digest(typed.grant(GRANT, chain_id=CHAIN_ID, consortium=LEDGER)),
        typed.digest(typed.challenge(zero, **AT)),
        typed.digest(typed.lease(zero, 0, **AT)),
        typed.digest(typed.renewal(zero, 0, 0, False, **AT)),
        typed.digest(typed.receipt(envelope().receipt, chain_id=CHAIN_ID, ledger=LEDGER)),
        typed.digest(typed.revoke("", owner=OWNER, epoch=0, **AT)),
        typed.digest(typed.withdraw(zero, owner=OWNER, epoch=0, **AT)),
        typed.digest(typed.adopt_platform(PLATFORM, owner=OWNER, epoch=0, **AT)),
        typed.digest(typed.change_owners(ROSTER, 2, owner=OWNER, epoch=0, **AT)),
        typed.digest(typed.approve_study(STUDY, owner=OWNER, **AT)),
    }
    assert len(digests) == 12


def _word(value: int | bytes | str) -> bytes:
    """A value as EIP-712 encodes it: bytes to the left, numbers and addresses to the right."""
    if isinstance(value, bytes):
        return value.ljust(32, b"\0")
    return int(value, 16).to_bytes(32, "big") if isinstance(value, str) else value.to_bytes(32, "big")


def _hash(kind: str, *values: int | bytes | str) -> bytes:
    return keccak(keccak(text=kind) + b"".join(_word(value) for value in values))


OWNER_TYPE = "Owner(address account,bytes32 id,bytes2 jurisdiction,uint16 regimes)"


def _written(struct: str) -> str:
    """The type string of a structure, as the contracts spell it."""
    source = (CONTRACTS / "libraries" / "ConsortiumTypes.sol").read_text()
    (found,) = re.findall(rf'"({struct}\([^"]+)"', source)
    return str(found)


def test_a_study_id_is_the_struct_hash() -> None:
    words = [keccak(b"".join(value)) if isinstance(value, list) else value for value in STUDY.solidity()]

    assert _hash(_written("Study"), *words) == STUDY.id


def test_a_platform_id_is_the_struct_hash() -> None:
    platform = PLATFORM
    images, devices = keccak(b"".join(platform.os_images)), keccak(b"".join(platform.devices))
    gate = platform.gate_root, platform.gate_signer, platform.gate_compose
    kind = (
        "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,"
        "bytes32[] osImages,bytes32[] devices,uint64 epoch)"
    )

    assert platform.at(3).id == _hash(kind, *gate, images, devices, 3)


def test_an_owners_id_is_the_struct_hash_with_the_type_of_an_owner() -> None:
    seats = [
        _hash(OWNER_TYPE, "0x" + "05" * 20, b"hospital-A", b"DE", 0b11),
        _hash(OWNER_TYPE, "0x" + "06" * 20, b"hospital-B", b"FR", 0b10),
    ]
    kind = "Owners(Owner[] owners,uint8 threshold,uint64 epoch)" + OWNER_TYPE

    roster = Roster(owners=ROSTER, threshold=2, epoch=3)
    assert roster.id == _hash(kind, keccak(b"".join(seats)), 2, 3)
    assert replace(roster, owners=ROSTER[::-1]).id != roster.id


def test_an_opening_s_hash_is_over_the_words_of_its_encoding() -> None:
    run = (
        _word(RUN.run_id)
        + b"".join(_word(value) for value in (RUN.consortium, RUN.study, RUN.epsilon_micro))
        + b"".join(_word(value) for value in (RUN.delta_pico, RUN.epoch, RUN.enclave_signer))
        + _word(RUN.grant_hash)
    )
    rest = OPENING.compose_hash, 6, 1236, 1200, 0b101, 2
    label = keccak(b"Sealroom run opened")

    assert typed.opening_hash(OPENING) == keccak(label + run + b"".join(_word(value) for value in rest))


def _changed(record: Record, name: str) -> Record:
    """The record with another value in one field."""
    value = getattr(record, name)
    other = value + 1 if isinstance(value, int) else None
    other = bytes(32) if isinstance(value, bytes) else other
    other = "0x" + "00" * 20 if isinstance(value, str) else other
    return replace(record, **{name: other})


def test_each_field_of_an_opening_is_hashed() -> None:
    for name in vars(RUN):
        assert typed.opening_hash(replace(OPENING, run=_changed(RUN, name))) != typed.opening_hash(OPENING)
    for name in vars(OPENING):
        if name != "run":
            changed = _changed(OPENING, name)
            assert isinstance(changed, Opening)
            assert typed.opening_hash(changed) != typed.opening_hash(OPENING), name


def test_an_opening_reads_back_from_an_event_and_from_json() -> None:
    """An ABI decoder hands addresses out with a checksum in their case; ours have none."""
    event = OPENING.to_json()
    decoded = {
        name: bytes.fromhex(event[name][2:]) if kind == "bytes32" else event[name]
        for name, kind in Opening.table()
    }
    decoded["run"] = {
        name: bytes.fromhex(event["run"][name][2:]) if kind == "bytes32" else event["run"][name]
        for name, kind in Run.table()
    }
    decoded["run"]["consortium"] = decoded["run"]["consortium"].replace("c", "C")

    assert Opening.of_abi(decoded) == Opening.from_json(event) == OPENING
    run = event["run"]
    changes = [{**event, "more": 1}, {**event, "run": {**run, "more": 1}}, {**event, "roster": 2**16}]
    changes += [{k: v for k, v in event.items() if k != name} for name in event]
    changes += [{**event, "run": {k: v for k, v in run.items() if k != name}} for name in run]
    for changed in changes:
        with pytest.raises(FormatError):
            Opening.from_json(changed)


def test_a_wallet_is_shown_the_nested_type_and_computes_the_same_digest() -> None:
    vote = ChangeOwners(owner=OWNER, roster=Roster(owners=ROSTER, threshold=2, epoch=3))
    shown = typed.typed_data(vote, typed.consortium_domain(CHAIN_ID, CONSORTIUM))

    assert [field["name"] for field in shown["types"]["Owner"]] == [
        "account",
        "id",
        "jurisdiction",
        "regimes",
    ]
    assert shown["message"]["roster"]["owners"][0]["jurisdiction"] == "0x4445"
    theirs = encode_typed_data(full_message=json.loads(json.dumps(shown)))
    ours = typed.change_owners(ROSTER, 2, owner=OWNER, epoch=3, **AT)
    assert typed.digest(theirs) == typed.digest(ours)


def test_a_receipt_s_digest_is_what_the_enclave_signs() -> None:
    content, at = envelope().receipt, {"chain_id": CHAIN_ID, "ledger": LEDGER}
    digest = typed.receipt_digest(content, **at)  # type: ignore[arg-type]

    assert typed.recover_digest(digest, envelope().receipt_signature) == GRANT.enclave_signer


@pytest.mark.parametrize("record", [GRANT, envelope().receipt], ids=["grant", "receipt"])
def test_records_read_back_and_refuse_other_fields(record: Grant | Receipt) -> None:
    value = record.to_json()
    assert type(record).from_json(value, error=FormatError) == record
    for name in value:
        with pytest.raises(FormatError):
            type(record).from_json({k: v for k, v in value.items() if k != name}, error=FormatError)
    with pytest.raises(FormatError):
        type(record).from_json({**value, "more": 1}, error=FormatError)


IN_CONTRACTS: tuple[type[Record], ...] = (*VOTES, Receipt, Study, PlatformProposal, Roster, Owner)


def test_the_contracts_hold_the_same_type_strings_and_no_other() -> None:
    """CH-09: one spelling of each structure in Solidity and Python."""
    solidity = "".join(path.read_text() for path in sorted(CONTRACTS.rglob("*.sol")))
    written = re.findall(r'keccak256\(\s*"(\w+\([^"]+)"\s*\)', solidity)

    assert sorted(written) == sorted(record.encode_type() for record in IN_CONTRACTS)
