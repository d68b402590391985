# SPDX-License-Identifier: Apache-2.0
"""The backend `dstack-vmm`, against a VMM that is a real HTTP server (`tests/fake_vmm.py`)."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import plain_http
from tests.agents.test_runner import platform as platform
from tests.fake_vmm import FakeVmm, Vm
from tests.formats.worked import HINTED, STUDY
from tests.patience import PATIENCE_S, until

from sealroom.recipe import parse, render
from sealroom_agents.config import Config
from sealroom_agents.config.backends import kind, options_of
from sealroom_agents.errors import ConfigurationError, RunnerError
from sealroom_agents.runner import delivery
from sealroom_agents.runner.backend import Assignment, Place
from sealroom_agents.runner.dstack_vmm import REASONS, VmmHost, VmmOptions
from sealroom_agents.runner.remote import Limits, RemoteBackend, RemoteEnclave
from sealroom_agents.runner.rest import Server

APP = "0x" + "a0" * 20
IMAGE = "dstack-0.5.8"
TOKEN = "t" * 40
HTTP = plain_http.client()
"""As an enclave speaks to its runner."""
QUICK = Limits(boot_s=PATIENCE_S, end_s=PATIENCE_S, look_s=0.02, retry_s=0.2)
"""For tests in which nothing is slow by design."""


@pytest.fixture
def compose() -> bytes:
    """A recipe whose enclave reads hints."""
    return HINTED


@pytest.fixture(params=["unix", "tcp"])
def vmm(request: pytest.FixtureRequest) -> Iterator[FakeVmm]:
    with tempfile.TemporaryDirectory(prefix="vmm-") as short:
        path = Path(short) / "vmm.sock" if request.param == "unix" else None
        with FakeVmm(path, token=TOKEN) as running:
            yield running


@pytest.fixture
def tcp() -> Iterator[FakeVmm]:
    with FakeVmm() as running:
        yield running


def opened(vmm: FakeVmm, folder: Path, **more: Any) -> RemoteBackend:
    """The backend as the runner's command opens it."""
    token = folder / "vmm.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    given = {
        "vmm": vmm.address, "token_file": str(token), "image": IMAGE, "vcpu": 2, "memory_mib": 4096,
        "disk_gb": 20, "port": 0, "url": "http://10.0.2.2:8402", **more,
    }  # fmt: skip
    (folder / "key").touch()
    config = Config.model_validate(
        {
            "chain": {"rpc": ["http://127.0.0.1:1"]},
            "runner": {
                "datasets": folder / "sealed", "state": folder / "state", "key_file": folder / "key",
                "gate": "http://gate.example", "backend": "dstack-vmm", "options": given,
            },
        }
    )  # fmt: skip
    assert config.runner is not None
    place = Place(config=config, runner=config.runner, chain_id=31337)
    backend: RemoteBackend = kind("dstack-vmm").open(options_of("dstack-vmm", given), place)
    return backend


@pytest.fixture
def backend(vmm: FakeVmm, tmp_path: Path) -> Iterator[RemoteBackend]:
    made = opened(vmm, tmp_path)
    yield RemoteBackend(**{**vars(made), "limits": QUICK})
    made.close()


@pytest.fixture
def by_tcp(tcp: FakeVmm, tmp_path: Path) -> Iterator[RemoteBackend]:
    made = opened(tcp, tmp_path)
    yield RemoteBackend(**{**vars(made), "limits": QUICK})
    made.close()


def order(compose: bytes, run_id: str | None = None) -> Assignment:
    return Assignment(
        run_id=run_id or "0x" + secrets.token_hex(32), consortium="0x" + "c0" * 20, app=APP, chain_id=31337,
        compose=compose,
    )  # fmt: skip


def reached(backend: RemoteBackend, enclave: RemoteEnclave) -> str:
    """The run's URL, on this machine."""
    inbox = enclave._inbox
    port = backend.delivery._server.server_address[1]
    return f"http://127.0.0.1:{port}/v1/runs/{inbox.token}"


def ended(enclave: RemoteEnclave) -> RunnerError:
    """What ends it, when nobody speaks."""
    with pytest.raises(RunnerError) as caught:
        until(lambda: enclave.line(0.05))
    return caught.value


# --- the whole way -------------------------------------------------------------------------------


def test_a_vm_measures_the_recipe_and_is_told_its_run(
    vmm: FakeVmm, backend: RemoteBackend, compose: bytes, tmp_path: Path
) -> None:
    """AT-23: the very bytes of the recipe, under the consortium's app; the run's id is a hint beside them."""
    (tmp_path / "sealed" / "hospital-A").mkdir(parents=True)
    (tmp_path / "sealed" / "hospital-A" / "cohort-A.tar").write_bytes(b"sealed" * 100_000)
    asked = order(compose)
    enclave = backend.start(asked)
    assert vmm.called() == ["ListImages", "GetComposeHash", "CreateVm"]
    _, created = next(call for call in vmm.calls if call[0] == "CreateVm")
    assert created["compose_file"].encode() == compose and created["app_id"] == APP[2:]
    assert (created["no_tee"], created["ports"], created["image"]) == (False, [], IMAGE)
    assert created["name"] == f"sealroom-{asked.run_id[2:]}"
    hints = json.loads(created["user_config"])
    assert (hints["run_id"], hints["gate"]) == (asked.run_id, "http://gate.example")
    assert hints["runner"].startswith("http://10.0.2.2:8402/v1/runs/")
    assert set(hints["datasets"]) == {spec.path for spec in parse(compose).datasets}
    assert TOKEN not in json.dumps(vmm.calls) and "gpus" not in created

    url = reached(backend, enclave)
    assert HTTP.get(f"{url}/datasets/hospital-A/cohort-A.tar").content == b"sealed" * 100_000
    assert HTTP.get(f"{url}/datasets/hospital-B/cohort-B.tar").status_code == 503  # not there yet
    assert HTTP.get(f"{url}/datasets/../state").status_code == 404
    assert HTTP.post(f"{url}/start", json={"enclave": "one"}).status_code == 200
    told = {"number": 1, "line": {"phase": "attesting"}}
    for _ in range(2):  # the same line again: its answer was lost
        assert HTTP.post(f"{url}/lines", json=told).status_code == 200
    assert HTTP.put(f"{url}/envelope.json", content=b"{}").status_code == 200
    assert HTTP.put(f"{url}/envelope.json", content=b"[]").status_code == 409
    assert HTTP.post(f"{url}/exit", json={"status": 0}).status_code == 200
    assert enclave.exit_code() is None, "a line is not read yet"
    assert enclave.line(PATIENCE_S) == {"phase": "attesting"} and enclave.line(0.0) is None
    assert enclave.exit_code() == 0 and enclave.envelope() == b"{}" and enclave.failure() is None
    vmm.removals = 3
    enclave.kill()
    enclave.clean()
    assert vmm.vms == {} and vmm.called()[3:] == ["StopVm", "StopVm", "RemoveVm"]
    assert HTTP.post(f"{url}/start", json={"enclave": "one"}).status_code == 404
    assert not (tmp_path / "state" / asked.run_id[2:] / "out").exists()


def test_a_real_enclave_reads_its_hints_and_hands_in_how_it_ended(
    tcp: FakeVmm, compose: bytes, platform: Path, tmp_path: Path
) -> None:
    """The program that is measured, as its container starts it, with a simulated guest agent: it fetches its
    datasets, finds that they are none, and says so by the runner's URL."""
    backend = opened(tcp, tmp_path, url="http://127.0.0.1:1")
    backend.delivery.url = f"http://127.0.0.1:{backend.delivery._server.server_address[1]}"
    backend = RemoteBackend(**{**vars(backend), "limits": QUICK})
    for spec in parse(compose).datasets:
        path = tmp_path / "sealed" / spec.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no sealed file")
    inside = Path(tempfile.mkdtemp(prefix="vm-"))
    there: list[subprocess.Popen[bytes]] = []

    def boot(vm: Vm) -> None:
        (inside / "compose.json").write_text(vm.configuration["compose_file"])
        (inside / "hints.json").write_text(vm.configuration["user_config"])
        start = [sys.executable, "-I", "-m"]
        guest = ["--platform", str(platform), "--compose", str(inside / "compose.json"), "--app-id", APP]
        guest += ["--socket", str(inside / "guest.sock"), "--ready-file", str(inside / "ready")]
        there.append(subprocess.Popen([*start, "sealroom_agents.simulator", "guest", *guest]))
        until((inside / "ready").exists)
        enclave = ["--hints", str(inside / "hints.json"), "--work", str(inside)]
        enclave += ["--guest-agent", str(inside / "guest.sock")]
        there.append(subprocess.Popen([*start, "sealroom", *enclave], stdout=subprocess.DEVNULL))

    tcp.boot = boot
    enclave = backend.start(order(compose))
    try:
        lines = []
        deadline = time.monotonic() + PATIENCE_S
        while enclave.exit_code() is None:
            assert time.monotonic() < deadline
            if (line := enclave.line(0.2)) is not None:
                lines.append(line)
        assert enclave.exit_code() == 3 and lines[-1]["phase"] == "refused"
        assert (inside / "hints.json").exists()
        fetched = list(inside.glob("run-*/datasets/*/*.tar"))
        assert len(fetched) == 2 and fetched[0].read_bytes() == b"no sealed file"
    finally:
        for process in there:
            process.kill()
            process.wait()
        enclave.clean()
        backend.close()


# --- what is refused before a VM is made ---------------------------------------------------------


def refused(backend: RemoteBackend, compose: bytes) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        backend.start(order(compose))
    assert list((backend.state).glob("*")) == [], "a run that was never started may be started"
    return caught.value


def test_a_recipe_without_hints_runs_on_no_real_host(by_tcp: RemoteBackend, tcp: FakeVmm) -> None:
    error = refused(by_tcp, render(STUDY))
    assert error.code == "hints-missing" and "hints: dstack" in str(error.hint) and tcp.calls == []


def test_a_host_that_would_measure_other_bytes_makes_no_vm(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    """AT-23."""
    tcp.faults["GetComposeHash"] = lambda request: request.answer(200, {"hash": "ab" * 32})  # type: ignore[attr-defined]
    assert refused(by_tcp, compose).code == "host-measures-others"
    assert "CreateVm" not in tcp.called()


def test_an_image_for_development_is_refused(by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes) -> None:
    """AT-20: its host could log in."""
    tcp.images[0]["is_dev"] = True
    assert refused(by_tcp, compose).code == "os-image-dev"
    tcp.images[0]["name"] = "dstack-dev"
    error = refused(by_tcp, compose)
    assert error.code == "os-image-unknown" and "dstack-dev" in error.message
    assert "CreateVm" not in tcp.called()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Port mapping is disabled", "host-feature"),
        ("Port mapping is not allowed for tcp:0.0.0.0:80", "host-feature"),
        ("GPU is not enabled", "host-feature"),
        ("Attaching all GPUs is not allowed", "host-feature"),
        ("GPU 0000:0a:00.0 is not offered by this node", "host-feature"),
        ("Invalid name: a/b", "host-refused"),
        ("VM not found", "vm-unknown"),
        ("VM is being removed", "host-busy"),
        ("vm should be stopped before resize", "host-refused"),
        ("Failed to create VM\x1b[31m: disk\u202e full " + "x" * 4000, "host-refused"),
    ],
)
def test_every_reason_of_the_vmm_has_a_code(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes, text: str, code: str
) -> None:
    """OP-03: and none of its text reaches a terminal as more than text."""
    tcp.refusals["CreateVm"] = [text] * 1000
    error = refused(by_tcp, compose)
    assert error.code == code and error.message.isprintable() and len(error.message) < 400
    assert error.code.transient == (code == "host-busy")


def test_each_code_of_a_reason_is_tested_above() -> None:
    assert len(REASONS) == 7


def raw(status: int, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda request: request.raw(status, body)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("method", "fault", "code"),
    [
        ("ListImages", raw(200, b'{"images": [], "pad": "' + b"x" * 2**20 + b'"}'), "host-answer"),
        ("ListImages", raw(200, b"<html>"), "host-answer"),
        ("ListImages", raw(200, b"[1, 2]"), "host-answer"),
        ("ListImages", raw(200, b'{"images": [{"name": "dstack-0.5.8"}]}'), "host-answer"),
        ("ListImages", raw(200, b'{"images": [{"name": "dstack-0.5.8", "is_dev": "no"}]}'), "host-answer"),
        ("ListImages", raw(200, b'{"images": [{"name": "dstack-0.5.8", "is_dev": 0}]}'), "host-answer"),
        ("ListImages", raw(200, b'{"images": [], "images": []}'), "host-answer"),
        ("GetComposeHash", raw(200, b'{"hash": null}'), "host-answer"),
        ("GetComposeHash", raw(200, b'{"hash": ""}'), "host-measures-others"),
        ("CreateVm", raw(200, b'{"id": 7}'), "host-answer"),
        ("CreateVm", raw(200, b'{"id": ""}'), "host-answer"),
        ("CreateVm", raw(500, b"boom"), "host-answer"),
        ("CreateVm", raw(400, b"no reason"), "host-answer"),
        ("CreateVm", raw(302, b"{}"), "host-answer"),
        ("CreateVm", raw(404, b'{"error": "Service not found: CreateVm"}'), "host-method"),
        ("ListImages", raw(401, b'{"error": "Unauthorized"}'), "host-token"),
        ("ListImages", raw(403, b""), "host-token"),
        ("ListImages", lambda request: request.connection.close(), "host-unreachable"),
    ],
)
def test_a_strange_answer_starts_nothing(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes, method: str, fault: Any, code: str
) -> None:
    tcp.faults[method] = fault
    assert refused(by_tcp, compose).code == code


@pytest.mark.parametrize("drips", [False, True])
def test_a_vmm_that_hangs_is_waited_for_by_one_deadline(
    tcp: FakeVmm, tmp_path: Path, compose: bytes, drips: bool
) -> None:
    """One that sends a byte now and then, too."""

    def hang(request: BaseHTTPRequestHandler) -> None:
        while not tcp.closing.wait(0.05):
            if drips:
                request.wfile.write(b"H")
                request.wfile.flush()

    tcp.faults["ListImages"] = hang
    made = opened(tcp, tmp_path, call_seconds=0.5)
    try:
        error = refused(made, compose)
        assert error.code in ("host-unreachable",) and error.code.transient
    finally:
        made.close()


def test_a_vm_whose_answer_was_lost_is_found_by_its_name_and_ended(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    def lost(request: BaseHTTPRequestHandler) -> None:
        tcp.CreateVm(tcp.calls[-1][1])
        request.connection.close()

    tcp.faults["CreateVm"] = lost
    assert refused(by_tcp, compose).code == "host-unreachable"
    assert tcp.vms == {} and "RemoveVm" in tcp.called()


# --- GPUs ----------------------------------------------------------------------------------------

H100_PCIE, H200, A100, SWITCH = "10de:2331", "10de:2335", "10de:20b0", "10de:22a3"


def demanding(folder: Path, count: int, mode: str = "passthrough") -> bytes:
    """The worked study for a dstack host, with GPUs."""
    study = Path(shutil.copytree(STUDY, folder / f"study-{count}-{mode}"))
    text = (study / "study.yaml").read_text()
    demand = f"gpu: {{kind: h100, count: {count}, mode: {mode}}}\nhints: dstack\n"
    assert "gpu: none\n" in text
    (study / "study.yaml").write_text(text.replace("gpu: none\n", demand, 1))
    return render(study)


def offer(*products: str, busy: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """What a host lists: these boards, in slots 0000:10:00.0, 0000:11:00.0 and so on."""
    return [
        {
            "slot": f"0000:{0x10 + number:02x}:00.0", "product_id": product,
            "description": f"3D controller: NVIDIA Corporation [{product}]", "is_free": number not in busy,
        }
        for number, product in enumerate(products)
    ]  # fmt: skip


def given(vmm: FakeVmm) -> list[Any]:
    return [body["gpus"] for name, body in vmm.calls if name == "CreateVm"]


def test_a_vm_gets_as_many_free_gpus_of_the_kind_as_its_recipe_demands(
    by_tcp: RemoteBackend, tcp: FakeVmm, tmp_path: Path
) -> None:
    tcp.gpus = offer(A100, H100_PCIE, H200, SWITCH, H100_PCIE, H100_PCIE, busy=(1,))
    enclave = by_tcp.start(order(demanding(tmp_path, 2)))
    assert tcp.called() == ["ListImages", "GetComposeHash", "ListGpus", "CreateVm"]
    slots = [{"slot": "0000:12:00.0"}, {"slot": "0000:14:00.0"}]
    assert given(tcp) == [{"attach_mode": "listed", "gpus": slots}]
    error = refused_beside(by_tcp, demanding(tmp_path, 3), enclave)
    assert error.code == "host-busy" and error.code.transient and "1 of the host's are free" in error.message
    assert len(given(tcp)) == 1
    enclave.clean()


def refused_beside(backend: RemoteBackend, compose: bytes, other: RemoteEnclave) -> RunnerError:
    """A run that is refused while another one is there."""
    before = backend.known()
    with pytest.raises(RunnerError) as caught:
        backend.start(order(compose))
    assert backend.known() == before and other.exit_code() is None
    return caught.value


def test_a_recipe_without_a_demand_is_given_no_gpu(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    tcp.gpus = offer(H100_PCIE)
    enclave = by_tcp.start(order(compose))
    assert "ListGpus" not in tcp.called() and "gpus" not in tcp.calls[2][1]
    assert tcp.gpus[0]["is_free"]
    enclave.clean()


def test_with_protected_pcie_a_vm_gets_the_whole_board(
    by_tcp: RemoteBackend, tcp: FakeVmm, tmp_path: Path
) -> None:
    compose = demanding(tmp_path, 2, "protected-pcie")
    tcp.gpus = offer(H200, H200, H200)
    error = refused(by_tcp, compose)
    assert error.code == "host-feature" and "all 3" in error.message
    tcp.gpus = offer(H200, H200)
    error = refused(by_tcp, compose)
    assert error.code == "host-feature" and "allow_attach_all" in str(error.hint)
    tcp.allow_attach_all = True
    enclave = by_tcp.start(order(compose))
    assert given(tcp) == [{"attach_mode": "all", "gpus": []}]
    assert refused_beside(by_tcp, compose, enclave).code == "host-busy"
    enclave.clean()


@pytest.mark.parametrize("there", [(), (A100, A100), (H100_PCIE,), (SWITCH, H200)])
def test_a_host_without_the_gpus_makes_no_vm(
    by_tcp: RemoteBackend, tcp: FakeVmm, tmp_path: Path, there: tuple[str, ...]
) -> None:
    """Busy ones count as there: who waits for them does not wait in vain."""
    tcp.gpus = offer(*there, busy=(0,))
    error = refused(by_tcp, demanding(tmp_path, 2))
    assert error.code == "host-feature" and "vmm.toml" in str(error.hint)
    assert f"offers {sum(product != SWITCH for product in there if product != A100)} h100" in error.message
    assert given(tcp) == []


def test_a_host_with_gpus_that_are_not_enabled_says_so(
    by_tcp: RemoteBackend, tcp: FakeVmm, tmp_path: Path
) -> None:
    tcp.gpus, tcp.gpu_enabled = offer(H100_PCIE), False
    assert refused(by_tcp, demanding(tmp_path, 1)).code == "host-feature"


GPU = offer(H100_PCIE)[0]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"gpus": [GPU]},
        {"gpus": [GPU], "allow_attach_all": 0},
        {"gpus": GPU, "allow_attach_all": False},
        {"gpus": [{**GPU, "is_free": "yes"}], "allow_attach_all": False},
        {"gpus": [{**GPU, "slot": "0000:10:00.0,host=1"}], "allow_attach_all": False},
        {"gpus": [{**GPU, "slot": "0000:10:00.0\n"}], "allow_attach_all": False},
        {"gpus": [{**GPU, "product_id": "H100"}], "allow_attach_all": False},
        {"gpus": [{**GPU, "product_id": None}], "allow_attach_all": False},
        {"gpus": [GPU, GPU], "allow_attach_all": False},
        {"gpus": [{**GPU, "slot": f"{n:04x}:10:00.0"} for n in range(257)], "allow_attach_all": False},
    ],
)
def test_a_strange_list_of_gpus_makes_no_vm(
    by_tcp: RemoteBackend, tcp: FakeVmm, tmp_path: Path, answer: Any
) -> None:
    tcp.faults["ListGpus"] = lambda request: request.answer(200, answer)  # type: ignore[attr-defined]
    assert refused(by_tcp, demanding(tmp_path, 1)).code == "host-answer"
    assert given(tcp) == []


def test_two_runs_at_once_get_different_gpus(by_tcp: RemoteBackend, tcp: FakeVmm, tmp_path: Path) -> None:
    tcp.gpus = offer(H100_PCIE, H100_PCIE)
    compose = demanding(tmp_path, 1)
    with ThreadPoolExecutor(2) as pool:
        enclaves = list(pool.map(by_tcp.start, [order(compose), order(compose)]))
    slots = [gpus["gpus"][0]["slot"] for gpus in given(tcp)]
    assert sorted(slots) == ["0000:10:00.0", "0000:11:00.0"]
    for enclave in enclaves:
        enclave.clean()


# --- what a VM may do ----------------------------------------------------------------------------


def test_a_vm_that_does_not_boot_ends_its_run_with_its_hosts_words(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    def boot(vm: Vm) -> None:
        vm.boot_progress = "requesting app keys"
        vm.boot_error = "KMS refused: app is not\x1b allowed"

    tcp.boot = boot
    enclave = by_tcp.start(order(compose))
    error = ended(enclave)
    assert error.code == "boot-failed" and "KMS refused: app is not" in error.message
    assert error.message.isprintable()
    enclave.kill()
    enclave.clean()
    assert tcp.vms == {}


def test_a_vm_that_reboots_in_a_loop_is_ended_by_its_time(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    """It shows `running` all along, and its enclave never speaks."""

    def boot(vm: Vm) -> None:
        while not vm.stopped.wait(0.02):
            vm.boot_progress = "requesting app keys" if vm.boot_progress == "" else ""

    tcp.boot = boot
    quick = Limits(**{**vars(QUICK), "boot_s": 0.5})
    enclave = RemoteBackend(**{**vars(by_tcp), "limits": quick}).start(order(compose))
    assert ended(enclave).code == "boot-failed"
    enclave.clean()
    assert tcp.vms == {}


@pytest.mark.parametrize("way", ["exited", "stopped", "gone"])
def test_a_vm_that_ends_unasked_is_not_left_to_its_hosts_restart(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes, way: str
) -> None:
    enclave = by_tcp.start(order(compose))
    (vm,) = tcp.vms.values()
    if way == "gone":
        tcp.vms.clear()
    else:
        vm.status = way
    assert ended(enclave).code == "vm-ended"
    enclave.kill()
    enclave.clean()
    assert tcp.vms == {}


def test_a_second_boot_for_one_run_is_seen_and_gets_nothing(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    """The VMM restarts what exited up to five times; an enclave's keys do not come again."""
    enclave = by_tcp.start(order(compose))
    url = reached(by_tcp, enclave)
    for _ in range(2):  # the same one again: its answer was lost
        assert HTTP.post(f"{url}/start", json={"enclave": "one"}).status_code == 200
    assert HTTP.post(f"{url}/start", json={"enclave": "two"}).status_code == 409
    assert HTTP.put(f"{url}/envelope.json", content=b"{}").status_code == 409
    assert ended(enclave).code == "vm-restarted"
    enclave.clean()


def test_a_look_that_fails_ends_no_run(by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes) -> None:
    """Its enclave works on, and speaks for itself."""
    enclave = by_tcp.start(order(compose))
    tcp.faults["GetInfo"] = raw(200, b'{"found": true, "info": {"id": "x", "name": "y", "status": "odd"}}')
    before = len(tcp.calls)
    until(lambda: len(tcp.calls) > before + 3)
    url = reached(by_tcp, enclave)
    HTTP.post(f"{url}/start", json={"enclave": "one"})
    HTTP.post(f"{url}/lines", json={"number": 1, "line": {"phase": "computing"}})
    assert enclave.line(PATIENCE_S) == {"phase": "computing"}
    tcp.faults.clear()
    enclave.clean()


def test_a_hanging_vmm_does_not_delay_the_order_to_wipe(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    """Asking returns at once, in a thread of its own."""
    enclave = by_tcp.start(order(compose))
    release = threading.Event()
    tcp.faults["ShutdownVm"] = lambda request: (release.wait(PATIENCE_S), request.answer(200, {}))[1]  # type: ignore[attr-defined]
    enclave.terminate()
    assert enclave.line(0.01) is None
    until(lambda: "ShutdownVm" in tcp.called())
    release.set()
    enclave.kill()
    enclave.clean()


def test_a_vm_that_stays_is_told_and_tried_again_at_the_next_start(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    asked = order(compose)
    quick = RemoteBackend(**{**vars(by_tcp), "limits": Limits(**{**vars(QUICK), "end_s": 0.2})})
    enclave = quick.start(asked)
    tcp.keep_removed = True
    enclave.kill()
    enclave.clean()
    assert quick.known() == [asked.run_id] and len(tcp.vms) == 1
    with pytest.raises(RunnerError) as caught:
        quick.forget(asked.run_id)
    assert caught.value.code == "vm-stays" and caught.value.code.transient
    tcp.keep_removed = False
    by_tcp.forget(asked.run_id)
    assert tcp.vms == {}


def test_a_call_that_failed_for_a_reason_that_passes_is_tried_again(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    patient = RemoteBackend(**{**vars(by_tcp), "limits": Limits(**{**vars(QUICK), "retry_s": PATIENCE_S})})
    enclave = patient.start(order(compose))
    failing = [raw(503, b"")]
    tcp.faults["StopVm"] = failing[0]
    with pytest.raises(RunnerError) as caught:
        enclave.kill()
    assert caught.value.code == "host-answer"
    count = iter(range(2))

    def twice(request: BaseHTTPRequestHandler) -> None:
        if next(count, None) is None:
            del tcp.faults["StopVm"]
        request.connection.close()

    tcp.faults["StopVm"] = twice
    enclave.kill()
    assert [vm.status for vm in tcp.vms.values()] == ["stopped"]
    enclave.clean()


# --- a runner that starts again ------------------------------------------------------------------


def test_a_runner_that_starts_again_ends_the_vms_that_it_left(
    by_tcp: RemoteBackend, tcp: FakeVmm, compose: bytes
) -> None:
    """Of any number, over all pages; a VM of another name is nobody's here."""
    tcp.page_size = 2
    runs = [order(compose) for _ in range(5)]
    enclaves = [by_tcp.start(each) for each in runs]
    foreign = {**tcp.calls[-1][1], "name": "sealroom-gate"}
    created = next(body for name, body in tcp.calls if name == "CreateVm")
    tcp.CreateVm({**created, "name": "sealroom-gate"})
    assert foreign
    url = reached(by_tcp, enclaves[0])
    HTTP.post(f"{url}/start", json={"enclave": "one"})
    HTTP.put(f"{url}/envelope.json", content=b'{"a": 1}')
    for each in enclaves:
        each._over.set()  # the runner is gone
    assert by_tcp.known() == sorted(each.run_id for each in runs)
    left = by_tcp.leftovers(runs[0].run_id)
    assert left.started and left.envelope == b'{"a": 1}' and left.failure is None
    for each in runs[1:]:
        assert by_tcp.leftovers(each.run_id).envelope is None
    assert [vm.configuration["name"] for vm in tcp.vms.values()] == ["sealroom-gate"]
    by_tcp.forget(runs[0].run_id)
    assert by_tcp.leftovers(runs[0].run_id).envelope is None


def test_a_list_without_end_is_not_read_for_ever(by_tcp: RemoteBackend, tcp: FakeVmm) -> None:
    vm = {"id": "x", "name": "other", "status": "running"}
    tcp.faults["Status"] = lambda request: request.answer(200, {"vms": [vm] * 100, "total": 10**9})  # type: ignore[attr-defined]
    with pytest.raises(RunnerError, match="lists more than"):
        by_tcp.known()


# --- what an enclave, or who knows its URL, may hand in ------------------------------------------


@pytest.mark.parametrize(
    ("method", "what", "body", "status"),
    [
        ("POST", "/start", b"{}", 400),
        ("POST", "/start", b'{"enclave": ""}', 400),
        ("POST", "/lines", b"[]", 400),
        ("POST", "/lines", b'{"number": 1}', 400),
        ("POST", "/lines", b'{"number": "1", "line": {}}', 400),
        ("POST", "/lines", b'{"number": 1, "line": []}', 400),
        ("POST", "/lines", b'{"number": 99999999, "line": {}}', 400),
        ("POST", "/lines", b"x" * (64 * 1024 + 1), 413),
        ("POST", "/exit", b'{"status": 256}', 400),
        ("POST", "/exit", b'{"status": true}', 400),
        ("PUT", "/failure.json", b"x" * (128 * 1024 + 1), 413),
        ("PUT", "/other.json", b"{}", 404),
        ("PUT", "/../place", b"{}", 404),
        ("DELETE", "/lines", b"", 501),
    ],
)
def test_nothing_else_is_taken(
    by_tcp: RemoteBackend, compose: bytes, method: str, what: str, body: bytes, status: int
) -> None:
    """Bounded, by exact names."""
    enclave = by_tcp.start(order(compose))
    url = reached(by_tcp, enclave)
    assert HTTP.request(method, url + what, content=body).status_code in (status, 409)
    HTTP.post(f"{url}/start", json={"enclave": "one"})
    assert HTTP.request(method, url + what, content=body).status_code == status
    if status == 400:
        assert ended(enclave).code == "enclave-protocol"
    other = url[:-1] + ("1" if url.endswith("0") else "0")
    assert HTTP.post(other + "/start", json={"enclave": "one"}).status_code == 404
    enclave.clean()


def test_who_hands_in_too_much_hears_why(
    by_tcp: RemoteBackend, compose: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A body that is refused unread ends in an answer and the end of the connection, and in no reset."""
    enclave = by_tcp.start(order(compose))
    url = httpx.URL(reached(by_tcp, enclave))
    monkeypatch.setattr(delivery, "LINGER_S", PATIENCE_S)
    body = bytes(300_000)
    head = f"POST {url.path}/lines HTTP/1.1\r\nHost: here\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((url.host, url.port or 80), PATIENCE_S) as caller:
        caller.sendall(head.encode())
        assert caller.recv(1 << 16).startswith(b"HTTP/1.0 413 ")
        caller.sendall(body)
        caller.shutdown(socket.SHUT_WR)
        while caller.recv(1 << 16):
            pass
    enclave.clean()


# --- its options ---------------------------------------------------------------------------------


def test_a_token_never_goes_in_clear_over_a_network(tmp_path: Path) -> None:
    """OP-03: nor is it shown."""
    for address in (
        "http://10.0.0.5:9080",
        "ftp://host",
        "http://u:p@127.0.0.1",
        "http://127.0.0.1/?token=x",
    ):
        with pytest.raises(ConfigurationError):
            Server(address, headers={"Authorization": "Bearer " + TOKEN}, timeout_s=1)
    host = VmmHost(
        Server("https://host.example", headers={"Authorization": TOKEN}, timeout_s=1),
        VmmOptions(vmm="x", image="x", vcpu=1, memory_mib=2048, disk_gb=1, url="http://10.0.2.2:8402"),
    )
    assert TOKEN not in repr(host)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"vcpu": 0}, "vcpu"), ({"url": "10.0.2.2"}, "url"), ({"memory": 1}, "memory is no option of it"),
        ({"token": "x"}, "token is no option of it"), ({"boot_seconds": 0}, "boot_seconds"),
    ],
)  # fmt: skip
def test_its_options_are_read_strictly(change: dict[str, Any], told: str) -> None:
    fine = {
        "vmm": "unix:/v", "image": IMAGE, "vcpu": 1, "memory_mib": 2048, "disk_gb": 1,
        "url": "http://10.0.2.2:8402",
    }  # fmt: skip
    options_of("dstack-vmm", fine)
    with pytest.raises(ConfigurationError, match=told):
        options_of("dstack-vmm", fine | change)
