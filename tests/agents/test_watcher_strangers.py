# SPDX-License-Identifier: Apache-2.0
"""Anyone may create consortia: neither their number nor what their contracts answer costs others anything."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agents.test_watcher import RecordingGate
from tests.gate_world import TOKEN, Enclave, World, granted, refused
from tests.hostile_node import HostileNode, give_up, silent
from tests.local_chain import LocalChain
from tests.outside import Lab
from tests.rpc_proxy import RpcProxy

from sealroom.key_release import WatchReport
from sealroom_agents.chain.newest import MAX_SPLITS
from sealroom_agents.chain.views import CALLS
from sealroom_agents.store import Store
from sealroom_agents.watcher.selection import MAX_POLL, MAX_SWEEP
from sealroom_agents.watcher.service import Watcher

pytestmark = pytest.mark.anvil

STRANGERS = 60
ROUND_TRIPS = 2 + -(-MAX_POLL // CALLS) + 4
"""Requests that one look takes of one node at most, whoever is on the chain."""
REVERTS = "0x60006000fd"
HUGE = "0x" + "6210000060" + "00" + "f3"  # returns 1 MiB of zeros
ENDLESS = "0x5b600056"  # jumps to itself until the gas is used up
NONSENSE = "0x" + "60ff60005260206000f3"  # returns one word
HOSTILE = {"reverts": REVERTS, "huge": HUGE, "endless": ENDLESS, "nonsense": NONSENSE}


@pytest.fixture(scope="module")
def crowded() -> Iterator[LocalChain]:
    with LocalChain.start() as chain:
        for _ in range(STRANGERS):
            chain.create_consortium(["x", "y"], threshold=1, salt=secrets.token_bytes(32))
        yield chain


@pytest.fixture
def lab(crowded: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = crowded.snapshot()
    yield Lab.on(crowded, tmp_path)
    crowded.restore(snapshot)


def hostile(chain: LocalChain, code: str) -> str:
    """A contract of somebody's own."""
    address = "0x" + secrets.token_hex(20)
    chain.rpc("anvil_setCode", address, code)
    return address


def until_followed(watcher: Watcher, gate: RecordingGate, consortium: str) -> None:
    """Look until the sweep has found it: once through the factory's list at most."""
    for _ in range(2 + (STRANGERS + 2) // MAX_SWEEP + 1):
        watcher.poll()
        if consortium in gate.reports[-1].seen:
            return
    raise AssertionError("it was not found")


def test_what_a_look_costs_does_not_grow_with_strangers(lab: Lab) -> None:
    """OP-09: 60 of them, and the one consortium that adopted this gate is in every heartbeat."""
    gate = RecordingGate.adopted_by(lab)
    with RpcProxy(lab.chain.url) as proxy:
        reader = lab.chain.reader(proxy.url)
        watcher = Watcher(reader, lab.store, gate, factory=lab.room.factory)
        until_followed(watcher, gate, lab.room.consortium)
        for _ in range(5):
            before = proxy.calls
            look = watcher.poll()
            assert lab.room.consortium in gate.reports[-1].seen
            assert look.heartbeat and look.unseen == ()
            # A head, two batches, and the end of the factory's list; of those that are new, ledger and lens.
            assert proxy.calls - before <= 6
        assert lab.store.watched(lab.room.consortium) is not None
        strangers = [one for one in reader.consortia(lab.room.factory) if one != lab.room.consortium]
        assert len(strangers) >= STRANGERS
        assert all(lab.store.watched(one) is None for one in strangers)
        reader.close()


def test_a_consortium_with_a_run_under_way_is_followed_at_the_very_first_look(lab: Lab) -> None:
    lab.live()
    lab.submit()
    gate = RecordingGate.adopted_by(lab)
    Watcher(lab.reader, lab.store, gate, factory=lab.room.factory).poll()
    assert lab.room.consortium in gate.reports[-1].seen


def test_strangers_that_adopt_this_gate_take_turns(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing raises however many there are, each is seen in turn, and running runs come first."""

    from sealroom_agents.watcher import selection

    monkeypatch.setattr(selection, "MAX_POLL", 12)
    monkeypatch.setattr(selection, "MAX_UNSEEN", 2)
    monkeypatch.setattr(selection, "MAX_SWEEP", 4)
    gate = RecordingGate.adopted_by(lab)
    platform = lab.chain.state(lab.room).platform
    strangers = [
        lab.chain.create_consortium(["x"], threshold=1, salt=secrets.token_bytes(32)) for _ in range(20)
    ]
    for room in strangers:
        lab.chain.adopt_platform(
            room,
            gate_root=platform.gate_root,
            gate_signer=platform.gate_signer,
            gate_compose=platform.gate_compose,
            os_images=[secrets.token_bytes(32)],
            devices=[secrets.token_bytes(32)],
        )
    lab.live()
    lab.submit()
    lab.take()
    watcher = Watcher(lab.reader, lab.store, gate, factory=lab.room.factory)
    for _ in range(60):
        watcher.poll()
    assert all(len(report.seen) <= 12 for report in gate.reports)
    assert all(lab.room.consortium in report.seen for report in gate.reports)
    late = [one for report in gate.reports[-12:] for one in report.seen]
    assert {room.consortium for room in strangers} <= set(late)


@pytest.mark.parametrize("code", HOSTILE.values(), ids=HOSTILE)
def test_a_contract_that_answers_something_else_costs_only_itself(lab: Lab, code: str) -> None:
    bad = [hostile(lab.chain, code) for _ in range(5)]
    gate = RecordingGate.adopted_by(lab)
    with RpcProxy(lab.chain.url) as proxy:
        reader = lab.chain.reader(proxy.url)
        watcher = Watcher(reader, lab.store, gate, factory=None, only=[*bad, lab.room.consortium])
        for _ in range(4):
            before = proxy.calls
            look = watcher.poll()
            assert set(look.unseen) == set(bad)
            assert gate.reports[-1].seen == (lab.room.consortium,)
            assert proxy.calls - before <= ROUND_TRIPS + 2 * MAX_SPLITS
        reader.close()


def test_a_run_renews_on_beside_strangers_and_a_contract_that_lies(approved: World, tmp_path: Path) -> None:
    """OP-09: the real watcher, the real gate, a node that is slow, and a stranger that adopted this gate."""
    world = approved
    identity = world.identity()
    for _ in range(10):
        stranger = world.chain.create_consortium(["x"], threshold=1, salt=secrets.token_bytes(32))
        world.chain.adopt_platform(
            stranger,
            gate_root=identity.gate_root,
            gate_signer=identity.signer,
            gate_compose=identity.compose_hash,
            os_images=[secrets.token_bytes(32)],
            devices=[secrets.token_bytes(32)],
        )
        world.chain.revoke(stranger, 0, "x" * 200)
    world.chain.rpc("anvil_setCode", stranger.consortium, HUGE)

    class Posting:
        def watch(self, report: WatchReport) -> tuple[bytes, str]:
            headers = {"authorization": f"Bearer {TOKEN}"}
            answer = world.http.post("/v1/watch", content=report.encode(), headers=headers)
            assert answer.status_code == 200
            body = answer.json()
            return bytes.fromhex(body["gateRoot"][2:]), body["gateSigner"]

    world.start_gate()
    store = Store(f"sqlite:///{tmp_path / 'watched.db'}")
    with HostileNode(silent) as slow, RpcProxy(world.chain.url) as other:
        reader = world.chain.reader(slow.url, world.chain.url, other.url, quorum=2)
        give_up(reader, slow, 1.0)
        watcher = Watcher(reader, store, Posting(), factory=world.room.factory, clock=world.clock)
        for _ in range(4):
            watcher.poll()
        enclave = Enclave(world)
        granted(enclave.ask())
        for counter in range(1, 4):
            world.clock.ahead += 20
            watcher.poll()
            assert enclave.renew(counter).status_code == 200
        reader.close()


def test_a_heartbeat_keeps_awake_only_the_consortia_that_it_names(approved: World) -> None:
    world = approved
    headers = {"authorization": f"Bearer {TOKEN}"}

    def beat(*seen: str) -> None:
        report = WatchReport(observed=world.clock(), seen=seen, revoked=())
        assert world.http.post("/v1/watch", content=report.encode(), headers=headers).status_code == 200

    world.judge_under(lease_seconds=60)
    enclave = Enclave(world)
    granted(enclave.ask())
    world.clock.ahead = 31
    beat("0x" + "77" * 20)
    refused(Enclave(world).ask(), "watcher-dead", 503)
    world.clock.ahead = 0
    world.start_gate()
    beat(world.room.consortium, "0x" + "77" * 20)
    assert enclave.renew(1).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"block": 1, "blockHash": "0x" + "00" * 32, "observed": 1, "revoked": []},
        {"version": 1, "observed": 1, "seen": [], "revoked": []},
        {"version": 3, "observed": 1, "seen": [], "revoked": []},
        {"version": 2, "observed": 1, "seen": ["0x" + "77" * 20] * 2, "revoked": []},
        {
            "version": 2,
            "observed": 1,
            "seen": [],
            "revoked": [{"consortium": "0x" + "77" * 20, "block": 1, "blockHash": "0x" + "00" * 32}],
        },
        {"version": 2, "observed": 1, "seen": [f"0x{n:040x}" for n in range(MAX_POLL + 1)], "revoked": []},
    ],
    ids=["of before", "version 1", "version 3", "twice", "unseen", "too many"],
)
def test_a_heartbeat_of_another_form_is_refused(approved: World, body: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    refused(approved.http.post("/v1/watch", json=body, headers=headers), "malformed", 400)
