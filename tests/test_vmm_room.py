# SPDX-License-Identifier: Apache-2.0
"""A whole run by the backend `dstack-vmm`: `docs/own-study.md` typed as it stands, with hints in its recipe.

The VMM is `tests/fake_vmm.py`. Its VMs are the two programs of the recipe, started as their containers start
them, beside a simulated guest agent that measures what the VMM was given. All else is the room's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sealroom_agents import child_processes
from sealroom_agents.config.load import variable
from sealroom_agents.local.owners import act
from sealroom_agents.local.room import Room
from tests import processes
from tests.fake_vmm import FakeVmm, Vm
from tests.pages import blocks
from tests.patience import PATIENCE_S, until
from tests.ports import free_port
from tests.test_local_room import BIN, ENVIRONMENT, LIMIT_S, PAGE, UP, typed

CALLS = ["ListImages", "GetComposeHash", "CreateVm", "StopVm", "StopVm", "RemoveVm"]

pytestmark = [pytest.mark.slow, pytest.mark.anvil, pytest.mark.timeout(3 * LIMIT_S)]


def start(folder: Path, name: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """One program of a VM, with no environment but `env`."""
    with (folder / f"{name}.log").open("wb") as log:
        return child_processes.start(
            [sys.executable, "-I", "-m", *words], cwd=folder, env=env or {}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log,
        )  # fmt: skip


def boot(vm: Vm, platform: Path) -> None:
    """What a host does with what the VMM was given, until the VM is stopped."""
    folder = Path(tempfile.mkdtemp(prefix="vm-"))  # a socket's path is short
    (folder / "compose.json").write_text(vm.configuration["compose_file"])
    (folder / "hints.json").write_text(vm.configuration["user_config"])
    guest = start(
        folder, "guest", "sealroom_agents.simulator", "guest", "--platform", str(platform), "--compose",
        str(folder / "compose.json"), "--app-id", "0x" + vm.configuration["app_id"], "--socket",
        str(folder / "guest.sock"), "--ready-file", str(folder / "ready"),
    )  # fmt: skip
    there = [guest]
    try:
        until((folder / "ready").exists, guest)
        there.append(start(folder, "job", "sealroom", "job", str(folder)))
        there.append(
            start(
                folder,
                "enclave",
                "sealroom",
                "--hints",
                str(folder / "hints.json"),
                "--work",
                str(folder),
                "--guest-agent",
                str(folder / "guest.sock"),
                "--channel",
                str(folder),
            )
        )
        vm.boot_progress = "done"
        vm.stopped.wait()
    finally:
        processes.end(*there)


def test_a_run_in_a_vm_is_proven_and_a_revoked_one_ends_with_its_vm(tmp_path: Path) -> None:
    """AT-23: what is attested is what the VMM was given, byte for byte; the run's id came as a hint."""
    before, after = "".join(blocks(PAGE, "sh")).split(UP)
    assert before.count("gpu: none\n") == 1
    typed(before.replace("gpu: none\n", "gpu: none\nhints: dstack\n"), tmp_path)
    port = free_port()
    with FakeVmm() as vmm:
        options: dict[str, Any] = {
            "vmm": vmm.address, "image": "dstack-0.5.8", "vcpu": 2, "memory_mib": 4096, "disk_gb": 20,
            "port": port, "url": f"http://127.0.0.1:{port}",
        }  # fmt: skip
        vmm.boot = lambda vm: boot(vm, tmp_path / ".sealroom" / "platform")
        with room_on(tmp_path, "dstack-vmm", options):
            printed = typed(after, tmp_path)
            assert "holds, on a simulated machine" in printed, printed
            until(lambda: vmm.vms == {})
            assert vmm.called() == CALLS
            told = revoked(tmp_path)
            until(lambda: vmm.vms == {} and (not told or "ShutdownVm" in vmm.called()))
    first, second = (body for name, body in vmm.calls if name == "CreateVm")
    assert first["compose_file"].encode() == (tmp_path / ".sealroom" / "app-compose.json").read_bytes()
    assert json.loads(first["user_config"])["run_id"] in printed
    assert first["name"] != second["name"] and first["app_id"] == second["app_id"]
    assert list((tmp_path / ".sealroom" / "runs").rglob("envelope.json")) == []


@contextmanager
def room_on(folder: Path, backend: str, options: dict[str, Any]) -> Iterator[None]:
    """The page's room, whose runner has this backend."""
    environment = {
        variable("runner", "backend"): backend, variable("runner", "options"): json.dumps(options),
    }  # fmt: skip
    ready = folder / "ready.json"
    with (folder / "up.log").open("wb") as out:
        up = child_processes.start(
            [str(BIN / "sealroom"), *UP.split()[1:], "--ready-file", str(ready)], cwd=folder,
            env={**ENVIRONMENT, **environment}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        until(ready.exists, up)
        yield
    finally:
        processes.end(up)


def revoked(folder: Path) -> bool:
    """One owner revokes while a second run computes: it ends so, and leaves no envelope. As `sealroom room
    revoke` does it, but in this process: to start another may take as long as the run on a busy machine.
    Returns whether the runner told the enclave; else the enclave had ended before, since the gate renews no
    lease of a revoked app."""
    with (folder / "second.log").open("wb") as out:
        run = subprocess.Popen(
            [str(BIN / "sealroom"), "run", "--out", "second.json"], cwd=folder, env=ENVIRONMENT,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    log = folder / "second.log"
    until(lambda: "granted" in log.read_text(), run)
    act(Room.read(folder / ".sealroom"), "bank-B", "revoke", "--reason", "enough")
    assert run.wait(PATIENCE_S) == 1
    seen = log.read_text()
    assert "revoked" in seen and not (folder / "second.json").exists()
    return "told to wipe" in seen
