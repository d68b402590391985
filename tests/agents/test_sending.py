# SPDX-License-Identifier: Apache-2.0
"""A transaction that no block takes is replaced under its nonce, and all that was signed is watched."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.gate_world import Enclave, World, granted
from tests.local_chain import Dataset, LocalChain, account, private_key
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom.model import Platform, Spending
from sealroom_agents.chain import Transactor, TxResult, sending
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.fees import GWEI, Fees
from sealroom_agents.chain.gas import MAX_GAS, with_room
from sealroom_agents.errors import TransactionError

MAX_FEE_WEI = 500 * GWEI
TO = account(1)
HASH = b"\xaa" * 32


# --- fees ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fees", "base_fee", "limit", "raised"),
    [
        (Fees(8, 80), 0, 1000, Fees(9, 90)),
        (Fees(9, 81), 0, 1000, Fees(11, 92)),  # rounded up: never less than an eighth
        (Fees(8, 80), 200, 1000, Fees(9, 409)),  # the base fee asks for more
        (Fees(8, 80), 200, 300, Fees(9, 300)),  # and gets what is allowed
        (Fees(8, 80), 200, 90, Fees(9, 90)),
        (Fees(8, 80), 0, 89, None),  # an eighth more is not allowed: a node would not take it
        (Fees(80, 80), 0, 89, None),
    ],
)
def test_a_fee_rises_by_an_eighth_at_least_and_never_above_the_limit(
    fees: Fees, base_fee: int, limit: int, raised: Fees | None
) -> None:
    assert fees.raised(base_fee, limit) == raised


# --- gas ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["approve", "adoptPlatform"])
def test_two_votes_of_one_block_both_have_the_gas_that_they_need(
    chain: LocalChain, pool: ThreadPoolExecutor, act: str
) -> None:
    """Each is estimated before the other is mined, as one of those before the last. The later one is the
    last, and does what all vote for."""
    hospitals = ["hospital-A", "hospital-B", "hospital-C"]
    room = chain.create_consortium(hospitals, threshold=3)
    platform = Platform(
        gate_root=HASH, gate_signer=account(5), gate_compose=HASH, policy_hash=HASH,
        os_images=(HASH,), devices=(HASH,),
    )  # fmt: skip
    validity = chain.validity(chain.state(room).charter)
    arguments = [platform.solidity(), validity.solidity()]
    if act == "approve":
        for owner in range(3):
            chain.vote(room, owner, "adoptPlatform", *arguments)
        datasets = [Dataset(owner=owner) for owner in range(3)]
        for each in datasets:
            chain.register(room, each, cap_micro=4_500_000)
        study = chain.draft(room, compose_hash=HASH, datasets=[each.id for each in datasets])
        arguments = [chain.study(study).solidity()]
    chain.vote(room, 2, act, *arguments)
    data = interface("Consortium").encode(act, *arguments, [])
    call = {"to": room.consortium, "data": "0x" + data.hex()}
    senders = [
        Transactor(chain.url, private_key(n), max_fee_wei=MAX_FEE_WEI, receipt_timeout_s=PATIENCE_S)
        for n in (0, 1)
    ]
    estimate = int(chain.rpc("eth_estimateGas", {"from": account(0), **call}), 16)
    with chain.by_hand():
        sent = [pool.submit(one.send, room.consortium, data) for one in senders]
        until(lambda: int(chain.rpc("txpool_status")["pending"], 16) == 2)
        chain.mine()
        results = [one.result(PATIENCE_S) for one in sent]
    assert len({each.block_number for each in results}) == 1
    assert max(each.gas_used for each in results) > 1.3 * estimate, "no margin of a third would have done"
    state = chain.state(room)
    assert state.platform == platform and (act == "adoptPlatform" or state.study == study)


def test_a_call_that_counts_no_vote_has_twice_its_estimate_and_no_more_than_a_chain_allows() -> None:
    revoke = interface("Consortium").encode("revoke", "stop")
    assert with_room(52_832, revoke) == 105_664
    assert with_room(9_000_000, revoke) == MAX_GAS
    assert with_room(17_000_000, revoke) == 17_000_000  # a caller refuses that


# --- on a node that mines when it is told to ------------------------------------------------------


@dataclass
class Manual:
    """A chain that mines when it is told to, and a key that pays."""

    chain: LocalChain
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def sender(self, url: str | None = None, **options: Any) -> Transactor:
        return Transactor(
            url or self.chain.url,
            self.key,
            **{"max_fee_wei": MAX_FEE_WEI, "receipt_timeout_s": PATIENCE_S, **options},
        )

    def pooled(self) -> list[dict[str, Any]]:
        """Transactions that wait, by nonce."""
        whole = self.chain.rpc("txpool_content")
        waiting = {**whole["pending"], **whole["queued"]}
        own = {address.lower(): txs for address, txs in waiting.items()}.get(self.sender().address, {})
        return [own[nonce] for nonce in sorted(own, key=int)]

    def only(self) -> dict[str, Any]:
        """The one transaction that waits."""
        return until(lambda: found[0] if len(found := self.pooled()) == 1 else None)

    def replaced(self, old: dict[str, Any]) -> dict[str, Any]:
        """What stands in the place of one that waited."""
        return until(lambda: new if (new := self.only())["hash"] != old["hash"] else None)

    def base_fee(self, wei: int) -> None:
        self.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def spent_nonces(self, address: str) -> int:
        return int(self.chain.rpc("eth_getTransactionCount", address, "latest"), 16)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def manual(chain: LocalChain) -> Iterator[Manual]:
    chain.mine()
    manual = Manual(chain)
    chain.fund(manual.sender().address)
    with chain.by_hand():
        yield manual


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction does not wait long before it is replaced."""
    monkeypatch.setattr(sending, "REPLACE_AFTER_S", 0.3)


def started(pool: ThreadPoolExecutor, sender: Transactor, value: int = 1) -> Future[TxResult]:
    return pool.submit(sender.send, TO, b"", value=value)


def paid(tx: dict[str, Any]) -> tuple[int, int]:
    return int(tx["maxPriorityFeePerGas"], 16), int(tx["maxFeePerGas"], 16)


@pytest.mark.anvil
@pytest.mark.usefixtures("soon")
def test_what_no_block_takes_is_replaced_under_its_nonce_until_one_does(
    manual: Manual, pool: ThreadPoolExecutor
) -> None:
    """OP-14. anvil itself refuses a replacement that pays too little more."""
    told = started(pool, manual.sender())
    first = manual.only()
    second = manual.replaced(first)
    third = manual.replaced(second)
    for lower, higher in ((first, second), (second, third)):
        assert higher["nonce"] == lower["nonce"] and higher["input"] == lower["input"]
        assert all(8 * more >= 9 * less for less, more in zip(paid(lower), paid(higher), strict=True))
    manual.chain.mine()

    assert told.result(PATIENCE_S).block_number == manual.chain.block_number()
    assert manual.spent_nonces(manual.sender().address) == 1
    assert not manual.pooled()


@pytest.mark.anvil
@pytest.mark.usefixtures("soon")
def test_a_base_fee_that_rose_is_paid(manual: Manual, pool: ThreadPoolExecutor) -> None:
    told = started(pool, manual.sender())
    first = manual.only()
    manual.base_fee(100 * GWEI)
    manual.chain.mine()
    assert manual.chain.rpc("eth_getTransactionReceipt", first["hash"]) is None
    later = until(lambda: tx if paid(tx := manual.only())[1] >= 100 * GWEI else None)
    assert later["nonce"] == first["nonce"]
    manual.chain.mine()
    assert told.result(PATIENCE_S).gas_used > 0
    assert manual.spent_nonces(manual.sender().address) == 1


@pytest.mark.anvil
@pytest.mark.usefixtures("soon")
def test_the_one_that_was_replaced_counts_where_it_is_mined(manual: Manual, pool: ThreadPoolExecutor) -> None:
    """Another node had the first one. Here, the replacements are lost on the way, and the node says that it
    has them."""
    lost: list[str] = []
    with RpcProxy(manual.chain.url) as proxy:
        proxy.loses = lambda method, params: bool(
            method == "eth_sendRawTransaction" and (lost.append(params[0]) or len(lost) > 1)
        )
        told = started(pool, manual.sender(proxy.url))
        first = manual.only()
        until(lambda: len(lost) > 2)
        manual.chain.mine()
        assert told.result(PATIENCE_S).tx == first["hash"]


@pytest.mark.anvil
@pytest.mark.usefixtures("soon")
def test_no_fee_exceeds_the_maximum(
    manual: Manual, pool: ThreadPoolExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    """OP-14: nobody can make the gate pay more by holding blocks back."""
    told = started(pool, manual.sender(max_fee_wei=4 * GWEI))
    until(lambda: caplog.text.count("its fee is at the maximum") > 1)
    last = manual.only()
    assert 9 * paid(last)[1] > 8 * 4 * GWEI - 9 and paid(last)[1] <= 4 * GWEI
    manual.chain.mine()
    assert told.result(PATIENCE_S).tx == last["hash"]


@pytest.mark.anvil
def test_a_base_fee_above_the_maximum_is_refused_before_anything_is_signed(manual: Manual) -> None:
    manual.base_fee(100 * GWEI)
    manual.chain.mine()
    with pytest.raises(TransactionError) as error:
        manual.sender(max_fee_wei=90 * GWEI).send(TO, b"", value=1)
    assert error.value.code == "transaction-fee-too-high" and error.value.code.transient
    assert "100000000000 wei" in error.value.message
    assert not manual.pooled()


@pytest.mark.anvil
def test_what_a_process_left_waiting_is_replaced_by_the_next(
    manual: Manual, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-14: a restarted gate does not queue behind what will never be mined."""
    with monkeypatch.context() as patch:
        patch.setattr(sending, "REPLACE_AFTER_S", 0.2)
        with pytest.raises(TransactionError, match="was mined within"):
            manual.sender(receipt_timeout_s=1.5).send(TO, b"", value=1)
    left = manual.only()
    monkeypatch.setattr(sending, "REPLACE_AFTER_S", PATIENCE_S)
    told = started(pool, manual.sender(), value=2)
    new = manual.replaced(left)
    assert (new["nonce"], int(new["value"], 16)) == (left["nonce"], 2)
    assert all(8 * more >= 9 * less for less, more in zip(paid(left), paid(new), strict=True))
    manual.chain.mine()
    assert told.result(PATIENCE_S).tx == new["hash"]
    assert manual.chain.rpc("eth_getTransactionReceipt", left["hash"]) is None


@pytest.mark.anvil
def test_what_was_left_waiting_and_pays_the_maximum_is_told(manual: Manual) -> None:
    sender = manual.sender(receipt_timeout_s=0.0)
    with pytest.raises(TransactionError, match="was mined within"):
        sender.send(TO, b"", value=1)
    left = manual.only()
    with pytest.raises(TransactionError) as error:
        manual.sender(max_fee_wei=paid(left)[1]).send(TO, b"", value=2)
    assert error.value.code == "transaction-fee-too-high"
    assert manual.only() == left


@pytest.mark.anvil
def test_where_another_transaction_took_the_nonce_the_content_is_sent_under_the_next(
    manual: Manual, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier process had sent through another node is mined instead of what replaced it here."""
    monkeypatch.setattr(sending, "DISPLACED_S", 0.2)
    # Ours is not handed in again, nor replaced, while the other one takes its place.
    monkeypatch.setattr(sending, "AGAIN_S", PATIENCE_S)
    monkeypatch.setattr(sending, "REPLACE_AFTER_S", PATIENCE_S)
    told = started(pool, manual.sender(), value=2)
    ours = manual.only()
    manual.chain.rpc("anvil_dropTransaction", ours["hash"])
    other = started(pool, manual.sender(max_fee_wei=None), value=3)
    manual.only()
    manual.chain.mine()
    assert other.result(PATIENCE_S).tx != ours["hash"]
    again = manual.only()
    assert (int(again["nonce"], 16), int(again["value"], 16)) == (int(ours["nonce"], 16) + 1, 2)
    manual.chain.mine()
    assert told.result(PATIENCE_S).tx == again["hash"]


@pytest.mark.anvil
@pytest.mark.usefixtures("soon")
def test_a_key_that_others_use_too_replaces_nothing(manual: Manual, pool: ThreadPoolExecutor) -> None:
    """An owner's own transactions wait under it."""
    sender = manual.sender(max_fee_wei=None, receipt_timeout_s=1.5)
    for value in (1, 2):
        with pytest.raises(TransactionError, match="was mined within"):
            sender.send(TO, b"", value=value)
    assert [int(tx["value"], 16) for tx in manual.pooled()] == [1, 2]


@pytest.mark.anvil
def test_a_node_that_takes_a_transaction_and_hangs_up_is_asked_for_its_receipt(
    manual: Manual, pool: ThreadPoolExecutor
) -> None:
    """The transaction is sent, whatever the connection said."""
    with RpcProxy(manual.chain.url) as proxy:
        proxy.hangs_up_after = lambda method: method == "eth_sendRawTransaction"
        told = started(pool, manual.sender(proxy.url))
        tx = manual.only()
        manual.chain.mine()
        assert told.result(PATIENCE_S).tx == tx["hash"]


# --- the gate -----------------------------------------------------------------------------------


def spent(world: World) -> Spending:
    call = world.chain.call("Ledger", world.room.ledger, "spending", world.room.consortium, world.study)
    return Spending.of_abi(call)


@pytest.mark.anvil
@pytest.mark.usefixtures("soon")
def test_an_enclave_gets_its_keys_from_an_opening_that_was_replaced(approved: World) -> None:
    """OP-14, RE-06: ε is booked once."""
    by_hand = Manual(approved.chain, approved.gate._root.signer_key.reveal())
    enclave = Enclave(approved)
    with approved.chain.by_hand(), ThreadPoolExecutor(1) as one:
        asked = one.submit(enclave.ask)
        first = by_hand.only()
        by_hand.replaced(first)  # perhaps more than once
        approved.chain.mine()
        reply = granted(asked.result(PATIENCE_S))
    mined = approved.chain.rpc("eth_getTransactionReceipt", "0x" + reply.opened.tx.hex())
    assert (int(mined["status"], 16), int(mined["blockNumber"], 16)) == (1, reply.opened.block)
    assert approved.chain.rpc("eth_getTransactionReceipt", first["hash"]) is None
    assert spent(approved) == Spending(
        epsilon_micro=enclave.epsilon_micro, delta_pico=enclave.delta_pico, runs=1
    )


@pytest.mark.anvil
def test_a_restarted_gate_replaces_the_opening_that_it_left(approved: World) -> None:
    """OP-14, RE-06: the gate died while its opening waited. The run of the dead gate costs nothing."""
    by_hand = Manual(approved.chain, approved.gate._root.signer_key.reveal())
    lost, enclave = Enclave(approved), Enclave(approved)
    with approved.chain.by_hand(), ThreadPoolExecutor(1) as one:
        dead = Transactor(approved.chain.url, by_hand.key, receipt_timeout_s=0.0, max_fee_wei=MAX_FEE_WEI)
        approved.gate._bookings._opener = dead
        assert lost.ask().status_code == 503
        left = by_hand.only()
        approved.start_gate()
        asked = one.submit(enclave.ask)
        by_hand.replaced(left)
        approved.chain.mine()
        granted(asked.result(PATIENCE_S))
    assert approved.chain.rpc("eth_getTransactionReceipt", left["hash"]) is None
    assert spent(approved).runs == 1
