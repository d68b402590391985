# SPDX-License-Identifier: Apache-2.0
"""What pages and notices show of a consortium, from the first node that answers: no decision rests on it."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.model import Owner, Study
from sealroom_agents.chain.dataset_events import DatasetEvent
from sealroom_agents.chain.events import Histories, recent_dataset_events
from sealroom_agents.chain.history import History
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.reads import Reads
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.chain.views import (
    MAX_LISTED,
    ZERO_ADDRESS,
    read_candidates,
    read_datasets,
    read_offered,
    read_study_datasets,
)
from sealroom_agents.chain.waiting import read_handovers, read_pending
from sealroom_agents.chain.wallets import Claim, confirmed
from sealroom_agents.facts import CandidateRecord, DatasetRecord, Handover, PendingRecord


class PageReads(Reads):
    """Studies, datasets and votes of a consortium, and its history."""

    def __init__(self, nodes: Nodes) -> None:
        super().__init__(nodes)
        self._histories = Histories(self._places)

    def owners(self, consortium: str) -> tuple[Owner, ...]:
        """The owners of a consortium at the latest block of the first node that answers."""
        return tuple(Owner.of_abi(raw) for raw in self._latest_call("Consortium", consortium, "owners"))

    def candidates(self, consortium: str, studies: Sequence[Study]) -> list[CandidateRecord]:
        """Studies with their approvals at the head of the first node that answers, by any proposer.

        In the order given, at most `MAX_CANDIDATES`, without those of which the contract knows nothing.
        """
        consortium = consortium.lower()
        if not studies:
            return []

        def one(rpc: Rpc) -> list[CandidateRecord]:
            return read_candidates(rpc, self._places, consortium, rpc.head("latest"), studies)

        return self._nodes.first(one)

    def proposal(
        self, consortium: str, study: Study
    ) -> tuple[CandidateRecord, tuple[DatasetRecord, ...]] | None:
        """A proposed study with its approvals and its datasets, at the head of the first node that answers;
        `None` where the contract knows nothing of it."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[CandidateRecord, tuple[DatasetRecord, ...]] | None:
            head = rpc.head("latest")
            found = read_candidates(rpc, self._places, consortium, head, [study])
            if not found:
                return None
            return found[0], read_study_datasets(rpc, self._places, consortium, head, study)

        return self._nodes.first(one)

    def offered(self, consortium: str) -> tuple[DatasetRecord, ...]:
        """Datasets that the owners let a consortium use, at the head of the first node that answers."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[DatasetRecord, ...]:
            head = rpc.head("latest")
            ids = read_offered(rpc, self._places, consortium, head)
            found: tuple[DatasetRecord, ...] = ()
            for start in range(0, len(ids), MAX_LISTED):
                page = ids[start : start + MAX_LISTED]
                found += read_datasets(rpc, self._places, consortium, head, page)
            return found

        return self._nodes.first(one)

    def datasets(self, consortium: str, study: Study) -> tuple[DatasetRecord, ...]:
        """Datasets of any study in the versions that it names, at the head of the first node that answers."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[DatasetRecord, ...]:
            return read_study_datasets(rpc, self._places, consortium, rpc.head("latest"), study)

        return self._nodes.first(one)

    def confirmed(self, consortium: str, claims: Sequence[Claim]) -> tuple[bool, ...]:
        """Whether contracts take signatures for their own (EIP-1271), at the head of the first node that
        answers."""
        consortium = consortium.lower()
        return self._nodes.first(lambda rpc: confirmed(rpc, consortium, claims))

    def dataset(self, consortium: str, dataset: bytes) -> DatasetRecord | None:
        """Any dataset as a consortium may use it, in its newest version, at the head of the first node that
        answers; `None` where nobody registered it."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> DatasetRecord | None:
            (found,) = read_datasets(rpc, self._places, consortium, rpc.head("latest"), [dataset])
            return None if found.holder == ZERO_ADDRESS else found

        return self._nodes.first(one)

    def pending(self, consortium: str, proposals: Sequence[bytes]) -> list[PendingRecord]:
        """Votes for rosters, platforms and machines that can still take effect, at the head of the first node
        that answers; of at most `MAX_PENDING` proposals, in the order given."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> list[PendingRecord]:
            return read_pending(rpc, self._places, consortium, rpc.head("latest"), proposals)

        return self._nodes.first(one)

    def handovers(self, consortium: str, datasets: Sequence[bytes]) -> tuple[Handover, ...]:
        """Seats, and those of `datasets`, that are offered to another account, at the head of the first node
        that answers."""
        consortium = consortium.lower()

        def one(rpc: Rpc) -> tuple[Handover, ...]:
            return read_handovers(rpc, self._places, consortium, rpc.head("latest"), datasets)

        return self._nodes.first(one)

    def study_history(self, consortium: str) -> History:
        """Everything that happened to a consortium, oldest first, from the first node that shows it whole.

        Logs are for people to follow: no decision rests on them (CH-29).
        """
        consortium = consortium.lower()
        return self._nodes.first(lambda rpc: self._histories.read(rpc, consortium))

    def study_histories(self, consortium: str) -> tuple[History, ...]:
        """The same from each node that is asked, to be compared: no node alone hides anything."""
        consortium = consortium.lower()
        return tuple(self._nodes.ask(lambda rpc: self._histories.read(rpc, consortium)).values())

    def recent_dataset_history(self, ledger: str, datasets: Sequence[bytes]) -> tuple[DatasetEvent, ...]:
        """What happened to some datasets in the newest 10,000 blocks, oldest first, from the first node's
        logs."""
        return self._nodes.first(lambda rpc: recent_dataset_events(rpc, ledger, datasets))
