# SPDX-License-Identifier: Apache-2.0
"""A database again, from the chain and the store of envelopes and recipes.

The chain says which runs were opened and whose receipts are anchored, the envelopes what came out. Whoever
can write to the store can put anything there: an envelope counts only where its enclave signed it, its
consortium is of the factory that was named, its ledger is that consortium's, and the ledger confirms the
receipt. Of one with proofs, the proofs must be whole.

What only the database had does not come back: runs that had not finished, and the events of all runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope import (
    MAX_ENVELOPE_BYTES,
    Envelope,
    parse_envelope,
    result_digest,
    verify_receipt,
    verify_statement,
)
from sealroom.errors import SealroomError
from sealroom.model import Receipt
from sealroom.recipe import parse
from sealroom_agents.chain import BoardRow, FoundReceipt
from sealroom_agents.chain.rpc import Head
from sealroom_agents.errors import ChainError, StoreError
from sealroom_agents.facts import LatestView
from sealroom_agents.store import Store
from sealroom_agents.verification.shown import shown_by

OUTPUT = "out/envelope.json"
"""Where in a run's folder its enclave leaves the envelope."""
ANCHORINGS = ("ReceiptAnchored", "BatchAnchored")
"""Events by which a receipt is on chain."""


class Chain(Protocol):
    """What a rebuild reads of `sealroom_agents.chain.ChainReader`."""

    def board(self, factory: str) -> list[BoardRow]:
        """The consortia of a factory."""

    def latest_view(self, consortium: str, *, whole: bool = False) -> LatestView:
        """Newest state; `best` when `whole`."""

    def newest(self) -> Head:
        """The newest block that the nodes have reached."""

    def hashes(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Hashes of blocks, by number."""

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them."""


@dataclass(frozen=True)
class Finding:
    """What became of one thing in the store."""

    digest: str
    """SHA-256 of its bytes."""
    what: str
    """`done`, `anchoring`, `recipe`, `known`, `damaged`, or `ignored`."""
    detail: str
    """The run, the study, or why it is ignored."""


@dataclass
class _Kept:
    """One run's envelopes, by digest, the true ones and those that anybody put beside them."""

    proven: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    drafts: list[str] = field(default_factory=list)


class Rebuild:
    """One pass over the store. Repeated, it finds all as it is."""

    def __init__(self, store: Store, chain: Chain, *, factory: str) -> None:
        self._store = store
        self._chain = chain
        self._factory = factory
        self._ledgers: dict[str, str] = {}

    def collect(self, state: Path) -> int:
        """Keep the envelopes that finished enclaves left in a runner's state folder; returns how many."""
        count = 0
        for path in sorted(state.glob(f"*/{OUTPUT}")):
            with path.open("rb") as stream:
                data = stream.read(MAX_ENVELOPE_BYTES + 1)
            if len(data) <= MAX_ENVELOPE_BYTES:
                self._store.content.put(data)
                count += 1
        return count

    def run(self) -> Iterator[Finding]:
        """Look at all that is kept, and write down what the chain confirms. Raises `ChainError` when it does
        not answer, `StoreError` when the database or the store does not."""
        known = {row.consortium for row in self._chain.board(self._factory)}
        kept: dict[str, _Kept] = {}
        for digest in self._store.content.digests():
            try:
                data = self._store.content.need(digest)
            except StoreError as error:
                yield Finding(digest, "damaged", error.message)
                continue
            envelope = _envelope(data)
            if envelope is None:
                yield self._recipe(digest, data)
                continue
            receipt = envelope.receipt
            if receipt.consortium not in known:
                yield Finding(
                    digest, "ignored", f"its consortium {receipt.consortium} is not of this factory"
                )
                continue
            one = kept.setdefault(to_hex(receipt.run_id), _Kept())
            if envelope.anchor is None:
                one.drafts.append(digest)
            elif envelope.anchor.proofs:
                one.proven.append(digest)
            else:
                one.published.append(digest)
        yield from self._runs(kept)

    def _runs(self, kept: Mapping[str, _Kept]) -> Iterator[Finding]:
        for run, one in kept.items():
            for digest in (*one.proven, *one.published, *one.drafts):
                finding = self._one(run, digest)
                yield finding
                if finding.what != "ignored":
                    break

    def _one(self, run: str, digest: str) -> Finding:
        envelope = parse_envelope(self._store.content.need(digest))
        receipt, ledger = envelope.receipt, envelope.grant.ledger
        try:
            verify_statement(envelope)
            verify_receipt(envelope)
            if result_digest(envelope.result) != receipt.result_digest:
                return Finding(digest, "ignored", "its receipt is of another result")
            if self._ledger(receipt.consortium) != ledger:
                return Finding(digest, "ignored", "its ledger is not the consortium's")
            found = self._chain.receipt(ledger, receipt, envelope.receipt_signature)
            broken = None if found is None else self._broken_proofs(envelope)
        except ChainError:
            raise
        except SealroomError as error:
            return Finding(digest, "ignored", error.message)
        if broken is not None:
            return Finding(digest, "ignored", broken)
        if found is None:
            return Finding(digest, "ignored", f"the ledger never opened run {run}")
        if found.opening.run.enclave_signer != envelope.grant.enclave_signer:
            return Finding(digest, "ignored", f"the ledger opened run {run} for another enclave")
        place = {"compose_hash": to_hex(receipt.compose_hash), "consortium": receipt.consortium}
        self._store.add_recipe(place["compose_hash"], envelope.recipe)
        if envelope.anchor is None:
            if found.anchoring is not None and not found.verdict.anchored:
                return Finding(digest, "ignored", f"another receipt of run {run} is anchored")
            new = self._store.recover_draft(run, **place, draft=digest, anchored=found.verdict.anchored)
            return Finding(digest, "anchoring" if new else "known", run)
        if found.anchoring is None or not found.verdict.anchored:
            return Finding(digest, "ignored", f"the receipt of run {run} is not on chain")
        if envelope.anchor.sequence != found.anchoring.sequence:
            return Finding(digest, "ignored", f"the receipt of run {run} stands elsewhere on chain")
        new = self._store.recover_done(run, **place, envelope=digest)
        return Finding(digest, "done" if new else "known", run)

    def _broken_proofs(self, envelope: Envelope) -> str | None:
        """Why the proofs of an envelope prove nothing, or `None`; also where it carries none."""
        if envelope.anchor is None or not envelope.anchor.proofs:
            return None
        shown = shown_by(envelope, envelope.anchor)
        newest = self._chain.newest().number
        if any(number > newest for number in shown.headers):
            return "its proofs are of blocks that the chain has not reached"
        known = self._chain.hashes(sorted(shown.headers))
        if any(known[number] != header.hash for number, header in shown.headers.items()):
            return "its proofs are of blocks of another chain"
        if not shown.of("RunOpened") or not any(map(shown.of, ANCHORINGS)):
            return "its proofs do not show that the run was opened and its receipt anchored"
        return None

    def _recipe(self, digest: str, data: bytes) -> Finding:
        try:
            recipe = parse(data)
        except SealroomError:
            return Finding(digest, "ignored", "neither an envelope nor a recipe")
        new = self._store.add_recipe(digest, data)
        return Finding(digest, "recipe" if new else "known", recipe.name)

    def _ledger(self, consortium: str) -> str:
        if consortium not in self._ledgers:
            view = self._chain.latest_view(consortium, whole=True).best
            if view is None:
                raise ChainError(Code.CHAIN_UNREACHABLE, "the node gave no whole view")
            self._ledgers[consortium] = view.ledger
        return self._ledgers[consortium]


def _envelope(data: bytes) -> Envelope | None:
    try:
        return parse_envelope(data)
    except SealroomError:
        return None
