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
    AddMachines,
    AdoptPlatform,
    ApproveStudy,
    ChangeRoster,
    Grant,
    Machines,
    MachinesProposal,
    Opening,
    Owner,
    Platform,
    PlatformProposal,
    Receipt,
    Record,
    Revoke,
    Roster,
    RosterProposal,
    Run,
    Study,
    Validity,
    Vote,
    Withdraw,
)
from tests.formats.worked import CHAIN_ID, CONSORTIUM, GATE_SIGNER, GRANT, GRANT_SIGNATURE, LEDGER, envelope
from tests.formats.worked import PROPOSED as STUDY

PLATFORM = Platform(
    gate_root=b"\x01" * 32,
    gate_signer="0x" + "02" * 20,
    gate_compose=b"\x03" * 32,
    policy_hash=b"\x08" * 32,
    os_images=(b"\x04" * 32,),
    devices=(),
)
MACHINES = Machines(os_images=(), devices=(b"\x09" * 32, b"\x0a" * 32))
VALIDITY = Validity(expiry=1_900_000_000, follows=b"\x0b" * 32)
OWNER = address_of(GATE_SIGNER)
ADDED = (
    Owner(account="0x" + "05" * 20, id="hospital-A", jurisdiction="DE", regimes=("HIPAA", "GDPR")),
    Owner(account="0x" + "06" * 20, id="hospital-B", jurisdiction="FR", regimes=("GDPR",)),
)
ROSTER = Roster(remove=("hospital-C",), add=ADDED, threshold=2)
RUN = Run(
    run_id=GRANT.run_id,
    epsilon_micro=GRANT.epsilon_micro,
    delta_pico=GRANT.delta_pico,
    enclave_signer=GRANT.enclave_signer,
    grant_hash=envelope().receipt.grant_hash,
    open_before=1_800_000_062,
)
OPENING = Opening(
    run=RUN,
    consortium=CONSORTIUM,
    study=GRANT.study,
    standing=GRANT.standing,
    charter=b"\x0c" * 32,
    compose_hash=GRANT.compose_hash,
    number=6,
    opened_at=1_800_000_012,
    approved_at=1_799_000_000,
    approvals=0b101,
    roll=2,
    note=GRANT.audit_head,
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
        *(typed.digest(typed.vote(vote, **AT)) for vote in votes()),
    }
    assert len(digests) == 13


def votes() -> list[Vote]:
    """One of each."""
    return [
        ApproveStudy(owner=OWNER, study=STUDY),
        AdoptPlatform(owner=OWNER, platform=PLATFORM.under(VALIDITY)),
        AddMachines(owner=OWNER, machines=MACHINES.under(VALIDITY)),
        ChangeRoster(owner=OWNER, roster=ROSTER.under(VALIDITY)),
        Withdraw(owner=OWNER, proposal=STUDY.id),
        Revoke(owner=OWNER, reason="consent withdrawn: ärztlich belegt", returns=1),
    ]


def _word(value: int | bytes | str) -> bytes:
    """A value as EIP-712 encodes it: bytes to the left, numbers and addresses to the right."""
    if isinstance(value, bytes):
        return value.ljust(32, b"\0")
    return int(value, 16).to_bytes(32, "big") if isinstance(value, str) else value.to_bytes(32, "big")


def _hash(kind: str, *values: int | bytes | str) -> bytes:
    return keccak(keccak(text=kind) + b"".join(_word(value) for value in values))


OWNER_TYPE = "Owner(address account,bytes2 jurisdiction,uint16 regimes,bytes32 id)"


def _written(struct: str) -> str:
    """The type string of a structure, as the contracts spell it."""
    source = (CONTRACTS / "libraries" / "ConsortiumTypes.sol").read_text()
    (found,) = re.findall(rf'"({struct}\([^"]+)"', source)
    return str(found)


def test_a_study_id_is_the_struct_hash() -> None:
    words = [
        keccak(b"".join(map(_word, value))) if isinstance(value, list) else value
        for value in STUDY.solidity()
    ]

    assert _hash(_written("Study"), *words) == STUDY.id


def test_a_platform_id_is_the_struct_hash() -> None:
    platform = PLATFORM
    images, devices = keccak(b"".join(platform.os_images)), keccak(b"".join(platform.devices))
    gate = platform.gate_root, platform.gate_signer, platform.gate_compose, platform.policy_hash
    kind = (
        "Platform(bytes32 gateRoot,address gateSigner,bytes32 gateCompose,bytes32 policyHash,"
        "bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)"
    )

    proposed = platform.under(VALIDITY)
    assert proposed.id == _hash(kind, *gate, images, devices, VALIDITY.expiry, VALIDITY.follows)


def test_the_id_of_machines_is_the_struct_hash() -> None:
    images, devices = keccak(b""), keccak(b"".join(MACHINES.devices))
    kind = "Machines(bytes32[] osImages,bytes32[] devices,uint64 expiry,bytes32 follows)"

    proposed = MACHINES.under(VALIDITY)
    assert proposed.id == _hash(kind, images, devices, VALIDITY.expiry, VALIDITY.follows)


def test_a_rosters_id_is_the_struct_hash_with_the_type_of_an_owner() -> None:
    seats = [
        _hash(OWNER_TYPE, "0x" + "05" * 20, b"DE", 0b11, b"hospital-A"),
        _hash(OWNER_TYPE, "0x" + "06" * 20, b"FR", 0b10, b"hospital-B"),
    ]
    kind = "Roster(bytes32[] remove,Owner[] add,uint8 threshold,uint64 expiry,bytes32 follows)" + OWNER_TYPE

    roster = ROSTER.under(VALIDITY)
    removed, added = keccak(_word(b"hospital-C")), keccak(b"".join(seats))
    assert roster.id == _hash(kind, removed, added, 2, VALIDITY.expiry, VALIDITY.follows)
    assert replace(roster, add=ADDED[::-1]).id != roster.id


def test_an_opening_s_hash_is_over_the_words_of_its_encoding() -> None:
    run = (
        RUN.run_id, RUN.epsilon_micro, RUN.delta_pico, RUN.enclave_signer, RUN.grant_hash, 1_800_000_062
    )  # fmt: skip
    rest = (
        CONSORTIUM, GRANT.study, GRANT.standing, b"\x0c" * 32, GRANT.compose_hash, 6, 1_800_000_012,
        1_799_000_000, 0b101, 2, GRANT.audit_head,
    )  # fmt: skip
    label = keccak(b"Sealroom run opened")

    words = b"".join(_word(value) for value in (*run, *rest))
    assert typed.opening_hash(OPENING) == keccak(label + words)


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
    decoded["consortium"] = decoded["consortium"].replace("c", "C")

    assert Opening.of_abi(decoded) == Opening.from_json(event) == OPENING
    run = event["run"]
    changes = [{**event, "more": 1}, {**event, "run": {**run, "more": 1}}, {**event, "roll": 2**24}]
    changes += [{k: v for k, v in event.items() if k != name} for name in event]
    changes += [{**event, "run": {k: v for k, v in run.items() if k != name}} for name in run]
    for changed in changes:
        with pytest.raises(FormatError):
            Opening.from_json(changed)


def test_a_wallet_is_shown_the_nested_type_and_computes_the_same_digest() -> None:
    vote = ChangeRoster(owner=OWNER, roster=ROSTER.under(VALIDITY))
    shown = typed.typed_data(vote, typed.consortium_domain(CHAIN_ID, CONSORTIUM))

    assert [field["name"] for field in shown["types"]["Owner"]] == [
        "account",
        "jurisdiction",
        "regimes",
        "id",
    ]
    assert shown["message"]["roster"]["add"][0]["jurisdiction"] == "0x4445"
    theirs = encode_typed_data(full_message=json.loads(json.dumps(shown)))
    assert typed.digest(theirs) == typed.digest(typed.vote(vote, **AT))


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


IN_CONTRACTS: tuple[type[Record], ...] = (
    *VOTES,
    Receipt,
    Study,
    PlatformProposal,
    MachinesProposal,
    RosterProposal,
    Owner,
)


def test_the_contracts_hold_the_same_type_strings_and_no_other() -> None:
    """CH-09: one spelling of each structure in Solidity and Python."""
    # Ape lays OpenZeppelin's there while it compiles.
    ours = [path for path in sorted(CONTRACTS.rglob("*.sol")) if ".cache" not in path.parts]
    solidity = "".join(path.read_text() for path in ours)
    written = re.findall(r'keccak256\(\s*"(\w+\([^"]+)"\s*\)', solidity)

    assert sorted(written) == sorted(record.encode_type() for record in IN_CONTRACTS)
