# SPDX-License-Identifier: Apache-2.0
"""What the console reads of the chain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sealroom.model import Owner, Receipt, Study
from sealroom_agents.chain import BoardRow, FoundReceipt, History
from sealroom_agents.chain.dataset_events import (
    DatasetEvent,
)
from sealroom_agents.facts import (
    CandidateRecord,
    ChainView,
    DatasetRecord,
    Handover,
    LatestView,
    PendingRecord,
)


class Chain(Protocol):
    """What the console reads of `sealroom_agents.chain.ChainReader`."""

    def chain_id(self) -> int:
        """Chain id."""

    def board(self, factory: str) -> list[BoardRow]:
        """All consortia of a factory, one row each."""

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """Owners."""

    def latest_view(
        self, consortium: str, *, compose_hash: bytes | None = None, whole: bool = False
    ) -> LatestView:
        """Newest state."""

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """State at the newest finalized block."""

    def candidates(self, consortium: str, studies: Sequence[Study]) -> list[CandidateRecord]:
        """Proposed studies with their approvals."""

    def datasets(self, consortium: str, study: Study) -> tuple[DatasetRecord, ...]:
        """Datasets of any study in the versions that it names."""

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that owners let the consortium use."""

    def handovers(self, consortium: str, datasets: Sequence[bytes]) -> tuple[Handover, ...]:
        """Seats, and these datasets, that are offered to another account."""

    def pending(self, consortium: str, proposals: Sequence[bytes]) -> list[PendingRecord]:
        """Votes for rosters, platforms and machines."""

    def study_history(self, consortium: str) -> History:
        """Logs."""

    def recent_dataset_history(self, ledger: str, datasets: Sequence[bytes]) -> tuple[DatasetEvent, ...]:
        """Logs of datasets, of the newest blocks."""

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """What the chain has about a receipt."""
