# SPDX-License-Identifier: Apache-2.0
"""The gate's HTTP surface, its answers to dstack's KMS, and how its process starts and refuses to."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from tests.gate_world import (
    GATE_RECIPE,
    PLATFORM,
    RECIPE,
    SEED,
    TOKEN,
    AppClient,
    Enclave,
    World,
    granted,
    refused,
)
from tests.patience import PATIENCE_S, until
from tests.pccs_server import serving
from tests.ports import free_port
from tests.vectors.make_policy import GPU_RULES

from sealroom.codes import Code
from sealroom.encoding import canonical, sha256
from sealroom.key_release import GrantReply, Hello, LeaseReply
from sealroom_agents import child_processes
from sealroom_agents.attestation import load_os_images, trust_under
from sealroom_agents.errors import ConfigurationError, Refused
from sealroom_agents.gate.boot import boot_apps, create_webhook
from sealroom_agents.gate.command import POLICY_FILE, trust_root
from sealroom_agents.gate.http import EVIDENCE_AT_ONCE, create_app
from sealroom_agents.gate.policy_file import load_policy
from sealroom_agents.gate.service import Gate
from sealroom_agents.gate.webhook import BootApp, BootAuthority
from sealroom_agents.guest_socket import connect_guest
from sealroom_agents.simulator import (
    SIMULATED_OS_IMAGE,
    SimulatedPlatform,
)
from sealroom_agents.simulator.platform import simulated_os_image

pytestmark = pytest.mark.anvil


# --- the HTTP surface ---------------------------------------------------------------------------


def test_what_is_no_message_is_malformed(approved: World) -> None:
    """RE-02, RE-07, RE-11."""
    bodies = (b"", b"{}", b"[]", b"null", b"\xff", b'{"version":2}', b'{"version":1,"version":1}')
    for path in ("/v1/hello", "/v1/evidence", "/v1/lease"):
        for body in (*bodies, b"[" * 9999, b'{"a":1e400}'):
            refused(approved.http.post(path, content=body), "malformed", 400)


def test_an_unknown_field_is_malformed(approved: World) -> None:
    """RE-07."""
    hello = Hello(
        run_id=bytes(32),
        chain_id=31337,
        consortium=approved.room.consortium,
        compose_hash=bytes(32),
        epsilon_micro=1,
        delta_pico=0,
        guarantee="by-reading",
    )
    assert approved.http.post("/v1/hello", content=hello.encode()).status_code == 200
    more = json.dumps({**hello.to_json(), "admin": True}).encode()
    refused(approved.http.post("/v1/hello", content=more), "malformed", 400)


def test_bodies_are_bounded_and_not_encoded(approved: World) -> None:
    """RE-02, AT-31."""
    refused(
        approved.http.post("/v1/evidence", content=b" " * (12 * 1024 * 1024 + 1)), "evidence-too-large", 413
    )
    refused(approved.http.post("/v1/hello", content=b" " * (64 * 1024 + 1)), "evidence-too-large", 413)
    answer = approved.http.post("/v1/hello", content=b"{}", headers={"content-encoding": "gzip"})
    assert answer.status_code == 415


def test_the_gate_has_no_other_doors(approved: World) -> None:
    """RE-03."""
    for path in ("/docs", "/openapi.json", "/v1/evidence", "/v1/watch", "/v1/keys"):
        answer = approved.http.get(path)
        assert (answer.status_code, answer.json()["code"]) in (
            (404, "not-found"),
            (405, "method-not-allowed"),
        )
    assert approved.http.get("/v1/healthz").json() == {"status": "ok"}


class Busy:
    """A gate all of whose evidences wait for their bookings; renewals are answered."""

    def __init__(self) -> None:
        self.judged = threading.Semaphore(0)
        self.booked = threading.Event()

    def evidence(self, body: bytes) -> GrantReply:
        self.judged.release()
        self.booked.wait()
        raise Refused(Code.NONCE_UNKNOWN, "this gate gave out no such nonce")

    def lease(self, body: bytes) -> LeaseReply:
        raise Refused(Code.LEASE_ENDED, "this gate granted no such run")


def test_a_flood_of_evidence_holds_up_no_renewal() -> None:
    """RE-05: anybody may ask; who holds a lease must get through before it runs out."""
    gate = Busy()
    app = create_app(cast(Gate, gate), cast(BootAuthority, None), watch_token=TOKEN)

    async def flood() -> list[int]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://gate", timeout=None
        ) as client:
            flooding = [
                asyncio.create_task(client.post("/v1/evidence", content=b"{}"))
                for _ in range(2 * EVIDENCE_AT_ONCE)
            ]
            try:
                for _ in range(EVIDENCE_AT_ONCE):
                    await asyncio.to_thread(gate.judged.acquire)
                renewal = await asyncio.wait_for(client.post("/v1/lease", content=b"{}"), PATIENCE_S)
            finally:
                gate.booked.set()
            return [renewal.status_code, *[(await one).status_code for one in flooding]]

    renewal, *answers = asyncio.run(flood())
    assert renewal == 403
    # What would fill the server is told to come again.
    assert sorted(answers) == [403] * EVIDENCE_AT_ONCE + [503] * EVIDENCE_AT_ONCE


class Broken:
    """A gate with a fault of its own."""

    def lease(self, body: bytes) -> LeaseReply:
        raise ZeroDivisionError("a secret of this process")


def test_a_fault_of_the_gate_is_told_by_a_code_and_nothing_else() -> None:
    """RE-09."""
    app = create_app(cast(Gate, Broken()), cast(BootAuthority, None), watch_token=TOKEN)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gate") as client:
            return await client.post("/v1/lease", content=b"{}")

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    assert answer.json() == {"code": "internal", "message": Code.INTERNAL.line}


# --- dstack's own KMS ---------------------------------------------------------------------------


def boot_info(world: World, **changes: Any) -> dict[str, Any]:
    fields = {
        "teeVariant": "dstack-tdx",
        "mrAggregated": "11" * 32,
        "mrSystem": "22" * 32,
        "osImageHash": SIMULATED_OS_IMAGE.hex(),
        "composeHash": sha256(RECIPE).hex(),
        "deviceId": PLATFORM.machine().device_id.hex(),
        "appId": world.room.app[2:],
        "instanceId": "",
        "keyProviderInfo": "",
        "tcbStatus": "UpToDate",
        "advisoryIds": [],
    }
    return {**fields, **changes}


def test_a_dstack_kms_may_boot_what_the_owners_pinned(approved: World) -> None:
    answer = approved.http.post("/bootAuth/app", json=boot_info(approved))
    assert (answer.status_code, answer.json()) == (200, {"isAllowed": True, "gatewayAppId": "", "reason": ""})
    assert approved.http.get("/").json()["status"] == "ok"


def test_a_dstack_kms_gets_no_for_anything_else(approved: World) -> None:
    for changes, reason in (
        ({"tcbStatus": "OutOfDate"}, "TCB status is not up to date"),
        ({"composeHash": "33" * 32}, "Compose hash not allowed"),
        ({"deviceId": "33" * 32}, "Device not allowed"),
        ({"osImageHash": "33" * 32}, "OS image is not allowed"),
        ({"appId": "77" * 20}, "authorization backend unavailable"),
    ):
        answer = approved.http.post("/bootAuth/app", json=boot_info(approved, **changes))
        assert answer.status_code == 200
        assert (answer.json()["isAllowed"], answer.json()["reason"]) == (False, reason)


def test_a_dstack_kms_gets_no_at_once_after_a_revocation(approved: World) -> None:
    approved.chain.revoke(approved.room, 0)
    answer = approved.http.post("/bootAuth/app", json=boot_info(approved)).json()
    assert (answer["isAllowed"], answer["reason"]) == (False, "Revoked")


def test_a_boot_request_with_short_or_odd_values_is_refused(approved: World) -> None:
    for changes in ({"composeHash": "33" * 31}, {"appId": "zz"}, {"deviceId": 7}, {"advisoryIds": "x"}):
        answer = approved.http.post("/bootAuth/app", json=boot_info(approved, **changes))
        assert (answer.status_code, answer.json()["isAllowed"]) == (400, False)


def test_another_kms_gets_the_root_key_only_when_the_operator_named_it(approved: World) -> None:
    assert not approved.http.post("/bootAuth/kms", json=boot_info(approved)).json()["isAllowed"]
    chain = approved.chain.reader()
    named = BootAuthority(chain, chain_id=31337, kms_measurements=frozenset({bytes.fromhex("11" * 32)}))
    http = AppClient(create_app(approved.gate, named, watch_token=TOKEN))
    approved.closers.append(http.close)
    assert http.post("/bootAuth/kms", json=boot_info(approved)).json()["isAllowed"]
    assert not http.post("/bootAuth/kms", json=boot_info(approved, tcbStatus="OutOfDate")).json()["isAllowed"]


def webhook(world: World, **named: Any) -> AppClient:
    """What `sealroom kms-webhook` serves: no gate is there."""
    chain = world.chain.reader()
    http = AppClient(create_webhook(BootAuthority(chain, chain_id=31337, **named)))
    world.closers += [chain.close, http.close]
    return http


def test_a_kms_boots_the_gate_and_the_named_gateway_without_a_gate_or_a_chain(approved: World) -> None:
    gate = BootApp("0x" + "6a" * 20, sha256(GATE_RECIPE))
    gateway = BootApp("0x" + "6b" * 20, sha256(b"gateway"))
    images = frozenset({SIMULATED_OS_IMAGE})
    http = webhook(approved, os_images=images, gates=frozenset({gate}), gateways=frozenset({gateway}))
    approved.chain.revoke(approved.room, 0)  # whatever the chain says of studies

    def boot(app: BootApp, **changes: Any) -> dict[str, Any]:
        named = {"appId": app.app_id[2:], "composeHash": app.compose_hash.hex()}
        return http.post("/bootAuth/app", json=boot_info(approved, **{**named, **changes})).json()

    for app in (gate, gateway):
        assert boot(app) == {"isAllowed": True, "gatewayAppId": gateway.app_id, "reason": ""}
        for changes, reason in (
            ({"composeHash": "33" * 32}, "This version of the app is not named"),
            ({"osImageHash": "33" * 32}, "OS image is not allowed"),
            ({"tcbStatus": "OutOfDate"}, "TCB status is not up to date"),
            ({"appId": "6c" * 20}, "authorization backend unavailable"),
        ):
            answer = boot(app, **changes)
            assert (answer["isAllowed"], answer["reason"]) == (False, reason)
    assert boot(gate, composeHash=gateway.compose_hash.hex())["isAllowed"] is False
    assert http.get("/").json()["gatewayAppId"] == gateway.app_id
    assert http.post("/bootAuth/app", json=boot_info(approved)).json()["reason"] == "Revoked"


@pytest.mark.parametrize(
    "variant", ["dstack-gcp-tdx", "dstack-amd-sev-snp", "dstack-nitro-enclave", "dstack-aws-nitro-tpm", ""]
)
def test_another_kind_of_machine_boots_nothing_and_is_named(approved: World, variant: str) -> None:
    """AT-13: nobody here verifies what such a machine shows."""
    for field in ("teeVariant", "attestationMode"):
        info = boot_info(approved)
        del info["teeVariant"]
        assert approved.http.post("/bootAuth/app", json={**info, field: "dstack-tdx"}).json()["isAllowed"]
        for path in ("/bootAuth/app", "/bootAuth/kms"):
            answer = approved.http.post(path, json={**info, field: variant}).json()
            assert not answer["isAllowed"]
            assert (repr(variant) if variant else "not named") in answer["reason"]


@pytest.mark.parametrize("text", ["", "0x" + "6a" * 20, "0x6a:0x" + "33" * 32, "0x" + "6a" * 20 + ":33"])
def test_an_app_that_is_not_named_by_address_and_hash_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        boot_apps([text], "--boot-gate")


def test_gateways_of_two_apps_are_refused(approved: World) -> None:
    two = frozenset(BootApp("0x" + digit * 40, bytes(32)) for digit in "12")
    with pytest.raises(ConfigurationError):
        BootAuthority(approved.reader, chain_id=31337, gateways=two)


# --- starting -----------------------------------------------------------------------------------


def test_a_variable_that_redirects_the_guest_agent_stops_the_gate(tmp_path: Path) -> None:
    """AT-22."""
    for name in ("DSTACK_SIMULATOR_ENDPOINT", "TAPPD_SIMULATOR_ENDPOINT"):
        with pytest.raises(ConfigurationError) as error:
            connect_guest(chain_id=1, environment={name: "http://127.0.0.1:1"}, guest_agent=None)
        assert error.value.code == "simulator-endpoint-set"
    with pytest.raises(ConfigurationError) as error:
        connect_guest(chain_id=1, environment={}, guest_agent=tmp_path / "x.sock")
    assert error.value.code == "simulator-off-local-chain"


def test_a_gate_without_a_platform_policy_does_not_start() -> None:
    """AT-20: else a guest's own word for its image would count, and the operator's for everything else."""
    with pytest.raises(ConfigurationError) as error:
        load_policy(None)
    assert error.value.code == "platform-policy-missing"


def test_a_simulated_platform_brings_its_policy_along(tmp_path: Path) -> None:
    """AT-20, on the way that the demonstration takes."""
    platform = SimulatedPlatform.create(tmp_path, seed=SEED)
    root = trust_root(tmp_path, chain_id=31337)
    policy = load_policy(tmp_path / POLICY_FILE)
    assert policy == platform.policy()
    assert trust_under(policy, root).os_images == (simulated_os_image(),)


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2}', "[" * 10_000, " " * 70_000])
def test_a_file_that_is_no_platform_policy_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.json"
    path.write_text(text)
    for place in (path, tmp_path / "nowhere"):
        with pytest.raises(ConfigurationError) as error:
            load_policy(place)
        assert error.value.code == "platform-policy"


@pytest.mark.parametrize("text", ["", "{}", '{"images": [{}]}', '{"images": [], "more": 1}', "[" * 10_000])
def test_a_file_that_lists_no_os_images_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "os-images.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load_os_images(path)
    assert error.value.code == "os-images"


def gate_command(world: World, tmp_path: Path, *more: str) -> list[str]:
    """A gate of its own process, which goes by the real time."""
    world.chain.keep_real_time()
    token = tmp_path / "watch.token"
    token.touch(mode=0o600)
    token.write_text(TOKEN + "\n")
    return [
        sys.executable, "-m", "sealroom_agents.gate", "--rpc", world.chain.url,
        "--guest-agent", str(world.socket), "--platform", str(tmp_path / "platform"),
        "--watch-token-file", str(token), "--state", str(tmp_path / "process"), "--port", "0",
        "--ready-file", str(tmp_path / "ready.json"), *more,
    ]  # fmt: skip


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_the_process_serves_and_takes_no_nonce_of_before_a_kill(
    approved: World, tmp_path: Path, stack: ExitStack
) -> None:
    """AT-01, through the real command, with the platform's folder as its only hint about hardware.

    Its PCCS goes away after the first start, its metrics have an address of their own (OP-13), and its log is
    JSON that names no path of an endpoint (OP-04).
    """
    platform = SimulatedPlatform.create(tmp_path / "platform", seed=SEED)
    pccs = stack.enter_context(serving(platform.collateral(int(time.time()))))
    metrics, log = f"127.0.0.1:{free_port()}", tmp_path / "gate.log"
    command = gate_command(
        approved, tmp_path, "--chain-id", "31337", "--pccs", pccs.url, "--metrics", metrics,
        "--log-format", "json",
    )  # fmt: skip
    stack.enter_context(approved.chain.mining())
    enclave = Enclave(approved)

    def start() -> subprocess.Popen[bytes]:
        (tmp_path / "ready.json").unlink(missing_ok=True)
        with log.open("ab") as lines:
            process = child_processes.start(command, env={**os.environ}, stderr=lines)
        until((tmp_path / "ready.json").exists, process)
        url = json.loads((tmp_path / "ready.json").read_text())["url"]
        approved.http = httpx.Client(base_url=url, timeout=PATIENCE_S)
        approved.closers.append(approved.http.close)
        return process

    def lacking() -> list[str]:
        answer = approved.http.get("/v1/readyz")
        found = [one["name"] for one in answer.json()["conditions"] if not one["ok"]]
        assert answer.status_code == (503 if found else 200), answer.text
        return found

    process = start()
    try:
        until(lambda: lacking() == ["watcher"], process)
        assert httpx.get(f"http://{metrics}/v1/readyz", timeout=PATIENCE_S).status_code == 503
        transcript, challenge = enclave.hello()
        message = enclave.evidence(transcript, challenge)
        approved.clock.at = int(time.time())
        approved.heartbeat()
        until(lambda: lacking() == [], process)
        assert httpx.get(f"http://{metrics}/v1/readyz", timeout=PATIENCE_S).status_code == 200
        granted(enclave.send(message))
        told = httpx.get(f"http://{metrics}/metrics", timeout=PATIENCE_S).text
        node = approved.chain.url.partition("//")[2]
        for expected in (
            "gate_grants_total 1.0",
            "gate_leases 1.0",
            'ready{condition="balance"} 1.0',
            f'chain_node_kind{{host="{node}",kind="seated"}} 1.0',
        ):
            assert f"\nsealroom_{expected}\n" in told
        assert approved.room.consortium not in told
        assert approved.http.get("/metrics").status_code == 404
        pccs.mode = "down"
        assert child_processes.kill(process.pid)
        process.wait()
        process = start()
        refused(enclave.send(message), "nonce-unknown")
        entries = [json.loads(line) for line in log.read_text().splitlines()]
        [grant] = [one for one in entries if one["event"] == "granted"]
        assert grant["logger"] == "sealroom_agents.gate.service"
        assert len(grant["run"]) == 66 and grant["consortium"] == approved.room.consortium
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_the_process_refuses_rules_for_gpus_and_nothing_to_judge_by_with_78(
    world: World, tmp_path: Path
) -> None:
    """GP-07: owners who wrote them would believe that somebody keeps them."""
    platform = SimulatedPlatform.create(tmp_path / "platform", seed=SEED)
    document = {**json.loads(platform.policy().encode()), "gpu": GPU_RULES}
    policy = str(tmp_path / "policy.json")
    Path(policy).write_bytes(canonical(document))
    command = gate_command(
        world, tmp_path, "--chain-id", "31337", "--platform-policy", policy,
        "--gpu-material", str(tmp_path / "nothing"),
    )  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 78
    assert done.stderr.startswith("error: the platform policy has rules for GPUs") and "ocsp" in done.stderr


def test_the_process_refuses_another_policy_than_the_adopted_one_with_78(
    approved: World, tmp_path: Path
) -> None:
    """AT-35: the operator hands it a document of his own; the owners' own, the test above it, is served."""
    SimulatedPlatform.create(tmp_path / "platform", seed=SEED)
    lax = tmp_path / "lax.json"
    lax.write_bytes(replace(approved.policy, tcb=replace(approved.policy.tcb, smt=True)).encode())
    command = gate_command(
        approved, tmp_path, "--chain-id", "31337", "--consortium", approved.room.consortium,
        "--platform-policy", str(lax),
    )  # fmt: skip
    with approved.chain.mining():
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 78
    assert "adopted this gate with platform policy" in done.stderr and "hint: start it with" in done.stderr


def test_the_process_refuses_a_simulated_platform_off_local_chains_with_78(
    world: World, tmp_path: Path
) -> None:
    """AT-14, AT-22."""
    SimulatedPlatform.create(tmp_path / "platform", seed=SEED)
    environment = {**os.environ, "DSTACK_SIMULATOR_ENDPOINT": str(world.socket)}
    for more, env, word in (
        (["--chain-id", "1"], os.environ, "guest agent"),
        (["--chain-id", "1"], environment, "DSTACK_SIMULATOR_ENDPOINT"),
    ):
        done = subprocess.run(
            gate_command(world, tmp_path, *more),
            env=dict(env),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 78
        assert word in done.stderr and done.stderr.startswith("error: ")
    assert not (tmp_path / "process").exists()
