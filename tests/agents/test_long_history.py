# SPDX-License-Identifier: Apache-2.0
"""A consortium with more events than anybody reads: an owner makes them at will, and hides nothing by it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.gate_world import Enclave, World, gate_world, granted
from tests.local_chain import LocalChain, Room, account
from tests.rpc_proxy import RpcProxy

from sealroom_agents.chain.contents import find_pin
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.logs import MAX_WALK
from sealroom_agents.chain.owner_events import SeatOffer
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.notices import HISTORY_CUT, standing_notices
from sealroom_agents.store import Store
from sealroom_agents.watcher.lookout import Lookout

pytestmark = pytest.mark.anvil

NOISE = 5000
"""Events of one owner."""
BLOCKS = 4200
"""Blocks that have them: more than a walk goes back."""
TAGS = ("latest", "finalized", "safe")
"""Blocks that a gate asks for as long as it runs."""


@dataclass
class Noisy:
    """A room whose study lives, and whose third owner has made `NOISE` events since."""

    world: World
    asked: list[str]
    proxy: RpcProxy


def make_noise(chain: LocalChain, room: Room) -> None:
    """`NOISE` offers of one seat, in `BLOCKS` blocks."""
    chain.rpc("evm_setAutomine", False)
    try:
        for number in range(NOISE):
            data = interface("Consortium").encode("offerSeat", f"0x{0xBAD000 + number:040x}")
            call = {"from": account(2), "to": room.consortium, "gas": hex(200_000), "data": "0x" + data.hex()}
            chain.rpc("eth_sendTransaction", call)
            if number >= NOISE - BLOCKS:
                chain.rpc("evm_mine")
    finally:
        chain.rpc("evm_setAutomine", True)


@pytest.fixture(scope="module")
def noisy(
    gate_chain: LocalChain, gate_socket: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Noisy]:
    state = tmp_path_factory.mktemp("noisy") / "state"
    with gate_world(gate_chain, socket=gate_socket, state=state) as world:
        world.approve(0, 1)
        chain = world.chain
        assert BLOCKS > MAX_WALK
        make_noise(chain, world.room)
        chain.finalize()
        with RpcProxy(chain.url) as proxy:
            asked: list[str] = []

            def note(method: str, params: list[object]) -> bool:
                if not (method == "eth_getBlockByNumber" and params[0] in TAGS):
                    asked.append(method)
                return False

            proxy.refuses = note
            yield Noisy(world, asked, proxy)
            world.stop_gate()


def test_the_gate_restarts_and_serves_behind_any_number_of_events(noisy: Noisy) -> None:
    """CH-29: the pin is found by its time, with few questions."""
    world = noisy.world
    world.rpc_urls = [noisy.proxy.url]
    noisy.asked.clear()
    world.start_gate()
    enclave = Enclave(world, epsilon_micro=1, delta_pico=1)
    granted(enclave.ask())
    assert enclave.renew(1).status_code == 200
    assert noisy.asked.count("eth_getLogs") < 50
    assert noisy.asked.count("eth_getBlockByNumber") < 200
    world.stop_gate()


def test_a_recipe_that_nobody_proposed_is_refused_with_few_questions(noisy: Noisy) -> None:
    world = noisy.world
    reader = world.chain.reader(noisy.proxy.url)
    noisy.asked.clear()
    view = reader.finalized_view(world.room.consortium, compose_hash=b"\x66" * 32)
    assert view.candidate is None and view.unsearched == 0, "beyond the walk, its topic is searched for"
    assert noisy.asked.count("eth_getLogs") < 50
    reader.close()


def test_a_history_that_is_cut_says_so_and_has_the_last_pin(noisy: Noisy, tmp_path: Path) -> None:
    """The notice is what console and watcher show; the approvals are what an envelope lists."""
    world = noisy.world
    reader = world.chain.reader(noisy.proxy.url)
    noisy.asked.clear()
    history = reader.study_history(world.room.consortium)
    assert len(noisy.asked) < 100
    assert not history.complete and history.unread > 0
    assert len(history.of(SeatOffer)) == MAX_WALK
    assert {approval.owner for approval in history.approvals_of(world.study)} == {account(0), account(1)}
    assert reader.study_history(world.room.consortium) == history, "and stays so when it is read on"
    view = reader.finalized_view(world.room.consortium)
    notices = standing_notices(view, history, handovers=(), pending=(), datasets=())
    assert [notice.kind for notice in notices] == [HISTORY_CUT]

    store = Store(f"sqlite:///{tmp_path / 'watched.db'}")
    lookout = Lookout(reader, store, lambda: (world.room.consortium,))
    assert HISTORY_CUT in [notice.kind for notice in lookout.look()]
    assert HISTORY_CUT not in [notice.kind for notice in lookout.look()], "it is told once"
    reader.close()


def test_words_of_a_revocation_and_a_pin_are_found_by_their_time(noisy: Noisy) -> None:
    """A pin in any block: what its time leads to is the very event."""
    chain, room = noisy.world.chain, noisy.world.room
    rpc = Rpc(chain.url)
    event = find_pin(rpc, room.consortium, chain.state(room))
    assert event is not None and bytes(event.fields["study"]) == noisy.world.study
    rpc.close()
