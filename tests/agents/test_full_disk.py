# SPDX-License-Identifier: Apache-2.0
"""A runner whose disk is full, and one whose packets to the gate are lost: it waits, says so, and goes on."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.agents.quiet_gate import quiet_gate, sealed_files
from tests.agents.test_restart import PAYER, Serving, Shop
from tests.cut_line import CutLine
from tests.local_chain import LocalChain, private_key
from tests.outside import HOLDER, Lab
from tests.patience import PATIENCE_S, until

from sealroom.runtime.gate_client import HttpGate
from sealroom_agents.chain import Transactor
from sealroom_agents.runner import preflight as looks
from sealroom_agents.runner.preflight import LocalPreflight
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.service import Runner
from sealroom_agents.runner.supervisor import Supervisor
from sealroom_agents.telemetry.conditions import NO_CONDITIONS

pytestmark = pytest.mark.anvil
DISK = "8m"


@pytest.fixture(scope="module")
def chain() -> Iterator[LocalChain]:
    with LocalChain.start() as running:
        yield running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(place)], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("this user may not mount")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def serving(
    shop: Shop, drain: threading.Event, gate: str, preflight: LocalPreflight | None = None
) -> Serving:
    """A runner of real parts on the shop's own store."""
    stop, store, reader, backend = threading.Event(), shop.lab.store, shop.lab.chain.reader(), shop.backend()
    sender = Transactor(shop.lab.chain.url, private_key(PAYER))
    supervisor = Supervisor(store, reader, backend, stop=stop, run_timeout_s=PATIENCE_S, preflight=preflight)
    runner = Runner(
        store, reader, backend, supervisor, Publisher(store, reader, sender, stop=stop, chain_id=31337),
        HttpGate(gate), holder=HOLDER, parallel=1, stop=stop, drain=drain, preflight=preflight,
    )  # fmt: skip
    return Serving(runner, drain)


def fill(disk: Path) -> Path:
    """Take all space that is left; the file that has it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1 << 8, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError:
                continue
    return ballast


def test_a_full_disk_holds_a_run_up_and_costs_nothing(
    chain: LocalChain, small: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """RE-12, OP-08: database, envelopes and state on one disk that fills up while an enclave computes. The
    run stands still and is told of, and ends as if nothing had been once there is room; its receipt is on
    chain once."""
    caplog.set_level(logging.INFO)
    snapshot = chain.snapshot()
    lab = Lab.on(chain, small)
    shop = Shop(lab, lab.live(runs=3), small, wait=str(tmp_path / "go"))
    run, drain = shop.submit(), threading.Event()
    chain.keep_real_time()
    with serving(shop, drain, "http://127.0.0.1:9"):
        shop.until(run, "computing")
        ballast = fill(small)
        Path(shop.wait).touch()
        until(lambda: "the run waits for its store" in caplog.text)
        assert lab.store.run(run).state == "computing"
        told = next(one.message for one in caplog.records if "waits for its store" in one.message)
        ballast.unlink()
        ended = shop.until(run, "done", "failed", "refused", "revoked")
    assert ended.state == "done", (ended, told)
    assert told.endswith(("; free space where the database lies", "; free space where --content lies")), told
    assert ended.envelope in set(lab.store.content.digests())
    phases = [event.phase for event in lab.store.events(run)]
    assert phases.count("done") == phases.count("anchoring") == 1
    lab.store.close()
    chain.restore(snapshot)


def test_a_gate_whose_packets_are_lost_starts_no_run_until_they_come_through(
    chain: LocalChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-08: connections stay and nothing comes. The look before a start has a time of its own, the run
    waits with the reason, no enclave is started and no ε is spent, and the run goes on by itself."""
    monkeypatch.setattr(looks, "GATE_TIMEOUT_S", 1.0)
    snapshot = chain.snapshot()
    lab = Lab.on(chain, tmp_path)
    sealed_files(lab, tmp_path / "sealed")
    shop = Shop(lab, lab.live(runs=2), tmp_path)
    drain = threading.Event()
    with quiet_gate() as gate, CutLine(("127.0.0.1", urlsplit(gate.url).port or 0)) as line:
        url = f"http://127.0.0.1:{line.port}"
        look = LocalPreflight(
            conditions=NO_CONDITIONS, datasets=tmp_path / "sealed", content=lab.store.content, gate=url
        )
        line.hold()
        run = shop.submit()
        chain.keep_real_time()
        with serving(shop, drain, url, look):
            waiting = shop.until(run, "waiting")
            (missing,) = waiting.missing
            assert missing["code"] == "gate-not-ready" and "does not answer" in missing["message"]
            asked = line.connections
            until(lambda: line.connections > asked)  # it asks again, by itself
            assert not (tmp_path / "state").exists()
            line.mend()
            ended = shop.until(run, "done", "failed", "refused", "revoked")
        assert ended.state == "done", ended
    lab.store.close()
    chain.restore(snapshot)
