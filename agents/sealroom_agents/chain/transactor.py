# SPDX-License-Identifier: Apache-2.0
"""What is sent: runs that are opened, receipts that are anchored.

Every transaction is tried as a call first, so that a refusal costs no gas and comes back with the contract's
own error name. How one is signed, sent and replaced is in `sealroom_agents.chain.sending`.

The ledger opens a run id once, and none after its `openBefore`: so it is harmless to send an opening again,
and one that comes too late costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sealroom.codes import Code
from sealroom.model import Opening, Receipt, Run, Study
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.rpc import DEFAULT_TIMEOUT_S, Rpc, RpcFailure
from sealroom_agents.chain.senders import Event, Mined, Senders
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
    """Sends transactions of one key through one or several endpoints. Thread safe: one transaction at a
    time, openings before all else."""

    def __init__(
        self,
        rpc_urls: str | Sequence[str],
        private_key: bytes,
        *,
        quorum: int | None = None,
        chain_id: int | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        receipt_timeout_s: float = RECEIPT_TIMEOUT_S,
        max_fee_wei: int | None = None,
    ) -> None:
        """quorum: how many endpoints must say the same before it counts; all of them by default. chain_id:
        the one for which the key signs; `None` goes by the endpoints. max_fee_wei: most per gas. Give it only
        where no other program uses the key: then a transaction that no block takes is replaced, and so is one
        that an earlier process left waiting."""
        # Late: importing it takes longer than all else here, and most commands send nothing.
        from eth_account import Account

        account = Account.from_key(private_key)
        self._nodes = Nodes(
            [rpc_urls] if isinstance(rpc_urls, str) else rpc_urls,
            timeout_s=timeout_s,
            quorum=quorum,
            expected_chain_id=chain_id,
            private_chain=None,
            finalized_floor=0,
            clock=time.time,
        )
        self.address = str(account.address).lower()
        """Address that pays and signs, lower case."""
        self._senders = Senders(self._nodes, self.address)
        self._outbox = Outbox(
            self._senders,
            account,
            chain_id=chain_id,
            max_fee_wei=max_fee_wei,
            receipt_timeout_s=receipt_timeout_s,
        )

    def __repr__(self) -> str:
        return f"Transactor({', '.join(rpc.shown_url for rpc in self._nodes.rpcs)}, {self.address})"

    def close(self) -> None:
        """Let threads and connections go."""
        self._nodes.close()

    def open_runs(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> TxResult:
        """Book the budget of runs of a study. Those that cannot be opened are passed over: the result has
        `RunOpened` of each run, or `RunRefused` with the encoded error (`explain_revert` reads it).

        note: 32 bytes that are kept with each opening. Raises `TransactionError` whose `.revert` is the
        ledger's error name, of the first run when none could be opened.
        """
        data = _opening(consortium, study, tuple(runs), note)
        return self.send(ledger, data, until=max(run.open_before for run in runs), urgent=True)

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

    def send(
        self, to: str, data: bytes, *, value: int = 0, until: int | None = None, urgent: bool = False
    ) -> TxResult:
        """Try as a call, sign, send, wait until mined; `until` and `urgent` as `Outbox.send` has them.

        Raises `TransactionError`: `transaction-reverted` (with `.revert`), `transaction-too-expensive`,
        `transaction-fee-too-high`, `transaction-rejected` (such as no gas money), `transaction-not-mined`;
        and `ChainError` `chain-unreachable` and `chain-disagrees`.
        """
        call = {"from": self.address, "to": to, "data": "0x" + data.hex(), "value": hex(value)}
        mined = self._outbox.send(call, until=until, urgent=urgent)
        if not mined.succeeded:
            # It was fine as a call but not when it was mined: another transaction
            # came between. Ask for the reason.
            why = self._senders.why(call, mined.block_number)
            raise reverted(why, f"transaction {mined.tx} was mined but reverted")
        return _result(mined)

    def _refused(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], note: bytes
    ) -> dict[bytes, TransactionError]:
        """What a quorum says that the ledger would refuse now, each run with its own reason; costs no gas."""

        def tried(chosen: Sequence[Run]) -> tuple[str, list[Any]]:
            data = _opening(consortium, study, tuple(chosen), note)
            return "eth_call", [{"from": self.address, "to": ledger, "data": "0x" + data.hex()}, "latest"]

        def one(rpc: Rpc) -> dict[bytes, bytes]:
            (answer,) = rpc.batch([tried(runs)])
            if not isinstance(answer, RpcFailure):
                try:
                    why = interface("Ledger").decode("open", rpc.data(answer))
                except ChainError:
                    why = ()
                if len(why) != len(runs):
                    raise rpc.malformed("reasons for another number of runs")
                return {run.run_id: reason for run, reason in zip(runs, why, strict=True) if reason}
            if not answer.data:
                raise TransactionError(
                    Code.TRANSACTION_REJECTED, f"the node does not try the transaction: {answer.message}"
                )
            # All of them are refused, and the ledger names the reason of the first. None was opened before
            # another, so each alone is refused for its own.
            alone = [answer] if len(runs) == 1 else rpc.batch([tried([run]) for run in runs])
            return {
                run.run_id: found.data
                for run, found in zip(runs, alone, strict=True)
                if isinstance(found, RpcFailure)
            }

        refused = self._senders.refusals(one)
        return {run_id: reverted(why, "refused") for run_id, why in refused.items()}


@lru_cache(1)
def _opening(consortium: str, study: Study, runs: tuple[Run, ...], note: bytes) -> bytes:
    """The call that opens runs: first tried, and then sent."""
    arguments = (consortium, study.solidity(), [run.solidity() for run in runs], note)
    return interface("Ledger").encode("open", *arguments)


def _result(mined: Mined) -> TxResult:
    return TxResult(
        tx=mined.tx,
        block_number=mined.block_number,
        block_hash=mined.block_hash,
        gas_used=mined.gas_used,
        logs=tuple(_decoded(mined.events)),
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


def _decoded(events: Sequence[Event]) -> Iterator[tuple[str, dict[str, Any]]]:
    for one in events:
        for name in ("Ledger", "Consortium", "Factory", "DstackApp"):
            decoded = interface(name).decode_log(list(one.topics), one.data)
            if decoded is not None:
                yield decoded
                break
