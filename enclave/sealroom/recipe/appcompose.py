# SPDX-License-Identifier: Apache-2.0
"""dstack's app-compose frame around a recipe: what we write into it, and what we refuse to see in it.

dstack measures these bytes but judges none of them: it would run an init script as root, show logs to the
world, or pull whatever a tag points to today. So every known setting has one allowed value here, a setting we
don't know is refused, and the most dangerous ones have a code of their own (AT-23, AT-24, AT-25). There are
two forms: the one that we write whole, and the one that Phala Cloud builds around the same services
(`recipe.wrapped`).
Source: dstack 0.5, `AppCompose` in `dstack-types`; the Compose specification for the service.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import canonical, parse_canonical
from sealroom.errors import FormatError, RecipeError
from sealroom.recipe import wrapped, yamltext
from sealroom.recipe.wrapped import HINTS_VARIABLE, Script

MAX_COMPOSE_BYTES = 256 * 1024
"""Most bytes of an app-compose file (dstack's own limit)."""

GUEST_SOCKET = "/var/run/dstack.sock"
CHANNEL = "channel:/run/sealroom"
"""The volume in which the two services meet, and its place in both: room for a socket, in memory."""
HINTS_FILE = "/run/hints.json"
"""Where the enclave reads what its host tells it."""
HINTS = f"/dstack/.host-shared/.user-config:{HINTS_FILE}:ro"
"""dstack's file with what the host tells, and its place in the enclave. Not measured: it decides nothing."""

_DIGEST_IMAGE = re.compile(
    r"[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}"
)

_Fixed = dict[str, tuple[Any, Code]]
"""Settings with one allowed value, and the code that names a recipe with another."""

_BOTH: _Fixed = {
    "manifest_version": (2, Code.RECIPE_MANIFEST_VERSION),
    "runner": ("docker-compose", Code.RECIPE_RUNNER),
    "features": (["kms"], Code.RECIPE_KEY_PROVIDER),
    "kms_enabled": (True, Code.RECIPE_KEY_PROVIDER),
    "local_key_provider_enabled": (False, Code.RECIPE_KEY_PROVIDER),
    "gateway_enabled": (False, Code.RECIPE_GATEWAY),
    "public_logs": (False, Code.RECIPE_PUBLIC_LOGS),
    "public_sysinfo": (False, Code.RECIPE_PUBLIC_SYSINFO),
    "public_tcbinfo": (False, Code.RECIPE_PUBLIC_TCBINFO),
    "no_instance_id": (False, Code.RECIPE_INSTANCE_ID),
}
_OURS: _Fixed = {
    "key_provider": ("kms", Code.RECIPE_KEY_PROVIDER),
    "secure_time": (True, Code.RECIPE_SECURE_TIME),
    "allowed_envs": ([], Code.RECIPE_ALLOWED_ENVS),
}
_WRAPPED: _Fixed = {
    "tproxy_enabled": (False, Code.RECIPE_GATEWAY),
    # As Phala writes it. An enclave reads no clock of the day.
    "secure_time": (False, Code.RECIPE_SECURE_TIME),
    "allowed_envs": ([HINTS_VARIABLE], Code.RECIPE_ALLOWED_ENVS),
    "storage_fs": ("zfs", Code.RECIPE_MALFORMED),
}

_FRAME_CODES = {
    Code.MALFORMED: Code.RECIPE_MALFORMED,
    Code.TOO_LARGE: Code.RECIPE_TOO_LARGE,
    Code.NOT_CANONICAL: Code.RECIPE_NOT_CANONICAL,
}
"""What is wrong with the bytes of any JSON, as codes of a recipe."""

_SCRIPTS = ("init_script", wrapped.MEMBER, "bash_script")
"""Scripts that dstack runs as root before any container (AT-23)."""

_SERVICE_CODES = {
    "build": Code.RECIPE_MUTABLE_IMAGE,
    "privileged": Code.RECIPE_PRIVILEGED,
    "cap_add": Code.RECIPE_PRIVILEGED,
    "devices": Code.RECIPE_PRIVILEGED,
    "device_cgroup_rules": Code.RECIPE_PRIVILEGED,
    "pid": Code.RECIPE_PRIVILEGED,
    "ipc": Code.RECIPE_PRIVILEGED,
    "userns_mode": Code.RECIPE_PRIVILEGED,
    "cgroup": Code.RECIPE_PRIVILEGED,
    "sysctls": Code.RECIPE_PRIVILEGED,
    "user": Code.RECIPE_PRIVILEGED,
    "network_mode": Code.RECIPE_NETWORK,
    "networks": Code.RECIPE_NETWORK,
    "extra_hosts": Code.RECIPE_NETWORK,
    "dns": Code.RECIPE_NETWORK,
    "ports": Code.RECIPE_PORTS,
    "expose": Code.RECIPE_PORTS,
    "environment": Code.RECIPE_ENVIRONMENT,
    "env_file": Code.RECIPE_ENVIRONMENT,
    "secrets": Code.RECIPE_HOST_MOUNT,
    "configs": Code.RECIPE_HOST_MOUNT,
    "volumes_from": Code.RECIPE_HOST_MOUNT,
    "entrypoint": Code.RECIPE_COMMAND,
    "command": Code.RECIPE_COMMAND,
    "healthcheck": Code.RECIPE_COMMAND,
    "deploy": Code.RECIPE_GPU,
    "extends": Code.RECIPE_SERVICE,
    "runtime": Code.RECIPE_PRIVILEGED,
    "cap_drop": Code.RECIPE_PRIVILEGED,
    "security_opt": Code.RECIPE_PRIVILEGED,
    "read_only": Code.RECIPE_PRIVILEGED,
    "pids_limit": Code.RECIPE_PRIVILEGED,
    "mem_limit": Code.RECIPE_PRIVILEGED,
    "logging": Code.RECIPE_LOGS,
    "volumes": Code.RECIPE_HOST_MOUNT,
}
"""Settings of a service that have one value or must not be there, with the code that names another."""


@dataclass(frozen=True)
class Frame:
    """What an app-compose holds."""

    name: str
    services: dict[str, Any]
    """Their settings."""
    section: dict[str, Any]
    """`x-sealroom`."""
    text: str | None
    """Phala's script, in a recipe that Phala built around."""
    script: Script | None
    """Which one it is."""


def render_frame(
    *, name: str, image: str, section: dict[str, Any], hints: bool = False, script: str | None = None
) -> bytes:
    """The app-compose bytes for one study; `section` is its `x-sealroom`. With `hints` the enclave reads what
    its host tells it; with Phala's `script` the bytes are those that Phala Cloud builds, and it does so
    always."""
    found = services(image, hints=hints, variable=script is not None)
    try:
        text = yamltext.dump({"services": found, "volumes": VOLUMES, "x-sealroom": section})
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"x-sealroom: {error.message}") from None
    fixed = _BOTH | (_OURS if script is None else _WRAPPED)
    frame = {field: value for field, (value, _) in fixed.items()}
    told = {} if script is None else {wrapped.MEMBER: script}
    return canonical({**frame, **told, "name": name, "docker_compose_file": text})


def services(image: str, *, hints: bool = False, variable: bool = False) -> dict[str, dict[str, Any]]:
    """The two services of a recipe. Only the image is a study's choice, one for both, and whether the enclave
    reads its host's hints: from a file, or from a `variable`.

    `enclave` is the custodian: it holds the keys and the guest agent's socket. `job` makes the processes that
    analyse: the container runtime gives it what a process without privileges cannot take, namespaces, limits
    and a uid of its own, and nothing of the custodian is in there with it.
    """
    alike = {
        "image": image,
        "restart": "no",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": {"driver": "none"},
    }
    told = [HINTS] if hints and not variable else []
    enclave = {"tmpfs": ["/tmp"], "volumes": [f"{GUEST_SOCKET}:{GUEST_SOCKET}", *told, CHANNEL]}
    if variable:
        # A bare name: docker hands the value on as it is, and reads no $ in it.
        enclave["environment"] = [HINTS_VARIABLE]
    job = {
        "command": ["job"],
        "user": "65532:65532",
        "network_mode": "none",
        # More than the job's own limits, so that the kernel has no refusal to log.
        "pids_limit": 2048,
        "mem_limit": "64g",
        "volumes": [CHANNEL],
    }
    return {"enclave": alike | enclave, "job": alike | job}


VOLUMES = {
    "channel": {"driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=64k,mode=1777"}},
}


def read_frame(compose: bytes) -> Frame:
    """Judge the frame."""
    try:
        frame = parse_canonical(compose, MAX_COMPOSE_BYTES)
    except FormatError as error:
        raise RecipeError(_FRAME_CODES[error.code], f"app-compose: {error.message}") from None
    name, text = frame.pop("name", None), frame.pop("docker_compose_file", None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise RecipeError(Code.RECIPE_MALFORMED, "app-compose lacks its name or its docker_compose_file")
    script = wrapped.known(frame.get(wrapped.MEMBER))
    told = frame.pop(wrapped.MEMBER) if script is not None else None
    for member in _SCRIPTS:
        if member in frame:
            raise RecipeError(Code.RECIPE_SCRIPT, f"app-compose has {member}: dstack would run it as root")
    for field, (allowed, code) in (_BOTH | (_OURS if script is None else _WRAPPED)).items():
        # `repr` tells true from 1, which compare equal.
        if field not in frame or repr(frame.pop(field)) != repr(allowed):
            raise RecipeError(code, f"app-compose must have {field}: {canonical_text(allowed)}")
    for field in sorted(frame):
        raise RecipeError(Code.RECIPE_UNKNOWN_FIELD, f"app-compose has the unknown field {field[:80]!r}")
    found, section = _read_compose(text)
    return Frame(name, found, section, told, script)


def check_services(found: dict[str, Any], *, variable: bool = False) -> tuple[str, bool]:
    """Judge the services of a recipe; returns their image, and whether the enclave reads its host's hints.
    With `variable` it does so always, and from nowhere else."""
    images = [settings.get("image") for settings in found.values()]
    volumes = found["enclave"].get("volumes")
    hints = variable or (isinstance(volumes, list) and HINTS in volumes)
    for name, settings in found.items():
        image = check_image(settings.get("image"))
        expected = services(image, hints=hints, variable=variable)[name]
        for field in sorted({*settings, *expected}):
            # `repr` tells true from 1, which compare equal.
            if field in _SERVICE_CODES and repr(settings.get(field)) != repr(expected.get(field)):
                must = f"must have {field}: {canonical_text(expected[field])}" if field in expected else None
                raise RecipeError(
                    _SERVICE_CODES[field],
                    f"the service {name} {must or f'has {field}, which no recipe may have'}",
                )
        for field in sorted(settings.keys() - expected.keys()):
            raise RecipeError(
                Code.RECIPE_UNKNOWN_FIELD, f"the service {name} has the unknown field {field[:80]!r}"
            )
    if len(set(images)) != 1:
        raise RecipeError(Code.RECIPE_SERVICE, "the two services must have one image")
    return image, hints


def check_image(image: Any) -> str:
    """Accept an image by digest only: a tag is whatever its registry says today (AT-24)."""
    if not isinstance(image, str) or len(image) > 255 or _DIGEST_IMAGE.fullmatch(image) is None:
        raise RecipeError(
            Code.RECIPE_MUTABLE_IMAGE,
            "the image is not pinned by digest",
            "write it as registry/name@sha256:<64 hex digits>, without a tag",
        )
    return image


def canonical_text(value: Any) -> str:
    """A value as JSON text, for messages."""
    return canonical(value).decode()


def _read_compose(text: str) -> tuple[dict[str, Any], dict[str, Any]]:
    if "$" in text:
        raise RecipeError(
            Code.RECIPE_INTERPOLATION,
            "docker_compose_file has a $, which docker would take for a variable",
            "in the analysis, write chr(36) instead; a column with one has to be renamed",
        )
    try:
        compose = yamltext.load(text)
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"docker_compose_file: {error.message}") from None
    if not isinstance(compose, dict):
        _malformed("docker_compose_file must be a mapping")
    if "networks" in compose:
        raise RecipeError(Code.RECIPE_NETWORK, "docker_compose_file has networks, which no recipe may have")
    found, section = compose.pop("services", None), compose.pop("x-sealroom", None)
    if repr(compose.pop("volumes", None)) != repr(VOLUMES):
        raise RecipeError(
            Code.RECIPE_HOST_MOUNT, f"docker_compose_file must have volumes: {canonical_text(VOLUMES)}"
        )
    for field in sorted(compose):
        raise RecipeError(
            Code.RECIPE_UNKNOWN_FIELD, f"docker_compose_file has the unknown field {field[:80]!r}"
        )
    if not isinstance(found, dict) or list(found) != ["enclave", "job"]:
        raise RecipeError(Code.RECIPE_SERVICE, "a recipe has two services, named enclave and job")
    if not all(isinstance(each, dict) for each in (*found.values(), section)):
        _malformed("docker_compose_file lacks the settings of its services, or x-sealroom")
    return found, section


def _malformed(message: str) -> NoReturn:
    raise RecipeError(Code.RECIPE_MALFORMED, message)
