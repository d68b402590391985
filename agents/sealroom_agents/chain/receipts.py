# SPDX-License-Identifier: Apache-2.0
"""A run's opening and where its receipt is anchored, found through logs and compared with the ledger's state.

The ledger keeps hashes only. What they are the hashes of stands in its events, and for a batch in the
transaction that anchored it; `Ledger.verify` says whether what was found is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sealroom.model import Opening
from sealroom.receipt_tree import path
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import MAX_RANGES, Log, LogPosition, address_topic, backward, forward, topics
from sealroom_agents.chain.rpc import Rpc


@dataclass(frozen=True)
class Anchoring:
    """Where a receipt is anchored, and what proves it."""

    tx: str
    """Transaction, `0x` + 64 hex digits."""
    block: int
    """Its block."""
    sequence: int
    """Position among the consortium's receipts, from 1."""
    batch: int = 0
    """Number of its batch; 0 if it was anchored alone."""
    path: tuple[bytes, ...] = ()
    """Siblings from its leaf up to the batch's root."""

    def proof(self, signature: bytes) -> tuple[Any, ...]:
        """`ILedger.Proof`, as an ABI encoder takes it; `signature` is the enclave's, over the receipt."""
        return (self.sequence, self.block, self.batch, signature, list(self.path))


NOT_ANCHORED = Anchoring(tx="", block=0, sequence=0)
"""What to hand to `Ledger.verify` for a receipt that was not found."""


def find_opening(
    rpc: Rpc, ledger: str, *, consortium: str | None, run_id: bytes, from_block: int | None = None
) -> Opening | None:
    """What one node's log says of a run's opening, not compared with anything; `None` without such a log.

    Searched from `from_block` on, or from the newest block back; with `consortium` None, whoever opened it.
    """
    query = {"address": ledger, "topics": _about(("RunOpened",), consortium, run_id)}
    if from_block is None:
        found: Iterator[Log] = backward(rpc, query, rpc.head("latest").number)
    else:
        found = _forward(rpc, query, from_block)
    for log in found:
        fields = _decoded("RunOpened", log)
        if fields is not None:
            return Opening.of_abi(fields["opening"])
    return None


def find_anchoring(rpc: Rpc, ledger: str, opening: Opening) -> Anchoring | None:
    """Where one node's logs say that the receipt of a run stands, alone or in a batch.

    Not compared with anything: `Ledger.verify` says whether it is there, and whether
    it is the receipt that is meant.
    """
    query = {
        "address": ledger,
        "topics": _about(("ReceiptAnchored", "BatchAnchored"), opening.run.consortium),
    }
    for log in _forward(rpc, query, opening.opened_block):
        if (alone := _decoded("ReceiptAnchored", log)) is not None:
            if bytes(alone["runId"]) == opening.run.run_id:
                return Anchoring(tx=log.where.tx, block=log.where.block, sequence=alone["sequence"])
        elif (batch := _decoded("BatchAnchored", log)) is not None:
            found = _in_batch(rpc, log.where, batch, opening.number)
            if found is not None:
                return found
    return None


def _in_batch(rpc: Rpc, where: LogPosition, batch: dict[str, Any], number: int) -> Anchoring | None:
    """The numbers and digests of a batch stand in its transaction; the path is made anew from them."""
    transaction = rpc.request("eth_getTransactionByHash", [where.tx])
    if not isinstance(transaction, dict):
        raise rpc.malformed("a malformed transaction")
    arguments = interface("Ledger").decode_call("anchorBatch", rpc.data(transaction.get("input")))
    if arguments is None:
        return None  # the gate's signer is a contract that made the call; its transaction says less
    numbers, digests = list(arguments["numbers"]), [bytes(one) for one in arguments["receipts"]]
    if number not in numbers or len(digests) != len(numbers):
        return None
    at = numbers.index(number)
    return Anchoring(
        tx=where.tx,
        block=where.block,
        sequence=batch["first"] + at,
        batch=batch["batch"],
        path=tuple(path(batch["first"], numbers, digests, at)),
    )


def _about(events: tuple[str, ...], consortium: str | None, *more: bytes) -> list[Any]:
    """A topic filter for any of these events about a consortium, or about any."""
    names = topics(*(interface("Ledger").topic(event) for event in events))
    return [names, *topics(None if consortium is None else address_topic(consortium), *more)]


def _forward(rpc: Rpc, query: dict[str, Any], from_block: int) -> Iterator[Log]:
    """Oldest first, up to the newest block, at most `MAX_RANGES` ranges."""
    newest = rpc.head("latest").number
    for found in islice(forward(rpc, query, from_block, newest), MAX_RANGES):
        yield from found


def _decoded(event: str, log: Log) -> dict[str, Any] | None:
    decoded = interface("Ledger").decode_log(log.topics, log.data)
    return decoded[1] if decoded is not None and decoded[0] == event else None
