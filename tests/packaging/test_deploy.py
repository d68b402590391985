# SPDX-License-Identifier: Apache-2.0
"""`agents/deploy`: what an operator starts says what the commands understand, and asks for little."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from sealroom_agents.cli import main
from sealroom_agents.config import Config
from sealroom_agents.config.model import DRAIN_S
from sealroom_agents.up.plan import DRAIN_MARGIN_S
from tests.packaging.test_dependencies import EXTRAS
from tests.packaging.test_enclave_image import pinned

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "agents" / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GATE = yaml.safe_load((DEPLOY / "gate" / "docker-compose.yaml").read_text())
PROCESSES = {"gate", "watcher", "runner", "console"}


def understood(words: list[str]) -> str:
    """The process that a command line starts; every option is one of its own."""
    command = main.get_command(click.Context(main), words[0])
    assert command is not None and words[0] in PROCESSES, words
    options = {name for each in command.params for name in each.opts}
    assert {word for word in words[1:] if word.startswith("-")} <= options
    return words[0]


def setting(unit: Path, name: str) -> str | None:
    found = re.search(rf"^{name}=(.*)$", unit.read_text(), re.MULTILINE)
    return found[1] if found else None


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_starts_its_process_with_little_and_lets_it_end(unit: Path, tmp_path: Path) -> None:
    """OP-03, OP-08."""
    started = shlex.split(setting(unit, "ExecStart") or "")
    assert unit.stem == f"sealroom-{understood(started[1:])}"
    drain = DRAIN_S + DRAIN_MARGIN_S if unit.stem == "sealroom-runner" else 0
    assert float(setting(unit, "TimeoutStopSec") or 0) >= max(drain, 10)
    assert setting(unit, "RestartPreventExitStatus") == "78" and setting(unit, "Restart") == "on-failure"
    for name, value in (
        ("ProtectSystem", "strict"), ("NoNewPrivileges", "yes"), ("CapabilityBoundingSet", ""),
        ("UMask", "0077"), ("StateDirectoryMode", "0700"), ("LimitCORE", "0"),
    ):  # fmt: skip
        assert setting(unit, name) == value, name
    assert setting(unit, "User") not in (None, "root")
    if shutil.which("systemd-analyze") is None:
        return
    # The command is another one here: what is checked is the unit.
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text().replace(started[0], sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(copy)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if copy.name in line and "RestartSteps" not in line]
    assert [line for line in told if "RestartMaxDelaySec" not in line] == []  # systemd 252 has neither


def services() -> dict[str, dict[str, Any]]:
    return {**COMPOSE["services"], **GATE["services"]}


def test_the_services_are_processes_without_privileges_or_the_host() -> None:
    assert set(services()) == {"database", "watcher", "console", "gate"}
    for name, service in services().items():
        assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & set(service)
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in ("./sealroom.toml", "/var/run/dstack.sock") or re.fullmatch("[a-z]+", source)
        if name != "database":
            assert understood(service["command"]) == name
            assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
            for secret in service.get("secrets", ()):
                assert secret["mode"] == 0o400  # OP-03
    for name, service in GATE["services"].items():
        assert re.search(r"@sha256:[0-9a-f]{64}$", service["image"]), name


def test_the_files_that_processes_read_are_configurations() -> None:
    shown = tomllib.loads((DEPLOY / "sealroom.toml").read_text())
    config = Config.model_validate(shown)
    assert config.watcher is not None and config.console is not None and config.gate is None
    gate = Config.model_validate(tomllib.loads(GATE["configs"]["sealroom"]["content"])).gate
    assert gate is not None
    mounted = {each["target"] for each in GATE["services"]["gate"]["configs"]}
    assert str(gate.platform_policy) in mounted
    assert str(gate.watch_token_file) == "/run/secrets/watch-token"


def test_the_app_compose_of_the_gate_is_the_same_bytes_each_time_and_shows_nothing() -> None:
    def rendered() -> tuple[bytes, str]:
        done = subprocess.run(
            [sys.executable, str(DEPLOY / "gate" / "render")], capture_output=True, check=True, timeout=300
        )
        return done.stdout, done.stderr.decode().strip()

    data, told = rendered()
    assert rendered() == (data, told) and told == "0x" + hashlib.sha256(data).hexdigest()
    whole = json.loads(data)
    assert whole["docker_compose_file"] == (DEPLOY / "gate" / "docker-compose.yaml").read_text()
    assert whole["allowed_envs"] == ["WATCH_TOKEN"]
    assert [whole[name] for name in ("public_logs", "public_sysinfo", "public_tcbinfo")] == [False] * 3
    assert whole["kms_enabled"] is True and whole["secure_time"] is True


def test_the_image_has_the_base_of_the_enclaves_and_the_versions_that_the_tests_run_with() -> None:
    def base(path: Path) -> list[str]:
        return re.findall(r"^FROM (\S+)$", path.read_text(), re.MULTILINE)

    assert base(DEPLOY / "Dockerfile") == base(ROOT / "enclave" / "Dockerfile")
    tested, locked = dict(pinned(".")), dict(pinned("agents/deploy"))
    assert {name: version for name, version in locked.items() if tested.get(name) != version} == {}
    assert EXTRAS["agents"] - {"uvicorn[standard]"} <= set(locked)
