# SPDX-License-Identifier: Apache-2.0
"""dstack's app-compose frame around a recipe: what we write into it, and what we refuse to see in it.

dstack measures these bytes but judges none of them: it would run an init script as root, show logs to the
world, or pull whatever a tag points to today. So every known setting has one allowed value here, a setting we
don't know is refused, and the most dangerous ones have a code of their own (AT-23, AT-24, AT-25).
Source: dstack 0.5, `AppCompose` in `dstack-types`; the Compose specification for the service.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from sealroom.codes import Code
from sealroom.encoding import canonical, parse_canonical
from sealroom.errors import FormatError, RecipeError
from sealroom.recipe import yamltext

MAX_COMPOSE_BYTES = 256 * 1024
"""Most bytes of an app-compose file (dstack's own limit)."""

GUEST_SOCKET = "/var/run/dstack.sock"
NO_GPU = "none"
"""The one thing that a recipe may say about a GPU, as long as GPU evidence is not verified."""

_DIGEST_IMAGE = re.compile(
    r"[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)+@sha256:[0-9a-f]{64}"
)

_FIXED: dict[str, tuple[Any, Code]] = {
    "manifest_version": (2, Code.RECIPE_MANIFEST_VERSION),
    "runner": ("docker-compose", Code.RECIPE_RUNNER),
    "features": (["kms"], Code.RECIPE_KEY_PROVIDER),
    "kms_enabled": (True, Code.RECIPE_KEY_PROVIDER),
    "key_provider": ("kms", Code.RECIPE_KEY_PROVIDER),
    "local_key_provider_enabled": (False, Code.RECIPE_KEY_PROVIDER),
    "gateway_enabled": (False, Code.RECIPE_GATEWAY),
    "public_logs": (False, Code.RECIPE_PUBLIC_LOGS),
    "public_sysinfo": (False, Code.RECIPE_PUBLIC_SYSINFO),
    "public_tcbinfo": (False, Code.RECIPE_PUBLIC_TCBINFO),
    "no_instance_id": (False, Code.RECIPE_INSTANCE_ID),
    "secure_time": (True, Code.RECIPE_SECURE_TIME),
    "allowed_envs": ([], Code.RECIPE_ALLOWED_ENVS),
}
"""Settings with one allowed value, and the code that names a recipe with another."""

_FRAME_CODES = {
    Code.MALFORMED: Code.RECIPE_MALFORMED,
    Code.TOO_LARGE: Code.RECIPE_TOO_LARGE,
    Code.NOT_CANONICAL: Code.RECIPE_NOT_CANONICAL,
}
"""What is wrong with the bytes of any JSON, as codes of a recipe."""

_SCRIPTS = ("init_script", "pre_launch_script", "bash_script")
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
}
"""Settings of a service that no recipe may have, with the code that names each."""


def render_frame(*, name: str, image: str, section: dict[str, Any]) -> bytes:
    """The app-compose bytes for one study; `section` is its `x-sealroom`."""
    try:
        text = yamltext.dump({"services": {"enclave": service(image)}, "x-sealroom": section})
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"x-sealroom: {error.message}") from None
    frame = {field: value for field, (value, _) in _FIXED.items()}
    return canonical({**frame, "name": name, "docker_compose_file": text})


def service(image: str) -> dict[str, Any]:
    """The one service of a recipe. Only the image is a study's choice."""
    return {
        "image": image,
        "restart": "no",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "logging": {"driver": "none"},
        "tmpfs": ["/tmp"],
        "volumes": [f"{GUEST_SOCKET}:{GUEST_SOCKET}"],
    }


def read_frame(compose: bytes) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Judge the frame; returns its name, the service's settings and the `x-sealroom` section."""
    try:
        frame = parse_canonical(compose, MAX_COMPOSE_BYTES)
    except FormatError as error:
        raise RecipeError(_FRAME_CODES[error.code], f"app-compose: {error.message}") from None
    name, text = frame.pop("name", None), frame.pop("docker_compose_file", None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise RecipeError(Code.RECIPE_MALFORMED, "app-compose lacks its name or its docker_compose_file")
    for script in _SCRIPTS:
        if script in frame:
            raise RecipeError(Code.RECIPE_SCRIPT, f"app-compose has {script}: dstack would run it as root")
    for field, (allowed, code) in _FIXED.items():
        # `repr` tells true from 1, which compare equal.
        if field not in frame or repr(frame.pop(field)) != repr(allowed):
            raise RecipeError(code, f"app-compose must have {field}: {canonical_text(allowed)}")
    for field in sorted(frame):
        raise RecipeError(Code.RECIPE_UNKNOWN_FIELD, f"app-compose has the unknown field {field[:80]!r}")
    settings, section = _read_compose(text)
    return name, settings, section


def check_service(settings: dict[str, Any]) -> str:
    """Judge the service of a recipe; returns its image."""
    for field in settings:
        if field in _SERVICE_CODES:
            raise RecipeError(_SERVICE_CODES[field], f"the service has {field}, which no recipe may have")
    image = check_image(settings.get("image"))
    expected = service(image)
    for field, code in (
        ("volumes", Code.RECIPE_HOST_MOUNT),
        ("logging", Code.RECIPE_LOGS),
        ("security_opt", Code.RECIPE_PRIVILEGED),
        ("cap_drop", Code.RECIPE_PRIVILEGED),
        ("read_only", Code.RECIPE_PRIVILEGED),
    ):
        if repr(settings.get(field)) != repr(expected.get(field)):
            raise RecipeError(code, f"the service must have {field}: {canonical_text(expected.get(field))}")
    for field in sorted(settings.keys() - expected.keys()):
        raise RecipeError(Code.RECIPE_UNKNOWN_FIELD, f"the service has the unknown field {field[:80]!r}")
    return image


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
            "in the analysis, write chr(36) instead",
        )
    try:
        compose = yamltext.load(text)
    except FormatError as error:
        raise RecipeError(Code.RECIPE_MALFORMED, f"docker_compose_file: {error.message}") from None
    if not isinstance(compose, dict):
        _malformed("docker_compose_file must be a mapping")
    for field, code in (("volumes", Code.RECIPE_HOST_MOUNT), ("networks", Code.RECIPE_NETWORK)):
        if field in compose:
            raise RecipeError(code, f"docker_compose_file has {field}, which no recipe may have")
    services, section = compose.pop("services", None), compose.pop("x-sealroom", None)
    for field in sorted(compose):
        raise RecipeError(
            Code.RECIPE_UNKNOWN_FIELD, f"docker_compose_file has the unknown field {field[:80]!r}"
        )
    if not isinstance(services, dict) or list(services) != ["enclave"]:
        raise RecipeError(Code.RECIPE_SERVICE, "a recipe has one service, named enclave")
    if not isinstance(services["enclave"], dict) or not isinstance(section, dict):
        _malformed("docker_compose_file lacks the settings of its service, or x-sealroom")
    return services["enclave"], section


def _malformed(message: str) -> NoReturn:
    raise RecipeError(Code.RECIPE_MALFORMED, message)
