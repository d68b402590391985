# SPDX-License-Identifier: Apache-2.0
"""What the console asks of nodes: what a new run lacks, and what the index does not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sealroom.model import Owner, Receipt, Study
from sealroom_agents.chain import FoundReceipt
from sealroom_agents.chain.wallets import Claim
from sealroom_agents.facts import CandidateRecord, ChainView, DatasetRecord, LatestView


class Chain(Protocol):
    """What the console asks of `sealroom_agents.chain.ChainReader`."""

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """Owners."""

    def latest_view(
        self, consortium: str, *, compose_hash: bytes | None = None, whole: bool = False
    ) -> LatestView:
        """Newest state."""

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """State at the newest finalized block."""

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that owners let the consortium use."""

    def dataset(self, consortium: str, dataset: bytes) -> DatasetRecord | None:
        """Any dataset, in its newest version."""

    def proposal(
        self, consortium: str, study: Study
    ) -> tuple[CandidateRecord, tuple[DatasetRecord, ...]] | None:
        """A proposed study with its approvals and its datasets."""

    def confirmed(self, consortium: str, claims: Sequence[Claim]) -> tuple[bool, ...]:
        """Whether contracts take signatures for their own."""

    def receipt(
        self, ledger: str, receipt: Receipt, signature: bytes, *, from_block: int | None = None
    ) -> FoundReceipt | None:
        """What the chain has about a receipt."""
