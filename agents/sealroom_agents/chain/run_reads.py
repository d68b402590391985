# SPDX-License-Identifier: Apache-2.0
"""Runs and receipts: what the ledger keeps of them, compared between nodes; logs only say where to look."""

from __future__ import annotations

from dataclasses import dataclass

from sealroom import typed
from sealroom.codes import Code
from sealroom.model import Opening, Receipt, Verdict
from sealroom_agents.chain import receipts
from sealroom_agents.chain.reads import Reads, at_head
from sealroom_agents.chain.receipts import NOT_ANCHORED, Anchoring
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.views import ZERO_HASH
from sealroom_agents.errors import ChainError


@dataclass(frozen=True)
class FoundReceipt:
    """What the chain has about one receipt."""

    opening: Opening
    """The run's opening, as the log says; true if `verdict.opened`."""
    anchoring: Anchoring | None
    """Where the logs say that the receipt stands; true if `verdict.anchored`."""
    verdict: Verdict
    """What `Ledger.verify` says of both, the same from every node."""


class RunReads(Reads):
    """What the ledger knows of runs."""

    def booked(self, ledger: str, consortium: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of an opened run, at the heads of a quorum; `None` while fewer nodes have it.

        With `at`, the hash of a block, at that block instead. The node that sent a transaction
        could invent its receipt, so a caller that opened a run compares this with the hash of its
        opening. Raises `ChainError` (CH-03).
        """
        found = self._everywhere(ledger, "commitment", consortium, run_id, at=at)
        booked = {rpc: bytes(kept) for rpc, kept in found.items() if kept != ZERO_HASH}
        if not self._nodes.sufficient(booked):
            return None
        return self._nodes.agreed(booked, "a booked run")[0]

    def opening(
        self, ledger: str, consortium: str, run_id: bytes, kept: bytes, *, from_block: int | None = None
    ) -> Opening:
        """The opening of which the ledger keeps the hash `kept`, from the first node whose log has it.

        from_block: a block before it, as a rule not long before. Raises `ChainError` `chain-unreachable` when
        no node has a log that fits.
        """

        def look(rpc: Rpc) -> Opening:
            found = receipts.find_opening(
                rpc, ledger, consortium=consortium, run_id=run_id, from_block=from_block
            )
            if found is None or typed.opening_hash(found[0]) != kept:
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
            return found[0]

        return self._nodes.first(look)

    def receipt(
        self, ledger: str, receipt: Receipt, signature: bytes, *, from_block: int | None = None
    ) -> FoundReceipt | None:
        """What the chain has about a receipt that the enclave signed; `None` if its run was never opened.

        Logs say where to look, from `from_block` on and then from the newest back, and `Ledger.verify` at
        the head of every node says whether it is so. Raises `ChainError`: `chain-unreachable` when a node
        has no log of what its ledger has, `chain-disagrees` when the log is false.
        """
        consortium, run_id = receipt.consortium, receipt.run_id

        def look(rpc: Rpc) -> tuple[Opening, Anchoring | None] | None:
            if at_head(rpc, "Ledger", ledger, "commitment", consortium, run_id) == ZERO_HASH:
                return None
            opened = receipts.find_opening(
                rpc, ledger, consortium=consortium, run_id=run_id, from_block=from_block
            )
            if opened is None:
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's opening")
            opening, block = opened
            found = receipts.find_anchoring(rpc, ledger, opening, from_block=block)
            if found is None and at_head(rpc, "Ledger", ledger, "isAnchored", consortium, opening.number):
                raise ChainError(Code.CHAIN_UNREACHABLE, f"{rpc.shown_url} has no log of the run's receipt")
            return opening, found

        found = self._nodes.first(look)
        if found is None:
            return None
        opening, anchoring = found
        verdict = self.verdict(ledger, receipt, signature, opening, anchoring)
        if not verdict.opened and (anchoring is None or anchoring.batch):
            # Nothing but the opening goes into what the ledger keeps of such a run.
            raise ChainError(
                Code.CHAIN_DISAGREES, "the log of the run's opening is not what the ledger opened"
            )
        return FoundReceipt(opening=opening, anchoring=anchoring, verdict=verdict)

    def verdict(
        self, ledger: str, receipt: Receipt, signature: bytes, opening: Opening, anchoring: Anchoring | None
    ) -> Verdict:
        """What `Ledger.verify` says at the head of every node of a run that was opened and anchored so.
        Raises `ChainError` where they disagree."""
        proof = (anchoring or NOT_ANCHORED).proof(signature)
        arguments = (receipt.solidity(), opening.solidity(), proof)
        verdicts = self._everywhere(ledger, "verify", *arguments)
        agreed, _ = self._nodes.agreed(verdicts, f"run 0x{receipt.run_id.hex()}")
        return Verdict.of_abi(agreed)
