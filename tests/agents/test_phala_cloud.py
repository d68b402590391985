# SPDX-License-Identifier: Apache-2.0
"""The backend `phala-cloud`, against a cloud that is a real HTTP server (`tests/fake_phala.py`)."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from eth_keys.datatypes import PrivateKey
from tests import plain_http
from tests.agents.test_dstack_vmm import ended, opened, order, reached, tcp
from tests.fake_phala import KMS_CONTRACT, Cvm, FakePhala, Refusal
from tests.fake_vmm import FakeVmm
from tests.formats import phala
from tests.formats.worked import HINTED, STUDY
from tests.patience import PATIENCE_S, until

from sealroom.recipe import parse, render
from sealroom.recipe.wrapped import HINTS_VARIABLE
from sealroom.runtime.hints import Hints
from sealroom_agents.cli import main
from sealroom_agents.config import Config
from sealroom_agents.config.backends import kind, options_of
from sealroom_agents.errors import ConfigurationError, RunnerError
from sealroom_agents.runner.backend import Assignment, Place
from sealroom_agents.runner.phala_api import CODES
from sealroom_agents.runner.phala_cloud import PhalaHost, cloud_name, our_name
from sealroom_agents.runner.remote import PREFIX, Limits, RemoteBackend

pytestmark = phala.needs_script

__all__ = ["tcp"]

IMAGE = "dstack-0.5.8"
TOKEN = "phak_" + "t" * 40
HTTP = plain_http.client()
QUICK = Limits(boot_s=PATIENCE_S, end_s=PATIENCE_S, look_s=0.02, retry_s=0.2)
"""For tests in which nothing is slow by design."""


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The worked study as Phala Cloud builds it."""
    return phala.wrapped(tmp_path_factory.mktemp("phala"))


@pytest.fixture
def cloud() -> Iterator[FakePhala]:
    with FakePhala(phala.script(), token=TOKEN) as running:
        yield running


def given(cloud: FakePhala, folder: Path, **more: Any) -> dict[str, Any]:
    """`[runner.options]`, and the file that they name."""
    token = folder / "phala.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    return {
        "api": cloud.address, "token_file": str(token), "image": IMAGE, "instance_type": "tdx.small",
        "disk_gb": 20, "kms": "BASE", "kms_contract": KMS_CONTRACT, "kms_root": cloud.kms_root,
        "deployer": "0x" + "de" * 20, "port": 0, "url": "http://runner.example", **more,
    }  # fmt: skip


def made(cloud: FakePhala, folder: Path, **more: Any) -> RemoteBackend:
    """The backend as the runner's command opens it."""
    options = given(cloud, folder, **more)
    (folder / "key").touch()
    config = Config.model_validate(
        {
            "chain": {"rpc": ["http://127.0.0.1:1"]},
            "runner": {
                "datasets": folder / "sealed", "state": folder / "state", "key_file": folder / "key",
                "gate": "http://gate.example", "backend": "phala-cloud", "options": options,
            },
        }
    )  # fmt: skip
    assert config.runner is not None
    place = Place(config=config, runner=config.runner, chain_id=8453)
    found: RemoteBackend = kind("phala-cloud").open(options_of("phala-cloud", options), place)
    return RemoteBackend(**{**vars(found), "limits": QUICK})


@pytest.fixture
def backend(cloud: FakePhala, tmp_path: Path) -> Iterator[RemoteBackend]:
    found = made(cloud, tmp_path)
    yield found
    found.close()


def host_of(backend: RemoteBackend) -> PhalaHost:
    assert isinstance(backend.host, PhalaHost)
    return backend.host


def refused(backend: RemoteBackend, asked: bytes | Assignment) -> RunnerError:
    with pytest.raises(RunnerError) as caught:
        backend.start(asked if isinstance(asked, Assignment) else order(asked))
    assert list(backend.state.glob("*")) == [], "a run that was never started may be started"
    return caught.value


# --- the whole way -------------------------------------------------------------------------------


def test_a_vm_measures_the_recipe_and_is_told_its_run(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    """AT-23, AT-21: the cloud built what the owners approved; hints are for the app alone."""
    cloud.allowed = {parse(compose).compose_hash.hex()}
    asked = order(compose)
    enclave = backend.start(asked)
    assert cloud.called() == ["provision", "pubkey", "create", "compose_file"]
    sent = dict(cloud.calls)
    assert sent["provision"]["compose_file"]["gateway_enabled"] is False
    assert sent["provision"]["kms_contract"] == KMS_CONTRACT and sent["provision"]["image"] == IMAGE
    assert sent["create"]["app_id"] == asked.app[2:]
    (vm,) = cloud.vms.values()
    assert vm.name == cloud_name(PREFIX + asked.run_id[2:]) and len(vm.name) <= 63
    hints = Hints.told(vm.variables[HINTS_VARIABLE])
    assert "0x" + hints.run_id.hex() == asked.run_id and hints.gate == "http://gate.example"
    assert hints.runner.startswith("http://runner.example/v1/runs/")
    assert hints.runner not in json.dumps(cloud.calls), "the way to the runner is for the app alone"
    assert TOKEN not in json.dumps(cloud.calls)

    url = reached(backend, enclave)
    assert HTTP.post(f"{url}/start", json={"enclave": "one"}).status_code == 200
    assert HTTP.put(f"{url}/envelope.json", content=b"{}").status_code == 200
    assert HTTP.post(f"{url}/exit", json={"status": 0}).status_code == 200
    assert enclave.exit_code() == 0 and enclave.envelope() == b"{}"
    cloud.removals = 3
    enclave.kill()
    enclave.clean()
    assert cloud.vms == {} and cloud.called()[4:] == ["stop", "stop", "delete"]


def test_a_run_that_is_over_is_asked_to_end_and_a_vm_that_a_dead_runner_left_is_ended(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    asked = order(compose)
    enclave = backend.start(asked)
    (vm,) = cloud.vms.values()
    enclave.terminate()
    assert vm.stopped.wait(PATIENCE_S)
    cloud.vms["other"] = Cvm("other", "somebody-else", "ab" * 20, {}, "", {})
    cloud.page_size = 1
    assert backend.known() == [asked.run_id]
    enclave._over.set()
    assert backend.leftovers(asked.run_id).started and list(cloud.vms) == ["other"]


def test_names_of_vms_are_those_of_runs_and_no_others() -> None:
    for run in (b"\x00" * 32, b"\xff" * 32, secrets.token_bytes(32)):
        name = PREFIX + run.hex()
        assert our_name(cloud_name(name)) == name and len(cloud_name(name)) == 61
    for other in (
        "sealroom-" + "a" * 51 + "b",
        "sealroom-" + "A" * 52,
        "sealroom-",
        "x" * 61,
        PREFIX + "1" * 52,
    ):
        assert our_name(other) is None


# --- what is refused before a VM runs -------------------------------------------------------------


def test_each_backend_takes_the_form_that_its_host_measures(
    cloud: FakePhala, backend: RemoteBackend, tcp: FakeVmm, compose: bytes, tmp_path: Path
) -> None:
    for other in (HINTED, render(STUDY)):
        error = refused(backend, other)
        assert error.code == "hints-missing" and "hints: phala-cloud" in str(error.hint)
    assert cloud.calls == []
    (tmp_path / "vmm").mkdir()
    vmm = opened(tcp, tmp_path / "vmm")
    error = refused(vmm, compose)
    vmm.close()
    assert error.code == "hints-missing" and "hints: dstack" in str(error.hint) and tcp.calls == []


def test_a_cloud_that_would_measure_other_bytes_makes_no_vm(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    """AT-23: another member, or a script of another version."""
    cloud.added = {"salt": "1"}
    assert refused(backend, compose).code == "host-measures-others"
    cloud.added = {"pre_launch_script": cloud.script.replace("v0.0.14", "v0.0.15")}
    assert refused(backend, compose).code == "host-measures-others"
    assert cloud.called() == ["provision"] * 2 and cloud.vms == {}


def test_a_vm_that_has_other_bytes_is_ended(cloud: FakePhala, backend: RemoteBackend, compose: bytes) -> None:
    """AT-23: though the cloud said the right hash. No key would leave either: the quote has other bytes."""

    provision = cloud.provision

    def lying(body: dict[str, Any]) -> dict[str, Any]:
        found = provision(body)
        name, built = cloud.provisioned[found["compose_hash"]]
        cloud.provisioned[found["compose_hash"]] = (name, {**built, "public_logs": True})
        return found

    cloud.provision = lying  # type: ignore[method-assign]
    error = refused(backend, compose)
    assert error.code == "host-measures-others" and "other bytes" in error.message
    assert cloud.vms == {} and cloud.called()[-2:] == ["stop", "delete"]


def test_another_run_of_the_recipe_is_not_taken_for_ours(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    """The cloud answers with the VM that is there for one app and hash; it stays, the second run fails."""
    first = backend.start(order(compose))
    with pytest.raises(RunnerError) as caught:
        backend.start(order(compose))
    assert caught.value.code == "host-busy" and len(cloud.vms) == 1
    first.clean()
    backend.start(order(compose)).clean()


def test_the_key_for_hints_must_be_the_kms_own(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    """AT-19: signed by another KMS, for another app, or not at all, it would be somebody else's."""
    right = cloud.root
    cloud.root = PrivateKey(hashlib.sha256(b"another KMS").digest())
    assert refused(backend, compose).code == "host-answer"
    cloud.root = right
    pubkey = cloud.pubkey
    cloud.pubkey = lambda kms, app: pubkey(kms, "ab" * 20)  # type: ignore[method-assign]
    assert refused(backend, compose).code == "host-answer"
    for key, signature in (("", ""), ("zz", "0x"), ("00" * 32, "00" * 65), ("00" * 31, "11" * 65)):
        answer = {"public_key": key, "signature": signature}
        cloud.pubkey = lambda kms, app, answer=answer: answer  # type: ignore[method-assign, misc]
        assert refused(backend, compose).code == "host-answer"
    assert "create" not in cloud.called()


def test_another_kms_is_refused(cloud: FakePhala, tmp_path: Path, compose: bytes) -> None:
    """AT-19."""
    found = made(cloud, tmp_path, kms_contract="0x" + "ab" * 20)
    assert refused(found, compose).code == "host-answer" and cloud.called() == ["provision"]
    found.close()


def test_an_image_for_development_is_refused(cloud: FakePhala, tmp_path: Path, compose: bytes) -> None:
    """AT-20: there the SSH keys that Phala's script installs open the VM to its host."""
    for image, code in (("dstack-dev-0.5.8", "os-image-dev"), ("dstack-9", "os-image-unknown")):
        folder = tmp_path / image
        folder.mkdir()
        found = made(cloud, folder, image=image)
        cloud.page_size = 1
        assert refused(found, compose).code == code
        found.close()
    assert cloud.called() == []


DOCUMENTED = [
    *(f"ERR-01-00{n}" for n in range(1, 9)), *(f"ERR-02-0{n:02}" for n in range(1, 16)),
    *(f"ERR-03-00{n}" for n in (1, 2, 3, 5, 6, 7)), *(f"ERR-04-00{n}" for n in (1, 2, 3)),
    "ERR-05-001", "ERR-05-002", "ERR-06-001", "ERR-06-006",
]  # fmt: skip


@pytest.mark.parametrize("name", [*DOCUMENTED, "ERR-99-999"])
@pytest.mark.parametrize("call", ["provision", "create"])
def test_every_documented_error_has_a_code(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes, call: str, name: str
) -> None:
    """None of its text reaches a terminal as more than text."""
    text = "no\x1b[31m \u202e room " + "x" * 4000
    cloud.refusals[call] = [Refusal(400, name, text) for _ in range(1000)]
    error = refused(backend, compose)
    assert error.code == CODES.get(name, "host-refused") and name in error.message
    assert error.message.isprintable() and len(error.message) < 400
    assert cloud.vms == {}


def test_each_code_that_is_told_apart_is_documented() -> None:
    assert set(CODES) <= set(DOCUMENTED)


def raw(status: int, body: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda request: request.raw(status, body)  # type: ignore[attr-defined]


STRANGE: list[tuple[str, Any, str]] = [
    ("os-images", raw(200, b'{"items": [], "pages": 1, "pad": "' + b"x" * 2**20 + b'"}'), "host-answer"),
    ("os-images", raw(200, b"<html>"), "host-answer"),
    ("os-images", raw(200, b'{"items": []}'), "host-answer"),
    ("os-images", raw(200, b'{"items": [], "pages": 1000000}'), "host-answer"),
    ("os-images", raw(200, b'{"items": [{"name": "a", "is_dev": 0}], "pages": 1}'), "host-answer"),
    ("os-images", raw(401, b'{"detail": "Invalid API key"}'), "host-token"),
    ("os-images", raw(403, b""), "host-token"),
    ("os-images", raw(404, b'{"detail": "Not Found"}'), "host-method"),
    ("os-images", raw(405, b""), "host-method"),
    ("provision", raw(200, b'{"compose_hash": 7}'), "host-answer"),
    ("provision", raw(200, b'{"compose_hash": ""}'), "host-measures-others"),
    ("provision", raw(404, b'{"detail": "Not Found"}'), "host-method"),
    ("provision", raw(409, b'{"detail": "in progress"}'), "host-busy"),
    ("provision", raw(422, b'{"detail": [{"loc": ["body"], "msg": "bad"}]}'), "host-refused"),
    ("provision", raw(429, b""), "host-busy"),
    ("provision", raw(500, b"boom"), "host-answer"),
    ("provision", raw(302, b"{}"), "host-answer"),
    ("create", raw(465, b'{"message": "register"}'), "host-refused"),
    ("create", raw(502, b"<html>"), "host-unreachable"),
    ("create", raw(503, b""), "host-unreachable"),
    ("create", raw(200, b'{"id": "../../x", "name": "a"}'), "host-answer"),
    ("create", raw(200, b'{"id": "..", "name": "a"}'), "host-answer"),
    ("provision", raw(200, b'{"compose_hash": "", "kms_info": {"id": ".."}}'), "host-answer"),
    ("create", raw(200, b'{"id": 7, "name": "a"}'), "host-answer"),
    ("compose_file", raw(200, b"[]"), "host-answer"),
    ("compose_file", raw(200, b'{"a": 1.5}'), "host-answer"),
    ("compose_file", raw(200, b"{}"), "host-measures-others"),
    ("compose_file", raw(404, b""), "vm-unknown"),
    ("provision", lambda request: request.connection.close(), "host-unreachable"),
]


@pytest.mark.parametrize(("call", "fault", "code"), STRANGE)
def test_a_strange_answer_leaves_no_vm(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes, call: str, fault: Any, code: str
) -> None:
    """RE-01: and no id leads the API key to another path than the call's own."""
    cloud.faults[call] = fault
    assert refused(backend, compose).code == code
    assert cloud.vms == {}


def test_a_hash_that_is_not_on_chain_says_what_to_do(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    cloud.allowed = set()
    error = refused(backend, compose)
    assert error.code == "host-refused" and "register" in str(error.hint) and cloud.vms == {}


# --- how a VM ends ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"status": "stopped"}, "vm-ended"), ({"status": "FAILED"}, "vm-ended"),
        ({"status": "exited"}, "vm-ended"), ({"boot_error": "no keys\x1b[31m"}, "boot-failed"),
    ],
)  # fmt: skip
def test_a_vm_that_ends_unasked_ends_the_run(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes, change: dict[str, Any], code: str
) -> None:
    def boot(vm: Cvm) -> None:
        for name, value in change.items():
            setattr(vm, name, value)

    cloud.boot = boot
    enclave = backend.start(order(compose))
    error = ended(enclave)
    assert error.code == code and error.message.isprintable()
    enclave.clean()
    assert cloud.vms == {}


def test_a_state_that_nobody_published_ends_nothing(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    cloud.boot = lambda vm: vars(vm).update(status="hibernating", boot_progress="starting containers")
    enclave = backend.start(order(compose))
    until(lambda: enclave._progress == "starting containers")
    assert enclave.line(0.0) is None and enclave._failed is None
    enclave.clean()


def test_a_vm_that_is_gone_ends_the_run_and_a_busy_cloud_is_asked_again(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    patient = Limits(**{**vars(QUICK), "retry_s": PATIENCE_S})
    backend = RemoteBackend(**{**vars(backend), "limits": patient})
    enclave = backend.start(order(compose))
    cloud.refusals["stop"] = [Refusal(409, message="operation in progress") for _ in range(3)]
    backend.end(next(iter(cloud.vms)))
    assert ended(enclave).code == "vm-ended"
    enclave.clean()


# --- changes under several owners ------------------------------------------------------------------


def test_a_change_is_prepared_and_done_once_its_hash_is_allowed(
    cloud: FakePhala, backend: RemoteBackend, compose: bytes
) -> None:
    """`X-Prepare-Only`: the cloud gives the hash; nothing changes until a transaction allows it."""
    enclave = backend.start(order(compose))
    (vm,) = cloud.vms.values()
    before, api = vm.compose_hash, host_of(backend).api
    prepared = api.prepare(vm.id, {"docker_compose_file": "services: {}\n"})
    assert vm.compose_hash == before != prepared.compose_hash and prepared.app_id == vm.app
    cloud.allowed = set()
    for code, transaction, token in (
        ("ERR-01-007", "0x" + "00" * 32, prepared.commit_token),
        ("ERR-01-008", "0x" + "77" * 32, prepared.commit_token),
        ("ERR-01-006", "0x" + "77" * 32, "another token"),
    ):
        with pytest.raises(RunnerError) as caught:
            api.commit(vm.id, prepared.model_copy(update={"commit_token": token}), transaction)
        assert code in caught.value.message
    cloud.allowed = {prepared.compose_hash}
    api.commit(vm.id, prepared, "0x" + "77" * 32)
    assert vm.compose_hash == prepared.compose_hash
    enclave.clean()


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (raw(200, b'{"correlation_id": "c1"}'), "host-answer"),
        (raw(465, b'{"error_code": "ERR-01-005", "message": "m", "details": []}'), "host-answer"),
        (raw(465, b'{"details": [{"field": "compose_hash", "value": 7}, 8]}'), "host-answer"),
        (raw(404, b'{"error_code": "ERR-03-001", "message": "m"}'), "vm-unknown"),
        (raw(409, b"{}"), "host-busy"),
    ],
)
def test_what_is_not_a_prepared_change_is_refused(
    cloud: FakePhala, backend: RemoteBackend, fault: Any, code: str
) -> None:
    cloud.faults["change"] = fault
    with pytest.raises(RunnerError) as caught:
        host_of(backend).api.prepare("cvm_1", {})
    assert caught.value.code == code


# --- before owners approve -------------------------------------------------------------------------


def asked_cloud(cloud: FakePhala, folder: Path, compose: bytes, backend: str = "phala-cloud") -> Result:
    """`sealroom provision --json`."""
    (folder / "key").touch()
    options = given(cloud, folder) if backend == "phala-cloud" else {}
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    (folder / "sealroom.toml").write_text(
        '[chain]\nrpc = ["http://127.0.0.1:1"]\n[runner]\ndatasets = "sealed"\nstate = "state"\n'
        f'key_file = "key"\ngate = "http://gate.example"\nbackend = "{backend}"\n'
        "[runner.options]\n" + "\n".join(lines) + "\n"
    )
    (folder / "app-compose.json").write_bytes(compose)
    words = ["provision", folder / "app-compose.json", "--config", folder / "sealroom.toml", "--json"]
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_the_cloud_is_asked_what_it_would_measure(cloud: FakePhala, compose: bytes, tmp_path: Path) -> None:
    done = asked_cloud(cloud, tmp_path, compose)
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["deviceId"] == "d1" * 32
    assert told["composeHash"] == "0x" + parse(compose).compose_hash.hex()
    assert cloud.called() == ["provision"] and cloud.vms == {}


@pytest.mark.parametrize(
    ("recipe", "added", "backend", "code"),
    [
        (None, {"salt": "1"}, "phala-cloud", "host-measures-others"),
        (HINTED, {}, "phala-cloud", "hints-missing"),
        (None, {}, "local", "configuration"),
    ],
)
def test_a_recipe_that_it_would_not_measure_is_refused(
    cloud: FakePhala,
    compose: bytes,
    tmp_path: Path,
    recipe: bytes | None,
    added: dict[str, Any],
    backend: str,
    code: str,
) -> None:
    """AT-23."""
    cloud.added = added
    done = asked_cloud(cloud, tmp_path, recipe or compose, backend)
    assert done.exit_code != 0 and json.loads(done.stdout)["code"] == code


# --- its options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [
        {"api": "http://cloud.example/api/v1"}, {"kms": "PHALA"}, {"kms_root": "04" + "ab" * 32},
        {"kms_contract": "0x12"}, {"deployer": ""}, {"url": "ftp://runner"}, {"disk_gb": 0}, {"vcpu": 2},
    ],
)  # fmt: skip
def test_another_option_is_refused(cloud: FakePhala, tmp_path: Path, more: dict[str, Any]) -> None:
    """OP-03: and the key goes over no wire in clear."""
    with pytest.raises(ConfigurationError):
        made(cloud, tmp_path, **more)
