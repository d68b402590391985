# SPDX-License-Identifier: Apache-2.0
"""Transactions of one key: signed, sent, watched until one is mined, and replaced where the fee is too low.

A key that several programs use takes the nonce behind all that wait, and a transaction of it is sent once.

A key that belongs to this process alone (`max_fee_wei` is given) takes the first nonce that no block has. So
what an earlier attempt or an earlier process left waiting is replaced, and nothing queues behind it. Where no
block takes a transaction, the same content is signed again under the same nonce with a fee that is an eighth
higher, and again, up to the maximum. All that was signed is watched: whichever is mined counts. A nonce can
be used once, so the content is executed once. Only where a transaction that was not sent here took the nonce
is the content signed under another one.

Nodes replace a waiting transaction by one whose tip and whose maximum are both at least 10 % higher; a base
fee (EIP-1559) rises by at most an eighth a block.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eth_utils.address import to_checksum_address

from sealroom.codes import Code
from sealroom_agents.chain import gas
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.chain.rpc import Rpc, RpcFailure, words
from sealroom_agents.errors import ChainError, TransactionError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

GWEI = 10**9
"""Wei in one gwei."""
RECEIPT_TIMEOUT_S = 60.0
"""Seconds to wait until a transaction is mined."""
RECEIPT_POLL_S = 0.1
"""Seconds between two looks for a receipt."""
REPLACE_AFTER_S = 15.0
"""Seconds that a transaction waits before its fee is raised: a little more than a slot."""
DISPLACED_S = 3.0
"""Seconds for which a node may know that a nonce was used, and not yet by which of our transactions."""
PRIORITY_FEE_WEI = GWEI
"""Tip per gas of the first attempt, wei."""
MAX_REDRAFTS = 3
"""How often a transaction is signed under another nonce before it is sent once."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fees:
    """What a transaction pays per gas, wei."""

    tip: int
    """To whoever makes the block."""
    most: int
    """Most of base fee and tip together."""

    def raised(self, base_fee: int, limit: int) -> Fees | None:
        """An eighth more, or what the base fee asks for now if that is more, and never more than `limit`.
        `None` where the limit forbids an eighth more."""
        tip, most = _eighth_more(self.tip), _eighth_more(self.most)
        if max(tip, most) > limit:
            return None
        return Fees(tip=tip, most=min(max(most, 2 * base_fee + tip), limit))


def _eighth_more(fee: int) -> int:
    return fee + -(-fee // 8)


@dataclass(frozen=True)
class Draft:
    """One transaction before it is signed."""

    call: dict[str, str]
    """From, to, data and value, as a node takes them."""
    chain_id: int
    """Chain."""
    nonce: int
    """Number among the transactions of its key."""
    gas: int
    """Most gas that it may cost."""
    fees: Fees
    """What it pays per gas."""


class Outbox:
    """Sends transactions of one key through one endpoint. Thread safe: one transaction at a time."""

    def __init__(
        self, rpc: Rpc, private_key: bytes, *, max_fee_wei: int | None, receipt_timeout_s: float
    ) -> None:
        """max_fee_wei: most per gas; given, the key is this process's alone, and what waits is replaced."""
        # Late: importing it takes longer than all else here, and most commands send nothing.
        from eth_account import Account

        self._rpc = rpc
        self._account: LocalAccount = Account.from_key(private_key)
        self._max_fee_wei = max_fee_wei
        self._receipt_timeout_s = receipt_timeout_s
        self._lock = threading.Lock()

    @property
    def address(self) -> str:
        """Address that pays and signs, lower case."""
        return str(self._account.address).lower()

    def send(self, call: dict[str, str]) -> tuple[str, dict[str, Any]]:
        """Try as a call, sign, send, wait until mined: hash and receipt of the transaction that was mined.

        Raises `TransactionError`: `transaction-reverted` (with `.revert`), `transaction-too-expensive`,
        `transaction-fee-too-high`, `transaction-rejected` (such as no gas money), `transaction-not-mined`;
        and `ChainError` `chain-unreachable`. Only after `transaction-not-mined` may it still be mined.
        """
        with self._lock:
            sent: list[str] = []
            draft = self._first(call, sent)
            now = time.monotonic()
            deadline, due = now + self._receipt_timeout_s, now + REPLACE_AFTER_S
            displaced: float | None = None
            while time.monotonic() < deadline:
                found, used = self._look(sent, draft.nonce)
                if found is not None:
                    return found
                now = time.monotonic()
                displaced = None if not used else displaced or now
                if displaced is not None and now - displaced >= DISPLACED_S:
                    _log.warning("another transaction of %s took nonce %d", self.address, draft.nonce)
                    draft, displaced, due = self._anew(draft, sent), None, now + REPLACE_AFTER_S
                elif self._max_fee_wei is not None and not used and now >= due:
                    draft, due = self._replaced(draft, sent), now + REPLACE_AFTER_S
                time.sleep(RECEIPT_POLL_S)
        raise TransactionError(
            Code.TRANSACTION_NOT_MINED,
            f"none of the transactions {', '.join(sent)} was mined within {self._receipt_timeout_s:.0f} s",
        )

    # --- signing and sending --------------------------------------------------------------------

    def _first(self, call: dict[str, str], sent: list[str]) -> Draft:
        """Send a transaction for the first time; its hash is added to `sent`."""
        draft = self._draft(call)
        for _ in range(MAX_REDRAFTS):
            draft, trouble = self._submitted(draft, sent)
            if trouble is None:
                return draft
            if self._max_fee_wei is None or "nonce" not in trouble.lower():
                break
            # What was left waiting was mined just now.
            draft = self._draft(call)
        raise TransactionError(
            Code.TRANSACTION_REJECTED,
            f"the node does not accept the transaction: {trouble}",
            f"does {self.address} hold gas money on this chain?",
        )

    def _submitted(self, draft: Draft, sent: list[str]) -> tuple[Draft, str | None]:
        """Send, with a higher fee where the nonce is held by what was left waiting; or say why not."""
        while True:
            trouble = self._submit(draft, sent)
            if trouble is None or self._max_fee_wei is None or "underpriced" not in trouble.lower():
                return draft, trouble
            fees = draft.fees.raised(0, self._max_fee_wei)
            if fees is None:
                raise self._too_high(f"what waits under nonce {draft.nonce} pays nearly as much")
            draft = replace(draft, fees=fees)

    def _replaced(self, draft: Draft, sent: list[str]) -> Draft:
        """The same once more, for a higher fee; whatever goes wrong, those that were sent may be mined."""
        try:
            fees = draft.fees.raised(self._base_fee(), self._max_fee_wei or 0)
            if fees is None:
                _log.warning("transaction %s waits, and its fee is at the maximum", sent[-1])
                return draft
            higher = replace(draft, fees=fees)
            trouble = self._submit(higher, sent)
        except ChainError as error:
            _log.warning("transaction %s is not replaced: %s", sent[-1], error.message)
            return draft
        if trouble is not None:
            _log.warning("transaction %s is not replaced: %s", sent[-1], trouble)
            # Where it was underpriced, the next attempt starts from here.
            return higher if "underpriced" in trouble.lower() else draft
        _log.warning("no block took the transaction; %s replaces it, for %d wei per gas", sent[-1], fees.most)
        return higher

    def _anew(self, draft: Draft, sent: list[str]) -> Draft:
        """The same content under the nonce that is free now. It may fail because it was executed after all,
        and the node has not shown the receipt yet: so no failure ends the wait."""
        try:
            drafted = self._draft(draft.call)
            drafted, trouble = self._submitted(drafted, sent)
        except ChainError as error:
            _log.warning("transaction %s is not sent again: %s", sent[-1], error.message)
            return draft
        if trouble is not None:
            _log.warning("transaction %s is not sent again: %s", sent[-1], trouble)
            return draft
        return drafted

    def _draft(self, call: dict[str, str]) -> Draft:
        # What waits under a key of our own is replaced, so it must not count in the estimate either.
        rpc, state = self._rpc, "pending" if self._max_fee_wei is None else "latest"
        estimate, *answers = rpc.batch(
            [
                ("eth_estimateGas", [call, state]),
                ("eth_getTransactionCount", [self.address, state]),
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_chainId", []),
            ]
        )
        if isinstance(estimate, RpcFailure):
            if estimate.data:
                raise reverted(estimate.data, estimate.message)
            raise TransactionError(
                Code.TRANSACTION_REJECTED,
                f"the node does not accept the transaction: {estimate.message}",
                f"does {self.address} hold gas money on this chain?",
            )
        for answer in answers:
            if isinstance(answer, RpcFailure):
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses: {answer.message}")
        nonce, block, chain_id = answers
        needed = rpc.quantity(estimate)
        if needed > gas.MAX_GAS:
            raise TransactionError(
                Code.TRANSACTION_TOO_EXPENSIVE, f"the call would cost {needed} gas, more than {gas.MAX_GAS}"
            )
        return Draft(
            call=call,
            chain_id=rpc.quantity(chain_id),
            nonce=rpc.quantity(nonce),
            gas=gas.with_room(needed, bytes.fromhex(call["data"].removeprefix("0x"))),
            fees=self._fees(self._base_fee_of(block)),
        )

    def _fees(self, base_fee: int) -> Fees:
        most = 2 * base_fee + PRIORITY_FEE_WEI
        if self._max_fee_wei is None:
            return Fees(tip=PRIORITY_FEE_WEI, most=most)
        if base_fee + PRIORITY_FEE_WEI > self._max_fee_wei:
            raise self._too_high(f"the base fee is {base_fee} wei per gas")
        return Fees(tip=PRIORITY_FEE_WEI, most=min(most, self._max_fee_wei))

    def _too_high(self, why: str) -> TransactionError:
        return TransactionError(
            Code.TRANSACTION_FEE_TOO_HIGH,
            f"{why}, and {self._max_fee_wei} are allowed",
            "wait until fees fall, or allow a higher --max-fee",
        )

    def _base_fee(self) -> int:
        return self._base_fee_of(self._rpc.request("eth_getBlockByNumber", ["latest", False]))

    def _base_fee_of(self, block: object) -> int:
        if not isinstance(block, dict):
            raise self._rpc.malformed("a malformed block")
        return self._rpc.quantity(block.get("baseFeePerGas", "0x0"))

    def _submit(self, draft: Draft, sent: list[str]) -> str | None:
        """Sign and send; add the hash to `sent` unless the node refuses. Returns the node's words then."""
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": draft.chain_id,
                "nonce": draft.nonce,
                "to": to_checksum_address(draft.call["to"]),
                "data": bytes.fromhex(draft.call["data"].removeprefix("0x")),
                "value": int(draft.call["value"], 16),
                "gas": draft.gas,
                "maxPriorityFeePerGas": draft.fees.tip,
                "maxFeePerGas": draft.fees.most,
            }
        )
        tx, raw = "0x" + bytes(signed.hash).hex(), "0x" + bytes(signed.raw_transaction).hex()
        try:
            # The transport may retry; the same signed bytes cannot count twice, and a node that has them
            # says so.
            (answer,) = self._rpc.batch([("eth_sendRawTransaction", [raw])])
        except ChainError as error:
            # The node may have it all the same: only its receipt tells.
            _log.warning("transaction %s: %s", tx, error.message)
            answer = None
        if isinstance(answer, RpcFailure) and "already" not in answer.message.lower():
            return answer.message
        if tx not in sent:
            sent.append(tx)
        return None

    # --- waiting --------------------------------------------------------------------------------

    def _look(self, sent: Sequence[str], nonce: int) -> tuple[tuple[str, dict[str, Any]] | None, bool]:
        """The receipt of one of these transactions; and, where the key is this process's alone, whether a
        block has used the nonce."""
        asked: list[tuple[str, list[Any]]] = [("eth_getTransactionReceipt", [tx]) for tx in sent]
        if self._max_fee_wei is not None:
            asked.append(("eth_getTransactionCount", [self.address, "latest"]))
        try:
            answers = self._rpc.batch(asked)
            used = self._max_fee_wei is not None and self._rpc.quantity(answers[-1]) > nonce
        except ChainError as error:
            # It is sent, and the node may be back before the time is up.
            _log.warning("transaction %s: %s", sent[-1], error.message)
            return None, False
        found = [
            (tx, answer)
            for tx, answer in zip(sent, answers[: len(sent)], strict=True)
            if isinstance(answer, dict)
        ]
        # At most one of one nonce is mined. Of several nonces, a later one failed because an earlier one did
        # what it was to do.
        done = [one for one in found if one[1].get("status") == "0x1"]
        return next(iter(done or found), None), used


def reverted(data: bytes, message: str) -> TransactionError:
    """A contract's refusal: `data` are the bytes that it returned, `message` is said where there are none."""
    name, fields = explain_revert(data)
    shown = ", ".join(f"{key}={_show(value)}" for key, value in fields.items())
    return TransactionError(
        Code.TRANSACTION_REVERTED,
        f"the contract refuses: {words(f'{name}({shown})')}" if data else message,
        revert=name,
        fields=fields,
    )


def _show(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
