# SPDX-License-Identifier: Apache-2.0
"""A run's opening and where its receipt is anchored, found through logs and compared with the ledger's state.

The ledger keeps hashes only. What they are the hashes of stands in its events, and for a batch in the
transaction that anchored it; `Ledger.verify` says whether what was found is true.

A run is opened soon after its grant, and its receipt anchored soon after that. So where the grant's block is
known, its blocks are asked for first. What is not there is found by walking back from the last event of the
consortium's runs, as far as `MAX_WALK`; what would lie beyond is an error, never taken for missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.model import Books, Opening
from sealroom.receipt_tree import path
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import (
    MAX_WALK,
    Happening,
    Walk,
    address_topic,
    decoded,
    forward,
    topics,
    walk,
)
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import ChainError

NEAR_RANGES = 4
"""Ranges of blocks after a grant in which its run's events are looked for first."""


@dataclass(frozen=True)
class Anchoring:
    """Where a receipt is anchored, and what proves it."""

    tx: str
    """Transaction, `0x` + 64 hex digits."""
    block: int
    """Its block."""
    sequence: int
    """Position among the consortium's receipts, from 1."""
    anchored_at: int = 0
    """Time of that block, unix seconds; 0 where nobody asked for it."""
    batch: int = 0
    """Number of its batch; 0 if it was anchored alone."""
    path: tuple[bytes, ...] = ()
    """Siblings from its leaf up to the batch's root."""

    def proof(self, signature: bytes) -> tuple[Any, ...]:
        """`ILedger.Proof`, as an ABI encoder takes it; `signature` is the enclave's, over the receipt."""
        return (self.sequence, self.anchored_at, self.batch, signature, list(self.path))


NOT_ANCHORED = Anchoring(tx="", block=0, sequence=0)
"""What to hand to `Ledger.verify` for a receipt that was not found."""


def find_opening(
    rpc: Rpc, ledger: str, *, consortium: str, run_id: bytes, from_block: int | None = None
) -> tuple[Opening, int] | None:
    """What one node's log says of a run's opening, and the block of the log; `None` without such a log.

    Not compared with anything. from_block: a block before it, as a rule not long before.
    """
    event = opening_event(rpc, ledger, consortium=consortium, run_id=run_id, from_block=from_block)
    if event is None:
        return None
    try:
        return Opening.of_abi(event.fields["opening"]), event.where.block
    except FormatError:
        return None


def opening_event(
    rpc: Rpc, ledger: str, *, consortium: str, run_id: bytes, from_block: int | None = None
) -> Happening | None:
    """The event of a run's opening in one node's log, not compared with anything, or `None`."""
    names = ("RunOpened",)
    for event in _events(rpc, ledger, consortium, names, from_block=from_block, run_id=run_id):
        if event.fields["runId"] == run_id:
            return event
    return None


def find_anchoring(rpc: Rpc, ledger: str, opening: Opening, *, from_block: int) -> Anchoring | None:
    """Where one node's logs say that the receipt of a run stands, alone or in a batch.

    Not compared with anything: `Ledger.verify` says whether it is there, and whether it is the receipt that
    is meant. from_block: that of the opening.
    """
    names = ("ReceiptAnchored", "BatchAnchored")
    for event in _events(rpc, ledger, opening.consortium, names, from_block=from_block):
        if event.name == "BatchAnchored":
            found = _in_batch(rpc, event, opening.number)
            if found is not None:
                return found
        elif event.fields["runId"] == opening.run.run_id:
            where = event.where
            return Anchoring(
                tx=where.tx,
                block=where.block,
                anchored_at=rpc.head(where.block).timestamp,
                sequence=event.fields["sequence"],
            )
    return None


def _in_batch(rpc: Rpc, event: Happening, number: int) -> Anchoring | None:
    """The numbers and digests of a batch stand in its transaction; the path is made anew from them."""
    where, batch = event.where, event.fields
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
        anchored_at=rpc.head(where.block).timestamp,
        sequence=batch["first"] + at,
        batch=batch["batch"],
        path=tuple(path(batch["first"], numbers, digests, at)),
    )


def _events(
    rpc: Rpc,
    ledger: str,
    consortium: str,
    names: Sequence[str],
    *,
    from_block: int | None,
    run_id: bytes | None = None,
) -> Iterator[Happening]:
    """Events of these names about a consortium: near `from_block`, then walked back from the newest."""
    if from_block is not None:
        wanted: list[Any] = [topics(*(interface("Ledger").topic(name) for name in names))]
        wanted += topics(address_topic(consortium), *(() if run_id is None else (run_id,)))
        query = {"address": ledger, "topics": wanted}
        newest = rpc.head("latest").number
        near = forward(rpc, query, from_block, newest, most=NEAR_RANGES)
        yield from (event for part in near for event in decoded("Ledger", part))
    runs = _runs_walk(rpc, ledger, consortium)
    for happened in runs:
        yield from (event for event in reversed(happened) if event.name in names)
        if from_block is not None and happened[0].where.block < from_block:
            return
    if runs.unread:
        raise ChainError(
            Code.CHAIN_UNREACHABLE,
            f"runs of {consortium} in block {runs.unread} and before were not looked through: "
            f"more than {MAX_WALK} later blocks have runs",
        )


def _runs_walk(rpc: Rpc, ledger: str, consortium: str) -> Walk:
    """What happened to a consortium's runs, walked back from the newest block of one node."""
    contract = interface("Ledger")
    call = contract.encode("books", consortium)
    books = Books.of_abi(contract.decode("books", rpc.call_latest(ledger, call)))
    return walk(rpc, "Ledger", runs_query(ledger, consortium), books.last_block)


def runs_query(ledger: str, consortium: str) -> dict[str, Any]:
    """What all events of a consortium's runs match."""
    return {"address": ledger, "topics": topics(None, address_topic(consortium))}
