# SPDX-License-Identifier: Apache-2.0
"""Recipes that Phala Cloud builds: its script by its hash, its members by their values, one variable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sealroom.encoding import canonical, parse_canonical
from sealroom.errors import RecipeError
from sealroom.recipe import MAX_COMPOSE_BYTES, parse, render
from sealroom.recipe.appcompose import CHANNEL, GUEST_SOCKET, HINTS
from sealroom.recipe.wrapped import HINTS_VARIABLE, MAX_SCRIPT_BYTES, MEMBER, SCRIPT_FILE, SCRIPTS, known
from tests.formats import phala
from tests.formats.phala import needs_script
from tests.formats.test_recipe import in_frame, put
from tests.formats.worked import COMPOSE

Change = Callable[[dict[str, Any]], Any]
FORM = {
    "tproxy_enabled": False, "secure_time": False, "storage_fs": "zfs", "allowed_envs": [HINTS_VARIABLE],
}  # fmt: skip
"""What Phala's form has, without its script."""


def code_of(compose: bytes) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(compose)
    return caught.value.code


@needs_script
def test_the_script_of_a_real_guest_is_the_one_that_was_read(tmp_path: Path) -> None:
    """AT-23: its hash and its length, from the bytes that dstack measured."""
    text = phala.script()
    assert known(text) == SCRIPTS[0]
    assert (len(text.encode()), hashlib.sha256(text.encode()).hexdigest()) == (
        SCRIPTS[0].size,
        SCRIPTS[0].digest,
    )
    assert SCRIPTS[0].name in text


@needs_script
def test_phala_builds_a_recipe_around_the_same_services(tmp_path: Path) -> None:
    recipe, plain = parse(phala.wrapped(tmp_path)), parse(COMPOSE)
    assert recipe.hints and recipe.script == SCRIPTS[0] and plain.script is None
    assert (recipe.output_hash, recipe.privacy_hash) == (plain.output_hash, plain.privacy_hash)
    frame, ours = json.loads(recipe.compose), json.loads(COMPOSE)
    services = yaml.safe_load(frame["docker_compose_file"])["services"]
    assert services["enclave"].pop("environment") == [HINTS_VARIABLE]
    assert services == yaml.safe_load(ours["docker_compose_file"])["services"]
    assert "$" not in frame["docker_compose_file"]
    for each in (frame, ours):
        del each["docker_compose_file"]
    assert frame.pop(MEMBER) == phala.script()
    assert {name: frame.pop(name) for name in FORM} == FORM
    assert (ours.pop("key_provider"), ours.pop("secure_time"), ours.pop("allowed_envs")) == ("kms", True, [])
    assert frame == ours


@needs_script
def test_its_form_has_the_members_of_a_recorded_guest(tmp_path: Path) -> None:
    """What a client may ask for is asked for otherwise; all else is as it was recorded."""
    recorded = parse_canonical(phala.GUEST.read_bytes(), MAX_COMPOSE_BYTES)
    frame = json.loads(phala.wrapped(tmp_path))
    assert frame.keys() == recorded.keys()
    asked = {
        "name", "docker_compose_file", "allowed_envs", "gateway_enabled", "tproxy_enabled", "features",
        "public_logs", "public_sysinfo", "public_tcbinfo",
    }  # fmt: skip
    assert {name for name in frame if frame[name] != recorded[name]} == asked


OTHERS: list[tuple[str, Change]] = [
    ("recipe-script", lambda frame: frame.update({MEMBER: frame[MEMBER] + "\n"})),
    ("recipe-script", lambda frame: frame.update({MEMBER: frame[MEMBER].replace("set -e", "set +e", 1)})),
    ("recipe-script", put(MEMBER, "")),
    ("recipe-script", put(MEMBER, None)),
    ("recipe-script", put(MEMBER, [])),
    ("recipe-script", put("init_script", "true")),
    ("recipe-script", put("bash_script", "true")),
    ("recipe-allowed-envs", put("allowed_envs", [])),
    ("recipe-allowed-envs", put("allowed_envs", [HINTS_VARIABLE, "DSTACK_ROOT_PASSWORD"])),
    ("recipe-allowed-envs", put("allowed_envs", ["DSTACK_AUTHORIZED_KEYS"])),
    ("recipe-gateway", put("gateway_enabled", True)),
    ("recipe-gateway", put("tproxy_enabled", True)),
    ("recipe-gateway", lambda frame: frame.pop("tproxy_enabled")),
    ("recipe-key-provider", put("features", ["kms", "tproxy-net"])),
    ("recipe-key-provider", put("kms_enabled", False)),
    ("recipe-unknown-field", put("key_provider", "kms")),
    ("recipe-public-logs", put("public_logs", True)),
    ("recipe-public-sysinfo", put("public_sysinfo", True)),
    ("recipe-public-tcbinfo", put("public_tcbinfo", True)),
    ("recipe-secure-time", put("secure_time", True)),
    ("recipe-malformed", put("storage_fs", "ext4")),
    ("recipe-malformed", put("name", "")),
    ("recipe-unknown-field", put("default_gateway_domain", "example.org")),
    ("recipe-unknown-field", put("salt", "1")),
]


@needs_script
@pytest.mark.parametrize("code, change", OTHERS)
def test_another_setting_is_refused_by_name(code: str, change: Change, tmp_path: Path) -> None:
    """AT-21, AT-23, AT-25: names of `allowed_envs` are what its script would act on."""
    frame = json.loads(phala.wrapped(tmp_path))
    change(frame)
    assert code_of(canonical(frame)) == code


SOCKET = f"{GUEST_SOCKET}:{GUEST_SOCKET}"
SERVICES: list[tuple[str, Change]] = [
    ("recipe-environment", lambda services: services["enclave"].pop("environment")),
    ("recipe-environment", lambda services: services["enclave"].update(environment=["LD_PRELOAD"])),
    ("recipe-environment", lambda services: services["enclave"].update(environment={HINTS_VARIABLE: "x"})),
    ("recipe-environment", lambda services: services["job"].update(environment=[HINTS_VARIABLE])),
    ("recipe-host-mount", lambda services: services["enclave"].update(volumes=[SOCKET, HINTS, CHANNEL])),
]


@needs_script
@pytest.mark.parametrize("code, change", SERVICES)
def test_the_variable_is_the_enclaves_alone(code: str, change: Change, tmp_path: Path) -> None:
    """AT-21, AT-24."""
    frame = json.loads(phala.wrapped(tmp_path))
    compose = yaml.safe_load(frame["docker_compose_file"])
    change(compose["services"])
    frame["docker_compose_file"] = json.dumps(compose)
    assert code_of(canonical(frame)) == code


def test_our_form_takes_neither_its_variable_nor_its_members() -> None:
    """AT-21, AT-23."""
    assert code_of(in_frame(lambda frame: frame.update(FORM))) == "recipe-secure-time"
    assert code_of(in_frame(put("allowed_envs", [HINTS_VARIABLE]))) == "recipe-allowed-envs"
    assert code_of(in_frame(lambda frame: frame.update(FORM | {MEMBER: "true\n"}))) == "recipe-script"


@pytest.mark.parametrize(
    "text, code", [("true\n", "recipe-script"), ("#" * MAX_SCRIPT_BYTES + "\n", "recipe-too-large")]
)
def test_another_script_beside_a_study_does_not_render(text: str, code: str, tmp_path: Path) -> None:
    """AT-23."""
    folder = phala.study(tmp_path / "study", text)
    with pytest.raises(RecipeError) as caught:
        render(folder)
    assert caught.value.code == code
    (folder / SCRIPT_FILE).unlink()
    with pytest.raises(RecipeError) as caught:
        render(folder)
    assert caught.value.code == "recipe-unreadable"
