# SPDX-License-Identifier: Apache-2.0
"""Runners come and go; a run is carried out once, and what was finished is never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests import processes
from tests.agents.emitted import signed
from tests.agents.quiet_gate import QuietGate, quiet_gate, sealed_files
from tests.local_chain import LocalChain, private_key
from tests.outside import HOLDER, Lab
from tests.patience import PATIENCE_S, until

from sealroom.codes import Code
from sealroom.envelope import parse_envelope
from sealroom.runtime.gate_client import HttpGate
from sealroom_agents import child_guard, child_processes
from sealroom_agents.chain import ChainReader, Transactor
from sealroom_agents.chain.rpc import Rpc
from sealroom_agents.errors import RunnerError, StoreError
from sealroom_agents.runner import local
from sealroom_agents.runner.backend import Assignment
from sealroom_agents.runner.local import LocalBackend, LocalEnclave
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.service import Runner
from sealroom_agents.runner.state_folder import lock_folder
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.store import ENDS, Holder, Run, Store
from sealroom_agents.store.claims import ABANDONED_S, CLAIM_S
from sealroom_agents.upkeep.backup import backup as write_backup
from sealroom_agents.upkeep.backup import restore as read_backup
from sealroom_agents.upkeep.command import rebuild

pytestmark = pytest.mark.anvil

PAYER = 16
"""anvil's account that pays for anchoring."""
MOST_STEPS = 200
RECIPE, CONSORTIUM = "0x" + "5e" * 32, "0x" + "c0" * 20
ELSEWHERE = Holder(id="two", place="there", name="two")
AGAIN = replace(HOLDER, id="three")
"""The next process of the same place."""


# --- claims --------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Time that passes when the test says so."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def steady() -> Clock:
    """A clock that nobody sets."""
    return Clock(now=5.0)


@pytest.fixture
def store(database: str, clock: Clock, steady: Clock, tmp_path: Path) -> Iterator[Store]:
    store = Store(database, str(tmp_path / "content"), clock=clock, steady=steady)
    yield store
    store.close()


def submit(store: Store, run: str = "1") -> str:
    store.add_recipe(RECIPE, b"{}")
    run_id = "0x" + run * 64
    store.submit(run_id, compose_hash=RECIPE, consortium=CONSORTIUM, missing=[], waiting=False)
    return run_id


def claimed(store: Store, state: str = "computing") -> Run:
    """A run that HOLDER has taken that far."""
    submit(store)
    run = store.claim(HOLDER)
    assert run is not None
    if state == "anchoring":
        store.emitted(run, "{}")
    elif state != "starting":
        store.advance(run, state, message="x")
    return run


def watched(store: Store, clock: Clock, steady: Clock) -> Run | None:
    """What a runner elsewhere takes once it has watched for as long as a claim holds."""
    assert store.claim(ELSEWHERE) is None
    for clock_ in (clock, steady):
        clock_.now += CLAIM_S
    return store.claim(ELSEWHERE)


@pytest.mark.parametrize("state", ["starting", "attesting", "computing", "anchoring"])
def test_a_run_whose_runner_is_gone_is_taken_up_whatever_the_host_is_called(
    store: Store, clock: Clock, steady: Clock, state: str
) -> None:
    """By the next process of its place at once; by others when nothing is left in that place, or for long."""
    claimed(store, state)
    assert store.claim(HOLDER) is None, "who holds it does not take it twice"
    assert store.claim(ELSEWHERE) is None
    clock.now += CLAIM_S + 1
    in_database = watched(store, clock, steady)
    assert (in_database is not None) is (state == "anchoring")
    again = store.claim(AGAIN)
    if state == "anchoring":
        assert again is None
        return
    assert again is not None and again.taken_up and again.state == state
    clock.now += CLAIM_S + ABANDONED_S + 1
    late = watched(store, clock, steady)
    assert late is not None and late.taken_up and late.id == again.id


def test_a_claim_that_is_renewed_holds(store: Store, clock: Clock) -> None:
    claimed(store, "anchoring")
    for _ in range(5):
        clock.now += CLAIM_S - 1
        store.renew(HOLDER)
    assert store.claim(ELSEWHERE) is None
    store.release(HOLDER)
    clock.now += 1
    assert store.claim(ELSEWHERE) is not None


def test_a_clock_that_jumps_ends_no_claim_of_a_living_runner_and_keeps_none_of_a_dead_one(
    store: Store, clock: Clock, steady: Clock
) -> None:
    """An hour on, or a day back: who lives renews by the new time, and who is gone is replaced."""
    held = claimed(store, "anchoring")
    clock.now += 3600
    # Between the jump and the renewal that follows it, however often another runner looks.
    for _ in range(3):
        assert store.claim(ELSEWHERE) is None
        steady.now += CLAIM_S / 4
    store.renew(HOLDER)
    steady.now += CLAIM_S
    assert store.claim(ELSEWHERE) is None
    clock.now += 3600
    assert store.claim(ELSEWHERE) is None, "what was watched before the renewal counts no more"
    store.renew(HOLDER)
    clock.now -= 86_400
    store.renew(HOLDER)
    clock.now += CLAIM_S + 1
    other = watched(store, clock, steady)
    assert other is not None and other.fence == held.fence + 1
    with pytest.raises(StoreError, match="another runner"):
        store.anchored(held, "late", message="late")


def test_a_paused_runner_changes_nothing_once_another_has_its_run(store: Store) -> None:
    """OP-08's counterpart outside: a fence, not a clock, decides whose word counts."""
    old = claimed(store, "anchoring")
    new = store.claim(AGAIN)
    assert new is not None
    before = store.events(old.id)
    attempts: list[Callable[[], object]] = [
        lambda: store.note(old, "granted", "late"),
        lambda: store.advance(old, "anchoring", message="late"),
        lambda: store.emitted(old, "late"),
        lambda: store.anchored(old, "late", message="late"),
        lambda: store.order(old),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError) as refused:
            attempt()
        assert refused.value.code == "claim-lost"
    store.renew(HOLDER)
    store.killed(old)
    store.release(HOLDER)
    assert store.end(old, "failed", code="late", message="late") is False
    assert store.events(old.id) == before
    assert (store.draft(old.id), store.envelope(old.id), store.run(old.id).killed) == ("{}", None, None)
    store.anchored(new, "envelope", message="in time")
    assert store.envelope(old.id) == "envelope"


def test_a_failed_run_keeps_its_envelope_unseen_and_a_revoked_one_drops_it(store: Store) -> None:
    run = claimed(store, "anchoring")
    store.end(run, "failed", code=Code.TRANSACTION_REVERTED, message="x")
    assert (store.draft(run.id), store.envelope(run.id)) == ("{}", None)
    submit(store, "2")
    other = store.claim(HOLDER)
    assert other is not None
    store.emitted(other, "{}")
    store.end(other, "revoked", code=Code.REVOKED, message="x")
    assert store.draft(other.id) is None


# --- one state folder, one process ---------------------------------------------------------------


def test_a_state_folder_is_one_place_and_one_process(tmp_path: Path) -> None:
    place, lock = lock_folder(tmp_path / "state")
    with pytest.raises(RunnerError) as refused:
        lock_folder(tmp_path / "state")
    assert refused.value.code == "state-in-use"
    os.close(lock)
    again, lock = lock_folder(tmp_path / "state")
    other, _ = lock_folder(tmp_path / "other")
    assert again == place != other
    os.close(lock)


# --- a run whose enclave is a real process -------------------------------------------------------

ENCLAVE = """
import json, os, sys, time
for phase in ("attesting", "granted", "computing", "emitting"):
    print(json.dumps({"phase": phase}), flush=True)
    wait = sys.argv[3]
    while phase == "computing" and wait and not os.path.exists(wait):
        time.sleep(0.02)
os.replace(sys.argv[1], sys.argv[2])
print(json.dumps({"phase": "done"}), flush=True)
"""
"""Says what an enclave says, and emits an envelope that was made before; waits, if told to, for a file."""


@dataclass(frozen=True)
class ReadyMade(LocalBackend):
    """The local backend, whose enclaves emit envelopes that lie in `drafts`."""

    drafts: Path = Path()
    wait: str = ""

    def start(self, assignment: Assignment) -> LocalEnclave:
        folder = self._folder(assignment.run_id)
        (folder / "out").mkdir(mode=0o700, parents=True)
        enclave = LocalEnclave(folder=folder, socket=folder / "none" / "guest.sock")
        arguments = [self.drafts / assignment.run_id, folder / "out" / "envelope.json", self.wait]
        enclave.program = local._spawn(folder, "enclave", ["-c", ENCLAVE, *map(str, arguments)])
        return enclave


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@dataclass
class Shop:
    """A chain, a database, a state folder, and envelopes that only have to be emitted."""

    lab: Lab
    study: bytes
    folder: Path
    wait: str = ""

    @property
    def url(self) -> str:
        return str(self.lab.store._engine.url)

    def backend(self) -> ReadyMade:
        return ReadyMade(
            platform=self.folder,
            datasets=self.folder,
            state=self.folder / "state",
            gate="http://127.0.0.1:9",
            drafts=self.folder / "drafts",
            wait=self.wait,
        )

    def submit(self) -> str:
        """A queued run, booked in the ledger, whose enclave will emit."""
        run = self.lab.submit()
        (self.folder / "drafts").mkdir(exist_ok=True)
        envelope = signed(self.lab, self.study, bytes.fromhex(run[2:]))
        (self.folder / "drafts" / run).write_bytes(envelope.encode())
        return run

    def runner(self, holder: Holder, **options: Any) -> Runner:
        return make_runner(
            self.lab.chain.reader(),
            holder,
            store=Store(self.url),
            backend=self.backend(),
            sender=Transactor(self.lab.chain.url, private_key(PAYER)),
            **options,
        )

    def until(self, run: str, *states: str) -> Run:
        """Wait until a run is in one of the states."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.lab.store.run(run)).state not in states:
            assert time.monotonic() < deadline, found
            time.sleep(0.02)
        return found


@pytest.fixture
def shop(chain: LocalChain, tmp_path: Path) -> Iterator[Shop]:
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path)
    yield Shop(lab, lab.live(runs=3), tmp_path)
    chain.restore(snapshot)


class Serving:
    """A runner in a thread; leaves by `drain`."""

    def __init__(self, runner: Runner, drain: threading.Event) -> None:
        self.drain = drain
        self.thread = threading.Thread(target=runner.serve, daemon=True)

    def __enter__(self) -> Serving:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.drain.set()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()


class Fatal:
    """Hands calls on, and kills this process before the `step`th of them, or after it."""

    def __init__(self, inner: Any, kill: Callable[[str], None]) -> None:
        self._inner = inner
        self._kill = kill

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if not callable(found) or name not in ACTS:
            return found

        def act(*arguments: Any, **options: Any) -> Any:
            self._kill(name)
            result = found(*arguments, **options)
            if name == "start":
                result = Fatal(result, self._kill)
            self._kill(name)
            return result

        return act


ACTS = frozenset(
    (
        "claim",
        "start",
        "advance",
        "note",
        "emitted",
        "kill",
        "clean",
        "envelope",
        "anchor",
        "anchored",
        "forget",
    )
)
"""What a runner does to the outside in the course of a run."""


def carried_until(step: int, shop: Shop, run: str) -> bool:
    """A runner in a process of its own, killed at its `step`th act; true when the run ended before that."""
    # A fork of this process would lack its threads, and hold their locks. A server without threads, which has
    # imported this module, forks in a tenth of the time that a new process takes to import it.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(
        target=carry_and_die, args=(step, shop.url, shop.lab.chain.url, shop.folder, run)
    )
    process.start()
    process.join(PATIENCE_S)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def carry_and_die(step: int, database: str, chain: str, folder: Path, run: str) -> None:
    """That process."""
    acts = 0

    emit = folder / "emit"

    def kill(act: str) -> None:
        nonlocal acts
        acts += 1
        if acts == step:
            os.kill(os.getpid(), signal.SIGKILL)
        # Not before: on a busy machine the enclave would be through before the runner's next act.
        if act == "advance":
            emit.touch()

    store, node = Store(database), Rpc(chain, timeout_s=PATIENCE_S)
    backend = ReadyMade(
        folder, folder, folder / "state", "http://127.0.0.1:9", drafts=folder / "drafts", wait=str(emit)
    )
    runner = make_runner(
        # However long this process took to start, the newest block is of now.
        ChainReader([chain], timeout_s=PATIENCE_S, clock=lambda: node.head("latest").timestamp),
        HOLDER,
        store=Fatal(store, kill),
        backend=Fatal(backend, kill),
        sender=Fatal(Transactor(chain, private_key(PAYER)), kill),
    )
    threading.Thread(target=runner.serve, daemon=True).start()
    while store.run(run).state not in ENDS or (folder / "state" / run[2:] / "out").exists():
        time.sleep(0.02)
    os._exit(0)


def make_runner(
    chain: ChainReader, holder: Holder, *, store: Any, backend: Any, sender: Any, **options: Any
) -> Runner:
    """A runner of real parts."""
    stop = options.setdefault("stop", threading.Event())
    follower = Supervisor(store, chain, backend, stop=stop, run_timeout_s=PATIENCE_S)
    publisher = Publisher(store, chain, sender, stop=stop, chain_id=31337)
    gate = HttpGate("http://127.0.0.1:9")
    return Runner(store, chain, backend, follower, publisher, gate, holder=holder, parallel=1, **options)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_runner_killed_at_any_step_loses_no_envelope_and_publishes_once(shop: Shop, tmp_path: Path) -> None:
    """RE-06, CH-28: the next runner publishes what was finished, and tells what was not."""
    outcomes = set()
    for step in range(1, MOST_STEPS):
        snapshot = shop.lab.chain.snapshot()
        # What earlier rounds left would be swept first, and the kill come before the run is even claimed.
        shop.folder = tmp_path / str(step)
        shop.folder.mkdir()
        run = shop.submit()
        if carried_until(step, shop, run):
            break
        draft = shop.folder / "drafts" / run
        drain = threading.Event()
        with Serving(shop.runner(replace(HOLDER, id=f"after {step}"), drain=drain), drain):
            ended = shop.until(run, *ENDS)
        resumed = any(event.phase == "resumed" for event in shop.lab.store.events(run))
        outcomes.add((ended.state, ended.code, resumed))
        if draft.exists():  # the enclave died before it emitted
            assert (ended.state, ended.code) == ("failed", "runner-lost"), (step, ended)
        else:
            assert ended.state == "done", (step, ended)
            envelope = parse_envelope((shop.lab.store.envelope(run) or "").encode())
            assert envelope.anchor is not None and envelope.anchor.sequence == 1
        assert not (shop.folder / "state" / run[2:] / "out").exists()
        assert local._programs_of(run) == []
        assert [event.phase for event in shop.lab.store.events(run)].count(ended.state) == 1
        shop.lab.chain.restore(snapshot)
    else:
        raise AssertionError("the run never came to its end")
    assert {("done", None, True), ("failed", "runner-lost", True)} <= outcomes
    assert step > 20


def test_a_runner_that_drains_ends_what_it_has_and_takes_no_more(shop: Shop) -> None:
    """A restart loses no run that can still end."""
    shop.wait = str(shop.folder / "go")
    first = shop.submit()
    drain = threading.Event()
    with Serving(shop.runner(HOLDER, drain=drain, drain_s=PATIENCE_S), drain) as serving:
        shop.until(first, "computing")
        drain.set()
        second = shop.lab.submit()
        Path(shop.wait).touch()
        serving.thread.join(PATIENCE_S)
    assert shop.lab.store.run(first).state == "done"
    assert shop.lab.store.run(second).state == "queued"


def test_a_drain_that_takes_too_long_stops_the_runs_with_their_cause(shop: Shop) -> None:
    shop.wait = str(shop.folder / "never")
    run = shop.submit()
    drain = threading.Event()
    with Serving(shop.runner(HOLDER, drain=drain, drain_s=0.0), drain):
        shop.until(run, "computing")
    ended = shop.lab.store.run(run)
    assert (ended.state, ended.code) == ("failed", "runner-stopped")
    assert local._programs_of(run) == []


def test_a_revocation_that_came_while_no_runner_lived_still_ends_the_run(shop: Shop) -> None:
    """OP-10: also when the enclave had finished; its result does not leave."""
    run = shop.submit()
    held = shop.lab.take()
    shop.lab.store.advance(held, "computing", message="x")
    out = shop.folder / "state" / run[2:] / "out"
    out.mkdir(parents=True)
    (shop.folder / "drafts" / run).rename(out / "envelope.json")
    shop.lab.store.observe(
        shop.lab.room.consortium, kind="revoked", steps=3, standing="0x5a", block=9, block_time=0.0,
        owner=None, reason="stop",
    )  # fmt: skip
    drain = threading.Event()
    with Serving(shop.runner(AGAIN, drain=drain), drain):
        ended = shop.until(run, *ENDS)
    assert (ended.state, ended.code) == ("revoked", "revoked")
    assert ended.killed is not None
    assert not out.exists()
    assert shop.lab.store.envelope(run) is None


def test_an_enclave_that_finished_as_its_runner_was_stopped_is_published(shop: Shop) -> None:
    """No result is lost by the order of events: the envelope is there, though nobody heard `done`."""

    class Deaf(ReadyMade):
        def start(self, assignment: Assignment) -> LocalEnclave:
            enclave = super().start(assignment)
            assert enclave.program is not None
            enclave.program.wait(PATIENCE_S)
            enclave.exit_code = lambda: None  # type: ignore[method-assign]
            enclave.line = lambda timeout_s: None  # type: ignore[method-assign]
            return enclave

    run = shop.submit()
    stop = threading.Event()
    stop.set()
    follower = Supervisor(
        shop.lab.store, shop.lab.reader, Deaf(**vars(shop.backend())), stop=stop, run_timeout_s=PATIENCE_S
    )
    assert follower.supervise(shop.lab.take()) is True
    assert shop.lab.store.run(run).state == "anchoring"


# --- a database that is lost ---------------------------------------------------------------------


def rebuilt(shop: Shop, database: str, content: Path) -> tuple[int, dict[str, str]]:
    """The command; returns its status, and what became of each run."""
    shop.lab.chain.keep_real_time()
    words = ["--rpc", shop.lab.chain.url, "--factory", shop.lab.room.factory, "--database", database]
    words += ["--content", str(content), "--state", str(shop.folder / "state"), "--json"]
    done = CliRunner().invoke(rebuild, words, standalone_mode=False)
    if done.exception:
        raise done.exception
    found = json.loads(done.stdout)["found"]
    return done.return_value, {one["detail"]: one["what"] for one in found}


def test_a_lost_database_loses_no_envelope_and_a_restored_one_runs_nothing_twice(
    shop: Shop, tmp_path: Path
) -> None:
    """OP-08's counterpart outside: the chain and the store of envelopes are enough."""
    done, left = (shop.submit() for _ in range(2))
    drafts, content = shop.folder / "drafts", tmp_path / "content"
    store = Store(f"sqlite:///{tmp_path / 'first.db'}", str(content))
    store.add_recipe(shop.lab.compose_hash, shop.lab.recipe.compose)
    place = {"compose_hash": shop.lab.compose_hash, "consortium": shop.lab.room.consortium}
    for run in (done, left):
        store.submit(run, **place, missing=[], waiting=False)
    write_backup(str(store._engine.url), store.content, tmp_path / "before.tar")
    sender = Transactor(shop.lab.chain.url, private_key(PAYER))
    publisher = Publisher(store, shop.lab.reader, sender, stop=threading.Event(), chain_id=31337)
    shop.lab.chain.keep_real_time()
    held = store.claim(HOLDER)
    assert held is not None and held.id == done
    store.emitted(held, (drafts / done).read_text())
    publisher.publish(held)
    out = shop.folder / "state" / left[2:] / "out"
    out.mkdir(parents=True)
    (drafts / left).rename(out / "envelope.json")
    envelope = store.envelope(done)
    assert envelope is not None
    store.content.put(b"of nobody")
    never = signed(shop.lab, shop.study, b"\x77" * 32, opened=False)
    store.content.put(never.encode())
    store.close()

    database = f"sqlite:///{tmp_path / 'new.db'}"
    status, found = rebuilt(shop, database, content)
    assert status == 1, "what the chain does not confirm is told"
    assert (found[done], found[left]) == ("done", "anchoring")
    assert {detail for detail, what in found.items() if what == "ignored"} == {
        "neither an envelope nor a recipe", f"the ledger never opened run 0x{'77' * 32}",
    }  # fmt: skip
    again = Store(database, str(content))
    assert (again.envelope(done), again.run(done).state) == (envelope, "done")
    drain = threading.Event()
    runner = make_runner(
        shop.lab.chain.reader(), AGAIN, store=again, backend=shop.backend(), sender=sender, drain=drain
    )
    with Serving(runner, drain):
        until(lambda: all(run.state == "done" for run in again.runs()))
    published = {run.id: again.envelope(run.id) for run in again.runs()}
    assert set(published) == {done, left}
    assert set(rebuilt(shop, database, content)[1].values()) == {"known", "ignored"}

    old = f"sqlite:///{tmp_path / 'old.db'}"
    read_backup(tmp_path / "before.tar", old, again.content)
    restored = Store(old, str(content))
    assert {run.state for run in restored.runs()} == {"queued"}
    rebuilt(shop, old, content)
    assert restored.claim(HOLDER) is None
    assert {run.id: restored.envelope(run.id) for run in restored.runs()} == published
    for one in (again, restored):
        one.close()


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def gate() -> Iterator[QuietGate]:
    with quiet_gate() as running:
        yield running


@pytest.fixture
def mined(shop: Shop) -> Iterator[None]:
    """The shop's chain goes on, as processes expect."""
    with shop.lab.chain.mining():
        yield


@pytest.mark.usefixtures("mined")
def test_the_command_drains_on_a_first_signal_stops_on_a_second_and_dies_with_its_enclaves(
    shop: Shop, tmp_path: Path, gate: QuietGate
) -> None:
    """Real enclaves, which wait for a gate that never answers; OP-10: none outlives its runner."""
    SimulatedPlatform.create(tmp_path / "platform")
    key = tmp_path / "payer.key"
    key.touch(mode=0o600)
    key.write_text("0x" + private_key(PAYER).hex())
    sealed_files(shop.lab, tmp_path / "sealed")
    command = [
        *(sys.executable, "-m", "sealroom_agents.runner", "--rpc", shop.lab.chain.url),
        *("--gate", gate.url, "--database", shop.url, "--key-file", str(key)),
        *("--platform", str(tmp_path / "platform"), "--datasets", str(tmp_path / "sealed")),
        *("--state", str(tmp_path / "runs"), "--name", "host-1"),
    ]
    run = shop.lab.submit()
    process = child_processes.start(command, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        under_way(run)
        process.send_signal(signal.SIGTERM)
        while b"no more runs are taken; 1 under way" not in process.stderr.readline():
            assert process.poll() is None
        later = shop.lab.submit()
        assert shop.lab.store.run(run).state in ("starting", "attesting")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        processes.end(process)
    ended = shop.lab.store.run(run)
    assert (ended.state, ended.code) == ("failed", "runner-stopped")
    assert shop.lab.store.run(later).state == "queued"

    command[-1] = "host-2"
    process = child_processes.start(command, stderr=subprocess.DEVNULL)
    try:
        programs = under_way(later)
        victims = [pid for pid in child_guard.descendants(process.pid) if pid not in programs]
        os.kill(victims[0], signal.SIGKILL)
        assert process.wait(PATIENCE_S) == -signal.SIGKILL
    finally:
        processes.end(process)
    assert processes.living(programs) == []
    command[-1] = "host-3"
    process = child_processes.start(command, stderr=subprocess.DEVNULL)
    try:
        ended = shop.until(later, *ENDS)
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert (ended.state, ended.code) == ("failed", "runner-lost")
    assert [event.phase for event in shop.lab.store.events(later)].count("resumed") == 1


def under_way(run: str) -> processes.Known:
    """Wait until guest agent and enclave run, each behind its guard, and the enclave is stopped; returns the
    processes."""
    until(lambda: halted(run))
    return processes.known(until(lambda: found if len(found := local._programs_of(run)) >= 4 else []))


def halted(run: str) -> int | None:
    """A run's enclave, once there is one, stopped: it does not tire of a gate that never answers."""
    for pid in local._programs_of(run):
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[2:4] == [b"-m", b"sealroom"] and b"--run-id" in words:
                os.kill(pid, signal.SIGSTOP)
                return pid
    return None
