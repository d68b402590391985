# SPDX-License-Identifier: Apache-2.0
"""`sealroom gpu --fetch`: what NVIDIA publishes about a machine's GPUs, brought to where a gate reads it.

NVIDIA is a real HTTP server with what the simulated platform mints; it misbehaves when a test says so.
"""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp
from tests.agents.shell import environment, forked
from tests.minted_gpu import Mint
from tests.patience import PATIENCE_S
from tests.processes import end

from sealroom_agents.attestation.gpu import (
    MaterialFolder,
    State,
    Terms,
    Walk,
    gpu_trust,
    read_evidence,
    walk_gpus,
)
from sealroom_agents.attestation.gpu.fetch import Services, fetch_material
from sealroom_agents.errors import AttestationError, CommandExit
from sealroom_agents.simulator import SimulatedPlatform
from sealroom_agents.simulator.gpu import GPU_RULES, encode_evidence

PLATFORM = SimulatedPlatform(b"\x61" * 32)
TRUST = gpu_trust(PLATFORM.trust(), PLATFORM.gpu_roots())
NONCE = bytes(range(32))
GPUS = PLATFORM.machine_gpus(2)
EVIDENCE = encode_evidence(GPUS, NONCE)


@dataclass
class Nvidia:
    """Both of its services."""

    manifests: dict[str, bytes] = field(default_factory=PLATFORM.gpus.manifests)
    changes: dict[str, Any] = field(default_factory=dict)
    """Of its answers about certificates."""
    spoil: Callable[[bytes], bytes] = lambda body: body
    """What becomes of each body on its way."""
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def manifest(self, name: str) -> bytes | None:
        """As its service answers, or `None`."""
        found = self.manifests.get(name)
        return found and json.dumps({"id": name, "rim": base64.b64encode(found).decode()}).encode()

    def word(self, request: bytes) -> bytes:
        """On the certificate of a request."""
        serial = ocsp.load_der_ocsp_request(request).serial_number
        said = PLATFORM.gpus.answers(GPUS, int(time.time()), **self.changes)
        return next(one for one in said if ocsp.load_der_ocsp_response(one).serial_number == serial)

    @property
    def services(self) -> Services:
        return Services(rims=f"{self.url}/rim", responder=f"{self.url}/ocsp")


@contextmanager
def serving() -> Iterator[Nvidia]:
    """On a free port of this machine."""
    nvidia = Nvidia()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._send(nvidia.manifest(self.path.removeprefix("/rim/")))

        def do_POST(self) -> None:
            assert self.headers["content-type"] == "application/ocsp-request"
            self._send(nvidia.word(self.rfile.read(int(self.headers["content-length"]))))

        def _send(self, body: bytes | None) -> None:
            nvidia.asked.append(self.path)
            sent = nvidia.spoil(body or b"")
            self.send_response(404 if body is None else nvidia.status)
            for name, value in {"content-length": str(len(sent)), **nvidia.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(sent)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    nvidia.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="nvidia", daemon=True)
    thread.start()
    try:
        yield nvidia
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def nvidia() -> Iterator[Nvidia]:
    with serving() as running:
        yield running


def fetch(nvidia: Nvidia, folder: Path, evidence: bytes = EVIDENCE) -> None:
    """Fetch for the machine, now."""
    fetch_material(
        read_evidence(evidence), folder, now=int(time.time()), trust=TRUST, services=nvidia.services
    )


def judged(folder: Path) -> Walk:
    """As a gate judges by the folder, under rules that ask for everything."""
    return walk_gpus(
        EVIDENCE, nonce=NONCE, now=int(time.time()), terms=Terms.under(GPU_RULES, count=2), trust=TRUST,
        material=MaterialFolder(folder / "rims", folder / "ocsp").read(),
    )  # fmt: skip


def held(folder: Path) -> dict[str, bytes]:
    """All files in it."""
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_fetched_is_all_that_a_gate_asks_for(nvidia: Nvidia, tmp_path: Path) -> None:
    """GP-06, GP-07: each manifest and certificate once, though two GPUs share most of them."""
    fetch(nvidia, tmp_path / "gpu")
    found = judged(tmp_path / "gpu")
    assert found.state is State.FULLY_MATCHED and found.broken is None and found.asked_all
    assert sorted(path.name for path in (tmp_path / "gpu" / "rims").iterdir()) == sorted(
        f"{name}.xml" for name in nvidia.manifests
    )
    assert nvidia.asked.count("/ocsp") == len(found.asked)
    assert len(nvidia.asked) == len(found.asked) + len(nvidia.manifests)


def test_that_a_certificate_is_revoked_is_written_where_it_was_good(nvidia: Nvidia, tmp_path: Path) -> None:
    """GP-07: it is what a gate has to know first."""
    fetch(nvidia, tmp_path)
    nvidia.changes = {"status": ocsp.OCSPCertStatus.REVOKED}
    fetch(nvidia, tmp_path)
    found = judged(tmp_path).broken
    assert found is not None and found.code == "gpu-revoked"


def _other_manifest(nvidia: Nvidia) -> None:
    nvidia.manifests = {
        name: data.replace(b"0", b"1", 1)
        for name, data in SimulatedPlatform(b"\x62" * 32).gpus.manifests().items()
    }


FAULTS: dict[str, tuple[Callable[[Nvidia], object], str]] = {
    "away": (lambda one: setattr(one, "status", 503), "gpu-service-unreachable"),
    "moved": (lambda one: setattr(one, "status", 302), "gpu-service-unreachable"),
    "no manifest": (lambda one: one.manifests.clear(), "gpu-service-unreachable"),
    "no JSON": (lambda one: setattr(one, "spoil", lambda body: b"x"), "gpu-service-unreachable"),
    "no manifest in it": (lambda one: setattr(one, "spoil", lambda body: b"{}"), "gpu-service-unreachable"),
    "huge": (
        lambda one: setattr(one, "spoil", lambda body: body + b" " * 300_000),
        "gpu-service-unreachable",
    ),
    "compressed": (lambda one: one.headers.update({"content-encoding": "gzip"}), "gpu-service-unreachable"),
    "manifests of another mint": (_other_manifest, "gpu-rim-"),
    "old answers": (lambda one: one.changes.update(made=0, until=1), "gpu-status-stale"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_worth_nothing_replaces_nothing(nvidia: Nvidia, tmp_path: Path, name: str) -> None:
    """GP-06, GP-07."""
    fetch(nvidia, tmp_path)
    before = judged(tmp_path), set(held(tmp_path))
    spoil, expected = FAULTS[name]
    spoil(nvidia)
    with pytest.raises(AttestationError) as caught:
        fetch(nvidia, tmp_path)
    assert caught.value.code.startswith(expected), caught.value
    assert (judged(tmp_path).state, set(held(tmp_path))) == (before[0].state, before[1])
    assert before[0].state is State.FULLY_MATCHED


def test_who_does_not_answer_at_all_is_named(tmp_path: Path) -> None:
    with serving() as nvidia:
        pass
    with pytest.raises(AttestationError) as caught:
        fetch(nvidia, tmp_path)
    assert caught.value.code == "gpu-service-unreachable" and "ocsp.ndis.nvidia.com" in str(caught.value.hint)


def test_the_command_asks_nobody_about_gpus_that_are_not_genuine(tmp_path: Path) -> None:
    """GP-10: it would tell NVIDIA of them, and write files for nothing."""
    (tmp_path / "minted.json").write_bytes(Mint().evidence(NONCE))
    done = forked(f"sealroom gpu minted.json --nonce {NONCE.hex()} --fetch gpu", tmp_path)
    assert done.returncode == 1 and "BROKEN  certificates" in done.stdout
    assert not (tmp_path / "gpu").exists()


@pytest.mark.parametrize("more", ["--rims .", "--ocsp .", "--at 5"])
def test_what_it_fetches_is_judged_by_it_alone_and_now(tmp_path: Path, more: str) -> None:
    (tmp_path / "minted.json").write_bytes(b"[]")
    done = forked(f"sealroom gpu minted.json --nonce {NONCE.hex()} --fetch gpu {more}", tmp_path)
    assert done.returncode == 2 and "--fetch judges now" in done.stdout


def test_a_service_judges_again_and_again_until_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "minted.json").write_bytes(Mint().evidence(NONCE))
    line = [
        "sealroom",
        "gpu",
        "minted.json",
        "--nonce",
        NONCE.hex(),
        "--fetch",
        "gpu",
        "--every",
        "1",
        "--json",
    ]
    service = subprocess.Popen(line, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        assert service.stdout is not None
        rounds = [json.loads(service.stdout.readline()) for _ in range(2)]
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE_S) == CommandExit.INTERRUPTED
    finally:
        end(service)
    assert [each["ok"] for each in rounds] == [False, False]


def test_what_is_done_again_is_a_fetch(tmp_path: Path) -> None:
    (tmp_path / "minted.json").write_bytes(b"[]")
    done = forked(f"sealroom gpu minted.json --nonce {NONCE.hex()} --every 60", tmp_path)
    assert done.returncode == 2 and "name it with --fetch" in done.stdout
