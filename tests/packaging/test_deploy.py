# SPDX-License-Identifier: Apache-2.0
"""`agents/deploy`: what an operator starts says what the commands understand, and asks for little."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import socket
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
from sealroom_agents.config.load import load, variable
from sealroom_agents.config.model import DRAIN_S
from sealroom_agents.errors import ConfigurationError
from sealroom_agents.host import read_token
from sealroom_agents.up.plan import DRAIN_MARGIN_S
from tests.packaging.test_dependencies import BASE, EXTRAS
from tests.packaging.test_enclave_image import pinned
from tests.releases import minted_release

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "agents" / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
GATE = yaml.safe_load((DEPLOY / "gate" / "docker-compose.yaml").read_text())
PROCESSES = {"gate", "watcher", "runner", "console"}
USER = "10001:10001"
SERVICE_FIELDS = {
    "build", "cap_drop", "command", "configs", "depends_on", "entrypoint", "environment", "healthcheck",
    "image", "network_mode", "ports", "read_only", "restart", "secrets", "security_opt", "tmpfs", "user",
    "volumes",
}  # fmt: skip
"""Of the compose specification, those that are used here."""


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
    assert set(services()) == {"database", "watcher", "console", "gate", "socket"}
    for name, service in services().items():
        assert not {"privileged", "pid", "devices", "cap_add"} & set(service)
        assert service.get("network_mode", "none") == "none"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in ("./sealroom.toml", "/var/run/dstack.sock") or re.fullmatch("[a-z]+", source)
        if name == "database":
            continue
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        if name == "socket":
            continue
        assert understood(service["command"]) == name
        assert service["user"] == USER  # without capabilities root cannot write what is another's
    for name, service in GATE["services"].items():
        assert service["image"] == "AGENTS_IMAGE", name  # render's word, for one by its digest


@pytest.mark.parametrize("whole", [COMPOSE, GATE], ids=["agents", "gate"])
def test_a_service_can_read_what_it_is_given(whole: dict[str, Any]) -> None:
    """OP-03: a secret that is no file is copied into the container's root, which must not be read-only then,
    and belongs to the user that is named; one that is a file keeps its own mode."""
    for service in whole["services"].values():
        copied = [
            kind[each if isinstance(each, str) else each["source"]]
            for kind, used in ((whole.get("secrets", {}), "secrets"), (whole.get("configs", {}), "configs"))
            for each in service.get(used, ())
        ]
        assert not service.get("read_only") or all("file" in one for one in copied)
        for secret in service.get("secrets", ()):
            if "file" not in whole["secrets"][secret if isinstance(secret, str) else secret["source"]]:
                assert (secret["uid"], secret["gid"], secret["mode"]) == (*USER.split(":"), 0o400)


@pytest.mark.parametrize("whole", [COMPOSE, GATE], ids=["agents", "gate"])
def test_a_compose_file_names_what_it_declares_and_uses_all_of_it(whole: dict[str, Any]) -> None:
    """What `docker compose config` refuses: a field that the format does not have, a name that is nowhere."""
    assert {each for each in whole if not each.startswith("x-")} <= {
        "name", "services", "volumes", "secrets", "configs"
    }  # fmt: skip
    used: dict[str, set[str]] = {"volumes": set(), "secrets": set(), "configs": set()}
    for name, service in whole["services"].items():
        assert set(service) <= SERVICE_FIELDS, name
        for other, how in service.get("depends_on", {}).items():
            needed = whole["services"][other]
            assert how["condition"] != "service_healthy" or needed["healthcheck"]["test"][0] == "CMD"
            assert how["condition"] in ("service_healthy", "service_completed_successfully")
            assert how["condition"] != "service_completed_successfully" or needed["restart"] == "on-failure"
        for kind in ("secrets", "configs"):
            used[kind] |= {
                each if isinstance(each, str) else each["source"] for each in service.get(kind, ())
            }
        sources = {each.partition(":")[0] for each in service.get("volumes", ())}
        used["volumes"] |= {each for each in sources if "/" not in each}
        assert all((DEPLOY / each).is_file() for each in sources if each.startswith("./"))
    assert used == {kind: set(whole.get(kind, {})) for kind in used}


def test_the_environment_of_services_and_units_is_one_of_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name that no field has is refused at the start; and the console's folder is on its volume."""
    for name in ("watcher", "console"):
        with monkeypatch.context() as environment:
            for key, value in COMPOSE["services"][name]["environment"].items():
                environment.setenv(key, re.sub(r"\$\{DATABASE_PASSWORD:[^}]*\}", "word", value))
            config = load(DEPLOY / "sealroom.toml")
        assert config.database.clear == "postgresql://sealroom:word@database/sealroom"
        assert config.database.content == "/data/content"
    assert "content:/data" in COMPOSE["services"]["console"]["volumes"]
    for unit in UNITS:
        if (given := setting(unit, "Environment")) is not None:
            with monkeypatch.context() as environment:
                environment.setenv(*given.replace("%d", "/run/credentials").split("=", 1))
                config = load(DEPLOY / "sealroom.toml")
            assert "/run/credentials" in config.model_dump_json()


def test_the_image_s_user_is_the_one_that_the_services_run_as() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert f"USER {USER}" in dockerfile and f"sealroom:x:{USER}::/data:" in dockerfile
    assert "WORKDIR /data" in dockerfile  # a new volume there is that user's
    uid, gid = USER.split(":")
    assert f"install --directory --owner {uid} --group {gid} --mode 0700 /data" in dockerfile


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
def test_the_socket_of_the_guest_agent_is_handed_over_without_a_capability(tmp_path: Path) -> None:
    """As the container does it: root without capabilities, in the gate's group."""
    path = tmp_path / "dstack.sock"
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    service = GATE["services"]["socket"]
    (script,) = service["command"]
    uid, gid = service["user"].split(":")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o755)
        listener.listen()

        def as_user(uid: str, gid: str, code: str) -> int:
            bare = ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--bounding-set=-all"]
            bare += ["--inh-caps=-all", "--no-new-privs", "/usr/bin/python3", "-I", "-c", code]
            return subprocess.run(bare, timeout=300, cwd="/", stderr=subprocess.DEVNULL).returncode

        connect = f"import socket; socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        gate_uid, gate_gid = USER.split(":")
        assert as_user(gate_uid, gate_gid, connect) != 0
        assert as_user(uid, gid, script.replace("/var/run/dstack.sock", str(path))) == 0
        assert as_user(gate_uid, gate_gid, connect) == 0
        assert as_user("10002", "10002", connect) != 0


def test_the_watcher_s_token_reaches_a_user_who_is_there_only_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OP-03: by a copy of systemd's, whose access control list shows as a group's bits."""
    unit = DEPLOY / "systemd" / "sealroom-watcher.service"
    name, _, source = (setting(unit, "LoadCredential") or "").partition(":")
    assert setting(unit, "DynamicUser") == "yes" and source.startswith("/etc/sealroom/")
    assert setting(unit, "Environment") == f"{variable('watcher', 'watch_token_file')}=%d/{name}"
    token = tmp_path / name
    token.write_text("t" * 32)
    token.chmod(0o440)
    with pytest.raises(ConfigurationError):
        read_token(token)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_token(token) == "t" * 32


def test_the_files_that_processes_read_are_configurations() -> None:
    shown = tomllib.loads((DEPLOY / "sealroom.toml").read_text())
    config = Config.model_validate(shown)
    assert config.watcher is not None and config.console is not None and config.gate is None
    gate = Config.model_validate(tomllib.loads(GATE["configs"]["sealroom"]["content"])).gate
    assert gate is not None
    mounted = {each["target"] for each in GATE["services"]["gate"]["configs"]}
    assert str(gate.platform_policy) in mounted
    assert str(gate.watch_token_file) == "/run/secrets/watch-token"


def render(*words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, str(DEPLOY / "gate" / "render"), *words], capture_output=True, timeout=300
    )


def test_the_app_compose_of_the_gate_is_the_same_bytes_each_time_and_shows_nothing(tmp_path: Path) -> None:
    """OP-03: what the file says is what is measured, but for the image, which is a release's."""
    image = f"ghcr.io/sealroom/agents@sha256:{'1a' * 32}"
    done, again = render("--image", image), render("--image", image)
    data, told = done.stdout, done.stderr.decode().strip()
    assert (again.stdout, again.stderr) == (data, done.stderr)
    assert told == "0x" + hashlib.sha256(data).hexdigest()
    whole = json.loads(data)
    readable = (DEPLOY / "gate" / "docker-compose.yaml").read_text()
    assert whole["docker_compose_file"] == readable.replace("image: AGENTS_IMAGE", f"image: {image}")
    composed = yaml.safe_load(whole["docker_compose_file"])
    assert {each["image"] for each in composed["services"].values()} == {image}
    assert whole["allowed_envs"] == ["WATCH_TOKEN"]
    assert [whole[name] for name in ("public_logs", "public_sysinfo", "public_tcbinfo")] == [False] * 3
    assert whole["kms_enabled"] is True and whole["secure_time"] is True

    release = tmp_path / "release.json"
    release.write_bytes(minted_release(digest="1a" * 32).encode())
    assert render("--release", str(release)).stdout == data


def test_the_gate_is_rendered_with_no_image_but_one_by_its_digest(tmp_path: Path) -> None:
    """Where no release is, and for a tag, a digest of zeros, and a file that is no release."""
    other = tmp_path / "other.json"
    other.write_text("{}")
    for words, error in (
        (("--release", str(tmp_path / "none.json")), "there is no file"),
        (("--release", str(other)), "is no file of a release"),
        (("--image", "ghcr.io/sealroom/agents:latest"), "is no image by its digest"),
        (("--image", f"ghcr.io/sealroom/agents@sha256:{'0' * 64}"), "is no image by its digest"),
    ):
        done = render(*words)
        assert done.returncode == 1 and done.stdout == b"" and error in done.stderr.decode()


def test_the_image_has_the_base_of_the_enclaves_and_the_versions_that_the_tests_run_with() -> None:
    def base(path: Path) -> list[str]:
        return re.findall(r"^ARG BASE=(\S+)$", path.read_text(), re.MULTILINE)

    assert base(DEPLOY / "Dockerfile") == base(ROOT / "enclave" / "Dockerfile")
    tested, locked = dict(pinned(".")), dict(pinned("agents/deploy"))
    assert {name: version for name, version in locked.items() if tested.get(name) != version} == {}
    assert BASE | EXTRAS["agents"] <= set(locked)


def test_the_image_has_what_the_console_holds_scripts_against() -> None:
    """The enclave's lock, at the place where an installed package has it."""
    place = "/opt/sealroom/sealroom_agents/studies/image.lock"
    assert f"COPY enclave/requirements.lock {place}\n" in (DEPLOY / "Dockerfile").read_text()
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    (taken,) = wheel["force-include"].items()
    assert taken == ("enclave/requirements.lock", place.removeprefix("/opt/sealroom/"))
