# SPDX-License-Identifier: Apache-2.0
"""The newest state through 3 and 5 nodes of which one or two lie in every way: never a false fact, and an
answer as soon as a majority is honest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.local_chain import Dataset, LocalChain, Room, account
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy, as_asked, honest

from sealroom.model import State
from sealroom_agents.chain.contracts import interface
from sealroom_agents.chain.newest import CONFIRM_S, VOID_S, NewestStates, Settled
from sealroom_agents.chain.nodes import Nodes
from sealroom_agents.chain.views import Places
from sealroom_agents.errors import CHAIN_CODES, ChainError

pytestmark = [pytest.mark.anvil, pytest.mark.usefixtures("every_node_is_heard")]

STATE = "0x" + interface("Lens").encode("state", "0x" + 40 * "0")[:4].hex()
OTHER = b"\x66" * 32
STRANGER = "0x" + "0bad" * 10
SILENT_S = 0.4
"""Seconds for which a silent node holds each connection before it hangs up; it is tried three times. A
deadline for all nodes would take an honest one, on a busy machine, for a silent one."""
SLOW_S = 0.2
HISTORY = 3
"""Blocks for which a node can be behind here."""


@dataclass
class Rooms:
    """A chain with a consortium whose study lives, and one whose study was revoked in the newest blocks."""

    chain: LocalChain
    live: Room
    revoked: Room
    proxies: list[RpcProxy]


@pytest.fixture(scope="module")
def rooms() -> Iterator[Rooms]:
    with LocalChain.start() as chain, ExitStack() as stack:
        chain.keep_own_time()  # else the block before the newest one is stale on a busy machine
        made = []
        for _ in range(2):
            room = chain.create_consortium(["hospital-A", "hospital-B", "hospital-C"], threshold=2)
            chain.adopt_platform(
                room,
                gate_root=b"\x05" * 32,
                gate_signer=account(10),
                gate_compose=b"\x06" * 32,
                os_images=[b"\x07" * 32],
                devices=[b"\x08" * 32],
            )
            dataset = Dataset(owner=0, name=f"cohort-{len(made)}")
            chain.register(room, dataset, cap_micro=3_000_000)
            study = chain.draft(room, compose_hash=b"\x09" * 32, datasets=[dataset.id])
            chain.approve(room, study, 0, 1)
            made.append(room)
        chain.finalize()
        chain.mine(2)
        chain.revoke(made[1], 0)
        yield Rooms(chain, *made, [stack.enter_context(RpcProxy(chain.url)) for _ in range(5)])


@dataclass
class Clock:
    """Seconds that a test lets pass."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


# --- lies -----------------------------------------------------------------------------------------


@dataclass
class Liar:
    """What one node answers."""

    chain: LocalChain
    number: int
    kind: str
    hash: str = field(init=False)
    """Of the block that it makes up."""

    def __post_init__(self) -> None:
        self.hash = f"0x{0xBAD000 + self.number:064x}"

    @property
    def ahead(self) -> int | None:
        """How many blocks that nobody else has it shows; `None` for the real ones."""
        return {"newer": 1, "invented": 400, "fork": 0}.get(self.kind)

    def apply(self, proxy: RpcProxy) -> None:
        proxy.tamper, proxy.rewrite, proxy.down = self.tamper, self.rewrite, self.kind == "down"
        proxy.hangs_up_after = lambda method: self.kind == "silent"

    def rewrite(self, method: str, params: list[Any]) -> list[Any]:
        if method == "eth_call" and params[1].get("blockHash") == self.hash:
            newest = self.chain.rpc("eth_getBlockByNumber", "latest", False)
            return [params[0], {**params[1], "blockHash": newest["hash"]}]
        if method == "eth_getBlockByNumber" and params[0] == "latest" and self.kind == "older":
            return [hex(self.chain.block_number() - HISTORY), False]
        return params

    def tamper(self, method: str, params: list[Any], result: Any) -> Any:
        if self.kind == "silent":
            time.sleep(SILENT_S)
        if self.kind == "slow":
            time.sleep(SLOW_S)
        if self.kind == "garbage":
            return {"what": 0x66}
        if method == "eth_getBlockByNumber" and params[0] == "latest" and self.ahead is not None:
            return {**result, "number": hex(int(result["number"], 16) + self.ahead), "hash": self.hash}
        if method == "eth_call" and params[0]["data"].startswith(STATE):
            made_up = params[1].get("blockHash") == self.hash
            return self.told(result) if made_up or self.ahead is None else result
        return result

    def told(self, result: str) -> str:
        """The state that it tells of."""
        state = State.of_abi(interface("Lens").decode("state", bytes.fromhex(result[2:])))
        changes: dict[str, Any] = {
            "study": {"study": OTHER},
            "standing": {"standing": OTHER},
            "steps": {"steps": state.steps + 1, "standing": OTHER},
            "revoked": {"steps": state.steps + 1, "standing": OTHER, "revokers": (STRANGER,)},
            "unrevoked": {"revokers": ()},
            "newer": {"study": OTHER},
            "fork": {"standing": OTHER},
            "invented": {"revokers": (STRANGER,), "standing": OTHER},
        }.get(self.kind, {})
        told = replace(state, **changes)
        return "0x" + abi_encode([State.abi_type()], [told.solidity()]).hex()


KINDS = (
    "older", "newer", "invented", "fork", "study", "standing", "steps", "revoked", "unrevoked",
    "silent", "slow", "garbage", "down",
)  # fmt: skip


@dataclass
class Scene:
    """Nodes of which the first tell the truth and the last lie."""

    rooms: Rooms
    room: Room
    states: NewestStates
    nodes: Nodes
    clock: Clock

    def look(self) -> Settled | None:
        """What is settled; `None` where the chain cannot be read now, which passes."""
        try:
            found = self.states.one(self.room.consortium)
        except ChainError as error:
            assert error.code in CHAIN_CODES and error.code.transient
            return None
        state = self.rooms.chain.state(self.room)
        told = found.state.standing, found.state.study, found.state.revokers, found.state.steps
        assert told == (state.standing, state.study, state.revokers, state.steps), "a lie was believed"
        assert found.latest.active_study == (None if state.revokers else state.study)
        return found


def staged(rooms: Rooms, room: Room, count: int, quorum: int, kinds: tuple[str, ...]) -> Scene:
    tell_the_truth(rooms)
    for number, proxy in enumerate(rooms.proxies):
        if number >= count - len(kinds) and number < count:
            Liar(rooms.chain, number, kinds[count - 1 - number]).apply(proxy)
    nodes = Nodes(
        [proxy.url for proxy in rooms.proxies[:count]],
        timeout_s=PATIENCE_S,
        quorum=quorum,
        expected_chain_id=None,
        private_chain=None,
        finalized_floor=0,
        clock=rooms.chain.head_time,
    )
    clock = Clock()
    return Scene(rooms, room, NewestStates(nodes, Places(), clock=clock), nodes, clock)


def tell_the_truth(rooms: Rooms) -> None:
    """From here on, all nodes are honest."""
    for proxy in rooms.proxies:
        proxy.tamper, proxy.rewrite, proxy.down = honest, as_asked, False
        proxy.hangs_up_after = lambda method: False


MIXES = [(3, 2, 1), (3, 3, 1), (3, 3, 2), (5, 3, 1), (5, 3, 2), (5, 5, 1), (5, 5, 2)]
"""Nodes, quorum and liars."""


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    mix=st.sampled_from(MIXES),
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    revoked=st.booleans(),
)
@example(mix=(5, 3, 2), kinds=("study", "study"), revoked=False)
@example(mix=(5, 3, 2), kinds=("invented", "newer"), revoked=False)
@example(mix=(5, 3, 2), kinds=("older", "unrevoked"), revoked=True)
def test_no_mix_of_lies_is_believed_and_none_stops_for_good(
    rooms: Rooms, mix: tuple[int, int, int], kinds: tuple[str, str], revoked: bool
) -> None:
    """CH-02, CH-03."""
    count, quorum, liars = mix
    scene = staged(rooms, rooms.revoked if revoked else rooms.live, count, quorum, kinds[:liars])
    try:
        scene.look()
        scene.clock.now += CONFIRM_S + 0.1
        scene.look()
        if count - liars >= quorum:
            assert scene.look() is not None, "the honest are enough"
            scene.clock.now += 1.0
            assert scene.look() is not None, "and stay so"
        tell_the_truth(rooms)
        until(scene.look)  # what was late or broken is asked again
    finally:
        scene.nodes.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "quorum"), [(3, 2), (5, 3)])
def test_one_liar_of_each_kind_is_overruled(rooms: Rooms, kind: str, count: int, quorum: int) -> None:
    """CH-02, CH-03: at once where it lies about a block that the others have; within `CONFIRM_S` where it
    makes one up."""
    scene = staged(rooms, rooms.live, count, quorum, (kind,))
    alone = kind in ("newer", "invented", "fork")
    try:
        assert (scene.look() is None) == alone
        scene.clock.now += CONFIRM_S
        assert scene.look() is not None
        scene.clock.now += VOID_S / 2
        assert scene.look() is not None, "it has no second try"
    finally:
        scene.nodes.close()


def test_who_is_the_first_to_see_a_revocation_stops_until_the_others_see_it(rooms: Rooms) -> None:
    """CH-02: nothing is read meanwhile, and then all of it is settled; no trust is lost."""
    scene = staged(rooms, rooms.live, 3, 2, ())
    snapshot = rooms.chain.snapshot()
    before = rooms.chain.rpc("eth_getBlockByNumber", "latest", False)
    rooms.chain.revoke(rooms.live, 1)
    newest = rooms.chain.rpc("eth_getBlockByNumber", "latest", False)

    def behind(method: str, params: list[Any], result: Any) -> Any:
        return before if method == "eth_getBlockByNumber" and params[0] == "latest" else result

    def unknown(method: str, params: list[Any]) -> bool:
        return method == "eth_call" and params[1].get("blockHash") == newest["hash"]

    def nothing(method: str, params: list[Any]) -> bool:
        return False

    late = rooms.proxies[:2]
    try:
        for proxy in late:
            proxy.tamper, proxy.refuses = behind, unknown
        assert scene.look() is None
        scene.clock.now += CONFIRM_S / 2
        assert scene.look() is None
        late[0].tamper, late[0].refuses = honest, nothing
        found = scene.look()
        assert found is not None and found.latest.revoked_by == account(1)
        late[1].tamper, late[1].refuses = honest, nothing
        scene.look()
        rooms.chain.mine()
        assert scene.look() is not None
    finally:
        for proxy in late:
            proxy.tamper, proxy.refuses = honest, nothing
        rooms.chain.restore(snapshot)
        scene.nodes.close()


def test_a_node_that_must_agree_cannot_be_voted_away(rooms: Rooms) -> None:
    """CH-02: with every node required, one that hides a block cannot make the others' word void."""
    scene = staged(rooms, rooms.revoked, 2, 2, ("older",))

    def hides(method: str, params: list[Any]) -> bool:
        newest = rooms.chain.rpc("eth_getBlockByNumber", "latest", False)
        return method == "eth_call" and params[1].get("blockHash") == newest["hash"]

    rooms.proxies[1].refuses = hides
    try:
        for _ in range(4):
            assert scene.look() is None
            scene.clock.now += CONFIRM_S
    finally:
        rooms.proxies[1].refuses = lambda method, params: False
        scene.nodes.close()


def test_a_claim_that_one_node_never_confirmed_does_not_silence_the_other(rooms: Rooms) -> None:
    """CH-02: where both must agree, one that denied a block before cannot hide a revocation after."""
    scene = staged(rooms, rooms.live, 2, 2, ())
    snapshot, liar = rooms.chain.snapshot(), rooms.proxies[1]
    denied: set[str] = set()

    def newest() -> Any:
        return rooms.chain.rpc("eth_getBlockByNumber", "latest", False)

    def frozen(head: Any) -> None:
        liar.tamper = lambda method, params, result: (
            head if method == "eth_getBlockByNumber" and params[0] == "latest" else result
        )

    liar.refuses = lambda method, params: method == "eth_call" and params[1].get("blockHash") in denied
    offer = interface("Consortium").encode("offerSeat", STRANGER)
    try:
        frozen(newest())
        rooms.chain.send(2, rooms.live.consortium, offer)
        denied.add(newest()["hash"])
        assert scene.look() is None
        rooms.chain.mine()
        liar.tamper = honest
        assert scene.look() is not None
        frozen(newest())
        rooms.chain.revoke(rooms.live, 1)
        denied.add(newest()["hash"])
        for _ in range(3):
            assert scene.look() is None, "the revocation is not passed over"
            scene.clock.now += CONFIRM_S
    finally:
        liar.tamper, liar.refuses = honest, lambda method, params: False
        rooms.chain.restore(snapshot)
        scene.nodes.close()
