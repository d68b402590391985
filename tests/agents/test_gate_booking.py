# SPDX-License-Identifier: Apache-2.0
"""Runs that wait at the same time are opened by one transaction, and each is told its own fate."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.formats.worked import PROPOSED
from tests.gate_world import RECIPE, Enclave, World, granted, refused
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom.codes import Code
from sealroom.encoding import sha256
from sealroom.model import Opening, Run, Spending, Study
from sealroom_agents.chain import Opened, Transactor, TxResult, gas
from sealroom_agents.chain.contracts import interface
from sealroom_agents.errors import ChainError, GateError, Refused, TransactionError
from sealroom_agents.gate import booking
from sealroom_agents.gate.booking import Bookings, Order
from sealroom_agents.gate.refusals import booking_refused

LEDGER, CONSORTIUM = "0x" + "1e" * 20, "0x" + "c0" * 20
NOTE = b"\x0e" * 32


def run_of(*, epsilon_micro: int = 1_000_000, open_before: int = 2**40, **changes: Any) -> Run:
    """A run that costs no δ."""
    run = Run(
        run_id=secrets.token_bytes(32),
        epsilon_micro=epsilon_micro,
        delta_pico=0,
        enclave_signer="0x" + "e5" * 20,
        grant_hash=b"\x01" * 32,
        open_before=open_before,
    )
    return replace(run, **changes)


# --- together -----------------------------------------------------------------------------------


@dataclass
class Ledger:
    """Opens all that it is given, when it is let; keeps what came together."""

    go: threading.Event = field(default_factory=threading.Event)
    came: list[tuple[bytes, list[Run], bytes]] = field(default_factory=list)
    error: ChainError | ValueError | None = None
    told_before: int = 0
    """How many runs are told before the error."""

    def book(
        self, ledger: str, consortium: str, study: Study, runs: Sequence[Run], *, note: bytes
    ) -> Iterator[tuple[bytes, Opened | TransactionError]]:
        self.came.append((study.id, list(runs), note))
        assert self.go.wait(PATIENCE_S)
        sent = TxResult(tx="0x" + "07" * 32, block_number=9, block_hash=bytes(32), gas_used=1, logs=())
        for n, run in enumerate(runs):
            if self.error is not None and n == self.told_before:
                raise self.error
            yield run.run_id, Opened(opening_of(run), sent)


def opening_of(run: Run) -> Opening:
    return Opening(
        run=run, consortium=CONSORTIUM, study=PROPOSED.id, standing=bytes(32), charter=bytes(32),
        compose_hash=PROPOSED.compose_hash, number=1, opened_at=1, approved_at=1, approvals=3, roll=0,
        note=NOTE,
    )  # fmt: skip


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def bookings(ledger: Ledger) -> Iterator[Bookings]:
    bookings = Bookings(ledger, note=lambda: NOTE, gather_s=0.0)
    yield bookings
    ledger.go.set()
    bookings.close()


def order(run: Run, study: Study = PROPOSED) -> Order:
    return Order(LEDGER, CONSORTIUM, study, run)


def held(bookings: Bookings, ledger: Ledger) -> None:
    """A first transaction that is under way until the ledger is let go."""
    bookings.submit(order(run_of()))
    until(lambda: len(ledger.came) == 1)


def test_what_waits_while_a_transaction_is_under_way_goes_into_the_next(
    bookings: Bookings, ledger: Ledger
) -> None:
    held(bookings, ledger)
    runs = [run_of() for _ in range(booking.MAX_TOGETHER + 3)]
    told = [bookings.submit(order(run)) for run in runs]
    ledger.go.set()

    opened = [each.result(PATIENCE_S) for each in told]

    assert [each.opening.run for each in opened] == runs
    sent = [came for _, came, _ in ledger.came]
    assert [len(came) for came in sent] == [1, booking.MAX_TOGETHER, 3]
    assert sent[1] + sent[2] == runs
    assert {note for _, _, note in ledger.came} == {NOTE}


def test_runs_of_other_studies_go_into_transactions_of_their_own(bookings: Bookings, ledger: Ledger) -> None:
    held(bookings, ledger)
    other = replace(PROPOSED, nonce=PROPOSED.nonce + 1)
    studies = [PROPOSED, other, PROPOSED, other]
    told = [bookings.submit(order(run_of(), study)) for study in studies]
    ledger.go.set()
    for each in told:
        each.result(PATIENCE_S)

    assert [(study, len(runs)) for study, runs, _ in ledger.came[1:]] == [(PROPOSED.id, 2), (other.id, 2)]


def test_one_run_id_stands_once_in_a_transaction(bookings: Bookings, ledger: Ledger) -> None:
    held(bookings, ledger)
    run = run_of()
    told = [bookings.submit(order(run)) for _ in range(2)]
    ledger.go.set()
    for each in told:
        each.result(PATIENCE_S)

    assert [[one.run_id for one in runs] for _, runs, _ in ledger.came[1:]] == [[run.run_id], [run.run_id]]


def test_a_failure_of_the_chain_is_told_to_all_that_waited_and_ends_nothing(
    bookings: Bookings, ledger: Ledger
) -> None:
    held(bookings, ledger)
    ledger.error = ChainError(Code.CHAIN_UNREACHABLE, "away")
    told = [bookings.submit(order(run_of())) for _ in range(3)]
    ledger.go.set()
    for each in told:
        with pytest.raises(ChainError, match="away"):
            each.result(PATIENCE_S)

    ledger.error = None
    assert bookings.open_run(order(run_of())).opening.consortium == CONSORTIUM


def test_what_was_opened_before_a_failure_stays_opened(bookings: Bookings, ledger: Ledger) -> None:
    """The first of several transactions was mined, the second was not: its runs alone are told so."""
    held(bookings, ledger)
    ledger.error, ledger.told_before = ChainError(Code.CHAIN_UNREACHABLE, "away"), 2
    told = [bookings.submit(order(run_of())) for _ in range(4)]
    ledger.go.set()
    assert [each.result(PATIENCE_S).sent.block_number for each in told[:2]] == [9, 9]
    for each in told[2:]:
        with pytest.raises(ChainError, match="away"):
            each.result(PATIENCE_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_nobody_foresaw_ends_the_bookings_and_hides_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-05: nobody knows what was sent. Whoever waits is told, nothing more is sent, the process ends."""
    raised: list[BaseException | None] = []
    monkeypatch.setattr(threading, "excepthook", lambda seen: raised.append(seen.exc_value))
    faults: list[str] = []
    bookings = Bookings(ledger, note=lambda: NOTE, fault=lambda: faults.append("end"), gather_s=0.0)
    first = bookings.submit(order(run_of()))
    until(lambda: len(ledger.came) == 1)
    waiting = [bookings.submit(order(run_of())) for _ in range(2)]
    ledger.error = ValueError("a fault of ours")
    ledger.go.set()

    for each in (first, *waiting):
        with pytest.raises(GateError) as told:
            each.result(PATIENCE_S)
        assert told.value.code == "internal"
    with pytest.raises(GateError, match="unforeseen"):
        bookings.open_run(order(run_of()))
    until(lambda: raised)
    assert (len(ledger.came), faults, raised) == (1, ["end"], [ledger.error])


def test_more_than_may_wait_are_refused_for_now(
    bookings: Bookings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RE-05."""
    held(bookings, ledger)
    monkeypatch.setattr(booking, "MAX_WAITING", 2)
    for _ in range(2):
        bookings.submit(order(run_of()))
    with pytest.raises(Refused) as caught:
        bookings.submit(order(run_of()))
    assert caught.value.code == "busy" and caught.value.code.http == 503


def test_who_waited_too_long_is_not_booked_any_more(
    bookings: Bookings, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    held(bookings, ledger)
    monkeypatch.setattr(booking, "MAX_WAIT_S", 0.01)
    gone = run_of()
    with pytest.raises(ChainError, match="was not booked within"):
        bookings.open_run(order(gone))
    later = bookings.submit(order(run_of()))
    ledger.go.set()
    later.result(PATIENCE_S)

    assert all(gone not in runs for _, runs, _ in ledger.came)


def test_a_gate_that_ends_sends_nothing_any_more(bookings: Bookings, ledger: Ledger) -> None:
    held(bookings, ledger)
    waiting = bookings.submit(order(run_of()))
    bookings.close()
    ledger.go.set()
    with pytest.raises(CancelledError):
        waiting.result(PATIENCE_S)
    with pytest.raises(Refused):
        bookings.submit(order(run_of()))
    assert len(ledger.came) == 1


# --- on a real chain ----------------------------------------------------------------------------


@pytest.fixture
def sender(approved: World) -> Transactor:
    """The gate's own key."""
    return Transactor(approved.chain.url, approved.gate._root.signer_key.reveal())


def booked(world: World, sender: Transactor, *runs: Run) -> list[str]:
    """Book together; the ledger's word on each run."""
    found = dict(
        sender.book(world.room.ledger, world.room.consortium, world.chain.study(world.study), runs, note=NOTE)
    )
    assert set(found) == {run.run_id for run in runs}
    told = [found[run.run_id] for run in runs]
    return ["opened" if isinstance(each, Opened) else str(each.revert) for each in told]


def spent(world: World) -> Spending:
    call = world.chain.call("Ledger", world.room.ledger, "spending", world.room.consortium, world.study)
    return Spending.of_abi(call)


@pytest.mark.anvil
def test_each_refused_run_is_told_its_own_reason_and_spoils_no_other(
    approved: World, sender: Transactor
) -> None:
    """Each dataset has an ε of 1.5 left for the room."""
    first, again, late = run_of(epsilon_micro=500_000), run_of(), run_of(open_before=1)
    again = replace(again, run_id=first.run_id)
    assert booked(approved, sender, first) == ["opened"]
    much, small, small2 = run_of(epsilon_micro=1_000_001), run_of(epsilon_micro=1), run_of(epsilon_micro=1)
    before = approved.chain.block_number()

    told = booked(approved, sender, late, small, replace(much, delta_pico=1), again, small2)

    assert told == ["LedgerRunLate", "opened", "RegistryExceeds", "LedgerRunExists", "opened"]
    assert approved.chain.block_number() == before + 1
    assert spent(approved) == Spending(epsilon_micro=500_002, delta_pico=0, runs=3)
    runs = approved.chain.reader().study_history(approved.room.consortium).runs
    assert [(run.run_id, run.opening.note) for run in runs] == [
        (run.run_id, NOTE) for run in (first, small, small2)
    ]


@pytest.mark.anvil
def test_where_all_are_refused_nothing_is_sent_and_each_still_knows_why(
    approved: World, sender: Transactor
) -> None:
    before = approved.chain.block_number()
    told = booked(
        approved, sender, run_of(open_before=1), run_of(epsilon_micro=2_000_000), run_of(grant_hash=bytes(32))
    )
    assert told == ["LedgerRunLate", "RegistryExceeds", "LedgerRunIncomplete"]
    stranger = Transactor(approved.chain.url, secrets.token_bytes(32))
    assert booked(approved, stranger, run_of(), run_of()) == ["LedgerNotGate"] * 2
    approved.chain.revoke(approved.room, 0)
    assert booked(approved, sender, run_of(), run_of()) == ["LedgerStudyNotLive"] * 2
    assert approved.chain.block_number() == before + 1, "the revocation alone"
    assert spent(approved).runs == 0


@pytest.mark.anvil
def test_an_opening_that_is_sent_again_is_booked_once(approved: World, sender: Transactor) -> None:
    """The chain is the truth: a gate that died after it sent loses nothing by sending again."""
    run = run_of(epsilon_micro=500_000)
    assert [booked(approved, sender, run), booked(approved, sender, run)] == [["opened"], ["LedgerRunExists"]]
    assert spent(approved) == Spending(epsilon_micro=500_000, delta_pico=0, runs=1)


@pytest.mark.anvil
def test_a_run_that_the_ledger_refuses_when_it_is_mined_spoils_no_other(approved: World) -> None:
    """The state moved after the pre-check: here, the node hides from it that there is too little ε."""
    open_call = (
        "0x" + interface("Ledger").encode("open", CONSORTIUM, PROPOSED.solidity(), [], bytes(32))[:4].hex()
    )
    with RpcProxy(approved.chain.url) as proxy:
        hidden: list[str] = []

        def lie(method: str, params: list[Any], result: Any) -> Any:
            if method != "eth_call" or not params[0]["data"].startswith(open_call) or hidden:
                return result
            hidden.append(result)
            # Two runs, no reason against either.
            words = [32, 2, 64, 96, 0, 0]
            return "0x" + b"".join(word.to_bytes(32, "big") for word in words).hex()

        proxy.tamper = lie
        sender = Transactor(proxy.url, approved.gate._root.signer_key.reveal())
        told = booked(approved, sender, run_of(epsilon_micro=2_000_000), run_of(epsilon_micro=1))

    assert hidden and told == ["RegistryExceeds", "opened"]


@pytest.mark.anvil
def test_what_is_too_much_for_one_transaction_is_opened_by_several(
    approved: World, sender: Transactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gas, "MAX_GAS", 200_000)
    before = approved.chain.block_number()
    runs = [run_of(epsilon_micro=1) for _ in range(3)]
    assert booked(approved, sender, *runs) == ["opened"] * 3
    assert 1 < approved.chain.block_number() - before <= 3


@pytest.mark.parametrize(
    ("revert", "fields", "code", "status"),
    [
        ("LedgerStudyExceeds", {"kind": 1}, "budget-exceeded", 403),
        ("RegistryExceeds", {"kind": 5}, "budget-exceeded", 403),
        ("RegistryExceeds", {"kind": 6}, "runs-exhausted", 403),
        ("LedgerRunsExhausted", {}, "runs-exhausted", 403),
        ("LedgerRunExists", {}, "unknown-run-id-reused", 409),
        ("LedgerStudyNotLive", {}, "standing-mismatch", 403),
        ("LedgerStanding", {}, "standing-mismatch", 403),
        ("LedgerNotGate", {}, "gate-not-registered", 403),
        ("LedgerRunIncomplete", {}, "malformed", 400),
        ("LedgerRunLate", {}, "chain-unreachable", 503),
    ],
)
def test_the_ledgers_words_have_stable_codes(revert: str, fields: Any, code: str, status: int) -> None:
    error = TransactionError(Code.TRANSACTION_REVERTED, "x", revert=revert, fields=fields)
    told = booking_refused(error)
    assert (told.code, told.code.http) == (code, status)


@pytest.mark.anvil
def test_enclaves_that_come_at_the_same_time_share_a_transaction(world: World) -> None:
    """One asks for more than is left, and is refused for that; the others get their keys."""
    datasets = [one.id for one in world.sealed]
    world.study = world.chain.draft(world.room, compose_hash=sha256(RECIPE), datasets=datasets, max_runs=9)
    world.approve(0, 1)
    world.heartbeat()
    opener, go = world.gate._bookings._opener, threading.Event()

    class Held:
        """The first transaction waits until the others are there."""

        def book(self, *order: Any, note: bytes) -> Any:
            assert go.wait(PATIENCE_S)
            return opener.book(*order, note=note)

    world.gate._bookings._opener = Held()
    small = [Enclave(world, epsilon_micro=100_000, delta_pico=1) for _ in range(3)]
    large = [Enclave(world, epsilon_micro=1_200_000, delta_pico=1) for _ in range(2)]
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(small[0].ask)
        until(lambda: world.gate._bookings._thread is not None)
        until(lambda: not world.gate._bookings._queue)
        asked = [pool.submit(enclave.ask) for enclave in (*small[1:], *large)]
        until(lambda: len(world.gate._bookings._queue) == 4)
        go.set()
        answers = [each.result(PATIENCE_S) for each in (first, *asked)]

    alone, *together = [granted(answer) for answer in answers[:3]]
    assert alone.opened.tx not in {reply.opened.tx for reply in together}
    codes = sorted(answer.json().get("code", "granted") for answer in answers[3:])
    assert codes == ["budget-exceeded", "granted"]
    lucky = next(answer for answer in answers[3:] if answer.status_code == 200)
    assert len({reply.opened.tx for reply in (*together, granted(lucky))}) == 1
    unlucky = next(answer for answer in answers[3:] if answer.status_code != 200)
    assert "RegistryExceeds" in refused(unlucky, "budget-exceeded")["message"]
