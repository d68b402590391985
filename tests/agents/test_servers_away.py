# SPDX-License-Identifier: Apache-2.0
"""Runners whose PostgreSQL and S3 are real servers behind a network that fails: nothing is lost, and no ε is
spent that a look before could have saved."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests import processes
from tests.agents.quiet_gate import QuietGate, quiet_gate, sealed_files
from tests.agents.test_restart import PAYER, ReadyMade, Serving, Shop, halted
from tests.agents.test_restart import mined as mined
from tests.cut_line import CutLine
from tests.local_chain import LocalChain, private_key
from tests.outside import HOLDER, Lab
from tests.patience import PATIENCE_S, until
from tests.ports import free_port
from tests.postgres import Postgres
from tests.s3_server import S3Server

from sealroom.runtime.gate_client import HttpGate
from sealroom_agents import child_processes
from sealroom_agents.chain import Transactor
from sealroom_agents.runner.preflight import LocalPreflight
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.service import Runner
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.store import Store
from sealroom_agents.telemetry.conditions import NO_CONDITIONS

pytestmark = pytest.mark.anvil


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with S3Server.start() as running, running.named():
        yield running


@pytest.fixture
def gate() -> Iterator[QuietGate]:
    with quiet_gate() as running:
        yield running


@pytest.fixture
def line(postgres: Postgres) -> Iterator[CutLine]:
    """The network between runners and the database."""
    with CutLine(str(postgres.folder / ".s.PGSQL.5432")) as line:
        yield line


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def shop(chain: LocalChain, postgres: Postgres, s3: S3Server, tmp_path: Path) -> Iterator[Shop]:
    """Its own store reaches the database past the line."""
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path)
    lab.store.close()
    lab.store = Store(postgres.create(), s3.place())
    sealed_files(lab, tmp_path / "sealed")
    yield Shop(lab, lab.live(runs=2), tmp_path, wait=str(tmp_path / "go"))
    lab.store.close()
    chain.restore(snapshot)


def by_line(shop: Shop, line: CutLine) -> str:
    """The URL of the shop's database as its runners have it."""
    url = shop.lab.store._engine.url
    return f"postgresql://{url.username}@127.0.0.1:{line.port}/{url.database}"


def place_of(shop: Shop) -> str:
    """Where the shop keeps envelopes."""
    root = str(shop.lab.store.content._root)  # type: ignore[attr-defined]
    return "s3://" + root.removesuffix("/sha256")


def asked_again(line: CutLine) -> None:
    """Wait until somebody has tried a line that is cut."""
    before = line.connections
    until(lambda: line.connections >= before + 2)


def test_a_run_waits_for_its_store_before_it_starts_and_its_envelope_is_put_once_the_store_is_back(
    shop: Shop, line: CutLine, s3: S3Server, gate: QuietGate, caplog: pytest.LogCaptureFixture
) -> None:
    """RE-06: with object store or database away, no enclave starts, and one that runs works on."""
    caplog.set_level(logging.INFO)
    run, stop, drain = shop.submit(), threading.Event(), threading.Event()
    shop.lab.chain.keep_real_time()
    store = Store(by_line(shop, line), place_of(shop))
    chain = shop.lab.chain.reader()
    backend = ReadyMade(**{**vars(shop.backend()), "datasets": shop.folder / "sealed"})
    preflight = LocalPreflight(
        conditions=NO_CONDITIONS, datasets=backend.datasets, content=store.content, gate=gate.url
    )
    runner = Runner(
        store,
        chain,
        backend,
        Supervisor(store, chain, backend, stop=stop, run_timeout_s=PATIENCE_S, preflight=preflight),
        Publisher(
            store, chain, Transactor(shop.lab.chain.url, private_key(PAYER)), stop=stop, chain_id=31337
        ),
        HttpGate(gate.url),
        holder=HOLDER,
        parallel=1,
        stop=stop,
        drain=drain,
        preflight=preflight,
    )
    s3.line.cut()
    with Serving(runner, drain):
        waiting = shop.until(run, "waiting")
        assert [item["code"] for item in waiting.missing] == ["runner-not-ready"]
        assert "content" in waiting.missing[0]["message"]
        assert not (shop.folder / "state").exists(), "no enclave was started"
        s3.line.mend()
        begun = shop.until(run, "computing")

        line.cut()
        s3.line.cut()
        asked_again(line)
        Path(shop.wait).touch()
        line.mend()
        asked_again(s3.line)
        assert shop.lab.store.run(run).state == "computing"
        s3.line.mend()
        ended = shop.until(run, "done", "failed", "refused", "revoked")
        names = {thread.name for thread in threading.enumerate()}
        assert {"claims", "proofs"} <= names
    assert (ended.state, ended.fence) == ("done", begun.fence), ended
    assert ended.envelope in set(shop.lab.store.content.digests())
    assert [event.phase for event in shop.lab.store.events(run)].count("done") == 1
    assert "is done" in caplog.text
    assert s3.secret not in caplog.text and s3.key not in caplog.text
    store.close()


@pytest.mark.usefixtures("mined")
def test_two_runners_share_a_database_that_is_cut_off_and_one_is_killed_in_a_run(
    shop: Shop, line: CutLine, s3: S3Server, gate: QuietGate, tmp_path: Path
) -> None:
    """RE-06: each run has one runner; a dead one's is taken up once, a living one's outlasts the network."""
    SimulatedPlatform.create(tmp_path / "platform")
    key = tmp_path / "payer.key"
    key.touch(mode=0o600)
    key.write_text("0x" + private_key(PAYER).hex())
    runs = [shop.lab.submit() for _ in range(2)]
    address = f"127.0.0.1:{free_port()}"
    log = tmp_path / "log"

    def start(name: str, *more: str) -> subprocess.Popen[bytes]:
        command = [
            *(sys.executable, "-m", "sealroom_agents.runner", "--rpc", shop.lab.chain.url),
            *("--gate", gate.url, "--database", by_line(shop, line), "--content", place_of(shop)),
            *("--platform", str(tmp_path / "platform"), "--datasets", str(tmp_path / "sealed")),
            *("--key-file", str(key), "--state", str(tmp_path / name), "--name", name, "--parallel", "1"),
        ]
        with log.open("ab") as stream:
            return child_processes.start([*command, *more], stderr=stream)

    def database_ready() -> bool:
        told = httpx.get(f"http://{address}/v1/readyz", timeout=PATIENCE_S).json()["conditions"]
        return bool(next(one["ok"] for one in told if one["name"] == "database"))

    runners = {name: start(name, *more) for name, more in (("a", ()), ("b", ("--metrics", address)))}
    try:
        until(lambda: all([halted(run) for run in runs]))
        enclaves = {run: processes.known([halted(run) or 0]) for run in runs}
        taken = {
            run: next(event.message for event in shop.lab.store.events(run) if event.phase == "starting")
            for run in runs
        }
        found = {message: run for run, message in taken.items()}
        assert set(found) == {"taken by a", "taken by b"}
        mine, other = found["taken by b"], found["taken by a"]

        until(database_ready, runners["b"])
        line.cut()
        os.kill(runners["a"].pid, signal.SIGKILL)
        runners["a"].wait()
        until(lambda: not database_ready(), runners["b"])
        line.mend()
        until(database_ready, runners["b"])
        assert shop.lab.store.run(mine).state in ("starting", "attesting")
        assert processes.living(enclaves[mine])

        runners["a"] = start("a")
        ended = shop.until(other, "failed", "done")
        assert (ended.state, ended.code, ended.fence) == ("failed", "runner-lost", 2)
        assert not processes.living(enclaves[other])
        runners["b"].send_signal(signal.SIGTERM)
        until(lambda: b"no more runs are taken" in log.read_bytes(), runners["b"])
        runners["b"].send_signal(signal.SIGTERM)
        assert runners["b"].wait(PATIENCE_S) == 0
    finally:
        processes.end(*runners.values())
    ended = shop.lab.store.run(mine)
    assert (ended.state, ended.code, ended.fence) == ("failed", "runner-stopped", 1)
    phases = [[event.phase for event in shop.lab.store.events(run)] for run in runs]
    assert all(told.count("starting") == 1 and told.count("failed") == 1 for told in phases)
    said = log.read_text()
    assert "Traceback" not in said
    assert s3.secret not in said and s3.key not in said
