# SPDX-License-Identifier: Apache-2.0
"""The watcher: what it sees, what it ends, and when it stays silent."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests import processes
from tests.local_chain import LocalChain, account
from tests.outside import Lab
from tests.patience import PATIENCE_S, until
from tests.rpc_proxy import RpcProxy, honest

from sealroom.key_release.replies import WatchReport
from sealroom.model import Roster
from sealroom_agents import child_processes
from sealroom_agents.chain import ChainReader, Snapshot
from sealroom_agents.chain.contracts import interface
from sealroom_agents.errors import ChainError
from sealroom_agents.facts import LatestView
from sealroom_agents.store import Store
from sealroom_agents.watcher import service
from sealroom_agents.watcher.lookout import Lookout
from sealroom_agents.watcher.service import HttpGate, Watcher, WatchFailed

pytestmark = pytest.mark.anvil


@dataclass
class RecordingGate:
    """A gate that keeps the heartbeats it gets; `down` makes it unreachable."""

    name: tuple[bytes, str]
    reports: list[WatchReport] = field(default_factory=list)
    down: bool = False

    @classmethod
    def adopted_by(cls, lab: Lab) -> RecordingGate:
        """The one that the lab's owners adopted."""
        platform = lab.chain.state(lab.room).platform
        return cls((platform.gate_root, platform.gate_signer))

    def watch(self, report: WatchReport) -> tuple[bytes, str]:
        if self.down:
            raise WatchFailed("gate-unreachable", "the gate does not answer")
        self.reports.append(report)
        return self.name

    @property
    def revoked(self) -> tuple[str, ...]:
        """What the last heartbeat says."""
        return tuple(one.consortium for one in self.reports[-1].revoked)


@dataclass
class StateOnly:
    """A reader without logs: all that the watcher may rest on (CH-29)."""

    reader: ChainReader

    def listed(self, factory: str, *, first: int, most: int) -> list[str]:
        return self.reader.listed(factory, first=first, most=most)

    def snapshots(self, consortia: Sequence[str]) -> Mapping[str, Snapshot]:
        return self.reader.snapshots(consortia)

    def latest_view(self, consortium: str) -> LatestView:
        return self.reader.latest_view(consortium)


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def lab(chain: LocalChain, tmp_path: Path) -> Iterator[Lab]:
    snapshot = chain.snapshot()
    yield Lab.on(chain, tmp_path)
    chain.restore(snapshot)


@pytest.fixture
def gate(lab: Lab) -> RecordingGate:
    return RecordingGate.adopted_by(lab)


@pytest.fixture
def watcher(lab: Lab, gate: RecordingGate) -> Watcher:
    return Watcher(StateOnly(lab.reader), lab.store, gate, factory=lab.room.factory)


def running(lab: Lab) -> str:
    """A run that computes."""
    run = lab.submit()
    held = lab.take()
    lab.store.advance(held, "computing", message="the analysis runs")
    return run


def test_a_quiet_chain_gives_a_heartbeat_and_nothing_else(
    lab: Lab, watcher: Watcher, gate: RecordingGate
) -> None:
    lab.live()
    run = running(lab)
    began = int(time.time())
    look = watcher.poll()
    assert (look.revoked, look.changed, look.heartbeat) == ((), (), True)
    assert (gate.reports[-1].seen, gate.reports[-1].revoked) == ((lab.room.consortium,), ())
    assert began <= gate.reports[-1].observed <= time.time()
    assert lab.store.kill_order(run) is None


def test_a_revocation_ends_running_runs_and_is_told_to_the_gate(
    lab: Lab, watcher: Watcher, gate: RecordingGate
) -> None:
    """OP-10, CH-29: seen in state at the newest block, without any log, long before it is final."""
    lab.live()
    computing = running(lab)
    queued = lab.submit()
    watcher.poll()
    lab.chain.revoke(lab.room, 2, "consent withdrawn")

    look = watcher.poll()
    assert look.revoked == look.changed == (lab.room.consortium,)
    head = lab.chain.rpc("eth_getBlockByNumber", "latest", False)
    (reported,) = gate.reports[-1].revoked
    assert reported.consortium == lab.room.consortium
    assert (reported.block, reported.block_hash.hex()) == (int(head["number"], 16), head["hash"][2:])
    order = lab.store.kill_order(computing)
    assert order is not None
    assert (order.kind, order.reason, order.owner) == (
        "revoked",
        "consent withdrawn",
        lab.room.owners[2].account,
    )
    assert order.block_time == lab.chain.head_time()
    assert order.seen >= order.block_time - 1
    assert order.killed is None
    assert lab.store.kill_order(queued) is None, "the gate refuses it, with its reason"

    lab.store.killed(lab.store.run(computing))
    (kept,) = lab.store.observations(lab.room.consortium)
    assert kept.killed is not None

    again = watcher.poll()
    assert (again.revoked, again.changed) == ((lab.room.consortium,), ())
    assert len(lab.store.observations(lab.room.consortium)) == 1


def test_a_poll_meets_the_next_block_and_a_chain_that_stands_still_costs_no_more(
    lab: Lab, gate: RecordingGate
) -> None:
    """OP-10: the pause is cut short where a block is due, and no further than to a quarter."""
    lab.live()
    now = 100.0
    watcher = Watcher(StateOnly(lab.reader), lab.store, gate, factory=lab.room.factory, monotonic=lambda: now)
    assert watcher.pause(1.0) == 1.0
    watcher.poll()
    assert watcher.pause(1.0) == pytest.approx(0.9) and watcher.pause(0.5) == 0.5
    now += 0.9
    watcher.poll()  # a little too early
    assert watcher.pause(1.0) == 0.25
    now += 100.0
    watcher.poll()
    assert watcher.pause(1.0) == 1.0


def test_a_revocation_during_the_watchers_absence_is_seen_by_the_next_one(
    lab: Lab, watcher: Watcher, gate: RecordingGate
) -> None:
    """What it knew is in the store, so a restart compares with what was."""
    lab.live()
    watcher.poll()
    run = running(lab)
    lab.chain.revoke(lab.room, 0)
    successor = Watcher(StateOnly(lab.reader), lab.store, gate, factory=lab.room.factory)
    assert successor.poll().changed == (lab.room.consortium,)
    assert lab.store.kill_order(run) is not None


def test_another_platform_ends_runs_too(lab: Lab, watcher: Watcher) -> None:
    """Another gate was adopted: grants of the gate before are dead."""
    lab.live()
    watcher.poll()
    run = running(lab)
    lab.chain.adopt_platform(
        lab.room,
        gate_root=secrets.token_bytes(32),
        gate_signer="0x" + "12" * 20,
        gate_compose=secrets.token_bytes(32),
        os_images=[secrets.token_bytes(32)],
        devices=[secrets.token_bytes(32)],
    )
    look = watcher.poll()
    assert (look.revoked, look.changed) == ((), (lab.room.consortium,))
    order = lab.store.kill_order(run)
    assert order is not None
    assert order.kind == "superseded"
    state = lab.chain.state(lab.room)
    assert (order.steps, order.standing) == (state.steps, "0x" + state.standing.hex())


def test_another_roster_ends_runs_too(lab: Lab, watcher: Watcher) -> None:
    """Without any revocation: who was granted to is not who sits now."""
    lab.live()
    watcher.poll()
    run = running(lab)
    lab.chain.change_roster(lab.room, remove=("hospital-C",), threshold=2)
    assert watcher.poll().changed == (lab.room.consortium,)
    order = lab.store.kill_order(run)
    assert order is not None and (order.kind, order.owner) == ("superseded", None)


def test_machines_that_are_added_end_nothing(lab: Lab, watcher: Watcher) -> None:
    """Routine operation is no revocation: the study goes on, and its runs with it."""
    study = lab.live()
    watcher.poll()
    run = running(lab)
    lab.chain.add_machines(lab.room, 0, 1, devices=[secrets.token_bytes(32)])
    look = watcher.poll()
    assert (look.revoked, look.changed) == ((), ())
    assert lab.store.kill_order(run) is None
    assert lab.chain.state(lab.room).study == study and lab.chain.state(lab.room).live


def test_a_second_revocation_is_another_one(lab: Lab, watcher: Watcher) -> None:
    """The veto of a second owner moves the standing too, in whatever state the consortium is."""
    lab.live()
    watcher.poll()
    lab.chain.revoke(lab.room, 0, "first")
    watcher.poll()
    lab.chain.revoke(lab.room, 1, "second")
    assert watcher.poll().changed == (lab.room.consortium,)
    first, second = lab.store.observations(lab.room.consortium)
    assert first.standing != second.standing and second.steps == first.steps + 1


def test_a_new_quorum_lifts_the_report(lab: Lab, watcher: Watcher, gate: RecordingGate) -> None:
    lab.live()
    lab.chain.revoke(lab.room, 2)
    assert watcher.poll().revoked == (lab.room.consortium,)
    study = lab.propose()
    lab.chain.approve(lab.room, study, 1, 2)
    run = running(lab)
    look = watcher.poll()
    assert (look.revoked, look.changed, gate.revoked) == ((), (), ())
    assert lab.store.kill_order(run) is None


def test_a_node_that_lags_is_no_news(lab: Lab, gate: RecordingGate) -> None:
    """A node that shows an older standing for a while neither ends runs nor makes the newer news again."""
    lab.live()

    @dataclass
    class Lagging(StateOnly):
        behind: bool = False

        def snapshots(self, consortia: Sequence[str]) -> Mapping[str, Snapshot]:
            snapshots = super().snapshots(consortia)
            return {
                one: self._older(snapshot) if self.behind else snapshot for one, snapshot in snapshots.items()
            }

        def _older(self, snapshot: Snapshot) -> Snapshot:
            view = snapshot.latest
            older = {
                "steps": view.steps - 1,
                "standing": bytes(32),
                "block_number": view.block_number - 1,
            }
            return replace(snapshot, latest=replace(view, **older))

    reader = Lagging(lab.reader)
    watcher = Watcher(reader, lab.store, gate, factory=lab.room.factory)
    watcher.poll()
    run = running(lab)
    reader.behind = True
    assert watcher.poll().changed == ()
    reader.behind = False
    assert watcher.poll().changed == ()
    assert lab.store.kill_order(run) is None


def test_a_blind_watcher_stays_silent(tmp_path: Path) -> None:
    """OP-09: no heartbeat without a look at every consortium; the gate's leases then lapse by themselves."""
    with Lab.start(tmp_path) as lab:
        gate = RecordingGate.adopted_by(lab)
        watcher = Watcher(StateOnly(lab.reader), lab.store, gate, factory=lab.room.factory)
        watcher.poll()
        assert len(gate.reports) == 1
        lab.chain.stop()
        with pytest.raises(ChainError) as caught:
            watcher.poll()
        assert caught.value.code == "chain-unreachable"
        assert len(gate.reports) == 1


def test_one_consortium_out_of_sight_costs_itself_its_heartbeat_and_the_others_nothing(
    lab: Lab, gate: RecordingGate
) -> None:
    lab.live()
    other = lab.chain.create_consortium(["x", "y"], threshold=1).consortium

    @dataclass
    class Blind(StateOnly):
        def snapshots(self, consortia: Sequence[str]) -> Mapping[str, Snapshot]:
            return {one: snapshot for one, snapshot in super().snapshots(consortia).items() if one != other}

    only = (other, lab.room.consortium)
    assert Watcher(StateOnly(lab.reader), lab.store, gate, factory=None, only=only).poll().consortia == 2
    watcher = Watcher(Blind(lab.reader), lab.store, gate, factory=None, only=only)
    run = running(lab)
    lab.chain.revoke(lab.room, 1)
    look = watcher.poll()
    assert (look.unseen, look.revoked, look.heartbeat) == ((other,), (lab.room.consortium,), True)
    assert gate.reports[-1].seen == (lab.room.consortium,)
    assert lab.store.kill_order(run) is not None
    assert watcher.poll().unseen == (other,), "it is looked at again"


def test_a_gate_that_is_away_does_not_stop_the_watcher(
    lab: Lab, watcher: Watcher, gate: RecordingGate
) -> None:
    lab.live()
    watcher.poll()
    run = running(lab)
    gate.down = True
    lab.chain.revoke(lab.room, 1)
    assert watcher.poll().heartbeat is False
    assert lab.store.kill_order(run) is not None


def test_a_database_that_is_away_keeps_no_heartbeat_back(
    lab: Lab, watcher: Watcher, gate: RecordingGate
) -> None:
    """OP-09: leases go on; a revocation ends them at the gate, and its runs once the store is back."""
    lab.live()
    run = running(lab)
    assert watcher.poll().trouble is None
    file = Path(str(lab.store._engine.url.database))
    for engine in (lab.store._engine, lab.store._reads):
        engine.dispose()
    away = file.rename(file.with_suffix(".away"))
    file.mkdir()
    told = len(gate.reports)
    look = watcher.poll()
    assert look.heartbeat and look.trouble is not None and look.trouble.code == "database"
    lab.chain.revoke(lab.room, 1, "consent withdrawn")
    assert watcher.poll().heartbeat
    assert gate.revoked == (lab.room.consortium,)
    assert [report.seen for report in gate.reports[told:]] == [(lab.room.consortium,)] * 2
    file.rmdir()
    away.rename(file)
    look = watcher.poll()
    assert look.trouble is None and look.changed == (lab.room.consortium,)
    assert lab.store.kill_order(run) is not None


def test_a_gate_that_answers_byte_by_byte_holds_no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """OP-09, CH-02: the time that a heartbeat may take is for the whole of it, its head included."""
    sent = []

    class Drip(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with suppress(OSError):
                for letter in f"HTTP/1.1 200 OK\r\n{'x-slow: 1' * 10_000}\r\n\r\n".encode():
                    self.connection.sendall(bytes([letter]))
                    sent.append(letter)
                    time.sleep(0.01)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(service, "HEARTBEAT_TIMEOUT_S", 0.3)
    with ThreadingHTTPServer(("127.0.0.1", 0), Drip) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        gate = HttpGate(f"http://127.0.0.1:{server.server_address[1]}", "t" * 40)
        with pytest.raises(WatchFailed) as failed:
            gate.watch(WatchReport(observed=1, seen=(), revoked=()))
        server.shutdown()
    assert failed.value.code == "gate-unreachable"
    assert len(sent) < 10_000


@pytest.fixture
def offered(lab: Lab) -> Iterator[Lab]:
    """A seat is offered, and the chain goes on, as processes expect."""
    lab.live()
    lab.chain.send(0, lab.room.consortium, interface("Consortium").encode("offerSeat", account(9)))
    with lab.chain.mining():
        yield lab


def test_the_process_watches_every_second_with_its_token(offered: Lab, tmp_path: Path) -> None:
    """The real command against a real chain, and a small server where the gate would be. CH-03: one of three
    endpoints is away, and two are a quorum, also for what owners should know of."""
    lab = offered
    heard: list[tuple[str | None, dict[str, Any]]] = []
    root, signer = RecordingGate.adopted_by(lab).name
    answer = json.dumps({"version": 2, "gateRoot": "0x" + root.hex(), "gateSigner": signer}).encode()

    class Gate(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.append((self.headers["Authorization"], json.loads(body)))
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("t" * 40)
    database = f"sqlite:///{tmp_path / 'watched.db'}"
    lab.store = Store(database)
    ready = tmp_path / "ready.json"
    second = RpcProxy(lab.chain.url)
    process = child_processes.start(
        [
            *(sys.executable, "-m", "sealroom_agents.watcher", "--rpc", lab.chain.url, "--rpc", second.url),
            *("--rpc", "http://127.0.0.1:9", "--rpc-quorum", "2"),
            *("--factory", lab.room.factory, "--every", "0.3"),
            *("--gate", f"http://127.0.0.1:{server.server_address[1]}", "--watch-token-file", str(token)),
            *("--database", database, "--ready-file", str(ready)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        until(ready.exists, process)
        until(lambda: lab.store.notices(lab.room.consortium), process)
        run = running(lab)
        lab.chain.revoke(lab.room, 0, "stop")
        until(lambda: lab.store.kill_order(run) is not None, process)
        until(
            lambda: (
                [one["consortium"] for _, told in heard[-1:] for one in told["revoked"]]
                == [lab.room.consortium]
            ),
            process,
        )
    finally:
        process.terminate()
        try:
            _, stderr = process.communicate(timeout=PATIENCE_S)
        finally:
            processes.end(process)
        second.__exit__(None, None, None)
        server.shutdown()
        server.server_close()
    assert process.returncode == 0, stderr.decode()[-2000:]
    assert {authorization for authorization, _ in heard} == {"Bearer " + "t" * 40}
    assert b"t" * 40 not in stderr


@pytest.mark.parametrize("lie", [1, 5, 2**20, 2**40, 2**63], ids=hex)
def test_a_lie_that_one_node_told_hides_no_later_revocation(lab: Lab, gate: RecordingGate, lie: int) -> None:
    """CH-02, CH-03: steps of the standing that never were, once; then an owner revokes."""
    lab.live()
    steps = lab.reader.latest_view(lab.room.consortium).steps
    asked = "0x" + interface("Lens").encode("state", lab.room.consortium)[:4].hex()
    place = 2 + 64 * (1 + 4)  # behind the offset of the struct, and its first four digests

    def lies(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_call" or not params[0]["data"].startswith(asked):
            return result
        assert int(result[place : place + 64], 16) == steps
        told = (steps + lie).to_bytes(32, "big").hex()
        return result[: place - 128] + 2 * ("5a" * 32) + told + result[place + 64 :]

    with RpcProxy(lab.chain.url) as proxy:
        reader = lab.chain.reader(lab.chain.url, proxy.url)
        watcher = Watcher(reader, lab.store, gate, factory=lab.room.factory)
        watcher.poll()
        proxy.tamper = lies
        with suppress(ChainError):
            watcher.poll()
        proxy.tamper = honest
        watcher.poll()
        run = running(lab)
        lab.chain.revoke(lab.room, 0, "real")
        assert watcher.poll().changed == (lab.room.consortium,)
        order = lab.store.kill_order(run)
        assert order is not None and order.kind == "revoked"
        reader.close()


# --- what owners should know of ---------------------------------------------------------------------


def test_what_owners_should_know_of_is_written_down_once(lab: Lab, watcher: Watcher) -> None:
    """Seats and datasets that are offered and taken, and a roster that would remove an owner: each is kept
    with its words, whoever looks at the chain later; none of it ends a run."""
    lab.live()
    run = running(lab)
    watcher.poll()
    lookout = Lookout(lab.reader, lab.store, watcher.followed)
    assert lookout.look() == ()
    consortium, ledger = interface("Consortium"), interface("Ledger")
    dataset = lab.datasets[1].id
    lab.chain.send(0, lab.room.consortium, consortium.encode("offerSeat", account(9)))
    lab.chain.send(1, lab.room.ledger, ledger.encode("offer", [dataset], account(8)))
    roster = Roster(remove=("hospital-C",), add=(), threshold=2)
    validity = lab.chain.validity(lab.chain.state(lab.room).roster_digest)
    lab.chain.vote(lab.room, 1, "changeRoster", roster.solidity(), validity.solidity())
    new = lookout.look()
    assert {(one.kind, one.about) for one in new} == {
        ("removal-pending", "0x" + roster.under(validity).id.hex()),
        ("seat-offered", account(0)),
        ("dataset-offered", "0x" + dataset.hex()),
    }
    assert lookout.look() == (), "the same again is no news"
    lab.chain.advance(2 * 24 * 3600)
    lab.chain.send(9, lab.room.consortium, consortium.encode("acceptSeat", account(0)))
    lab.chain.send(8, lab.room.ledger, ledger.encode("accept", [dataset]))
    fresh = lab.chain.reader()
    moved = Lookout(fresh, lab.store, watcher.followed).look()
    assert {(one.kind, one.about) for one in moved} == {
        ("seat-moved", account(0)),
        ("dataset-moved", "0x" + dataset.hex()),
    }
    fresh.close()
    assert [one.kind for one in lab.store.notices(lab.room.consortium)][-1] == "dataset-moved"
    assert lab.store.kill_order(run) is None


def test_each_followed_consortium_is_looked_at_in_turn(lab: Lab) -> None:
    """One that cannot be read keeps no other from its turn."""
    lab.live()
    bad = "0x" + "77" * 20
    lab.chain.send(0, lab.room.consortium, interface("Consortium").encode("offerSeat", account(9)))
    lookout = Lookout(lab.reader, lab.store, lambda: (bad, lab.room.consortium))
    with pytest.raises(ChainError):
        lookout.look()
    assert [one.kind for one in lookout.look()] == ["seat-offered"]
