# SPDX-License-Identifier: Apache-2.0
"""An EOA as owner that delegated its code to a contract (EIP-7702), by a real set-code transaction.

The contract is Safe's, as published: the EOA becomes a Safe of two others, and keeps its own key.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from sealroom import typed
from tests.contracts import safes
from tests.contracts.pair import Pair
from tests.contracts.safes import NOBODY, Published, Safe
from tests.local_chain import LocalChain, Reverted, account, private_key

pytestmark = pytest.mark.anvil

OWNER, PAYER = 1, 2
OTHERS = (3, 4)
"""Owners of the Safe that the owner's account becomes."""
DELEGATION = "0xef0100"
SET_CODE_GAS = 1_000_000
MAX_FEE = 10**11


@dataclass(frozen=True)
class Delegated:
    """An owner whose account has an EOA's key and a Safe's code."""

    chain: LocalChain
    pair: Pair
    safe: Safe


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        yield chain


@pytest.fixture(scope="module")
def published(chain: LocalChain) -> Published:
    return safes.deploy(chain, safes.V1_5_0)


@pytest.fixture
def delegated(chain: LocalChain, published: Published) -> Iterator[Delegated]:
    before = chain.snapshot()
    pair = Pair.create(chain, account(OWNER))
    set_code(chain, published.singleton, published.setup(OTHERS, 2))
    assert code(chain) == DELEGATION + published.singleton[2:]
    safe = Safe(chain, published.version, to_checksum_address(account(OWNER)), OTHERS, 2)
    yield Delegated(chain, pair, safe)
    chain.restore(before)


def set_code(chain: LocalChain, target: str, data: bytes = b"") -> None:
    """The owner authorises `target` as its code; somebody else sends that, and a first call to it."""
    authorization = Account.sign_authorization(
        {"chainId": chain.chain_id, "address": to_checksum_address(target), "nonce": count(chain, OWNER)},
        private_key(OWNER),
    )
    transaction: dict[str, Any] = {
        "type": 4,
        "chainId": chain.chain_id,
        "nonce": count(chain, PAYER),
        "to": to_checksum_address(account(OWNER)),
        "value": 0,
        "data": data,
        "gas": SET_CODE_GAS,
        "maxFeePerGas": MAX_FEE,
        "maxPriorityFeePerGas": 1,
        "authorizationList": [authorization],
    }
    signed = Account.sign_transaction(transaction, private_key(PAYER))
    assert signed.raw_transaction[0] == 4
    receipt = safes.mined(
        chain, chain.rpc("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
    )
    assert receipt["status"] == "0x1"
    assert receipt["type"] == "0x4"


def count(chain: LocalChain, owner: int) -> int:
    return int(chain.rpc("eth_getTransactionCount", account(owner), "latest"), 16)


def code(chain: LocalChain) -> str:
    return str(chain.rpc("eth_getCode", account(OWNER), "latest")).lower()


def test_it_approves_by_transaction(delegated: Delegated) -> None:
    pair = delegated.pair
    assert not pair.is_pinned()
    delegated.chain.send(OWNER, pair.room.consortium, pair.data("approve", pair.content(), []))
    assert pair.is_pinned()


def test_it_approves_with_its_own_key(delegated: Delegated) -> None:
    pair = delegated.pair
    pair.hand_in(typed.sign(pair.approval(), private_key(OWNER)))
    assert pair.is_pinned()


def test_it_approves_through_the_contract_that_it_delegated_to(delegated: Delegated) -> None:
    pair = delegated.pair
    pair.hand_in(delegated.safe.sign_digest(typed.digest(pair.approval()), OTHERS))
    assert pair.is_pinned()


def test_it_approves_by_a_transaction_of_its_contract(delegated: Delegated) -> None:
    pair = delegated.pair
    delegated.safe.execute(pair.room.consortium, pair.data("approve", pair.content(), []), signers=OTHERS)
    assert pair.is_pinned()


def test_neither_another_key_nor_too_few_of_its_contracts_owners_sign_for_it(delegated: Delegated) -> None:
    pair = delegated.pair
    digest = typed.digest(pair.approval())
    refused_ones = (
        typed.sign(pair.approval(), private_key(OTHERS[0])),
        delegated.safe.sign_digest(digest, OTHERS[:1]),
        b"",
    )
    for signature in refused_ones:
        with pytest.raises(Reverted) as refused:
            pair.hand_in(signature)
        assert refused.value.name == "ConsortiumBadSignature"
    assert not pair.is_pinned()

    pair.hand_in(delegated.safe.sign_digest(digest, OTHERS))
    assert pair.is_pinned()


def test_after_it_took_the_delegation_back_its_key_alone_signs(delegated: Delegated) -> None:
    pair = delegated.pair
    through_contract = delegated.safe.sign_digest(typed.digest(pair.approval()), OTHERS)
    set_code(delegated.chain, NOBODY)
    assert code(delegated.chain) == "0x"
    with pytest.raises(Reverted) as refused:
        pair.hand_in(through_contract)
    assert refused.value.name == "ConsortiumBadSignature"

    pair.hand_in(typed.sign(pair.approval(), private_key(OWNER)))
    assert pair.is_pinned()


@pytest.mark.parametrize("way", ["transaction", "key", "contract"])
def test_it_revokes_by_transaction_with_its_key_and_through_its_contract(
    delegated: Delegated, way: str
) -> None:
    pair = delegated.pair
    pair.hand_in(typed.sign(pair.approval(), private_key(OWNER)))
    message = pair.revocation("stop")
    if way == "transaction":
        delegated.chain.send(OWNER, pair.room.consortium, pair.data("revoke", "stop"))
    elif way == "key":
        pair.hand_in_revocation("stop", typed.sign(message, private_key(OWNER)))
    else:
        pair.hand_in_revocation("stop", delegated.safe.sign_digest(typed.digest(message), OTHERS))
    assert not pair.is_pinned()
    assert pair.revoked_by() == (account(OWNER),)
