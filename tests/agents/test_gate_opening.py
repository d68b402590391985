# SPDX-License-Identifier: Apache-2.0
"""A run's opening that a reorganisation takes from the chain: ε leaves once, whatever becomes of the blocks.

The twin of every test is a run whose opening stays: `test_a_renewal_says_when_the_opening_is_final`.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import httpx
import pytest
from tests.gate_world import RECIPE, Enclave, World, granted, refused
from tests.lens import looks, tells
from tests.local_chain import CAP_PICO, Dataset, LocalChain, account
from tests.patience import PATIENCE_S
from tests.rpc_proxy import RpcProxy, honest

from sealroom import typed
from sealroom.encoding import sha256
from sealroom.key_release import LeaseReply, LeaseRequest, Refusal, verify_renewal
from sealroom.model import Row, Run
from sealroom.runtime.clock import boot_seconds
from sealroom.runtime.gate_client import Gate as RunningGate
from sealroom.runtime.gate_client import GateRefused
from sealroom.runtime.lease import Lease, LeaseEnded
from sealroom_agents.chain import Transactor
from sealroom_agents.chain.contracts import interface

pytestmark = pytest.mark.anvil

EPSILON_MICRO = 1_500_000
OPENED = "0x" + interface("Ledger").topic("RunOpened").hex()


@pytest.fixture(autouse=True)
def one_day(approved: World) -> None:
    """What `spent` says of a day is of the test's own."""
    approved.early_in_the_day()


def spent(world: World) -> tuple[int, int]:
    """What the first dataset has spent: micro-epsilon, runs."""
    allowance = world.chain.call(
        "Ledger", world.chain.ledger, "allowanceOf", world.sealed[0].id, world.room.consortium
    )
    return allowance["epsilonSpent"], allowance["runsToday"]


def renewed(enclave: Enclave, counter: int) -> LeaseReply:
    """A renewal that the gate gave and signed."""
    return checked(enclave, counter, enclave.renew(counter))


def checked(enclave: Enclave, counter: int, answer: httpx.Response) -> LeaseReply:
    assert answer.status_code == 200, answer.text
    reply = LeaseReply.parse(answer.content)
    world = enclave.world
    at: dict[str, Any] = {"chain_id": 31337, "consortium": world.room.consortium}
    verify_renewal(reply, enclave.renewal(counter), signer=world.identity().signer, **at)
    return reply


def after_the_loss(enclave: Enclave, counter: int) -> httpx.Response:
    """What the gate answers once it has done with a lost opening; until then it renews nothing."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        answer = enclave.renew(counter)
        if answer.status_code != 503:
            return answer
        refused(answer, "opening-lost", 503)
    raise AssertionError("the gate never came to an end with the lost opening")


def move(chain: LocalChain, raw: str) -> None:
    """A reorganisation after which a transaction of the newest block is in a later one. The gate, which looks
    all the time, sees it before or after, and never without: that would be a loss, which it mends itself."""
    chain.mine()
    chain.reorg(2, raw)


def audited(world: World) -> list[dict[str, Any]]:
    lines = (world.state / "audit.jsonl").read_text().splitlines()
    return [dict(json.loads(line)) for line in lines]


def test_a_renewal_says_when_the_opening_is_final(approved: World) -> None:
    """CH-01: not before; and from then on it says so each time."""
    enclave = Enclave(approved)
    granted(enclave.ask())
    assert renewed(enclave, 1).opening_final is False
    approved.chain.finalize()
    assert renewed(enclave, 2).opening_final is True
    approved.start_gate()
    assert renewed(enclave, 3).opening_final is True


def test_a_lost_opening_is_sent_again_and_its_budget_is_spent_once(approved: World) -> None:
    """CH-01, DP-06: a reorganisation gives the ε back; a second run does not get it."""
    first = Enclave(approved)
    granted(first.ask())
    assert spent(approved) == (EPSILON_MICRO, 1)
    approved.chain.reorg(1)
    assert spent(approved) == (0, 0)
    approved.chain.finalize()  # of a chain that never had the opening
    refused(first.renew(1), "opening-lost", 503)
    assert checked(first, 1, after_the_loss(first, 1)).opening_final is False
    assert spent(approved) == (EPSILON_MICRO, 1)
    refused(Enclave(approved).ask(), "budget-exceeded")
    approved.chain.finalize()
    assert renewed(first, 2).opening_final is True
    assert spent(approved) == (EPSILON_MICRO, 1)
    events = [line["event"] for line in audited(approved)]
    assert "opening-moved" in events and "lease-refused" in events


def test_of_two_runs_with_the_same_budget_one_becomes_final(approved: World) -> None:
    """CH-01, DP-06: the second run takes the ε before the first can take it back. The first one's lease ends,
    and no renewal ever called its opening final."""
    first, second = Enclave(approved), Enclave(approved)
    granted(first.ask())
    assert renewed(first, 1).opening_final is False
    approved.chain.reorg(1)
    granted(second.ask())
    refused(after_the_loss(first, 2), "budget-exceeded")
    refused(first.renew(3), "lease-ended")
    approved.chain.finalize()
    refused(first.renew(3), "lease-ended")
    assert renewed(second, 1).opening_final is True
    assert spent(approved) == (EPSILON_MICRO, 1)


@dataclass(frozen=True)
class OverHttp:
    """The enclave's way to the gate."""

    world: World

    def lease(self, request: LeaseRequest, *, timeout: float) -> LeaseReply:
        answer = self.world.http.post("/v1/lease", content=request.encode())
        if answer.status_code != 200:
            raise GateRefused(Refusal.parse(answer.content))
        return LeaseReply.parse(answer.content)


def leased(enclave: Enclave) -> Lease:
    """The enclave's own lease of a run that was just granted."""
    lease = Lease(
        cast(RunningGate, OverHttp(enclave.world)),
        run_id=enclave.run_id,
        chain_id=31337,
        consortium=enclave.world.room.consortium,
        signer=enclave.signer,
        gate_signer=enclave.world.identity().signer,
        granted=boot_seconds(),
        seconds=60,
        on_end=lambda end: None,
    )
    lease.start()
    return lease


def test_of_two_computations_with_the_same_budget_one_emits(approved: World) -> None:
    """CH-01, DP-06: both enclaves have the keys and a result. One may emit it, and the other one's lease ends
    while it waits, which wipes what it has."""
    approved.judge_under(lease_seconds=60)
    emitted: list[bytes] = []
    first, second = Enclave(approved), Enclave(approved)
    assert granted(first.ask()).keys
    approved.chain.reorg(1)
    assert granted(second.ask()).keys
    leases = {one.run_id: leased(one) for one in (first, second)}
    try:
        with pytest.raises(LeaseEnded) as ended:
            leases[first.run_id].wait_final()
        assert ended.value.end.cause == "budget-exceeded"
        approved.chain.finalize()
        for run_id, lease in leases.items():
            with suppress(LeaseEnded):
                lease.wait_final()
                emitted.append(run_id)
    finally:
        for lease in leases.values():
            lease.stop()
            for thread in lease._threads:
                thread.join(PATIENCE_S)
    assert emitted == [second.run_id]
    assert spent(approved) == (EPSILON_MICRO, 1)


def test_both_runs_go_on_where_the_budget_has_room_for_both(approved: World) -> None:
    for one in approved.sealed:
        approved.allow(one, cap_micro=2 * EPSILON_MICRO)
    approved.chain.finalize()
    first, second = Enclave(approved), Enclave(approved)
    granted(first.ask())
    approved.chain.reorg(1)
    granted(second.ask())
    checked(first, 1, after_the_loss(first, 1))
    approved.chain.finalize()
    assert renewed(first, 2).opening_final and renewed(second, 1).opening_final
    assert spent(approved) == (2 * EPSILON_MICRO, 2)


def test_a_gate_that_restarts_between_grant_and_loss_sends_it_again(approved: World) -> None:
    """CH-01."""
    enclave = Enclave(approved)
    granted(enclave.ask())
    approved.start_gate()
    approved.chain.reorg(1)
    approved.start_gate()
    refused(enclave.renew(1), "opening-lost", 503)
    checked(enclave, 1, after_the_loss(enclave, 1))
    approved.start_gate()
    approved.chain.finalize()
    assert renewed(enclave, 2).opening_final is True
    assert spent(approved) == (EPSILON_MICRO, 1)


def test_an_opening_that_comes_back_in_another_block_keeps_the_run_going(approved: World) -> None:
    """A node puts what a reorganisation dropped into a later block, by itself."""
    chain, enclave = approved.chain, Enclave(approved)
    reply = granted(enclave.ask())
    raw = chain.rpc("eth_getRawTransactionByHash", "0x" + reply.opened.tx.hex())
    move(chain, raw)
    assert renewed(enclave, 1).opening_final is False
    (moved,) = [line for line in audited(approved) if line["event"] == "opening-moved"]
    assert moved["facts"]["number"] == 1 and moved["facts"]["openedAt"] >= reply.grant.issued - 60
    chain.finalize()
    assert renewed(enclave, 2).opening_final is True


def test_a_moved_opening_counts_only_with_a_log_that_fits(approved: World) -> None:
    """CH-29: the ledger keeps a hash; without the content, it could be the hash of any run."""
    chain, enclave = approved.chain, Enclave(approved)
    with RpcProxy(chain.url) as proxy:
        approved.rpc_urls = [proxy.url]
        approved.start_gate()
        reply = granted(enclave.ask())
        raw = chain.rpc("eth_getRawTransactionByHash", "0x" + reply.opened.tx.hex())
        move(chain, raw)

        def hide(method: str, params: list[Any], result: Any) -> Any:
            if method != "eth_getLogs":
                return result
            return [log for log in result if log["topics"][0] != OPENED]

        proxy.tamper = hide
        refused(enclave.renew(1), "chain-unreachable", 503)
        proxy.tamper = honest
        renewed(enclave, 1)


def test_a_lost_opening_that_the_ledger_takes_no_more_ends_the_lease(approved: World) -> None:
    """An owner lowered the cap meanwhile."""
    enclave, first = Enclave(approved), approved.sealed[0]
    granted(enclave.ask())
    approved.chain.reorg(1)
    approved.allow(first, cap_micro=EPSILON_MICRO - 1)
    body = refused(after_the_loss(enclave, 1), "budget-exceeded")
    assert "opening was lost" in body["message"]
    approved.allow(first, cap_micro=EPSILON_MICRO)
    refused(enclave.renew(1), "lease-ended")
    approved.start_gate()
    refused(enclave.renew(1), "lease-ended")


def test_a_lost_opening_of_a_revoked_study_ends_the_lease_as_revoked(approved: World) -> None:
    """CH-02."""
    enclave = Enclave(approved)
    granted(enclave.ask())
    approved.chain.reorg(1)
    approved.chain.revoke(approved.room, 0)
    refused(enclave.renew(1), "revoked")
    assert spent(approved) == (0, 0)


def test_an_opening_that_does_not_come_back_lets_the_lease_run_out(approved: World) -> None:
    """DP-06: here the gate has no gas money any more; the lease ends by itself, and nothing was spent."""
    enclave = Enclave(approved)
    granted(enclave.ask())
    approved.chain.reorg(1)
    approved.chain.rpc("anvil_setBalance", approved.identity().signer, "0x0")
    for _ in range(3):
        refused(enclave.renew(1), "opening-lost", 503)
    approved.clock.ahead = 31
    approved.heartbeat()
    refused(enclave.renew(1), "lease-ended")
    assert spent(approved) == (0, 0)


def test_a_run_id_that_another_consortium_opened_is_another_run(approved: World) -> None:
    """Who saw our run id may open it under a consortium of its own: that changes nothing for ours."""
    enclave = Enclave(approved)
    granted(enclave.ask())
    approved.chain.reorg(1)
    opened_by_a_stranger(approved.chain, enclave.run_id)
    checked(enclave, 1, after_the_loss(enclave, 1))
    approved.chain.finalize()
    assert renewed(enclave, 2).opening_final is True
    assert spent(approved) == (EPSILON_MICRO, 1)


def test_another_run_under_the_same_id_ends_the_lease(approved: World) -> None:
    """Only who has the gate's key can open one, for another enclave than the gate's own."""
    enclave, room = Enclave(approved), approved.room
    reply = granted(enclave.ask())
    approved.chain.reorg(1)
    run = Run(
        run_id=enclave.run_id,
        epsilon_micro=EPSILON_MICRO,
        delta_pico=0,
        enclave_signer=account(15),
        grant_hash=b"\x07" * 32,
        open_before=approved.chain.head_time() + 600,
    )
    sender = Transactor(approved.chain.url, approved.gate._root.signer_key.reveal())
    study = approved.chain.study(approved.study)
    sender.open_runs(room.ledger, room.consortium, study, [run], note=bytes(32))
    refused(enclave.renew(1), "opening-replaced")
    refused(enclave.renew(1), "lease-ended")
    assert reply.grant.run_id == enclave.run_id


def opened_by_a_stranger(chain: LocalChain, run_id: bytes) -> None:
    stranger = 15
    room = chain.create_consortium(("mallory", "eve"), threshold=1)
    chain.adopt_platform(
        room,
        gate_root=b"\x01" * 32,
        gate_signer=account(stranger),
        gate_compose=b"\x02" * 32,
        os_images=[b"\x03" * 32],
        devices=[b"\x04" * 32],
    )
    dataset = Dataset(owner=0, name="cohort-M")
    chain.register(room, dataset, cap_micro=EPSILON_MICRO)
    study = chain.draft(room, compose_hash=sha256(RECIPE), datasets=[dataset.id])
    chain.approve(room, study, 0)
    run = (run_id, EPSILON_MICRO, CAP_PICO, account(stranger), b"\x07" * 32, chain.head_time() + 600)
    data = interface("Ledger").encode(
        "open", room.consortium, chain.study(study).solidity(), [run], bytes(32)
    )
    chain.send(stranger, chain.ledger, data)


def test_results_leave_from_a_safe_block_on_where_the_owners_say_so(approved: World) -> None:
    """CH-01: not from the newest, and before the finalized one."""
    approved.judge_under(emit="safe")
    enclave, chain = Enclave(approved), approved.chain
    opened = granted(enclave.ask()).opened.block
    assert chain.block_number("safe") < opened
    assert renewed(enclave, 1).opening_final is False
    while chain.block_number("safe") < opened:
        chain.mine()
    assert chain.block_number("finalized") < opened
    assert renewed(enclave, 2).opening_final is True


def test_one_node_alone_cannot_call_an_opening_final(approved: World) -> None:
    """CH-03: it claims that the finalized block has the run. The other one does not."""
    with RpcProxy(approved.chain.url) as proxy:
        approved.rpc_urls = [approved.chain.url, proxy.url]
        approved.start_gate()
        enclave = Enclave(approved)
        granted(enclave.ask())
        kept = approved.chain.call(
            "Ledger", approved.chain.ledger, "commitment", approved.room.consortium, enclave.run_id
        )

        def hurry(row: Row) -> Row:
            return replace(row, commitments=(bytes(kept),) * len(row.commitments))

        proxy.tamper = tells(hurry, at=("finalized",))
        assert renewed(enclave, 1).opening_final is False
        approved.chain.finalize()
        assert renewed(enclave, 2).opening_final is True


def test_a_chain_that_is_away_while_the_opening_is_read_ends_no_lease(approved: World) -> None:
    """CH-04: it may pass, as every other trouble with the chain."""
    with RpcProxy(approved.chain.url) as proxy:
        approved.rpc_urls = [proxy.url]
        approved.start_gate()
        enclave = Enclave(approved)
        granted(enclave.ask())

        def mute(method: str, params: list[Any], result: Any) -> Any:
            return "0x" if looks(method, params) else result

        proxy.tamper = mute
        refused(enclave.renew(1), "chain-disagrees", 503)
        proxy.tamper, proxy.down = honest, True
        approved.outlast()
        refused(enclave.renew(1), "chain-unreachable", 503)
        proxy.down = False
        proxy.tamper = honest
        renewed(enclave, 1)


def test_a_word_of_finality_is_signed_for_one_run_one_request_and_one_answer(approved: World) -> None:
    """CH-08: what a renewal says of the opening is under the gate's signature."""
    at: dict[str, Any] = {"chain_id": 31337, "consortium": approved.room.consortium}
    run, digest = b"r" * 32, typed.digest
    said = digest(typed.renewal(run, 1, 30, True, **at))
    assert said != digest(typed.renewal(run, 1, 30, False, **at))
    assert said != digest(typed.renewal(run, 2, 30, True, **at))
    assert said != digest(typed.renewal(b"s" * 32, 1, 30, True, **at))
