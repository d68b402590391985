# SPDX-License-Identifier: Apache-2.0
"""Transactions of one key: signed, sent, watched until one is mined, and replaced where the fee is too low.

A key that several programs use takes the nonce behind all that wait, and a transaction of it is not replaced.

A key that belongs to this process alone (`max_fee_wei` is given) takes the first nonce that no block has. So
what an earlier attempt or an earlier process left waiting is replaced, and nothing queues behind it. Where no
block takes a transaction, the same content is signed again under the same nonce with a fee that is an eighth
higher, and again, up to the maximum: after `REPLACE_AFTER_S`, and at once where the base fee has passed what
it pays. All that was signed is watched: whichever is mined counts. A nonce can be used once, so the content
is executed once. Only where a transaction that was not sent here took the nonce is the content signed under
another one.

What waits is handed to all nodes again every `AGAIN_S`: one that lost it, or never let it out, has it again.
Nothing is kept on disk. A process that starts finds in the chain all that it has to know: the next nonce.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eth_utils.address import to_checksum_address

from sealroom.codes import Code
from sealroom_agents.chain import gas
from sealroom_agents.chain.contracts import explain_revert
from sealroom_agents.chain.fees import Fees
from sealroom_agents.chain.rpc import words
from sealroom_agents.chain.senders import Handed, Mined, Senders
from sealroom_agents.errors import ChainError, TransactionError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

RECEIPT_TIMEOUT_S = 60.0
"""Seconds to wait until a transaction is mined."""
RECEIPT_POLL_S = (0.05, 0.5)
"""Seconds between two looks at a transaction, at first and at most: a tenth of what it has waited."""
REPLACE_AFTER_S = 15.0
"""Seconds that a transaction waits before its fee is raised: a little more than a slot."""
AGAIN_S = 3.0
"""Seconds between two times at which all nodes are handed what waits."""
DISPLACED_S = 3.0
"""Seconds for which a node may know that a nonce was used, and not yet by which of our transactions."""
MAX_REDRAFTS = 3
"""How often a transaction is signed under another nonce before it is sent once."""

_log = logging.getLogger(__name__)


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


@dataclass
class _Sent:
    """All that was signed of one content."""

    draft: Draft
    """What was signed last."""
    signed: dict[str, str] = field(default_factory=dict)
    """What a node may have, by hash, the last one last."""

    @property
    def last(self) -> str:
        """Hash of the newest."""
        return next(reversed(self.signed))


class Turns:
    """One transaction at a time; whoever is urgent goes before all who are not. Thread safe."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._taken = False
        self._urgent = 0

    @contextmanager
    def __call__(self, *, urgent: bool) -> Iterator[None]:
        with self._change:
            self._urgent += urgent
            try:
                self._change.wait_for(lambda: not self._taken and (urgent or not self._urgent))
            finally:
                self._urgent -= urgent
            self._taken = True
        try:
            yield
        finally:
            with self._change:
                self._taken = False
                self._change.notify_all()


class Outbox:
    """Sends transactions of one key through several endpoints. Thread safe: one transaction at a time."""

    def __init__(
        self,
        senders: Senders,
        account: LocalAccount,
        *,
        chain_id: int | None,
        max_fee_wei: int | None,
        receipt_timeout_s: float,
    ) -> None:
        """chain_id: the one for which it may sign; `None` goes by the nodes. max_fee_wei: most per gas;
        given, the key is this process's alone, and what waits is replaced."""
        self._senders = senders
        self._account = account
        self._chain_id = chain_id
        self._max_fee_wei = max_fee_wei
        self._receipt_timeout_s = receipt_timeout_s
        self._turns = Turns()

    def send(self, call: dict[str, str], *, until: int | None = None, urgent: bool = False) -> Mined:
        """Try as a call, sign, send, wait until mined: what was mined.

        until: unix seconds of the chain from which on the content does nothing any more, so that nobody waits
        for it longer. urgent: before what others wait to send.

        Raises `TransactionError`: `transaction-reverted` (with `.revert`), `transaction-too-expensive`,
        `transaction-fee-too-high`, `transaction-rejected` (such as no gas money), `transaction-not-mined`;
        and `ChainError` `chain-unreachable`, `chain-disagrees`. Only after `transaction-not-mined` may it
        still be mined.
        """
        with self._turns(urgent=urgent):
            return self._watch(self._first(call), until)

    def _watch(self, sent: _Sent, until: int | None) -> Mined:
        began = now = time.monotonic()
        due, again = now + REPLACE_AFTER_S, now + AGAIN_S
        displaced: float | None = None
        while now < began + self._receipt_timeout_s:
            try:
                sight = self._senders.sight(list(sent.signed))
            except ChainError as error:
                # It is sent, and the nodes may be back before the time is up.
                _log.warning("transaction %s: %s", sent.last, error.message)
            else:
                if sight.mined is not None:
                    return sight.mined
                now, alone = time.monotonic(), self._max_fee_wei is not None
                used = alone and sight.nonce > sent.draft.nonce
                displaced = (displaced or now) if used else None
                if until is not None and sight.time >= until and not used:
                    break
                if displaced is not None and now - displaced >= DISPLACED_S:
                    _log.warning(
                        "another transaction of %s took nonce %d", self._account.address, sent.draft.nonce
                    )
                    self._anew(sent)
                    displaced, due = None, now + REPLACE_AFTER_S
                elif alone and not used and (now >= due or self._outbid(sent, sight.base_fee)):
                    self._replace(sent, sight.base_fee)
                    due, again = now + REPLACE_AFTER_S, now + AGAIN_S
                elif now >= again:
                    self._senders.hand(sent.signed[sent.last])
                    again = now + AGAIN_S
            time.sleep(min(max((now - began) / 10, RECEIPT_POLL_S[0]), RECEIPT_POLL_S[1]))
            now = time.monotonic()
        raise TransactionError(
            Code.TRANSACTION_NOT_MINED,
            f"none of the transactions {', '.join(sent.signed)} was mined within {now - began:.0f} s",
        )

    # --- signing and sending --------------------------------------------------------------------

    def _first(self, call: dict[str, str]) -> _Sent:
        """Send for the first time."""
        sent = _Sent(self._draft(call))
        for _ in range(MAX_REDRAFTS):
            trouble = self._submit_above(sent)
            if trouble is None:
                return sent
            if self._max_fee_wei is None or "nonce" not in trouble.lower():
                break
            # What was left waiting was mined just now.
            sent = _Sent(self._draft(call))
        raise self._rejected(trouble)

    def _submit_above(self, sent: _Sent) -> str | None:
        """Send, with a higher fee where the nonce is held by what was left waiting; or say why not."""
        while True:
            handed = self._submit(sent, sent.draft)
            if self._max_fee_wei is None or not handed.underpriced:
                return None if handed.taken else handed.trouble
            fees = sent.draft.fees.raised(0, self._max_fee_wei)
            if fees is None:
                if sent.signed:  # a node has one of them
                    return None
                raise self._too_high(f"what waits under nonce {sent.draft.nonce} pays nearly as much")
            sent.draft = replace(sent.draft, fees=fees)

    def _outbid(self, sent: _Sent, base_fee: int) -> bool:
        """Whether no block can take it for what it pays, and more may be paid."""
        fees = sent.draft.fees
        return base_fee > fees.most and fees.raised(base_fee, self._max_fee_wei or 0) is not None

    def _replace(self, sent: _Sent, base_fee: int) -> None:
        """The same once more, for a higher fee; whatever goes wrong, those that were sent may be mined."""
        fees = sent.draft.fees.raised(base_fee, self._max_fee_wei or 0)
        if fees is None:
            _log.warning("transaction %s waits, and its fee is at the maximum", sent.last)
            self._senders.hand(sent.signed[sent.last])
            return
        higher = replace(sent.draft, fees=fees)
        handed = self._submit(sent, higher)
        if handed.taken or handed.underpriced:
            # Where it was underpriced, the next attempt starts from here.
            sent.draft = higher
        if handed.taken:
            _log.warning("no block took the transaction; %s replaces it, for %d a gas", sent.last, fees.most)
        else:
            _log.warning("transaction %s is not replaced: %s", sent.last, handed.trouble)

    def _anew(self, sent: _Sent) -> None:
        """The same content under the nonce that is free now. It may fail because it was executed after all,
        and the node has not shown the receipt yet: so no failure ends the wait."""
        before = sent.draft
        try:
            sent.draft = self._draft(sent.draft.call)
            trouble = self._submit_above(sent)
        except ChainError as error:
            trouble = error.message
        if trouble is not None:
            sent.draft = before
            _log.warning("transaction %s is not sent again: %s", sent.last, trouble)

    def _draft(self, call: dict[str, str]) -> Draft:
        # What waits under a key of our own is replaced, so it must not count in the estimate either.
        seen = self._senders.prospect(call, "pending" if self._max_fee_wei is None else "latest")
        if self._chain_id is not None and seen.chain_id != self._chain_id:
            raise ChainError(
                Code.CHAIN_DISAGREES,
                f"the nodes are on chain {seen.chain_id}, not {self._chain_id}",
                "compare --chain-id with the RPC endpoint",
            )
        if seen.refusal is not None or seen.gas is None:
            if seen.refusal is not None and seen.refusal.data:
                raise reverted(seen.refusal.data, seen.refusal.message)
            raise self._rejected("" if seen.refusal is None else seen.refusal.message)
        if seen.gas > gas.MAX_GAS:
            raise TransactionError(
                Code.TRANSACTION_TOO_EXPENSIVE, f"the call would cost {seen.gas} gas, more than {gas.MAX_GAS}"
            )
        fees = Fees.first(seen.base_fee, self._max_fee_wei)
        if fees is None:
            raise self._too_high(f"the base fee is {seen.base_fee} wei per gas")
        return Draft(
            call=call,
            chain_id=seen.chain_id,
            nonce=seen.nonce,
            gas=gas.with_room(seen.gas, bytes.fromhex(call["data"].removeprefix("0x"))),
            fees=fees,
        )

    def _rejected(self, trouble: str | None) -> TransactionError:
        return TransactionError(
            Code.TRANSACTION_REJECTED,
            f"the node does not accept the transaction: {trouble}",
            f"does {self._account.address.lower()} hold gas money on this chain?",
        )

    def _too_high(self, why: str) -> TransactionError:
        return TransactionError(
            Code.TRANSACTION_FEE_TOO_HIGH,
            f"{why}, and {self._max_fee_wei} are allowed",
            "wait until fees fall, or allow a higher --max-fee",
        )

    def _submit(self, sent: _Sent, draft: Draft) -> Handed:
        """Sign and send; it is watched from now on unless no node can have it."""
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
        handed = self._senders.hand(raw)
        if handed.taken:
            sent.signed[tx] = raw
        return handed


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


def _show(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
