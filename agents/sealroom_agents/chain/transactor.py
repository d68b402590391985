# SPDX-License-Identifier: Apache-2.0
"""Sending transactions: open a run, anchor receipts.

Every transaction is tried as a call first, so that a refusal costs no gas and comes back with the contract's
own error name. What is sent is never sent twice: a transport failure after sending is answered by looking for
the receipt of the very transaction that was signed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from sealroom.codes import Code
from sealroom.model import Opening, Receipt, Run, Study
from sealroom_agents.chain.contracts import explain_revert, interface
from sealroom_agents.chain.logs import Log, parsed
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Rpc, RpcFailure, words
from sealroom_agents.errors import ChainError, TransactionError

RECEIPT_TIMEOUT_S = 60.0
"""Seconds to wait until a transaction is mined."""
RECEIPT_POLL_S = 0.1
"""Seconds between two looks for a receipt."""
MAX_GAS = 5_000_000
"""Gas that one transaction may cost; opening a run with the most datasets that a study may have needs about
half of it."""
GAS_MARGIN_PERCENT = 30
"""Added to the estimate, because the state may move before the transaction is mined."""
PRIORITY_FEE_WEI = 1_000_000_000
"""Tip per gas, wei."""


@dataclass(frozen=True)
class TxResult:
    """One mined transaction."""

    tx: str
    """Transaction hash, `0x` + 64 hex digits."""
    block_number: int
    """Block in which it was mined."""
    block_hash: bytes
    """Hash of that block."""
    gas_used: int
    """Gas it cost."""
    logs: tuple[tuple[str, dict[str, Any]], ...]
    """Events of our contracts, decoded: name and fields."""

    def event(self, name: str) -> dict[str, Any] | None:
        """Fields of the first event of that name, or `None`."""
        return next((fields for event, fields in self.logs if event == name), None)


class Transactor:
    """Sends transactions of one key through one endpoint. Thread safe: one transaction at a time."""

    def __init__(
        self,
        rpc_url: str,
        private_key: bytes,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        receipt_timeout_s: float = RECEIPT_TIMEOUT_S,
    ) -> None:
        self._rpc = Rpc(rpc_url, timeout_s=timeout_s)
        self._account: LocalAccount = Account.from_key(private_key)
        self._receipt_timeout_s = receipt_timeout_s
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Transactor({self._rpc.shown_url}, {self.address})"

    @property
    def address(self) -> str:
        """Address that pays and signs, lower case."""
        return str(self._account.address).lower()

    def open_run(self, ledger: str, run: Run, study: Study) -> TxResult:
        """Book a run's budget; `study` is the content that the run's study is the hash of.

        Raises `TransactionError` whose `.revert` is the ledger's error name.
        """
        return self.send(ledger, interface("Ledger").encode("open", run.solidity(), study.solidity()))

    def anchor(self, ledger: str, receipt: Receipt, opening: Opening, signature: bytes) -> TxResult:
        """Record a signed receipt of a run that was opened as `opening` says.

        Raises `TransactionError` whose `.revert` is the ledger's error name.
        """
        arguments = (receipt.solidity(), opening.solidity(), signature)
        return self.send(ledger, interface("Ledger").encode("anchor", *arguments))

    def anchor_batch(
        self, ledger: str, consortium: str, *, epoch: int, numbers: Sequence[int], digests: Sequence[bytes]
    ) -> TxResult:
        """Record many receipts at once; only the gate's signer may.

        numbers: of the runs, strictly increasing. digests: EIP-712 digest of the receipt of each. Raises
        `TransactionError` whose `.revert` is the ledger's error name.
        """
        arguments = (consortium, epoch, list(numbers), list(digests))
        return self.send(ledger, interface("Ledger").encode("anchorBatch", *arguments))

    def send(self, to: str, data: bytes, *, value: int = 0) -> TxResult:
        """Try as a call, sign, send, wait until mined.

        Raises `TransactionError`: `transaction-reverted` (with `.revert`), `transaction-too-expensive`,
        `transaction-rejected` (such as no gas money), `transaction-not-mined`;
        and `ChainError` `chain- unreachable`.
        """
        call = {"from": self.address, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
        with self._lock:
            raw, tx = self._sign(call)
            self._submit(raw)
            receipt = self._wait(tx)
        result = self._result(tx, receipt)
        if self._rpc.quantity(receipt.get("status")) != 1:
            # It was fine as a call but not when it was mined: another transaction
            # came between. Ask for the reason.
            (answer,) = self._rpc.batch([("eth_call", [call, hex(result.block_number)])])
            data = answer.data if isinstance(answer, RpcFailure) else b""
            raise _reverted(data, f"transaction {tx} was mined but reverted")
        return result

    def _sign(self, call: dict[str, str]) -> tuple[bytes, str]:
        estimate, nonce, block, chain_id = self._rpc.batch(
            [
                ("eth_estimateGas", [call]),
                ("eth_getTransactionCount", [self.address, "pending"]),
                ("eth_getBlockByNumber", ["latest", False]),
                ("eth_chainId", []),
            ]
        )
        if isinstance(estimate, RpcFailure):
            if estimate.data:
                raise _reverted(estimate.data, estimate.message)
            raise TransactionError(
                Code.TRANSACTION_REJECTED,
                f"the node does not accept the transaction: {estimate.message}",
                f"does {self.address} hold gas money on this chain?",
            )
        rpc = self._rpc
        for answer in (nonce, block, chain_id):
            if isinstance(answer, RpcFailure):
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} refuses: {answer.message}")
        gas = rpc.quantity(estimate) * (100 + GAS_MARGIN_PERCENT) // 100
        if gas > MAX_GAS:
            raise TransactionError(
                Code.TRANSACTION_TOO_EXPENSIVE, f"the call would cost {gas} gas, more than {MAX_GAS}"
            )
        if not isinstance(block, dict):
            raise rpc.malformed("a malformed block")
        base_fee = rpc.quantity(block.get("baseFeePerGas", "0x0"))
        signed = self._account.sign_transaction(
            {
                "type": 2,
                "chainId": rpc.quantity(chain_id),
                "nonce": rpc.quantity(nonce),
                "to": to_checksum_address(call["to"]),
                "data": bytes.fromhex(call["data"].removeprefix("0x")),
                "value": int(call["value"], 16),
                "gas": gas,
                "maxPriorityFeePerGas": PRIORITY_FEE_WEI,
                "maxFeePerGas": 2 * base_fee + PRIORITY_FEE_WEI,
            }
        )
        return bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex()

    def _submit(self, raw: bytes) -> None:
        # The transport may retry; the same signed bytes cannot count twice, and a node that has them says so.
        (answer,) = self._rpc.batch([("eth_sendRawTransaction", ["0x" + raw.hex()])])
        if isinstance(answer, RpcFailure) and "already" not in answer.message.lower():
            raise TransactionError(
                Code.TRANSACTION_REJECTED,
                f"the node does not accept the transaction: {answer.message}",
                f"does {self.address} hold gas money on this chain?",
            )

    def _wait(self, tx: str) -> dict[str, Any]:
        deadline = time.monotonic() + self._receipt_timeout_s
        while time.monotonic() < deadline:
            receipt = self._rpc.request("eth_getTransactionReceipt", [tx])
            if isinstance(receipt, dict):
                return receipt
            time.sleep(RECEIPT_POLL_S)
        raise TransactionError(
            Code.TRANSACTION_NOT_MINED,
            f"transaction {tx} was not mined within {self._receipt_timeout_s:.0f} s",
        )

    def _result(self, tx: str, receipt: dict[str, Any]) -> TxResult:
        rpc = self._rpc
        if "0x" + rpc.data(receipt.get("transactionHash"), 32).hex() != tx:
            raise rpc.malformed("the receipt of another transaction")
        return TxResult(
            tx=tx,
            block_number=rpc.quantity(receipt.get("blockNumber")),
            block_hash=rpc.data(receipt.get("blockHash"), 32),
            gas_used=rpc.quantity(receipt.get("gasUsed")),
            logs=tuple(_decoded(parsed(rpc, receipt.get("logs")))),
        )


def _decoded(logs: Sequence[Log]) -> Iterator[tuple[str, dict[str, Any]]]:
    for log in logs:
        for name in ("Ledger", "Consortium", "Factory", "DstackApp"):
            decoded = interface(name).decode_log(log.topics, log.data)
            if decoded is not None:
                yield decoded
                break


def _reverted(data: bytes, message: str) -> TransactionError:
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
