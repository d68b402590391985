# SPDX-License-Identifier: Apache-2.0
"""What an owner asks of datasets before it acts: answers of all nodes, at the block of one view."""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.model import Version
from sealroom_agents.chain.reads import Reads
from sealroom_agents.chain.rpc import Head, Rpc
from sealroom_agents.chain.views import MAX_LISTED, read_datasets, read_versions
from sealroom_agents.facts import ChainView, DatasetRecord

Datasets = tuple[DatasetRecord, ...]


class OwnerReads(Reads):
    """Datasets, registered or not, as a consortium may use them."""

    def datasets_at(self, view: ChainView, ids: Sequence[bytes]) -> Datasets:
        """Datasets in the order of `ids`, the same from every node at the view's block; one that nobody
        registered has no holder. Raises `ChainError`."""
        head = Head(view.block_number, view.block_hash, view.block_time)
        found = self._nodes.ask(lambda rpc: self._pages(rpc, view.consortium, head, ids))
        return self._nodes.agreed(found, f"datasets at block {view.block_number}")[0]

    def versions_at(self, view: ChainView, wanted: Sequence[tuple[bytes, int]]) -> tuple[Version | None, ...]:
        """Versions by dataset and number, the same from every node at the view's block; `None` for one that
        is not registered. Raises `ChainError`."""
        head = Head(view.block_number, view.block_hash, view.block_time)
        found = self._nodes.ask(lambda rpc: read_versions(rpc, view.ledger, head, wanted))
        return self._nodes.agreed(found, f"versions at block {view.block_number}")[0]

    def datasets_newest(self, consortium: str, ids: Sequence[bytes]) -> tuple[Datasets, ...]:
        """The same at the newest block of each node that answers, not compared: grounds to wait, never to go
        on. Raises `ChainError`."""

        def one(rpc: Rpc) -> Datasets:
            head = self._nodes.require_recent(rpc, rpc.head("latest"))
            return self._pages(rpc, consortium, head, ids)

        return tuple(self._nodes.ask(one).values())

    def _pages(self, rpc: Rpc, consortium: str, head: Head, ids: Sequence[bytes]) -> Datasets:
        found: Datasets = ()
        for start in range(0, len(ids), MAX_LISTED):
            found += read_datasets(rpc, self._places, consortium, head, ids[start : start + MAX_LISTED])
        return found
