# SPDX-License-Identifier: Apache-2.0
"""A whole run by the backend `phala-cloud`: `docs/own-study.md` typed as it stands, for Phala Cloud.

The cloud is `tests/fake_phala.py`, which builds the app-compose by itself and opens the hints as a guest
does. Its VMs are those of `tests/test_vmm_room.py`, with the hints in a variable. Phala's script is measured,
and not run.
"""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sealroom.recipe import parse
from sealroom.recipe.wrapped import HINTS_VARIABLE, SCRIPT_FILE
from tests import processes
from tests.fake_phala import KMS_CONTRACT, Cvm, FakePhala, text_of
from tests.formats import phala
from tests.pages import blocks
from tests.patience import until
from tests.ports import free_port
from tests.test_local_room import LIMIT_S, PAGE, UP, typed
from tests.test_vmm_room import revoked, room_on, start

CALLS = ["provision", "pubkey", "create", "compose_file", "stop", "stop", "delete"]

pytestmark = [
    pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(3 * LIMIT_S), phala.needs_script,
]  # fmt: skip


def boot(vm: Cvm, platform: Path) -> None:
    """What a guest does with what the cloud was given, until the VM is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="vm-"))  # a socket's path is short
    (folder / "compose.json").write_bytes(text_of(vm.compose))
    guest = start(
        folder, "guest", "sealroom_agents.simulator", "guest", "--platform", str(platform), "--compose",
        str(folder / "compose.json"), "--app-id", "0x" + vm.app, "--socket", str(folder / "guest.sock"),
        "--ready-file", str(folder / "ready"),
    )  # fmt: skip
    there = [guest]
    try:
        until((folder / "ready").exists, guest)
        there.append(start(folder, "job", "sealroom", "job", str(folder)))
        words = ["--work", folder, "--guest-agent", folder / "guest.sock", "--channel", folder]
        there.append(start(folder, "enclave", "sealroom", "--hints", *map(str, words), env=vm.variables))
        vm.boot_progress = "done"
        vm.stopped.wait()
    finally:
        processes.end(*there)


def test_a_run_in_a_vm_of_phala_is_proven_and_a_revoked_one_ends_with_its_vm(tmp_path: Path) -> None:
    """AT-23: what is attested is what the cloud built, byte for byte, with its script."""
    before, after = "".join(blocks(PAGE, "sh")).split(UP)
    assert before.count("gpu: none\n") == 1
    typed(before.replace("gpu: none\n", "gpu: none\nhints: phala-cloud\n"), tmp_path)
    (tmp_path / "banks" / SCRIPT_FILE).write_bytes(phala.script().encode())
    token = tmp_path / "phala.token"
    token.touch(mode=0o600)
    token.write_text("t" * 40)
    port = free_port()
    with FakePhala(phala.script(), token="t" * 40) as cloud:
        options: dict[str, Any] = {
            "api": cloud.address, "token_file": str(token), "image": "dstack-0.5.8",
            "instance_type": "tdx.small", "disk_gb": 20, "kms": "BASE", "kms_contract": KMS_CONTRACT,
            "kms_root": cloud.kms_root, "deployer": "0x" + "de" * 20, "port": port,
            "url": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        cloud.boot = lambda vm: boot(vm, tmp_path / ".sealroom" / "platform")
        with room_on(tmp_path, "phala-cloud", options):
            printed = typed(after, tmp_path)
            assert "holds, on a simulated machine" in printed, printed
            until(lambda: cloud.vms == {})
            assert cloud.called() == CALLS
            asked = revoked(tmp_path)
            until(lambda: cloud.vms == {} and (not asked or "shutdown" in cloud.called()))
        first, _ = (body for name, body in cloud.calls if name == "create")
        told = json.loads(base64.b64decode(cloud.opened(first["encrypted_env"])[HINTS_VARIABLE]))
    compose = (tmp_path / ".sealroom" / "app-compose.json").read_bytes()
    assert parse(compose).script is not None and first["compose_hash"] == parse(compose).compose_hash.hex()
    assert told["run_id"] in printed
    assert list((tmp_path / ".sealroom" / "runs").rglob("envelope.json")) == []
