# SPDX-License-Identifier: Apache-2.0
"""The chain in memory as tests drive it: a chain with two consortia, nodes that may lie, a clock that is
set."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from tests.local_chain import Dataset, LocalChain, Room, account
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy, as_asked, honest

from sealroom.codes import Code
from sealroom_agents.chain import ChainReader
from sealroom_agents.chain.follower import Follower
from sealroom_agents.errors import ChainError


@dataclass
class Stage:
    """A chain with two consortia, one of them with a live study, and three nodes."""

    chain: LocalChain
    rooms: list[Room]
    nodes: list[RpcProxy]


@contextmanager
def staged() -> Iterator[Stage]:
    """The stage, without anybody who follows it."""
    with LocalChain.start() as chain, ExitStack() as stack:
        chain.keep_own_time()
        rooms = []
        for number in range(2):
            room = chain.create_consortium(["hospital-A", "hospital-B"], threshold=2)
            chain.adopt_platform(
                room, gate_root=b"\x05" * 32, gate_signer=account(10), gate_compose=b"\x06" * 32,
                os_images=[b"\x07" * 32], devices=[b"\x08" * 32],
            )  # fmt: skip
            dataset = Dataset(owner=0, name=f"cohort-{number}")
            chain.register(room, dataset, cap_micro=3_000_000)
            chain.approve(room, chain.draft(room, compose_hash=b"\x09" * 32, datasets=[dataset.id]), 0, 1)
            rooms.append(room)
        chain.finalize()
        yield Stage(chain, rooms, [stack.enter_context(RpcProxy(chain.url)) for _ in range(3)])


@dataclass
class Followed:
    """A follower whose clock a test sets."""

    follower: Follower
    reader: ChainReader
    late_s: float = 0.0
    room: str = field(init=False)

    def caught_up(self) -> None:
        self.follower.refresh(PATIENCE_S, every=True)

    def refused(self) -> Code:
        with pytest.raises(ChainError) as error:
            self.follower.view(self.room)
        return error.value.code

    def kinds(self) -> list[str]:
        """How each node stands after one more look."""
        self.caught_up()
        return [state.kind for state in self.follower.states]

    def readmit(self) -> None:
        """The time for which nodes are left out is over."""
        for seat in self.follower._picture.seats.values():
            seat.breaker._back_at = 0.0


@contextmanager
def following(
    stage: Stage, *, nodes: int = 3, quorum: int = 2, floor: int = 0, safe: bool = False, stands: bool = False
) -> Iterator[Followed]:
    """One that follows it; its nodes are honest to begin with. `stands`: its clock is what the test makes of
    it."""
    for node in stage.nodes:
        node.tamper, node.rewrite, node.down = honest, as_asked, False
    urls = [node.url for node in stage.nodes[:nodes]]
    reader = stage.chain.reader(*urls, quorum=quorum, finalized_floor=floor)

    began = time.monotonic()

    def clock() -> float:
        return (began if stands else time.monotonic()) + followed.late_s

    followed = Followed(reader.follow(safe=safe, clock=clock), reader)
    followed.room = stage.rooms[0].consortium
    try:
        yield followed
    finally:
        followed.follower.close()
        reader.close()
