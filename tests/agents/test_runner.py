# SPDX-License-Identifier: Apache-2.0
"""The runner and its store: one claim a run, one end a run, and no output without an anchor."""

from __future__ import annotations

import json
import os
import resource
import secrets
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError
from tests.agents.emitted import REPORT_KEY, failure_of, signed
from tests.agents.quiet_gate import quiet_gate, sealed_files
from tests.formats.worked import GATE_SIGNER
from tests.local_chain import LocalChain, private_key
from tests.outside import GATE, HOLDER, Lab
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy

from sealroom import typed
from sealroom.codes import Code
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import KeyReleaseError
from sealroom.failure import parse_failure
from sealroom.key_release import FinalityReply, FinalityRequest, Refusal, sign_finalized
from sealroom.model import Opening, Receipt
from sealroom.runtime.gate_client import GateRefused, HttpGate
from sealroom_agents import child_processes
from sealroom_agents.chain import ChainReader, Transactor, TxResult
from sealroom_agents.errors import ChainError, ConfigurationError, RunnerError, StoreError
from sealroom_agents.facts import LatestView
from sealroom_agents.runner import supervisor
from sealroom_agents.runner.backend import Assignment, Leftovers
from sealroom_agents.runner.command import command
from sealroom_agents.runner.completing import GATE_PATIENCE_S, LOOK_S, Completer
from sealroom_agents.runner.local import LocalBackend
from sealroom_agents.runner.preflight import LocalPreflight
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.service import Runner
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.store import ENDS, Holder, Run, Store
from sealroom_agents.store.content import content_at
from sealroom_agents.store.engine import open_engine
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Condition, Conditions

pytestmark = pytest.mark.anvil

PAYER = 16
"""anvil's account that pays for anchoring."""


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    yield Lab.on(chain, tmp_path)
    chain.restore(snapshot)


# --- the store -----------------------------------------------------------------------------------


@pytest.fixture
def store(database: str, tmp_path: Path) -> Iterator[Store]:
    store = Store(database, str(tmp_path / "content"))
    yield store
    store.close()


def submit(store: Store, *, waiting: bool = False) -> str:
    store.add_recipe("0x" + "5e" * 32, b"{}")
    run_id = "0x" + secrets.token_hex(32)
    store.submit(
        run_id, compose_hash="0x" + "5e" * 32, consortium="0x" + "c0" * 20, missing=[], waiting=waiting
    )
    return run_id


def test_each_run_is_claimed_exactly_once(database: str, store: Store) -> None:
    """Several runner processes on one database: here, several connections at the same time."""
    runs = {submit(store) for _ in range(12)}

    def take(number: int) -> list[str]:
        mine = Store(database)
        claimed = []
        holder = Holder(id=f"runner-{number}", place=f"place-{number}", name="r")
        while (run := mine.claim(holder)) is not None:
            claimed.append(run.id)
        mine.close()
        return claimed

    with ThreadPoolExecutor(4) as pool:
        taken = [run for claimed in pool.map(take, range(4)) for run in claimed]
    assert sorted(taken) == sorted(runs)


def test_a_run_only_moves_forward_and_ends_once(store: Store) -> None:
    submit(store)
    run = store.claim(HOLDER)
    assert run is not None
    store.advance(run, "computing", message="runs")
    with pytest.raises(StoreError) as caught:
        store.advance(run, "attesting", message="again")
    assert caught.value.code == "run-state"
    assert store.end(run, "revoked", code=Code.REVOKED, message="stop") is True
    assert store.end(run, "failed", code="late", message="too late") is False
    with pytest.raises(StoreError):
        store.emitted(run, "{}")
    assert store.run(run.id).state == "revoked"
    assert [event.phase for event in store.events(run.id)] == ["queued", "starting", "computing", "revoked"]


def test_events_can_neither_be_changed_nor_removed(database: str, store: Store) -> None:
    """RE-12: the database itself refuses, whoever asks."""
    run = submit(store)
    engine = open_engine(database)
    for statement in ("UPDATE run_events SET message = 'x'", "DELETE FROM run_events"):
        with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
            connection.execute(text(statement))
    assert [event.message for event in store.events(run)] == ["waits for a runner"]
    if path := engine.url.database if engine.dialect.name == "sqlite" else None:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    engine.dispose()


def test_processes_may_start_together_on_a_new_database(database: str) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = list(pool.map(lambda _: Store(database), range(6)))
    assert stores[0].runs() == []
    for store in stores:
        store.close()


def test_nobodys_words_stop_what_is_written_down_with_them(store: Store) -> None:
    """OP-09: a revocation whose reason no database takes as it is ends the run all the same."""
    submit(store)
    run = store.claim(HOLDER)
    assert run is not None
    seen = store.observe(
        run.consortium, kind=Code.REVOKED, steps=1, standing="0x5a", block=2**40, block_time=0.0,
        owner=None, reason="stop\0 \ud800 now",
    )  # fmt: skip
    assert "\0" not in seen.reason and seen.reason.startswith("stop\ufffd")
    assert store.order(run) == seen
    store.note(run, "granted", "a\0b")
    assert store.events(run.id)[-1].message == "a\ufffdb"


def test_a_database_that_cannot_be_opened_is_our_error() -> None:
    for url in ("nonsense", "sqlite:////proc/nowhere/x.db", "martian://x/y"):
        with pytest.raises(StoreError) as caught:
            Store(url)
        assert caught.value.code == "database"


# --- following one run ---------------------------------------------------------------------------


@dataclass
class ScriptedEnclave:
    """An enclave that says `lines` and ends with `exit`; with `exit` None it computes until it is killed."""

    lines: list[Mapping[str, object]]
    exit: int | None
    output: bytes | None = None
    left: bytes | None = None
    """Its failure file."""
    wipes: bool = False
    """Whether it ends by itself when it is asked to."""
    killed: bool = False
    cleaned: bool = False

    def line(self, timeout_s: float) -> Mapping[str, object] | None:
        if self.lines:
            return self.lines.pop(0)
        time.sleep(0.01)
        return None

    def exit_code(self) -> int | None:
        return None if self.lines else self.exit

    def envelope(self) -> bytes:
        if self.output is None:
            raise RunnerError(Code.NO_ENVELOPE, "the enclave left no envelope")
        return self.output

    def failure(self) -> bytes | None:
        return self.left

    def terminate(self) -> None:
        if self.wipes:
            self.lines.append({"phase": "lease-ended", "code": "stopped", "message": "keys are wiped"})
            self.exit = 4

    def kill(self) -> None:
        self.killed = True

    def clean(self) -> None:
        self.killed = self.cleaned = True


@dataclass
class ScriptedBackend:
    """Starts what the test wrote."""

    enclave: ScriptedEnclave
    started: list[Assignment] = field(default_factory=list)
    found: dict[str, Leftovers] = field(default_factory=dict)
    """What a runner that is gone left."""
    forgotten: list[str] = field(default_factory=list)

    def start(self, assignment: Assignment) -> ScriptedEnclave:
        self.started.append(assignment)
        return self.enclave

    def leftovers(self, run_id: str) -> Leftovers:
        return self.found.get(run_id, Leftovers(started=True, envelope=None, failure=None))

    def forget(self, run_id: str) -> None:
        self.forgotten.append(run_id)

    def known(self) -> list[str]:
        return list(self.found)


WAY = [
    {"phase": "attesting", "composeHash": "0x5e"},
    {"phase": "granted", "block": 12},
    {"phase": "computing"},
    {"phase": "renewed", "left": 29.5, "seconds": 30},
    {"phase": "final"},
    {"phase": "emitting"},
]


def follow(
    lab: Lab, enclave: ScriptedEnclave, *, stop: threading.Event | None = None, timeout: float = PATIENCE_S
) -> Run:
    """Submit, claim, follow; returns how the run stands then."""
    lab.submit()
    run = lab.take()
    follower = Supervisor(
        lab.store, lab.reader, ScriptedBackend(enclave), stop=stop or threading.Event(), run_timeout_s=timeout
    )
    follower.supervise(run)
    assert enclave.killed
    assert enclave.cleaned
    return lab.store.run(run.id)


def test_a_run_that_ends_well_waits_for_its_anchor(lab: Lab) -> None:
    """CH-28: no anchor, no envelope."""
    run = follow(lab, ScriptedEnclave([*WAY, {"phase": "done"}], exit=0, output=b'{"draft":1}'))
    assert run.state == "anchoring"
    assert lab.store.draft(run.id) == '{"draft":1}'
    assert lab.store.envelope(run.id) is None
    assert run.lease_seconds == 30 and run.lease_until is not None
    phases = [event.phase for event in lab.store.events(run.id)]
    assert phases == [
        "queued",
        "starting",
        "attesting",
        "granted",
        "computing",
        "final",
        "emitting",
        "anchoring",
    ]


def test_the_enclave_boots_the_stored_bytes_under_the_consortiums_app(lab: Lab) -> None:
    lab.submit()
    run = lab.take()
    backend = ScriptedBackend(ScriptedEnclave([], exit=3))
    Supervisor(lab.store, lab.reader, backend, stop=threading.Event(), run_timeout_s=PATIENCE_S).supervise(
        run
    )
    (assignment,) = backend.started
    assert assignment.compose == lab.recipe.compose
    assert (assignment.app, assignment.consortium) == (lab.room.app, lab.room.consortium)
    assert (assignment.chain_id, assignment.run_id) == (31337, run.id)


@pytest.mark.parametrize(
    ("said", "status", "state", "code"),
    [
        ({"phase": "refused", "code": "not-approved", "message": "1 of 2"}, 3, "refused", "not-approved"),
        ({"phase": "lease-ended", "code": "revoked", "message": "C revoked"}, 4, "revoked", "revoked"),
        ({"phase": "lease-ended", "code": "watcher-dead", "message": "silent"}, 4, "failed", "watcher-dead"),
        ({"phase": "failed", "code": "job-failed", "message": "ValueError"}, 5, "failed", "job-failed"),
        ({"phase": "failed", "code": "usage", "message": "wrong"}, 78, "failed", "usage"),
        ({"phase": "computing"}, 1, "failed", "enclave-died"),
        ({"phase": "computing"}, -9, "failed", "enclave-died"),
    ],
)
def test_every_exit_has_its_state(
    lab: Lab, said: Mapping[str, object], status: int, state: str, code: str
) -> None:
    run = follow(lab, ScriptedEnclave([said], exit=status))
    assert (run.state, run.code) == (state, code)
    assert run.message


FAILED = {"phase": "failed", "code": "run-failed", "message": "the run failed"}


@pytest.mark.parametrize(("lines", "status"), [([FAILED], 5), ([], -9)], ids=["said", "unsaid"])
def test_a_failure_file_is_kept_for_whoever_asks(
    lab: Lab, lines: list[Mapping[str, object]], status: int
) -> None:
    lab.submit()
    held = lab.take()
    enclave = ScriptedEnclave([*WAY[:3], *lines], exit=status, left=failure_of(held))
    Supervisor(
        lab.store, lab.reader, ScriptedBackend(enclave), stop=threading.Event(), run_timeout_s=PATIENCE_S
    ).supervise(held)
    run = lab.store.run(held.id)
    assert (run.state, run.code) == ("failed", "run-failed")
    kept = lab.store.failure(run.id)
    assert kept is not None
    assert parse_failure(kept.encode()).open(REPORT_KEY).code == "job-timeout"


def test_a_failure_file_of_another_run_or_of_nobody_is_not_kept(lab: Lab) -> None:
    """OU-09."""
    for change, code in (
        (lambda run: failure_of(run, run_id="0x" + "11" * 32), "failure-mismatch"),
        (lambda run: failure_of(run).replace(b"0x", b"0X", 1), "malformed"),
    ):
        lab.submit()
        held = lab.take()
        enclave = ScriptedEnclave([*WAY[:3], FAILED], exit=5, left=change(held))
        Supervisor(
            lab.store, lab.reader, ScriptedBackend(enclave), stop=threading.Event(), run_timeout_s=PATIENCE_S
        ).supervise(held)
        run = lab.store.run(held.id)
        assert (run.state, run.code) == ("failed", code)
        assert lab.store.failure(run.id) is None


def test_what_no_enclave_says_ends_the_run(lab: Lab) -> None:
    run = follow(lab, ScriptedEnclave([{"phase": "approved"}], exit=0))
    assert (run.state, run.code) == ("failed", "enclave-protocol")


@pytest.mark.parametrize("wipes", [True, False], ids=["wipes", "stubborn"])
def test_the_watchers_word_ends_a_running_enclave(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, wipes: bool
) -> None:
    """OP-10: the run ends as revoked, with the time at which its last process was dead; whether the enclave
    wiped its keys when it was asked to, or had to be killed."""
    monkeypatch.setattr(supervisor, "WIPE_S", PATIENCE_S if wipes else 0.0)
    enclave = ScriptedEnclave([*WAY[:3]], exit=None, wipes=wipes)
    block_time = time.time()

    def revoke() -> None:
        until(lambda: not enclave.lines)
        lab.store.observe(
            lab.room.consortium, kind="revoked", steps=3, standing="0x5a", block=9,
            block_time=block_time, owner=lab.room.owners[2].account, reason="consent withdrawn",
        )  # fmt: skip

    watcher = threading.Thread(target=revoke)
    watcher.start()
    run = follow(lab, enclave)
    watcher.join()
    assert (run.state, run.code) == ("revoked", "revoked")
    assert run.message == 'revoked by hospital-C: "consent withdrawn"'
    assert run.killed is not None
    phases = [event.phase for event in lab.store.events(run.id)]
    assert phases[-2:] == ["killed", "revoked"]
    assert ("lease-ended" in phases) is wipes
    (seen,) = lab.store.observations(lab.room.consortium)
    assert seen.killed == run.killed


def test_a_run_that_is_taken_back_while_it_computes_is_killed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends as cancelled, by whom is said, and no owner has stopped anything."""
    monkeypatch.setattr(supervisor, "WIPE_S", PATIENCE_S)
    enclave = ScriptedEnclave([*WAY[:3]], exit=None, wipes=True)
    who = lab.room.owners[0].account

    def cancel() -> None:
        until(lambda: not enclave.lines)
        (run,) = lab.store.runs()
        lab.store.cancel(run.id, by=who)

    asker = threading.Thread(target=cancel)
    asker.start()
    run = follow(lab, enclave)
    asker.join()
    assert (run.state, run.code, run.message) == ("cancelled", "cancelled", f"taken back by {who}")
    assert run.killed is not None and lab.store.observations(lab.room.consortium) == []


def test_an_envelope_that_came_after_the_watchers_word_is_dropped(lab: Lab) -> None:
    """A result that was ready in the very moment of the revocation does not leave either."""

    class Late(ScriptedEnclave):
        def line(self, timeout_s: float) -> Mapping[str, object] | None:
            if not self.lines:
                seen = {"kind": "revoked", "steps": 3, "standing": "0x5a", "block": 9, "block_time": 0.0}
                lab.store.observe(lab.room.consortium, owner=None, reason="x", **seen)
            return super().line(timeout_s)

    run = follow(lab, Late([*WAY, {"phase": "done"}], exit=0))
    assert run.state == "revoked"
    assert lab.store.draft(run.id) is None


def test_a_run_that_takes_too_long_is_killed(lab: Lab) -> None:
    run = follow(lab, ScriptedEnclave([*WAY[:3]], exit=None), timeout=0.2)
    assert (run.state, run.code) == ("failed", "timeout")


def test_a_runner_that_stops_ends_its_runs(lab: Lab) -> None:
    stop = threading.Event()

    class Computing(ScriptedEnclave):
        def line(self, timeout_s: float) -> Mapping[str, object] | None:
            if not self.lines:
                stop.set()
            return super().line(timeout_s)

    run = follow(lab, Computing([*WAY[:3]], exit=None), stop=stop)
    assert (run.state, run.code) == ("failed", "runner-stopped")


# --- publishing ----------------------------------------------------------------------------------


def emit(lab: Lab, study: bytes, *, run_id: bytes | None = None) -> tuple[Run, Envelope]:
    """A run whose enclave has emitted; the ledger has opened it, nothing is anchored."""
    lab.submit()
    run = lab.take()
    envelope = signed(lab, study, run_id or bytes.fromhex(run.id[2:]))
    lab.store.emitted(run, envelope.encode().decode())
    return lab.store.run(run.id), envelope


@dataclass
class CountingSender:
    """The real transactor, which fails `failures` times first."""

    transactor: Transactor
    failures: int = 0
    sent: int = 0

    def anchor(self, ledger: str, receipt: Receipt, opening: Opening, signature: bytes) -> TxResult:
        if self.failures:
            self.failures -= 1
            raise ChainError(Code.CHAIN_UNREACHABLE, "the node does not answer")
        self.sent += 1
        return self.transactor.anchor(ledger, receipt, opening, signature)


def publisher(lab: Lab, *, failures: int = 0) -> tuple[Publisher, CountingSender]:
    sender = CountingSender(Transactor(lab.chain.url, private_key(PAYER)), failures)
    return Publisher(lab.store, lab.reader, sender, stop=threading.Event(), chain_id=31337), sender


def test_an_envelope_is_published_with_its_anchor_and_approvals(lab: Lab) -> None:
    study = lab.live()
    run, emitted = emit(lab, study)
    assert lab.store.envelope(run.id) is None

    publish, _ = publisher(lab)
    publish.publish(run)
    assert lab.store.run(run.id).state == "done"
    published = parse_envelope((lab.store.envelope(run.id) or "").encode())
    anchor = published.anchor
    assert anchor is not None
    assert (anchor.chain_id, anchor.ledger, anchor.sequence) == (31337, lab.room.ledger, 1)
    assert [approval.owner for approval in anchor.approvals] == [
        owner.account for owner in lab.room.owners[:2]
    ]
    assert replace(published, anchor=None) == emitted
    found = lab.reader.receipt(lab.room.ledger, emitted.receipt, emitted.receipt_signature)
    assert found is not None
    assert (found.verdict.anchored, found.verdict.sequence) == (True, 1)
    assert lab.store.draft(run.id) is None


def test_a_published_envelope_gets_its_proofs_once_it_is_final(lab: Lab) -> None:
    """It is published at once, and once more: what changes are the proofs, and the gate's word. A node or a
    gate that fails is asked later, and one that has answered no more."""
    study = lab.live()
    run, _ = emit(lab, study)
    publisher(lab)[0].publish(run)
    published = lab.store.envelope(run.id) or ""
    now = 0.0
    gate = Word(lab, refusal=KeyReleaseError(Code.GATE_UNREACHABLE, "the gate is away"))
    with RpcProxy(lab.chain.url) as proxy:
        completer = Completer(lab.store, lab.chain.reader(proxy.url), gate, clock=lambda: now)
        completer.look()
        assert lab.store.envelope(run.id) == published
        lab.chain.finalize()
        completer.look()  # too early after the look before
        assert lab.store.envelope(run.id) == published
        now += 10 * LOOK_S
        proxy.refuses = lambda method, params: "Receipt" in method
        completer.look()
        assert lab.store.envelope(run.id) == published
        now += 10 * LOOK_S
        proxy.refuses = lambda method, params: False
        completer.look()
        assert lab.store.envelope(run.id) == published
        now += 10 * LOOK_S
        gate.refusal = None
        completer.look()
        complete = parse_envelope((lab.store.envelope(run.id) or "").encode())
        before = parse_envelope(published.encode())
        assert complete.anchor is not None and before.anchor is not None
        assert len(complete.anchor.proofs) == 5
        assert [block.number for block in complete.anchor.finalized] == list(gate.asked[-1])
        more: dict[str, Any] = {"proofs": complete.anchor.proofs, "finalized": complete.anchor.finalized}
        assert complete == before.with_anchor(replace(before.anchor, **more))
        now += 10 * LOOK_S
        calls = proxy.calls
        completer.look()
        assert proxy.calls == calls
    assert not lab.store.complete(run.id, published, "{}")


@dataclass
class Word:
    """The gate that granted, as far as it says which blocks are final."""

    lab: Lab
    refusal: Exception | None = None
    key: bytes = GATE_SIGNER
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def finalized(self, message: FinalityRequest) -> FinalityReply:
        self.asked.append(message.numbers)
        if self.refusal is not None:
            raise self.refusal
        at: dict[str, Any] = {"chain_id": 31337, "consortium": message.consortium, "private_key": self.key}
        hashes = {number: self.lab.reader.block(number).hash for number in message.numbers}
        return FinalityReply(blocks=tuple(sign_finalized(*block, **at) for block in hashes.items()))


@pytest.mark.parametrize("how", ["away", "refuses", "another gate"])
def test_an_envelope_gets_its_proofs_without_the_gates_word_at_last(lab: Lab, how: str) -> None:
    """RE-06: a gate that is lost, replaced or unwilling keeps nobody from a result; that is published once
    more, and no more often."""
    run, _ = emit(lab, lab.live())
    publisher(lab)[0].publish(run)
    published = lab.store.envelope(run.id) or ""
    lab.chain.finalize()
    away = KeyReleaseError(Code.GATE_UNREACHABLE, "the gate is away")
    no = GateRefused(Refusal(Code.GATE_NOT_REGISTERED, "no"))
    gate = Word(lab, refusal={"away": away, "refuses": no}.get(how), key=private_key(PAYER))
    now = 0.0
    completer = Completer(lab.store, lab.reader, gate, clock=lambda: now)
    completer.look()
    if how == "away":
        assert lab.store.envelope(run.id) == published
        now += GATE_PATIENCE_S
        completer.look()
    complete = parse_envelope((lab.store.envelope(run.id) or "").encode())
    assert complete.anchor is not None
    assert (len(complete.anchor.proofs), complete.anchor.finalized) == (5, ())
    asked = len(gate.asked)
    now += GATE_PATIENCE_S
    completer.look()
    assert len(gate.asked) == asked


def anchor_outside(lab: Lab, emitted: Envelope) -> TxResult:
    """Anchor a receipt past the runner."""
    found = lab.reader.receipt(lab.room.ledger, emitted.receipt, emitted.receipt_signature)
    assert found is not None
    return Transactor(lab.chain.url, private_key(PAYER)).anchor(
        lab.room.ledger, emitted.receipt, found.opening, emitted.receipt_signature
    )


@dataclass
class OvertakenSender:
    """The real transactor, before which another transaction is mined: `overtake` sends it."""

    transactor: Transactor
    overtake: Callable[[], TxResult]
    overtaken_by: TxResult | None = None
    sent: int = 0

    def anchor(self, ledger: str, receipt: Receipt, opening: Opening, signature: bytes) -> TxResult:
        self.sent += 1
        self.overtaken_by = self.overtaken_by or self.overtake()
        return self.transactor.anchor(ledger, receipt, opening, signature)


@pytest.mark.parametrize("how", ["a dead runner's transaction", "a batch", "another receipt"])
def test_a_receipt_that_is_anchored_while_ours_is_on_its_way_is_published(lab: Lab, how: str) -> None:
    """RE-06: a runner is killed after it sent its transaction, and the next one looks before that is mined;
    or the gate's batch comes between. The envelope of a receipt that is on chain is never lost."""
    study = lab.live()
    run, emitted = emit(lab, study)
    digest = typed.digest(typed.receipt(emitted.receipt, chain_id=31337, ledger=lab.room.ledger))

    def overtake() -> TxResult:
        if how.startswith("a dead"):
            return anchor_outside(lab, emitted)
        return Transactor(lab.chain.url, private_key(GATE)).anchor_batch(
            lab.room.ledger,
            lab.room.consortium,
            standing=emitted.grant.standing,
            numbers=[1],
            digests=[digest if how == "a batch" else bytes(32)],
        )

    sender = OvertakenSender(Transactor(lab.chain.url, private_key(PAYER)), overtake)
    publish = Publisher(lab.store, lab.reader, sender, stop=threading.Event(), chain_id=31337)
    publish.publish(run)
    ended = lab.store.run(run.id)
    assert sender.sent == 1
    if how == "another receipt":
        assert (ended.state, ended.code) == ("failed", "receipt-mismatch")
        return
    assert (ended.state, ended.code) == ("done", None)
    published = parse_envelope((lab.store.envelope(run.id) or "").encode())
    assert published.anchor is not None and sender.overtaken_by is not None
    assert "0x" + published.anchor.tx.hex() == sender.overtaken_by.tx
    lab.chain.finalize()
    proven = lab.reader.with_proofs(published)
    assert proven is not None and proven.anchor is not None and len(proven.anchor.proofs) == 5


def test_a_run_that_the_ledger_never_opened_is_not_published(lab: Lab) -> None:
    """No anchor, no output; its twin is the test above."""
    study = lab.live()
    snapshot = lab.chain.snapshot()
    run, _ = emit(lab, study)
    lab.chain.restore(snapshot)
    publish, sender = publisher(lab)
    publish.publish(run)
    assert (lab.store.run(run.id).state, lab.store.run(run.id).code) == ("failed", "run-not-opened")
    assert sender.sent == 0


def test_a_receipt_that_the_gate_anchored_in_a_batch_is_published_with_its_place(lab: Lab) -> None:
    study = lab.live()
    run, emitted = emit(lab, study)
    digest = typed.digest(typed.receipt(emitted.receipt, chain_id=31337, ledger=lab.room.ledger))
    gate = Transactor(lab.chain.url, private_key(GATE))
    done = gate.anchor_batch(
        lab.room.ledger, lab.room.consortium, standing=emitted.grant.standing, numbers=[1], digests=[digest]
    )
    publish, sender = publisher(lab)
    publish.publish(run)
    assert (lab.store.run(run.id).state, sender.sent) == ("done", 0)
    anchor = parse_envelope((lab.store.envelope(run.id) or "").encode()).anchor
    assert anchor is not None
    assert ("0x" + anchor.tx.hex(), anchor.block, anchor.sequence) == (done.tx, done.block_number, 1)


def test_another_receipt_of_the_run_in_a_batch_ends_it(lab: Lab) -> None:
    """What stands on chain is not what would be published."""
    study = lab.live()
    run, emitted = emit(lab, study)
    gate = Transactor(lab.chain.url, private_key(GATE))
    gate.anchor_batch(
        lab.room.ledger,
        lab.room.consortium,
        standing=emitted.grant.standing,
        numbers=[1],
        digests=[bytes(32)],
    )
    publish, _ = publisher(lab)
    publish.publish(run)
    assert (lab.store.run(run.id).state, lab.store.run(run.id).code) == ("failed", "receipt-mismatch")
    assert lab.store.envelope(run.id) is None


def test_a_revocation_before_the_anchor_drops_the_envelope(lab: Lab) -> None:
    """The ledger itself refuses a receipt of an older standing; nothing is ever shown."""
    study = lab.live()
    run, _ = emit(lab, study)
    lab.chain.revoke(lab.room, 2, "stop")
    publish, _ = publisher(lab)
    publish.publish(run)
    ended = lab.store.run(run.id)
    assert (ended.state, ended.code) == ("revoked", "revoked")
    assert lab.store.envelope(run.id) is None
    assert lab.store.draft(run.id) is None


def test_another_runs_envelope_is_not_published(lab: Lab) -> None:
    study = lab.live()
    run, _ = emit(lab, study, run_id=secrets.token_bytes(32))
    publish, sender = publisher(lab)
    publish.publish(run)
    assert (lab.store.run(run.id).state, lab.store.run(run.id).code) == ("failed", "envelope-mismatch")
    assert sender.sent == 0


def test_a_forged_envelope_is_not_published(lab: Lab) -> None:
    study = lab.live()
    run, emitted = emit(lab, study)
    changed = json.loads(emitted.encode())
    changed["result"]["epsilon"] = "0.1"
    lab.store.end(run, "failed", code="x", message="x")
    lab.submit()
    run = lab.take()
    lab.store.emitted(run, json.dumps(changed))
    publish, sender = publisher(lab)
    publish.publish(lab.store.run(run.id))
    assert lab.store.run(run.id).state == "failed"
    assert sender.sent == 0


def test_a_chain_that_is_away_is_tried_again(lab: Lab) -> None:
    """CH-28."""
    study = lab.live()
    run, _ = emit(lab, study)
    publish, sender = publisher(lab, failures=2)
    publish.publish(run)
    assert lab.store.run(run.id).state == "done"
    assert sender.sent == 1


def test_a_crash_after_the_anchor_anchors_no_second_time(lab: Lab) -> None:
    """RE-06: the runner died between the transaction and the store."""
    study = lab.live()
    run, emitted = emit(lab, study)
    sent = anchor_outside(lab, emitted)
    publish, sender = publisher(lab)
    publish.publish(run)
    assert sender.sent == 0
    published = parse_envelope((lab.store.envelope(run.id) or "").encode())
    assert published.anchor is not None
    assert "0x" + published.anchor.tx.hex() == sent.tx


# --- the loop ------------------------------------------------------------------------------------


def runner(
    lab: Lab,
    backend: Any,
    *,
    stop: threading.Event | None = None,
    drain: threading.Event | None = None,
    holder: Holder = HOLDER,
    preflight: LocalPreflight | None = None,
    **options: Any,
) -> Runner:
    stop = stop or threading.Event()
    publish, _ = publisher(lab)
    return Runner(
        lab.store,
        lab.reader,
        backend,
        Supervisor(lab.store, lab.reader, backend, stop=stop, run_timeout_s=PATIENCE_S, preflight=preflight),
        publish,
        HttpGate("http://127.0.0.1:9"),
        holder=holder,
        parallel=1,
        stop=stop,
        drain=drain,
        preflight=preflight,
        **options,
    )


def test_a_waiting_run_is_queued_when_the_last_approval_is_final(lab: Lab) -> None:
    lab.register()
    study = lab.propose(owner=2)
    run = lab.submit(waiting=True)
    one = runner(lab, ScriptedBackend(ScriptedEnclave([], exit=3)))

    def recheck() -> tuple[str, list[str]]:
        one._rechecked = 0.0
        one.recheck()
        state = lab.store.run(run)
        return state.state, [item["code"] for item in state.missing]

    assert recheck() == ("waiting", ["data-owner-approval-missing"] * 2)
    lab.chain.approve(lab.room, study, 0, 1)
    assert recheck() == ("waiting", ["not-finalized"])
    lab.chain.finalize()
    assert recheck() == ("queued", [])


def test_a_waiting_run_that_is_revoked_goes_to_the_gate(lab: Lab) -> None:
    """Waiting only while approvals can still arrive; the refusal is the gate's to give."""
    lab.register()
    lab.propose()
    run = lab.submit(waiting=True)
    lab.chain.revoke(lab.room, 2, "stop")
    runner(lab, ScriptedBackend(ScriptedEnclave([], exit=3))).recheck()
    assert lab.store.run(run).state == "queued"


def test_the_loop_carries_runs_to_their_end_and_stops(lab: Lab) -> None:
    stop = threading.Event()
    runs = [lab.submit() for _ in range(3)]
    refused = {"phase": "refused", "code": "not-approved", "message": "0 of 2"}

    class Fresh(ScriptedBackend):
        def start(self, assignment: Assignment) -> ScriptedEnclave:
            return ScriptedEnclave([refused], exit=3)

    loop = threading.Thread(
        target=runner(lab, Fresh(ScriptedEnclave([], exit=3)), stop=stop).serve, daemon=True
    )
    loop.start()
    until(lambda: all(lab.store.run(run).state in ENDS for run in runs))
    stop.set()
    loop.join(PATIENCE_S)
    assert not loop.is_alive()
    assert {lab.store.run(run).code for run in runs} == {"not-approved"}


# --- what is looked at before anything is spent --------------------------------------------------


def test_a_run_waits_until_its_operator_has_seen_to_what_would_fail_later(lab: Lab, tmp_path: Path) -> None:
    """OP-05, RE-06: each condition by its name, before the enclave starts, and so before ε is booked."""
    lab.live()
    datasets = tmp_path / "sealed"
    first, _ = sealed_files(lab, datasets)
    with quiet_gate() as gate:
        room = [True]
        conditions = Conditions([lambda: Condition("disk", room[0], "0 MiB free")])
        preflight = LocalPreflight(conditions, datasets, lab.store.content, gate.url)
        backend = ScriptedBackend(ScriptedEnclave([], exit=3))
        one = runner(lab, backend, preflight=preflight)
        run = lab.submit()

        def after_a_look() -> tuple[str, list[str]]:
            """Claimed if it is queued, else looked at again; what is missing then."""
            preflight._shared = float("-inf"), ()
            lab.chain.keep_real_time()
            if lab.store.run(run).state == "queued":
                one.process(lab.take())
            else:
                one._rechecked = 0.0
                one.recheck()
            found = lab.store.run(run)
            return found.state, [f"{item['code']}: {item['message']}" for item in found.missing]

        def waits_for(code: str, says: str) -> None:
            for _ in range(2):  # held when it was claimed, and not queued while nothing has changed
                phase, (missing,) = after_a_look()
                assert phase == "waiting"
                assert missing.startswith(code) and says in missing

        whole = first.read_bytes()
        first.unlink()
        waits_for("dataset-not-ready", "hospital-A/cohort-A.tar cannot be read by the runner: No such file")
        first.write_bytes(whole[: len(whole) // 2])
        waits_for("dataset-not-ready", "hospital-A/cohort-A.tar: ")
        at = whole.index(b"parts/00000") + 512
        first.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        waits_for("dataset-not-ready", "hospital-A/cohort-A.tar: ")
        first.write_bytes(whole)
        gate.missing = ["watcher", "balance"]
        waits_for("gate-not-ready", "not ready: watcher, balance")
        gate.missing = []
        preflight.gate = "http://127.0.0.1:9"
        waits_for("gate-not-ready", "the gate does not answer")
        preflight.gate = gate.url
        room[0] = False
        waits_for("runner-not-ready", "disk: 0 MiB free")
        room[0] = True
        (tmp_path / "file").touch()
        preflight.content = content_at(str(tmp_path / "file"))
        waits_for("runner-not-ready", "content: ")
        preflight.content = lab.store.content
        assert backend.started == []
        assert after_a_look() == ("queued", [])
        state, _ = after_a_look()
        assert state == "refused", lab.store.run(run)
        assert len(backend.started) == 1
        phases = [event.phase for event in lab.store.events(run)]
        assert phases.count("waiting") < 16, "words change with every look; only another thing is news"


def test_a_run_that_the_gate_will_refuse_waits_for_nobody(lab: Lab, tmp_path: Path) -> None:
    lab.live()
    lab.chain.revoke(lab.room, 2, "stop")
    run = lab.submit(waiting=True)
    preflight = LocalPreflight(NO_CONDITIONS, tmp_path, lab.store.content, "http://127.0.0.1:9")
    one = runner(lab, ScriptedBackend(ScriptedEnclave([], exit=3)), preflight=preflight)
    one.recheck()
    one.process(lab.take())
    assert lab.store.run(run).state == "refused"


# --- the local backend, with real processes ------------------------------------------------------


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("platform")
    SimulatedPlatform.create(folder / "p")
    return folder / "p"


def test_a_real_enclave_is_started_confined_and_cleaned_up(lab: Lab, platform: Path, tmp_path: Path) -> None:
    """OP-03: its own folder, an empty environment, no secret in its arguments; nothing but logs stays."""
    backend = LocalBackend(
        platform=platform, datasets=tmp_path / "sealed", state=tmp_path / "state", gate="http://127.0.0.1:9"
    )
    run_id = "0x" + secrets.token_hex(32)
    enclave = backend.start(
        Assignment(
            run_id=run_id,
            consortium=lab.room.consortium,
            app=lab.room.app,
            chain_id=31337,
            compose=lab.recipe.compose,
        )
    )
    try:
        folder = tmp_path / "state" / run_id[2:]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(enclave.socket.parent.stat().st_mode) == 0o700
        assert enclave.program is not None
        assert enclave.guest is not None
        assert enclave.job is not None
        for process in (enclave.program, enclave.job, enclave.guest):
            given = Path(f"/proc/{process.pid}/environ").read_bytes()
            assert b"HOME=" not in given
            assert b"PYTHON" not in given
            assert os.getsid(process.pid) == process.pid
        lines = []
        deadline = time.monotonic() + PATIENCE_S
        while enclave.exit_code() is None:
            assert time.monotonic() < deadline
            line = enclave.line(0.2)
            if line is not None:
                lines.append(line)
        # Without datasets and without a gate it is refused, and says so in its last line.
        assert enclave.exit_code() == 3
        assert lines[-1]["phase"] == "refused"
        with pytest.raises(RunnerError) as caught:
            enclave.envelope()
        assert caught.value.code == "no-envelope"
    finally:
        enclave.clean()
    assert sorted(path.name for path in folder.iterdir()) == ["enclave.log", "guest.log", "job.log"]
    assert not enclave.socket.parent.exists()
    assert enclave.guest.poll() is not None
    assert enclave.job.poll() is not None


def test_a_full_or_missing_disk_ends_a_start_with_its_cause_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assignment = Assignment("0x" + "ab" * 32, "0x" + "c0" * 20, "0x" + "a0" * 20, 31337, b"{}")
    for state in (tmp_path / "file", tmp_path / "state"):
        backend = LocalBackend(tmp_path, tmp_path, state, "http://127.0.0.1:9")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))  # no file can be written, as on a full disk
        try:
            with pytest.raises(RunnerError) as error:
                backend.start(assignment)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert error.value.code == "backend"
    assert [path.name for path in (tmp_path / "state" / ("ab" * 32)).iterdir()] == []


def test_a_kill_reaches_children_in_sessions_of_their_own() -> None:
    """OP-10: a job that moved to another session dies with its enclave."""
    child = "import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(9999)"
    parent = (
        f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(9999)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    grandchild = int(process.stdout.readline())
    assert child_processes.kill(process.pid)
    assert process.wait(PATIENCE_S) == -9
    until(lambda: _state(grandchild) == "Z")
    process.stdout.close()


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


# --- the command ---------------------------------------------------------------------------------


def test_the_command_refuses_a_simulated_platform_off_a_local_chain(platform: Path, tmp_path: Path) -> None:
    """AT-22's counterpart outside: a simulated machine never serves a real consortium."""
    key = tmp_path / "key"
    key.touch(mode=0o600)
    key.write_text("0x" + "11" * 32)
    with LocalChain.start(chain_id=560048) as chain, RpcProxy(chain.url) as second:
        nodes = (chain.url, second.url, "http://127.0.0.1:9")  # a quorum is enough, CH-03
        arguments = [
            *(word for url in nodes for word in ("--rpc", url)),
            *("--rpc-quorum", "2", "--gate", "http://127.0.0.1:9", "--max-fee", "90"),
            *("--database", f"sqlite:///{tmp_path}/r.db"),
            *("--platform", str(platform), "--datasets", str(tmp_path), "--state", str(tmp_path / "s")),
            *("--key-file", str(key)),
        ]
        result = CliRunner().invoke(command, arguments, standalone_mode=False)
    assert isinstance(result.exception, ConfigurationError)
    assert "chain 560048" in str(result.exception)


def test_latest_view_is_all_that_following_reads(lab: Lab) -> None:
    """A chain that is away for a moment does not lose a claimed run."""

    @dataclass
    class Shaky:
        reader: ChainReader
        failures: int

        def chain_id(self) -> int:
            return self.reader.chain_id()

        def latest_view(self, consortium: str, *, whole: bool = False) -> LatestView:
            if self.failures:
                self.failures -= 1
                raise ChainError(Code.CHAIN_UNREACHABLE, "away")
            return self.reader.latest_view(consortium, whole=whole)

    lab.submit()
    run = lab.take()
    backend = ScriptedBackend(ScriptedEnclave([{"phase": "refused", "code": "x", "message": "y"}], exit=3))
    Supervisor(
        lab.store, Shaky(lab.reader, 2), backend, stop=threading.Event(), run_timeout_s=PATIENCE_S
    ).supervise(run)
    assert lab.store.run(run.id).code == "x"
