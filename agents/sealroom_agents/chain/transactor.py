# SPDX-License-Identifier: Apache-2.0
"""What is sent: runs that are opened, receipts that are anchored.

Every transaction is tried as a call first, so that a refusal costs no gas and comes back with the contract's
own error name. How one is signed, sent and replaced is in `sealroom_agents.chain.sending`.

The ledger opens a run id once, and none after its `openBefore`: so it is harmless to send an opening again,
and one that comes too late costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.model import Opening, Receipt, Run, Study
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import Log, parsed
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Rpc, RpcFailure
from sealroom_agents.chain.sending import RECEIPT_TIMEOUT_S, Outbox, reverted
from sealroom_agents.errors import ChainError, TransactionError


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
        return next(iter(self.events(name)), None)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Fields of all events of that name, in their order."""
        return [fields for event, fields in self.logs if event == name]


@dataclass(frozen=True)
class Opened:
    """A run that was opened."""

    opening: Opening
    """How."""
    sent: TxResult
    """The transaction that did it."""


class Transactor:
    """Sends transactions of one key through one endpoint. Thread safe: one transaction at a time."""

    def __init__(
        self,
        rpc_url: str,
        private_key: bytes,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        receipt_timeout_s: float = RECEIPT_TIMEOUT_S,
        max_fee_wei: int | None = None,
    ) -> None:
        """max_fee_wei: most per gas. Give it only where no other program uses the key: then a transaction
        that no block takes is replaced, and so is one that an earlier process left waiting."""
        self._rpc = Rpc(rpc_url, timeout_s=timeout_s)
        self._outbox = Outbox(
            self._rpc, private_key, max_fee_wei=max_fee_wei, receipt_timeout_s=receipt_timeout_s
        )

    def __repr__(self) -> str:
        return f"Transactor({self._rpc.shown_url}, {self.address})"

    @property
    def address(self) -> str:
        """Address that pays and signs, lower case."""
        return self._outbox.address

    def open_runs(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> TxResult:
        """Book the budget of runs of a study. Those that cannot be opened are passed over: the result has
        `RunOpened` of each run, or `RunRefused` with the encoded error (`explain_revert` reads it).

        note: 32 bytes that are kept with each opening. Raises `TransactionError` whose `.revert` is the
        ledger's error name, of the first run when none could be opened.
        """
        arguments = (consortium, study.solidity(), [run.solidity() for run in runs], note)
        return self.send(ledger, interface("Ledger").encode("open", *arguments))

    def book(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> Iterator[tuple[bytes, Opened | TransactionError]]:
        """Book runs together, each told its own fate: by run id how it was opened, or why not, as soon as
        that is known; several transactions may be needed.

        A run that the ledger would refuse is left out before anything is sent, and one that it refuses when
        the transaction is mined spoils no other. A refusal is a `TransactionError` whose `.revert` is the
        contract's error name. Raises `ChainError`, and `TransactionError` without `.revert`, where nothing is
        known of those that were not told yet.
        """
        refused = self._refused(ledger, consortium, study, runs, note)
        yield from refused.items()
        left = [run for run in runs if run.run_id not in refused]
        if not left:
            return
        try:
            sent = self.open_runs(ledger, consortium, study, left, note=note)
        except TransactionError as error:
            if error.revert is None and error.code is not Code.TRANSACTION_TOO_EXPENSIVE:
                raise
            if len(left) == 1:
                yield left[0].run_id, error
                return
            # It is too much for one transaction, or the ledger changed its mind about all of them just now.
            half = len(left) // 2
            for part in (left[:half], left[half:]):
                yield from self.book(ledger, consortium, study, part, note=note)
            return
        yield from _outcomes(sent, left)

    def anchor(self, ledger: str, receipt: Receipt, opening: Opening, signature: bytes) -> TxResult:
        """Record a signed receipt of a run that was opened as `opening` says.

        Raises `TransactionError` whose `.revert` is the ledger's error name.
        """
        arguments = (receipt.solidity(), opening.solidity(), signature)
        return self.send(ledger, interface("Ledger").encode("anchor", *arguments))

    def anchor_batch(
        self,
        ledger: str,
        consortium: str,
        *,
        standing: bytes,
        numbers: Sequence[int],
        digests: Sequence[bytes],
    ) -> TxResult:
        """Record many receipts at once; only the gate's signer may.

        standing: of the runs, and still of the consortium. numbers: of the runs, strictly increasing.
        digests: EIP-712 digest of the receipt of each. Raises `TransactionError` whose `.revert` is the
        ledger's error name.
        """
        arguments = (consortium, standing, list(numbers), list(digests))
        return self.send(ledger, interface("Ledger").encode("anchorBatch", *arguments))

    def send(self, to: str, data: bytes, *, value: int = 0) -> TxResult:
        """Try as a call, sign, send, wait until mined.

        Raises `TransactionError`: `transaction-reverted` (with `.revert`), `transaction-too-expensive`,
        `transaction-fee-too-high`, `transaction-rejected` (such as no gas money), `transaction-not-mined`;
        and `ChainError` `chain-unreachable`.
        """
        call = {"from": self.address, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
        tx, receipt = self._outbox.send(call)
        result = self._result(tx, receipt)
        if self._rpc.quantity(receipt.get("status")) != 1:
            # It was fine as a call but not when it was mined: another transaction
            # came between. Ask for the reason.
            (answer,) = self._rpc.batch([("eth_call", [call, hex(result.block_number)])])
            data = answer.data if isinstance(answer, RpcFailure) else b""
            raise reverted(data, f"transaction {tx} was mined but reverted")
        return result

    def _refused(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], note: bytes
    ) -> dict[bytes, TransactionError]:
        """What the ledger would refuse now, each run with its own reason; costs no gas."""

        def tried(chosen: Sequence[Run]) -> tuple[str, list[Any]]:
            arguments = (consortium, study.solidity(), [run.solidity() for run in chosen], note)
            data = interface("Ledger").encode("open", *arguments)
            call = {"from": self.address, "to": ledger, "data": "0x" + data.hex()}
            return "eth_call", [call, "latest"]

        (answer,) = self._rpc.batch([tried(runs)])
        if not isinstance(answer, RpcFailure):
            try:
                why = interface("Ledger").decode("open", self._rpc.data(answer))
            except ChainError:
                why = ()
            if len(why) != len(runs):
                raise self._rpc.malformed("reasons for another number of runs")
            return {
                run.run_id: reverted(reason, "refused")
                for run, reason in zip(runs, why, strict=True)
                if reason
            }
        if not answer.data:
            raise TransactionError(
                Code.TRANSACTION_REJECTED, f"the node does not try the transaction: {answer.message}"
            )
        # All of them are refused, and the ledger names the reason of the first. None was opened before
        # another, so each alone is refused for its own.
        alone = [answer] if len(runs) == 1 else self._rpc.batch([tried([run]) for run in runs])
        return {
            run.run_id: reverted(found.data, found.message)
            for run, found in zip(runs, alone, strict=True)
            if isinstance(found, RpcFailure)
        }

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


def _outcomes(sent: TxResult, runs: Sequence[Run]) -> Iterator[tuple[bytes, Opened | TransactionError]]:
    """What the events of a mined transaction say of each run."""
    told: dict[bytes, Opened | TransactionError] = {}
    for fields in sent.events("RunOpened"):
        told[fields["runId"]] = Opened(Opening.of_abi(fields["opening"]), sent)
    for fields in sent.events("RunRefused"):
        told[fields["runId"]] = reverted(fields["why"], "refused")
    lost = TransactionError(
        Code.CHAIN_DISAGREES, f"transaction {sent.tx} says nothing of a run that it was to open"
    )
    return ((run.run_id, told.get(run.run_id, lost)) for run in runs)


def _decoded(logs: Sequence[Log]) -> Iterator[tuple[str, dict[str, Any]]]:
    for log in logs:
        for name in ("Ledger", "Consortium", "Factory", "DstackApp"):
            decoded = interface(name).decode_log(log.topics, log.data)
            if decoded is not None:
                yield decoded
                break
