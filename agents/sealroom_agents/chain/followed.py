# SPDX-License-Identifier: Apache-2.0
"""What the gate asks of the chain: from memory where a decision needs it, from the nodes for all else.

Whatever ends in a grant or a renewal is in memory (`chain.follower`). The nodes are asked for what explains a
refusal (proposals that are not pinned), for logs of an opening that moved, and for receipts that are to be
anchored.
"""

from __future__ import annotations

from collections.abc import Sequence

from sealroom.model import Opening, Receipt
from sealroom_agents.chain.client import MIN_DEPTH, ChainReader
from sealroom_agents.chain.follower import Follower
from sealroom_agents.chain.run_reads import FoundReceipt
from sealroom_agents.chain.seats import NodeState
from sealroom_agents.facts import ChainView, Halt, LatestView


class FollowedChain:
    """A reader that follows what it is asked about. Thread safe."""

    def __init__(self, reader: ChainReader, follower: Follower, *, asked: ChainReader | None = None) -> None:
        """`asked`: for questions that anybody may ask, so that what they do to nodes counts for nothing else;
        the same reader where there is none."""
        self._reader = reader
        self._asked = asked or reader
        self._follower = follower

    @property
    def finalized_floor(self) -> int:
        """Highest finalized block seen; keep it across restarts."""
        return self._follower.floor

    @property
    def states(self) -> tuple[NodeState, ...]:
        """How each node stands."""
        return self._follower.states

    @property
    def age_s(self) -> float | None:
        """Seconds since enough nodes have answered; `None` before that."""
        return self._follower.age_s

    def close(self) -> None:
        """Follow no more."""
        self._follower.close()

    def finalized_view(self, consortium: str, *, compose_hash: bytes | None = None) -> ChainView:
        """The agreed final view; with the newest proposal of a recipe that is not the pinned one, for which
        the nodes are asked. Raises `ChainError`."""
        view = self._follower.view(consortium.lower())
        if compose_hash is None or _pins(view, compose_hash):
            return view
        return self._reader.finalized_view(consortium, compose_hash=compose_hash)

    def latest_view(self, consortium: str, *, compose_hash: bytes | None = None) -> LatestView:
        """The newest state that most nodes show alike. `best` is there only where the recipe is not the
        pinned one, or not at the newest block: then the nodes are asked. Raises `ChainError`."""
        consortium = consortium.lower()
        latest = self._follower.latest(consortium)
        if compose_hash is None:
            return latest
        view = self._follower.view(consortium)
        if _pins(view, compose_hash) and view.study is not None and latest.active_study == view.study.id:
            return latest
        return self._reader.latest_view(consortium, compose_hash=compose_hash)

    @property
    def trouble(self) -> str | None:
        """Which part of the follower an error has ended of late; `None` when none has."""
        return self._follower.trouble

    def refresh(self, consortium: str) -> bool:
        """Wait for a look at a consortium that begins after this call; whether a quorum has had one."""
        return self._follower.refresh(consortium=consortium.lower())

    def moment(self) -> float:
        """This moment, for `looked_since`."""
        return self._follower.moment()

    def looked_since(self, moment: float, consortium: str) -> bool:
        """Whether a quorum has had a look at a consortium that began after this moment."""
        return self._follower.looked_since(moment, consortium.lower())

    def replaced(self, halt: Halt) -> bool:
        """Whether a reorganisation took the block that showed a revocation."""
        return self._follower.replaced(halt, MIN_DEPTH)

    def commitment(self, consortium: str, run_id: bytes, tag: str = "latest") -> bytes | None:
        """What the ledger keeps of a run at the blocks of a tag, the same at a quorum; `None` while fewer
        nodes have it. Raises `ChainError`."""
        return self._follower.commitment(consortium, run_id, tag)

    def await_booked(self, consortium: str, run_id: bytes, timeout_s: float) -> bytes | None:
        """What a quorum keeps of a run at its newest blocks, waited for. Raises `ChainError`."""
        return self._follower.await_booked(consortium, run_id, timeout_s)

    def block_hashes(self, numbers: Sequence[int]) -> dict[int, bytes]:
        """Hashes of blocks by number, each the same at a quorum of nodes, which are asked. Raises
        `ChainError`."""
        return self._asked.hashes(numbers)

    def booked(self, ledger: str, consortium: str, run_id: bytes, *, at: bytes | None = None) -> bytes | None:
        """What the ledger keeps of any run, as the nodes say. Raises `ChainError`."""
        return self._reader.booked(ledger, consortium, run_id, at=at)

    def opening(
        self, ledger: str, consortium: str, run_id: bytes, kept: bytes, *, from_block: int
    ) -> Opening:
        """The opening of which the ledger keeps this hash, from the nodes' logs. Raises `ChainError`."""
        return self._reader.opening(ledger, consortium, run_id, kept, from_block=from_block)

    def receipt(self, ledger: str, receipt: Receipt, signature: bytes) -> FoundReceipt | None:
        """A receipt and its run, as the ledger verifies them. Raises `ChainError`."""
        return self._reader.receipt(ledger, receipt, signature)


def _pins(view: ChainView, compose_hash: bytes) -> bool:
    return view.study is not None and view.study.compose_hash == compose_hash
