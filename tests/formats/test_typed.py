# SPDX-License-Identifier: Apache-2.0
"""EIP-712 structures and their signatures."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from eth_abi.abi import encode as abi_encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from sealroom import typed
from sealroom.errors import FormatError, KeyMaterialError
from sealroom.keys import address_of
from sealroom.records import TYPES, Grant, Receipt
from tests.formats.worked import CHAIN_ID, CONSORTIUM, GATE_SIGNER, GRANT, GRANT_SIGNATURE, LEDGER, envelope


@dataclass(frozen=True)
class Study:
    compose_hash: bytes = b"\x01" * 32
    output_hash: bytes = b"\x02" * 32
    privacy_hash: bytes = b"\x03" * 32
    datasets: tuple[bytes, ...] = (b"\x0a" * 32, b"\x0b" * 32)
    epsilon_micro: int = 4_500_000
    max_runs: int = 3
    expiry: int = 1_900_000_000
    epoch: int = 7


@dataclass(frozen=True)
class Platform:
    gate_root: bytes = b"\x01" * 32
    gate_signer: str = "0x" + "02" * 20
    gate_compose: bytes = b"\x03" * 32
    os_images: tuple[bytes, ...] = (b"\x04" * 32,)
    devices: tuple[bytes, ...] = ()


OWNER = address_of(GATE_SIGNER)
CONTRACTS = Path(__file__).parents[2] / "contracts"
MESSAGE = typed.grant(GRANT, chain_id=CHAIN_ID, consortium=CONSORTIUM)


def test_a_grant_has_the_digest_that_a_wallet_computes() -> None:
    shown = typed.typed_data("Grant", typed.gate_domain(CHAIN_ID, CONSORTIUM), GRANT.to_json())

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
    digests = {
        typed.digest(MESSAGE),
        typed.digest(typed.grant(GRANT, chain_id=1, consortium=CONSORTIUM)),
        typed.digest(typed.grant(GRANT, chain_id=CHAIN_ID, consortium=LEDGER)),
        typed.digest(typed.challenge(bytes(32), chain_id=CHAIN_ID, consortium=CONSORTIUM)),
        typed.digest(typed.lease(bytes(32), 0, chain_id=CHAIN_ID, consortium=CONSORTIUM)),
        typed.digest(typed.receipt(envelope().receipt, chain_id=CHAIN_ID, ledger=LEDGER)),
        typed.digest(typed.revoke("", owner=OWNER, epoch=0, chain_id=CHAIN_ID, consortium=CONSORTIUM)),
        typed.digest(
            typed.adopt_platform(Platform(), owner=OWNER, epoch=0, chain_id=CHAIN_ID, consortium=CONSORTIUM)
        ),
        typed.digest(typed.approve_study(Study(), owner=OWNER, chain_id=CHAIN_ID, consortium=CONSORTIUM)),
    }
    assert len(digests) == 9


def test_a_study_id_is_the_struct_hash() -> None:
    study = Study()
    kind = keccak(
        b"Study(bytes32 composeHash,bytes32 outputHash,bytes32 privacyHash,bytes32[] datasets,"
        b"uint64 epsilonMicro,uint32 maxRuns,uint64 expiry,uint64 epoch)"
    )
    words = [
        kind,
        study.compose_hash,
        study.output_hash,
        study.privacy_hash,
        keccak(b"".join(study.datasets)),
    ]
    numbers = [study.epsilon_micro, study.max_runs, study.expiry, study.epoch]

    expected = keccak(abi_encode(["bytes32"] * 5 + ["uint256"] * 4, words + numbers))

    assert typed.study_id(study) == expected


@pytest.mark.parametrize("record", [GRANT, envelope().receipt], ids=["grant", "receipt"])
def test_records_read_back_and_refuse_other_fields(record: Grant | Receipt) -> None:
    value = record.to_json()
    assert type(record).from_json(value, error=FormatError) == record
    for name in value:
        with pytest.raises(FormatError):
            type(record).from_json({k: v for k, v in value.items() if k != name}, error=FormatError)
    with pytest.raises(FormatError):
        type(record).from_json({**value, "more": 1}, error=FormatError)


@pytest.mark.parametrize("name", ["Study", "ApproveStudy", "AdoptPlatform", "Revoke", "Receipt"])
def test_the_contracts_hold_the_same_type_strings(name: str) -> None:
    """CH-09: one spelling of each structure in Solidity and Python."""
    solidity = "".join(path.read_text() for path in sorted(CONTRACTS.rglob("*.sol")))
    fields = TYPES["ApproveStudy"][1:] if name == "Study" else TYPES[name]

    kind = f"{name}({','.join(f'{kind} {field}' for field, kind in fields)})"

    assert f'"{kind}"' in solidity
    assert name != "Study" or kind == typed.STUDY_TYPE
