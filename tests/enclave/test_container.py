# SPDX-License-Identifier: Apache-2.0
"""The service `job` in a container as a recipe has it, made by runc; the custodian outside of it.

runc is fed what a recipe's settings come to: no capability, no-new-privileges, uid 65532, a read-only root,
no network, limits, masked paths, one shared folder; and a seccomp profile that refuses namespaces and mounts,
as the default one of Docker does to a container without capabilities.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.enclave.attacks import REMAIN
from tests.enclave.conftest import small_table
from tests.patience import PATIENCE_S

from sealroom.recipe.appcompose import services
from sealroom.runtime import confine
from sealroom.runtime.channel import Channel
from sealroom.runtime.custodian import sealed_memory
from sealroom.runtime.sandbox import Sandbox, Service

RUNC = shutil.which("runc")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(RUNC is None, reason="runc is not installed"),
    pytest.mark.skipif(os.getuid() != 0, reason="runc makes containers as root"),
]

REFUSED = ["unshare", "setns", "mount", "umount2", "pivot_root", "mount_setattr", "bpf", "clone3", "keyctl"]


ROOT = Path(__file__).resolve().parents[2]


def configuration(command: list[str], shared: Path, *, folder: str = "/") -> dict[str, Any]:
    """The container of a recipe's service `job`, as runc reads it; `folder` is where the command begins."""
    settings = services("registry.example/enclave@sha256:" + "0" * 64)["job"]
    uid = int(settings["user"].partition(":")[0])
    image = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.prefix, sys.base_prefix, str(confine.PACKAGES)}
    if folder != "/":
        image.add(folder)
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/sys",
            "type": "sysfs",
            "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/dev",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["nosuid", "mode=755", "size=64k"],
        },
        *(
            {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]}
            for path in sorted(image)
            if os.path.exists(path)
        ),
        {"destination": "/run/sealroom", "type": "bind", "source": str(shared), "options": ["rbind", "rw"]},
    ]
    none: list[str] = []
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "root", "readonly": settings["read_only"]},
        "hostname": "job",
        "mounts": mounts,
        "process": {
            "user": {"uid": uid, "gid": uid},
            "args": command,
            "cwd": folder,
            "env": ["PATH=/usr/bin"],
            "noNewPrivileges": True,
            "capabilities": dict.fromkeys(("bounding", "effective", "inheritable", "permitted"), none),
        },
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
            "resources": {
                "pids": {"limit": settings["pids_limit"]},
                "devices": [{"allow": False, "access": "rwm"}],
            },
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64"],
                "syscalls": [{"names": REFUSED, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
            },
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    }


@contextlib.contextmanager
def container(folder: Path, config: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A container that runs, and is gone afterwards."""
    assert RUNC is not None
    (folder / "bundle" / "root").mkdir(parents=True)
    (folder / "bundle" / "config.json").write_text(json.dumps(config))
    name, runc = f"sealroom-{os.getpid()}", [RUNC, "--root", str(folder / "state")]
    command = [*runc, "run", "--bundle", str(folder / "bundle"), name]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            subprocess.run([*runc, "kill", name, "KILL"], check=False, capture_output=True)
            process.wait(PATIENCE_S)
            subprocess.run([*runc, "delete", "--force", name], check=False, capture_output=True)


@pytest.fixture
def channel(tmp_path: Path) -> Path:
    """The folder that stands for the recipe's volume."""
    shared = tmp_path / "channel"
    shared.mkdir()
    shared.chmod(0o1777)
    return shared


@pytest.fixture
def service(tmp_path: Path, channel: Path) -> Iterator[Service]:
    command = [sys.executable, "-I", "-B", "-m", "sealroom", "job"]
    with container(tmp_path, configuration(command, channel)), Service(channel) as connection:
        yield connection


READ = """
import pyarrow as pa, mmap, os, threading
from sealroom.runtime import job
frame = job._session._channel.receive()
pages = mmap.mmap(frame.descriptor, frame.head["size"], prot=mmap.PROT_READ)
table = pa.ipc.open_stream(pa.py_buffer(pages)).read_all()
found = []
for path in ("/etc/passwd", "/proc/1/cmdline", "/run/sealroom", "/"):
    try:
        os.open(path, os.O_RDONLY)
        found.append(path)
    except OSError:
        pass
job._session._channel.send({"rows": table.num_rows, "found": found, "uid": os.getuid()})
job._session._channel.receive()
"""


def test_a_job_in_the_container_is_sealed_and_gets_its_data_across(service: Service) -> None:
    """OU-05, OP-01: what the container's runtime gives, and what the job adds itself; a memfd crosses."""
    with Sandbox.start(service=service) as job:
        walls = job.ready()
        assert (walls.namespaces, walls.root, walls.uid) == ("none", "machine", "shared")
        job.begin({"analysis": READ, "unit": "person_id", "fields": {}, "groups": {}})
        channel = Channel(job.channel)
        descriptor, size = sealed_memory(small_table("A"))
        channel.send({"size": size}, descriptor=descriptor)
        os.close(descriptor)
        job.channel.settimeout(PATIENCE_S)
        frame = channel.receive()
        assert frame is not None
        assert frame.head == {"rows": 300, "found": [], "uid": 65532}
        assert job.kill() < 60


@pytest.mark.timeout(1500)
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="two of the lines are x86-64's")
def test_nothing_gets_out_of_a_sealed_job_in_the_container(tmp_path: Path, channel: Path) -> None:
    """OU-04, OU-05, OU-06, OP-01, OP-02: the custodian and a victim are in there with it, which is worse than
    a recipe's two services."""
    command = [sys.executable, "-B", "-m", "tests.enclave.attacks", "sealed"]
    with container(tmp_path, configuration(command, channel, folder=str(ROOT))) as process:
        text, _ = process.communicate(timeout=1500)
    told = json.loads(text.splitlines()[-1])
    assert set(told["through"]) <= REMAIN, text
    assert told["attacks"] >= 150
