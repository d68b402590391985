# SPDX-License-Identifier: Apache-2.0
"""The simulated platform: the real SDK drives it, the real verifier accepts it under its own root only."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dcap_qvl
import pytest
from click.testing import CliRunner
from cryptography import x509
from dstack_sdk import DstackClient
from tests import processes
from tests.patience import PATIENCE_S, until

from sealroom.keys import public_key33, recover_kms_root
from sealroom_agents import child_processes
from sealroom_agents.cli import main
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.simulator import GuestAgent, SimulatedEnclave, SimulatedPlatform, socket_server
from sealroom_agents.simulator.kms import derive_path
from sealroom_agents.simulator.pki import LABEL
from sealroom_agents.simulator.socket_server import MAX_BODY_BYTES, MAX_CONNECTIONS, AgentServer

NOW = 1_780_000_000
APP_ID = bytes(range(20))
COMPOSE = b'{"manifest_version":2,"name":"cardio-renal","runner":"docker-compose"}'
REPORT_DATA = bytes(range(64))


@pytest.fixture(scope="module")
def platform() -> SimulatedPlatform:
    return SimulatedPlatform(b"\x51" * 32)


@pytest.fixture(scope="module")
def server(platform: SimulatedPlatform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentServer]:
    with GuestAgent(platform, COMPOSE, APP_ID).serve(tmp_path_factory.mktemp("guest") / "g.sock") as running:
        yield running


@pytest.fixture
def client(server: AgentServer) -> Iterator[DstackClient]:
    sdk = DstackClient(str(server.path))
    with sdk:  # not `as`: that hands out the asynchronous client
        yield sdk


# --- quotes and certificates ---------------------------------------------------------------------


def test_quote_verifies_under_its_own_root_and_not_under_intels(platform: SimulatedPlatform) -> None:
    """AT-14: the root of trust is the only difference between simulation and hardware."""
    quote = SimulatedEnclave(platform, COMPOSE, APP_ID).quote(REPORT_DATA)
    collateral = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(platform.collateral(NOW)))

    report = dcap_qvl.verify_with_root_ca(quote, collateral, platform.root_der, NOW)

    assert report.status == "UpToDate"
    assert hashlib.sha256(report.ppid).digest() == platform.machine().device_id
    with pytest.raises(ValueError, match="Verification failed"):
        dcap_qvl.verify(quote, collateral, NOW)


def test_quote_is_refused_under_another_simulated_root(platform: SimulatedPlatform) -> None:
    quote = SimulatedEnclave(platform, COMPOSE, APP_ID).quote(REPORT_DATA)
    collateral = dcap_qvl.QuoteCollateralV3.from_json(json.dumps(platform.collateral(NOW)))
    other = SimulatedPlatform(b"\x52" * 32)

    with pytest.raises(ValueError, match="Verification failed"):
        dcap_qvl.verify_with_root_ca(quote, collateral, other.root_der, NOW)


def test_every_certificate_says_that_it_is_simulated(platform: SimulatedPlatform) -> None:
    chain = dcap_qvl.Quote.parse(
        SimulatedEnclave(platform, COMPOSE, APP_ID).quote(b"")
    ).cert_chain_pem_bytes()
    certificates = x509.load_pem_x509_certificates(chain)

    assert len(certificates) == 3
    assert all(LABEL in certificate.subject.rfc4514_string() for certificate in certificates)


def test_pck_certificate_describes_the_hardware(platform: SimulatedPlatform) -> None:
    machine = platform.machine("other", sgx_type=2, pce_svn=13, platform_instance_id=b"\x07" * 16)
    enclave = SimulatedEnclave(platform, COMPOSE, APP_ID, machine)

    extension = dcap_qvl.Quote.parse(enclave.quote(b"")).pck_extension()

    assert (extension.sgx_type, extension.pce_svn) == (2, 13)
    assert extension.ppid == machine.hardware.ppid
    assert extension.cpu_svn == machine.hardware.cpu_svn
    assert extension.fmspc == machine.hardware.fmspc
    assert extension.platform_instance_id == b"\x07" * 16


def test_equal_seeds_give_equal_bytes() -> None:
    first, second = (SimulatedPlatform(b"\x01" * 32) for _ in range(2))

    assert first.collateral(NOW) == second.collateral(NOW)
    assert (
        SimulatedEnclave(first, COMPOSE, APP_ID).evidence(REPORT_DATA)
        == SimulatedEnclave(second, COMPOSE, APP_ID).evidence(REPORT_DATA)
    )  # fmt: skip


def test_machines_differ_by_name(platform: SimulatedPlatform) -> None:
    assert platform.machine("a").device_id != platform.machine("b").device_id
    assert platform.machine("a").device_id == platform.machine("a").device_id


# --- guest agent, driven by the unmodified SDK ---------------------------------------------------


def test_sdk_gets_a_quote_that_binds_its_report_data(client: DstackClient) -> None:
    answer = client.get_quote(b"short")

    report = dcap_qvl.Quote.parse(answer.decode_quote()).report
    assert report.report_data == b"short".ljust(64, b"\0")
    assert answer.replay_rtmrs()[3] == report.rt_mr3.hex()
    assert [event.event for event in answer.decode_event_log() if event.imr == 3][:3] == [
        "system-preparing", "app-id", "compose-hash",
    ]  # fmt: skip


def test_sdk_gets_a_key_whose_chain_ends_at_the_kms_root(
    client: DstackClient, platform: SimulatedPlatform
) -> None:
    answer = client.get_key("sealroom/v1/gate-signer", "sealroom-gate")

    root = recover_kms_root(
        public_key33(answer.decode_key()),
        name="sealroom/v1/gate-signer",
        purpose="sealroom-gate",
        app_id=APP_ID,
        signature_chain=answer.decode_signature_chain(),
    )
    assert root == platform.kms.root_public_key


def test_key_chain_of_another_purpose_ends_elsewhere(
    client: DstackClient, platform: SimulatedPlatform
) -> None:
    answer = client.get_key("sealroom/v1/gate-signer", "another-purpose")

    root = recover_kms_root(
        public_key33(answer.decode_key()),
        name="sealroom/v1/gate-signer",
        purpose="sealroom-gate",
        app_id=APP_ID,
        signature_chain=answer.decode_signature_chain(),
    )
    assert root != platform.kms.root_public_key


def test_keys_follow_path_and_app_and_nothing_else(platform: SimulatedPlatform) -> None:
    """dstack derives from app id and path; recipe, machine and purpose do not enter."""
    key = SimulatedEnclave(platform, COMPOSE, APP_ID).key(path="a", purpose="p").key

    assert SimulatedEnclave(platform, b"{}", APP_ID, "other").key(path="a", purpose="q").key == key
    assert SimulatedEnclave(platform, COMPOSE, APP_ID).key(path="b", purpose="p").key != key
    assert SimulatedEnclave(platform, COMPOSE, bytes(20)).key(path="a", purpose="p").key != key


def test_path_key_signature_equals_dstacks_own_vector() -> None:
    app_key = bytes.fromhex("1a2b3c4d5e6f7a8b9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e4f5a6b7c8d9e0f1a2b")

    _, _, signature = derive_path(app_key, path="test", purpose="signing")

    assert signature.hex() == (
        "c8a3dcf06c4e95bd78a5d7a1c8fcff171fc5848cfae804c6fc11bda4dc5d4062"
        "379995390843827444992c4c0e4bac70f0f878e01b9fc8b98cd7126fe5a3876b01"
    )


def test_sdk_reads_the_recipe_and_the_measurements(client: DstackClient, platform: SimulatedPlatform) -> None:
    info = client.info()

    assert info.app_id == APP_ID.hex()
    assert info.app_name == "cardio-renal"
    assert info.device_id == platform.machine().device_id.hex()
    assert info.compose_hash == hashlib.sha256(COMPOSE).hexdigest()
    assert info.tcb_info.app_compose.encode() == COMPOSE
    assert client.version().rev == LABEL


def test_ed25519_key_has_the_same_bytes_as_the_default_one(client: DstackClient) -> None:
    assert client.get_key("x", algorithm="ed25519").key == client.get_key("x").key


# --- guest agent, hostile callers ----------------------------------------------------------------


def _exchange(path: Path, request: bytes) -> tuple[int, dict[str, object]]:
    """Send raw bytes, return (status, JSON answer)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(str(path))
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def _post(path: Path, method: str, body: bytes, headers: str = "") -> tuple[int, dict[str, object]]:
    head = f"POST {method} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return _exchange(path, head.encode() + body)


@pytest.mark.parametrize("prefix", ["/", "/prpc/", "/v0/"])
def test_every_prefix_of_dstack_reaches_the_method(server: AgentServer, prefix: str) -> None:
    status, answer = _post(server.path, f"{prefix}Version", b"{}")

    assert (status, answer["rev"]) == (200, LABEL)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [
        pytest.param("/Nothing", b"{}", 404, id="unknown method"),
        pytest.param("/__init__", b"{}", 404, id="name that Python knows"),
        pytest.param("/GetQuote", b"{", 400, id="no JSON"),
        pytest.param("/GetQuote", b"[]", 400, id="no object"),
        pytest.param("/GetQuote", b"[" * 60_000, 400, id="deep nesting"),
        pytest.param("/GetQuote", b'{"report_data":"zz"}', 400, id="no hex"),
        pytest.param("/GetQuote", b'{"report_data":7}', 400, id="a number for hex"),
        pytest.param(
            "/GetQuote", b'{"report_data":"' + b"00" * 65 + b'"}', 400, id="65 bytes of report data"
        ),
        pytest.param("/GetKey", b'{"path":7}', 400, id="a number for a path"),
        pytest.param("/GetKey", b'{"path":"' + b"p" * 257 + b'"}', 400, id="long path"),
        pytest.param("/GetKey", b'{"algorithm":"rsa"}', 400, id="unknown algorithm"),
    ],
)
def test_a_bad_request_gets_an_error_and_leaves_the_agent_alive(
    server: AgentServer, client: DstackClient, method: str, body: bytes, status: int
) -> None:
    got, answer = _post(server.path, method, body)

    assert got == status
    assert isinstance(answer["error"], str)
    assert client.version().rev == LABEL


@pytest.mark.parametrize(
    "header",
    [
        "X-Nothing: 1",
        "Content-Length: -1",
        "Content-Length: two",
        f"Content-Length: {MAX_BODY_BYTES + 1}",
        "Content-Length: " + "9" * 5000,
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
    ],
    ids=["none", "negative", "no number", "over the limit", "absurd", "chunked"],
)
def test_a_body_of_unsure_or_too_great_length_is_refused_unread(server: AgentServer, header: str) -> None:
    status, answer = _exchange(server.path, f"POST /Version HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())

    assert status == 400
    assert "error" in answer


def test_connections_that_clients_forgot_keep_nobody_out(
    server: AgentServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_server, "ROOM_TIMEOUT_S", PATIENCE_S)
    with ExitStack() as stack:
        clients = [DstackClient(str(server.path)) for _ in range(MAX_CONNECTIONS + 8)]
        for client in clients:
            stack.enter_context(client)  # each keeps its connection

        versions = {client.version().version for client in clients}

        assert len(versions) == 1
        assert clients[0].version().version in versions, "its connection was ended, and it made another"


def test_connections_at_work_are_not_ended_for_a_new_one(server: AgentServer) -> None:
    """RE-02: who fills the room with half a request keeps it, and the next one is closed, not queued."""
    half = b"POST /Version HTTP/1.1\r\nContent-Length: 2\r\n\r\n{"
    busy = []
    try:
        for _ in range(MAX_CONNECTIONS):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(str(server.path))
            busy.append(connection)
            connection.sendall(half)
        until(lambda: server.working == MAX_CONNECTIONS)  # before, one of them still counts as idle
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as late:
            late.settimeout(PATIENCE_S)
            late.connect(str(server.path))
            assert late.recv(1) == b""
        busy[0].sendall(b"}")
        assert busy[0].recv(12) == b"HTTP/1.1 200"
    finally:
        for connection in busy:
            connection.close()


def test_socket_is_for_its_owner_only_and_goes_away(platform: SimulatedPlatform, tmp_path: Path) -> None:
    running = GuestAgent(platform, COMPOSE, APP_ID).serve(tmp_path / "g.sock")

    assert stat.S_IMODE(running.path.stat().st_mode) == 0o600
    running.close()
    assert not running.path.exists()


def test_too_long_a_socket_path_is_refused_by_name(platform: SimulatedPlatform, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="longer than 107 bytes"):
        GuestAgent(platform, COMPOSE, APP_ID).serve(tmp_path / ("g" * 120))


def test_app_id_of_wrong_length_is_refused(platform: SimulatedPlatform) -> None:
    with pytest.raises(ValueError, match="20 bytes"):
        SimulatedEnclave(platform, COMPOSE, bytes(19))


# --- platform in a folder, and the command line ---------------------------------------------------


def test_platform_survives_in_its_folder(tmp_path: Path) -> None:
    made = SimulatedPlatform.create(tmp_path / "p")
    opened = SimulatedPlatform.open(tmp_path / "p")

    assert opened.root_der == made.root_der == (tmp_path / "p" / "root.der").read_bytes()
    assert opened.machine().device_id == made.machine().device_id
    assert stat.S_IMODE((tmp_path / "p" / "seed").stat().st_mode) == 0o600


def test_platform_is_neither_overwritten_nor_invented(tmp_path: Path) -> None:
    SimulatedPlatform.create(tmp_path / "p")

    with pytest.raises(ConfigurationError) as twice:
        SimulatedPlatform.create(tmp_path / "p")
    with pytest.raises(ConfigurationError) as nowhere:
        SimulatedPlatform.open(tmp_path / "q")

    assert (twice.value.code, nowhere.value.code) == ("platform-exists", "platform-missing")


def test_nothing_shows_the_seed() -> None:
    seed = b"\x5e" * 32
    platform = SimulatedPlatform(seed)

    shown = (
        repr(platform) + repr(platform.kms.derive(APP_ID, path="a", purpose="b")) + repr(platform.pki.root)
    )

    assert seed.hex() not in shown
    assert platform.kms.derive(APP_ID, path="a", purpose="b").key.hex() not in shown


def test_init_prints_what_owners_put_on_chain(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["simulate", "init", "--platform", str(tmp_path / "p"), "--json"])

    assert result.exit_code == 0
    printed = json.loads(result.output)
    assert printed["device"] == "0x" + SimulatedPlatform.open(tmp_path / "p").machine().device_id.hex()
    again = CliRunner().invoke(main, ["simulate", "init", "--platform", str(tmp_path / "p")])
    assert again.exit_code == 78
    assert "already holds" in again.output


def test_guest_process_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    SimulatedPlatform.create(tmp_path / "p")
    (tmp_path / "app-compose.json").write_bytes(COMPOSE)
    ready = tmp_path / "ready.json"
    process = child_processes.start(
        [
            sys.executable, "-m", "sealroom_agents.simulator", "guest",
            "--platform", str(tmp_path / "p"), "--compose", str(tmp_path / "app-compose.json"),
            "--app-id", "0x" + APP_ID.hex(), "--socket", str(tmp_path / "g.sock"), "--ready-file", str(ready),
        ]
    )  # fmt: skip
    try:
        until(ready.exists, process)
        announced = json.loads(ready.read_text())
        client = DstackClient(announced["socket"])
        with client:
            info = client.info()
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE_S)
    finally:
        processes.end(process)

    assert announced["url"] == f"unix:{tmp_path / 'g.sock'}"
    assert info.compose_hash == hashlib.sha256(COMPOSE).hexdigest()
    assert status == 0
    assert not (tmp_path / "g.sock").exists()


@pytest.mark.parametrize(
    ("app_id", "compose"),
    [("0x12", COMPOSE), ("0x" + "00" * 20, b"\xff\xfe")],
    ids=["short app id", "compose that is no text"],
)
def test_guest_process_refuses_a_bad_start(tmp_path: Path, app_id: str, compose: bytes) -> None:
    SimulatedPlatform.create(tmp_path / "p")
    (tmp_path / "c.json").write_bytes(compose)
    arguments = [
        "simulate",
        "guest",
        "--platform",
        str(tmp_path / "p"),
        "--compose",
        str(tmp_path / "c.json"),
    ]

    result = CliRunner().invoke(main, [*arguments, "--app-id", app_id, "--socket", str(tmp_path / "s")])

    assert result.exit_code == 78
