# SPDX-License-Identifier: Apache-2.0
"""The gate's database and clock: many writers at once, a database that is locked, a clock that is set."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import event
from tests.gate_world import GATE_APP, GATE_RECIPE, Enclave, World, gate_world, granted, refused
from tests.local_chain import LocalChain
from tests.patience import PATIENCE_S

from sealroom.codes import Code
from sealroom.errors import GuestError
from sealroom.key_release import check_kms_chain
from sealroom.keys import KeyInterface
from sealroom.runtime.guest_agent import Quote
from sealroom_agents.attestation import verify_gate
from sealroom_agents.errors import GateError
from sealroom_agents.facts import Halt
from sealroom_agents.gate import database
from sealroom_agents.gate.audit import Head, verify
from sealroom_agents.gate.root import IDENTITY_MAX_AGE_S
from sealroom_agents.gate.service import CHALLENGE_LIFE_S
from sealroom_agents.gate.sessions import Sessions
from sealroom_agents.simulator import GuestAgent, Interfaces

CALLERS = 8
ROUNDS = 3


def together(callers: int, act: Callable[..., Any]) -> list[Any]:
    """What `act` gives to each of so many threads that begin at the same moment; raises what one raised."""
    begin = threading.Barrier(callers)

    def one(number: int) -> Any:
        begin.wait(PATIENCE_S)
        return act(number)

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


@contextmanager
def locked(state: Path) -> Iterator[Callable[[], None]]:
    """Somebody else holds the write lock of the gate's database, until the function is called."""
    # Another thread may let go.
    other = sqlite3.connect(state / "gate.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        if other.in_transaction:
            other.execute("ROLLBACK")

    try:
        yield let_go
    finally:
        let_go()
        other.close()


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    opened = Sessions.open(tmp_path)
    yield opened
    opened.close()


# --- many writers -------------------------------------------------------------------------------


def test_a_revocation_that_many_see_at_once_is_news_to_one_and_a_fault_to_none(sessions: Sessions) -> None:
    """CH-02, RE-05."""
    for number in range(ROUNDS):
        consortium, halt = f"0x{number:040x}", Halt(number, bytes(32), "a node")
        news = together(CALLERS, lambda _, c=consortium, h=halt: sessions.halt(c, h, now=1))
        assert sorted(news) == [False] * (CALLERS - 1) + [True]
        assert sessions.halted(consortium) == (halt, 1)


def test_of_many_marks_at_once_the_highest_is_kept(sessions: Sessions, tmp_path: Path) -> None:
    """CH-04: what is forgotten of the finalized blocks is missing after a restart. It is on disk with the
    next write, and every grant and renewal is one."""
    for number in range(ROUNDS):
        together(CALLERS, lambda value, name=f"mark {number}": sessions.keep_highest(name, value))
        assert sessions.highest(f"mark {number}") == CALLERS - 1
    sessions.keep_audit_head(Head(1, bytes(32)))
    sessions.keep_highest("mark 0", CALLERS)
    with sqlite3.connect(tmp_path / "gate.db") as other:
        kept = dict(other.execute("SELECT name, value FROM mark WHERE name LIKE 'mark %'").fetchall())
    assert kept == {f"mark {number}": CALLERS - 1 for number in range(ROUNDS)}


def test_who_gets_no_turn_to_write_is_told_as_of_a_database_that_does_not_answer(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-05."""
    monkeypatch.setattr(database, "TURN_S", 0.01)
    begun, go = threading.Event(), threading.Event()

    def slow(_: object) -> None:
        begun.set()
        assert go.wait(PATIENCE_S)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(sessions._database.write, slow)
        assert begun.wait(PATIENCE_S)
        with pytest.raises(GateError) as error:
            sessions.lift("0x00", Halt(1, bytes(32), "a node"))
        go.set()
        writing.result(PATIENCE_S)
    assert error.value.code == "gate-state"
    assert sessions.halt("0x00", Halt(1, bytes(32), "a node"), now=1)


# --- locked -------------------------------------------------------------------------------------


def small(world: World) -> Enclave:
    return Enclave(world, epsilon_micro=1, delta_pico=1)


def unable(answer: httpx.Response) -> None:
    """The gate itself cannot serve, and says no more than that."""
    assert (answer.status_code, answer.json()) == (
        503,
        {"code": "gate-state", "message": "the gate cannot serve at the moment"},
    )


def restarted(world: World, monkeypatch: pytest.MonkeyPatch, *, busy_s: float) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_S", busy_s)
    world.start_gate()


@pytest.mark.anvil
def test_a_database_that_is_locked_for_a_while_delays_and_refuses_nothing(
    approved: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-05."""
    restarted(approved, monkeypatch, busy_s=PATIENCE_S)
    enclave = small(approved)
    granted(enclave.ask())
    asks = threading.Semaphore(0)
    event.listen(approved.gate._sessions._database.engine, "engine_connect", lambda *_: asks.release())
    for act in (lambda: enclave.renew(1), small(approved).ask):
        with ThreadPoolExecutor(1) as pool, locked(approved.state) as let_go:
            answer = pool.submit(act)
            assert asks.acquire(timeout=PATIENCE_S)
            assert not answer.done()
            let_go()
            assert answer.result(PATIENCE_S).status_code == 200


@pytest.mark.anvil
def test_a_database_that_stays_locked_releases_nothing_and_ends_nothing(
    approved: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-05, AT-01: the nonce is used up, nothing is booked, the lease goes on, and the log holds."""
    restarted(approved, monkeypatch, busy_s=0.01)
    enclave, other = small(approved), small(approved)
    granted(enclave.ask())
    message = other.evidence(*other.hello())
    with locked(approved.state):
        unable(other.send(message))
        unable(enclave.renew(1))
        later = small(approved)
        answer = later.evidence(*later.hello())
    refused(other.send(message), "nonce-replayed", 409)
    granted(later.send(answer))
    assert (
        approved.chain.call(
            "Ledger", approved.room.ledger, "spending", approved.room.consortium, approved.study
        )["runs"]
        == 2
    )
    assert enclave.renew(1).status_code == 200
    verify(approved.state / "audit.jsonl")


@pytest.mark.anvil
def test_a_database_that_is_locked_once_a_run_is_booked_keeps_its_keys(
    approved: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-05, RE-12: what cannot be written down is not released; its budget is spent."""
    restarted(approved, monkeypatch, busy_s=0.01)
    opener = approved.gate._bookings._opener
    lock = locked(approved.state)

    class Locks:
        """The database is locked once the transaction is mined."""

        def book(self, *order: Any, note: bytes) -> Any:
            found = list(opener.book(*order, note=note))
            lock.__enter__()
            return iter(found)

    approved.gate._bookings._opener = Locks()
    try:
        unable(small(approved).ask())
    finally:
        lock.__exit__(None, None, None)
    approved.gate._bookings._opener = opener
    granted(small(approved).ask())
    spent = approved.chain.call(
        "Ledger", approved.room.ledger, "spending", approved.room.consortium, approved.study
    )
    assert spent["runs"] == 2
    verify(approved.state / "audit.jsonl")


class Killed(BaseException):
    """Ends whatever runs, as a kill would."""


@pytest.mark.anvil
def test_a_kill_between_log_and_database_leaves_no_lease_and_no_key(
    approved: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-12, OP-05: the entry is on disk and nothing else is; the run's budget is spent, and told of once."""
    enclave, keep = small(approved), Sessions.keep_audit_head

    def killed(self: Sessions, head: Head, beside: tuple[Any, ...] = ()) -> None:
        if beside:
            raise Killed
        keep(self, head)

    monkeypatch.setattr(Sessions, "keep_audit_head", killed)
    with pytest.raises(Killed):
        approved.gate.evidence(enclave.evidence(*enclave.hello()).encode())
    monkeypatch.undo()
    approved.start_gate()
    path = approved.state / "audit.jsonl"
    events = [json.loads(line)["event"] for line in path.read_bytes().splitlines()]
    assert events[-3:] == ["booking", "granted", "started"]
    verify(path)
    refused(enclave.renew(1), "lease-ended")
    refused(enclave.ask(), "unknown-run-id-reused", 409)
    granted(small(approved).ask())


# --- a clock that is set ------------------------------------------------------------------------


@pytest.mark.anvil
def test_a_clock_that_is_set_back_makes_no_dead_watcher_live(approved: World) -> None:
    """OP-11, OP-09: what the watcher saw in the future, it saw before; its next report counts again."""
    enclave = small(approved)
    granted(enclave.ask())
    approved.clock.ahead = -1
    refused(enclave.renew(1), "watcher-dead", 503)
    refused(small(approved).ask(), "watcher-dead", 503)
    approved.heartbeat()
    assert enclave.renew(2).status_code == 200
    granted(small(approved).ask())
    approved.clock.ahead += approved.policy.heartbeat_seconds + 1
    refused(small(approved).ask(), "watcher-dead", 503)


@pytest.mark.anvil
def test_a_clock_that_jumps_ahead_and_back_opens_nothing_and_is_over_with_the_next_report(
    approved: World,
) -> None:
    """OP-11, AT-01: leases and challenges end, none comes back, and new ones are given."""
    enclave, late = small(approved), small(approved)
    granted(enclave.ask())
    message = late.evidence(*late.hello())
    approved.clock.ahead = 3600
    refused(enclave.renew(1), "lease-ended")
    refused(late.send(message), "nonce-expired")
    approved.heartbeat()
    approved.clock.ahead = 0
    refused(enclave.renew(2), "lease-ended")
    refused(late.send(message), "nonce-replayed", 409)
    refused(small(approved).ask(), "watcher-dead", 503)
    approved.heartbeat()
    granted(small(approved).ask())
    assert CHALLENGE_LIFE_S < 3600


@pytest.mark.anvil
def test_a_gate_shows_no_identity_of_the_future(approved: World) -> None:
    """OP-11: owners would refuse it until the time comes."""
    approved.clock.ahead = IDENTITY_MAX_AGE_S + 10
    assert approved.identity().issued >= approved.clock() - IDENTITY_MAX_AGE_S
    approved.clock.ahead = 0
    identity = approved.identity()
    assert identity.issued <= approved.clock()
    verify_gate(identity, trust=approved.platform.trust(), now=approved.clock())


@pytest.mark.anvil
def test_a_gate_stays_the_same_on_a_host_whose_agent_is_newer_or_older(
    approved: World, tmp_path: Path
) -> None:
    """AT-30: whoever upgrades a host's image, or sets it back, makes no other gate of it."""
    before, own = approved.identity(), approved.socket
    for interfaces in (Interfaces.V0, Interfaces.BOTH):
        agent = GuestAgent(approved.platform, GATE_RECIPE, GATE_APP, interfaces=interfaces)
        with agent.serve(tmp_path / "other.sock") as running:
            approved.socket = running.path
            approved.start_gate()
            now = approved.identity()
            assert (now.root_public_key, now.signer_key) == (before.root_public_key, before.signer_key)
            assert now.signature_chain == before.signature_chain
            small(approved).hello()
    approved.socket = own
    # An agent that served version 1 alone would end the gate, not change it.
    agent = GuestAgent(approved.platform, GATE_RECIPE, GATE_APP, interfaces=Interfaces.V1)
    with agent.serve(tmp_path / "other.sock") as running:
        approved.socket = running.path
        with pytest.raises(GateError) as caught:
            approved.start_gate()
    approved.socket = own
    assert caught.value.code == "guest-agent-failed"


@pytest.mark.anvil
def test_keys_of_another_interface_are_another_gate_that_nobody_adopted(approved: World) -> None:
    """AT-30: the operator may start it, and no owner's key leaves it."""
    before = approved.identity()
    approved.start_gate(keys=KeyInterface.V1)
    now = approved.identity()
    assert (now.key_interface, now.gate_root != before.gate_root) == ("v1", True)
    assert now.signer != before.signer
    assert now.kms_root == before.kms_root
    verify_gate(now, trust=approved.platform.trust(), now=approved.clock())
    refused(small(approved).ask(), "gate-not-registered")


@pytest.mark.anvil
def test_a_gate_with_keys_of_version_1_serves_owners_who_adopted_it_and_sealed_to_it(
    gate_chain: LocalChain, gate_socket: Path, tmp_path: Path
) -> None:
    """AT-30: and their enclave takes its chain by that claim."""
    state = tmp_path / "state"
    with gate_world(gate_chain, socket=gate_socket, state=state, keys=KeyInterface.V1) as world:
        world.approve(0, 1)
        assert world.identity().key_interface == "v1"
        check_kms_chain(world.identity())
        granted(small(world).ask())


@pytest.mark.anvil
def test_a_guest_agent_that_is_slow_or_fails_holds_up_nobody(approved: World) -> None:
    """OP-05, OP-08: a quote is made for who asks first; meanwhile, and for an hour, the last one is shown."""
    root = approved.gate._root
    agent, asked, go = root._guest, threading.Event(), threading.Event()

    class Slow:
        def quote(self, report_data: bytes) -> Quote:
            asked.set()
            assert go.wait(PATIENCE_S)
            return agent.quote(report_data)

    class Failing:
        def quote(self, report_data: bytes) -> Quote:
            raise GuestError(Code.GUEST_AGENT_FAILED, "no answer")

    before = approved.identity()
    approved.clock.ahead = IDENTITY_MAX_AGE_S + 10
    root._guest = cast(Any, Slow())
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(approved.gate.identity)
        assert asked.wait(PATIENCE_S)
        assert approved.identity() == before
        small(approved).hello()
        go.set()
        renewed = first.result(PATIENCE_S)
    assert approved.identity() == renewed != before
    root._guest = cast(Any, Failing())
    approved.clock.ahead += IDENTITY_MAX_AGE_S + 10
    assert approved.identity() == renewed
    approved.clock.ahead += IDENTITY_MAX_AGE_S
    answer = approved.http.get("/v1/gate")
    assert (answer.status_code, answer.json()["code"]) == (503, "guest-agent-failed")
    root._guest = agent
    assert approved.identity().issued > renewed.issued
