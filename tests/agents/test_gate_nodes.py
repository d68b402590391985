# SPDX-License-Identifier: Apache-2.0
"""One node of three against the gate: what it can stop is temporary, and lifted by the chain; what it can
exhaust is nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.gate_world import RECIPE, Enclave, World, granted, refused
from tests.hostile_node import HostileNode, drips, endless, give_up, http, says, silent
from tests.lens import catches_up, lags, tells
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy, Tamper, honest

from sealroom.encoding import sha256
from sealroom.model import Row
from sealroom_agents.chain import client, newest
from sealroom_agents.chain.breaker import THREADS
from sealroom_agents.gate import views

pytestmark = [pytest.mark.anvil, pytest.mark.usefixtures("every_node_is_heard")]

STEPS, ENDED_AT = 5, 15
"""Words of a state in what the lens answers, counted from 1."""
STRANGER = "0x" + "0bad" * 10
"""Somebody who never revoked."""
OTHER = b"\x66" * 32
NONE = bytes(32)


SHORT_S = 2.0
"""Deadline for a node that never answers."""


@dataclass
class Three:
    """The gate's three nodes; the third is the one that misbehaves."""

    world: World
    nodes: list[RpcProxy]

    @property
    def third(self) -> RpcProxy:
        return self.nodes[2]

    def start(self, quorum: int | None) -> None:
        self.world.rpc_urls = [node.url for node in self.nodes]
        self.world.rpc_quorum = quorum
        self.world.start_gate()

    def enclave(self) -> Enclave:
        return Enclave(self.world, epsilon_micro=1, delta_pico=1)


@pytest.fixture
def three(approved: World) -> Iterator[Three]:
    with ExitStack() as stack:
        nodes = [stack.enter_context(RpcProxy(approved.chain.url)) for _ in range(3)]
        yield Three(approved, nodes)
        approved.stop_gate()


@dataclass(frozen=True)
class Lie:
    """What a node says of the newest block."""

    further: int | None = None
    """Steps more than there were; `None` for as many."""
    standing: bytes | None = None
    """Another standing."""
    study: bytes | None = None
    """Another study."""
    revokers: tuple[str, ...] | None = None
    """Whose veto stands."""
    words: dict[int, int] = field(default_factory=dict)
    """Words that no contract could answer with."""

    def tell(self, row: Row) -> Row:
        """The lens' answer, changed."""
        state = row.state
        changed = replace(
            state,
            steps=state.steps + (self.further or 0),
            standing=self.standing or state.standing,
            study=self.study or state.study,
            revokers=state.revokers if self.revokers is None else self.revokers,
        )
        return replace(row, state=changed)


def at_latest(lie: Lie) -> Tamper:
    """A lie about every consortium, at the newest block only."""
    return tells(lie.tell, words=lie.words)


REVOKED = Lie(further=1, standing=OTHER, revokers=(STRANGER,))
LIES = {
    "revoked, a step further": REVOKED,
    "another standing, a step further": Lie(further=1, standing=OTHER),
    "revoked, without a step": Lie(standing=OTHER, revokers=(STRANGER,)),
    "revoked, under the same standing": Lie(revokers=(STRANGER,)),
    "another standing without a step": Lie(standing=OTHER),
    "another study and nothing else": Lie(study=OTHER),
    "no study and nothing else": Lie(study=NONE),
    "more steps than blocks": Lie(further=600, standing=OTHER),
    "revoked, with more steps than blocks": replace(REVOKED, further=2**30),
    "steps that the contract cannot count to": Lie(words={STEPS: 2**40 + 1}),
    "steps beyond the database's integers": Lie(words={STEPS: 2**63}),
    "steps beyond the contract's type": Lie(words={STEPS: 2**255}),
    "an end in a far time": replace(REVOKED, words={ENDED_AT: 2**64 - 1}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_at_the_newest_block_stops_no_longer_than_it_is_told(three: Three, lie: Lie) -> None:
    """CH-02, CH-03: every node must agree here, so one can stop; no lease ends, and nobody has to do anything
    once it says what the others say."""
    world = three.world
    world.chain.mine()
    three.start(quorum=None)
    enclave = three.enclave()
    granted(enclave.ask())
    three.third.tamper = at_latest(lie)
    refused(three.enclave().ask(), "chain-disagrees", 503)
    refused(enclave.renew(1), "chain-disagrees", 503)
    three.third.tamper = honest
    assert enclave.renew(2).status_code == 200
    granted(three.enclave().ask())


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_at_the_newest_block_stops_nothing_where_two_of_three_are_enough(
    three: Three, lie: Lie
) -> None:
    """CH-03: two others have the very block, without what the third says of it."""
    three.world.chain.mine()
    three.start(quorum=2)
    enclave = three.enclave()
    granted(enclave.ask())
    three.third.tamper = at_latest(lie)
    assert enclave.renew(1).status_code == 200
    granted(three.enclave().ask())


def test_a_revocation_that_only_one_node_has_yet_stops_at_once(three: Three) -> None:
    """CH-02, CH-04: the two others are still at the block before. The lease ends once one of them has it."""
    world = three.world
    three.start(quorum=2)
    enclave = three.enclave()
    granted(enclave.ask())
    before = world.chain.rpc("eth_getBlockByNumber", "latest", False)
    world.chain.revoke(world.room, 1, "stop")
    newest = world.chain.rpc("eth_getBlockByNumber", "latest", False)
    for node in three.nodes[:2]:
        lags(node, before, newest)
    refused(three.enclave().ask(), "chain-disagrees", 503)
    refused(enclave.renew(1), "chain-disagrees", 503)
    catches_up(three.nodes[0])
    refused(enclave.renew(2), "revoked")
    refused(three.enclave().ask(), "revoked")
    lags(three.third, before, newest)
    refused(enclave.renew(3), "lease-ended")


def test_owners_lift_whatever_was_claimed_by_revoking_and_approving_anew(three: Three) -> None:
    world = three.world
    world.chain.mine()
    three.start(quorum=None)
    three.third.tamper = at_latest(LIES["revoked, with more steps than blocks"])
    three.enclave().ask()
    three.third.tamper = at_latest(REVOKED)
    refused(three.enclave().ask(), "chain-disagrees", 503)
    three.third.tamper = honest
    world.chain.revoke(world.room, 0, "to be sure")
    refused(three.enclave().ask(), "revoked")
    world.study = world.chain.draft(
        world.room, compose_hash=sha256(RECIPE), datasets=[one.id for one in world.sealed]
    )
    world.approve(0, 1)
    granted(three.enclave().ask())


def test_a_node_that_claims_to_be_far_ahead_halts_nothing_for_ever(three: Three) -> None:
    """A revocation in a block that never comes would never be decided."""
    three.start(quorum=None)
    three.third.tamper = tells(REVOKED.tell, ahead=2**40)
    refused(three.enclave().ask(), "chain-disagrees", 503)
    three.third.tamper = honest
    granted(three.enclave().ask())


def invents_blocks(node: RpcProxy, ahead: int, lie: Lie) -> None:
    """The node shows a block that nobody else has, newer than any, and `lie` in it."""
    node.tamper = tells(lie.tell, ahead=ahead, block=f"0x{ahead:064x}")


@pytest.mark.parametrize("ahead", [1, 500])
@pytest.mark.parametrize("lie", [REVOKED, Lie(study=OTHER)], ids=["revoked", "another study"])
def test_a_block_that_a_node_makes_up_costs_time_and_neither_a_lease_nor_a_budget(
    three: Three, monkeypatch: pytest.MonkeyPatch, lie: Lie, ahead: int
) -> None:
    """CH-02, CH-03: it is asked for in vain, the lease goes on; then the node is alone with what it says."""
    world = three.world
    monkeypatch.setattr(newest, "CONFIRM_S", PATIENCE_S)
    three.start(quorum=2)
    enclave = three.enclave()
    granted(enclave.ask())
    invents_blocks(three.third, ahead, lie)
    refused(enclave.renew(1), "chain-disagrees", 503)
    spent = world.chain.call("Ledger", world.room.ledger, "spending", world.room.consortium, world.study)
    refused(three.enclave().ask(), "chain-disagrees", 503)
    assert spent == world.chain.call(
        "Ledger", world.room.ledger, "spending", world.room.consortium, world.study
    ), "what is refused books nothing"
    refused(enclave.renew(2), "chain-disagrees", 503)
    monkeypatch.setattr(newest, "CONFIRM_S", 0.0)  # the others had their time
    assert enclave.renew(3).status_code == 200
    world.chain.mine()
    granted(three.enclave().ask())


def test_a_block_made_up_once_a_run_is_booked_does_not_cost_what_was_booked(
    three: Three, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CH-02, CH-06: the last look before the release waits until the others have settled it."""
    world = three.world
    monkeypatch.setattr(newest, "CONFIRM_S", 2 * client.SETTLE_S)
    monkeypatch.setattr(views, "STILL_TIMEOUT_S", PATIENCE_S)
    three.start(quorum=2)
    invents_blocks(three.third, 1, REVOKED)
    tamper = three.third.tamper

    def booked() -> bool:
        spent = world.chain.call("Ledger", world.room.ledger, "spending", world.room.consortium, world.study)
        return bool(spent["runs"])

    three.third.tamper = lambda method, params, result: tamper(method, params, result) if booked() else result
    granted(three.enclave().ask())
    assert (
        three.world.chain.call("Ledger", world.room.ledger, "spending", world.room.consortium, world.study)[
            "runs"
        ]
        == 1
    )


def test_a_renewal_asks_no_node(three: Three) -> None:
    """CH-04: what it rests on is in memory; here nobody looks any more, and no node would answer."""
    three.start(quorum=2)
    enclave = three.enclave()
    granted(enclave.ask())
    assert enclave.renew(1).status_code == 200
    three.world.follower.close()
    for node in three.nodes:
        node.down = True
    asked = [node.calls for node in three.nodes]
    for counter in range(2, 12):
        assert enclave.renew(counter).status_code == 200
    assert [node.calls for node in three.nodes] == asked
    three.world.outlast()
    refused(enclave.renew(12), "chain-stale", 503)


NEVER_ENDS = {
    "silent": silent,
    "drips": drips(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"),
    "endless": endless(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"100000\r\n" + bytes(2**20) + b"\r\n"
    ),
    "nonsense": says(http(b"[" * 100_000)),
}


@pytest.mark.parametrize("answer", NEVER_ENDS.values(), ids=NEVER_ENDS)
def test_a_node_that_does_not_answer_holds_nobody_where_two_others_do(three: Three, answer: Any) -> None:
    """CH-03: it is passed over, and neither threads nor connections gather."""
    world = three.world
    with HostileNode(answer) as node:
        world.rpc_urls = [node.url, three.nodes[0].url, three.nodes[1].url]
        world.rpc_quorum = 2
        world.start_gate()
        give_up(world.reader, node, SHORT_S)
        enclave = three.enclave()
        granted(enclave.ask())
        for counter in range(1, 20):
            assert enclave.renew(counter).status_code == 200
        assert len(node.requests) < 10, "it was asked again and again"
        assert node.open <= THREADS
        waiting = [one for one in threading.enumerate() if one.name.startswith("chain_")]
        assert len(waiting) <= 4 * THREADS * len(world.rpc_urls)


@pytest.mark.parametrize("answer", NEVER_ENDS.values(), ids=NEVER_ENDS)
def test_where_every_node_must_answer_a_silent_one_stops_only_while_it_is_silent(
    three: Three, answer: Any
) -> None:
    """CH-04: the lease survives, and the first honest answer is enough."""
    world = three.world
    enclave = three.enclave()
    world.judge_under(lease_seconds=60)
    with HostileNode(answer) as node, RpcProxy(world.chain.url) as proxy:
        world.rpc_urls = [three.nodes[0].url, node.url]
        world.start_gate()
        give_up(world.reader, node, SHORT_S)
        body = refused(three.enclave().ask(), "chain-unreachable", 503)
        assert "127.0.0.1" in body["message"]

        def forwards(node: HostileNode, connection: Any, body: bytes) -> None:
            node.send(connection, http(proxy.answer(body)))

        node.answer = forwards
        give_up(world.reader, node, PATIENCE_S)
        granted(enclave.ask())
        give_up(world.reader, node, SHORT_S)  # first: it is asked all the time
        node.answer = answer
        assert enclave.renew(1).status_code == 200, "what is in memory is young enough"
        world.outlast()
        refused(enclave.renew(2), "chain-unreachable", 503)
        node.answer = forwards
        give_up(world.reader, node, PATIENCE_S)
        assert enclave.renew(2).status_code == 200
        world.stop_gate()  # before the node that it follows goes
