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

_FIXED: dict[str, tuple[Any, str]] = {
    "manifest_version": (2, "recipe-manifest-version"),
    "runner": ("docker-compose", "recipe-runner"),
    "features": (["kms"], "recipe-key-provider"),
    "kms_enabled": (True, "recipe-key-provider"),
    "key_provider": ("kms", "recipe-key-provider"),
    "local_key_provider_enabled": (False, "recipe-key-provider"),
    "gateway_enabled": (False, "recipe-gateway"),
    "public_logs": (False, "recipe-public-logs"),
    "public_sysinfo": (False, "recipe-public-sysinfo"),
    "public_tcbinfo": (False, "recipe-public-tcbinfo"),
    "no_instance_id": (False, "recipe-instance-id"),
    "secure_time": (True, "recipe-secure-time"),
    "allowed_envs": ([], "recipe-allowed-envs"),
}
"""Settings with one allowed value, and the code that names a recipe with another."""

_SCRIPTS = ("init_script", "pre_launch_script", "bash_script")
"""Scripts that dstack runs as root before any container (AT-23)."""

_SERVICE_CODES = {
    "build": "recipe-mutable-image",
    "privileged": "recipe-privileged",
    "cap_add": "recipe-privileged",
    "devices": "recipe-privileged",
    "device_cgroup_rules": "recipe-privileged",
    "pid": "recipe-privileged",
    "ipc": "recipe-privileged",
    "userns_mode": "recipe-privileged",
    "cgroup": "recipe-privileged",
    "sysctls": "recipe-privileged",
    "user": "recipe-privileged",
    "network_mode": "recipe-network",
    "networks": "recipe-network",
    "extra_hosts": "recipe-network",
    "dns": "recipe-network",
    "ports": "recipe-ports",
    "expose": "recipe-ports",
    "environment": "recipe-environment",
    "env_file": "recipe-environment",
    "secrets": "recipe-host-mount",
    "configs": "recipe-host-mount",
    "volumes_from": "recipe-host-mount",
    "entrypoint": "recipe-command",
    "command": "recipe-command",
    "healthcheck": "recipe-command",
    "deploy": "recipe-gpu",
    "extends": "recipe-service",
}
"""Settings of a service that no recipe may have, with the code that names each."""


def render_frame(*, name: str, image: str, section: dict[str, Any]) -> bytes:
    """The app-compose bytes for one study; `section` is its `x-sealroom`."""
    try:
        text = yamltext.dump({"services": {"enclave": service(image)}, "x-sealroom": section})
    except FormatError as error:
        raise RecipeError("recipe-malformed", f"x-sealroom: {error.message}") from None
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
        raise RecipeError(f"recipe-{error.code}", f"app-compose: {error.message}") from None
    name, text = frame.pop("name", None), frame.pop("docker_compose_file", None)
    if not isinstance(name, str) or not isinstance(text, str):
        raise RecipeError("recipe-malformed", "app-compose lacks its name or its docker_compose_file")
    for script in _SCRIPTS:
        if script in frame:
            raise RecipeError("recipe-script", f"app-compose has {script}: dstack would run it as root")
    for field, (allowed, code) in _FIXED.items():
        # `repr` tells true from 1, which compare equal.
        if field not in frame or repr(frame.pop(field)) != repr(allowed):
            raise RecipeError(code, f"app-compose must have {field}: {canonical_text(allowed)}")
    for field in sorted(frame):
        raise RecipeError("recipe-unknown-field", f"app-compose has the unknown field {field[:80]!r}")
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
        ("volumes", "recipe-host-mount"),
        ("logging", "recipe-logs"),
        ("security_opt", "recipe-privileged"),
        ("cap_drop", "recipe-privileged"),
        ("read_only", "recipe-privileged"),
    ):
        if repr(settings.get(field)) != repr(expected.get(field)):
            raise RecipeError(code, f"the service must have {field}: {canonical_text(expected.get(field))}")
    for field in sorted(settings.keys() - expected.keys()):
        raise RecipeError("recipe-unknown-field", f"the service has the unknown field {field[:80]!r}")
    return image


def check_image(image: Any) -> str:
    """Accept an image by digest only: a tag is whatever its registry says today (AT-24)."""
    if not isinstance(image, str) or len(image) > 255 or _DIGEST_IMAGE.fullmatch(image) is None:
        raise RecipeError(
            "recipe-mutable-image",
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
            "recipe-interpolation",
            "docker_compose_file has a $, which docker would take for a variable",
            "in the analysis, write chr(36) instead",
        )
    try:
        compose = yamltext.load(text)
    except FormatError as error:
        raise RecipeError("recipe-malformed", f"docker_compose_file: {error.message}") from None
    if not isinstance(compose, dict):
        _malformed("docker_compose_file must be a mapping")
    for field, code in (("volumes", "recipe-host-mount"), ("networks", "recipe-network")):
        if field in compose:
            raise RecipeError(code, f"docker_compose_file has {field}, which no recipe may have")
    services, section = compose.pop("services", None), compose.pop("x-sealroom", None)
    for field in sorted(compose):
        raise RecipeError("recipe-unknown-field", f"docker_compose_file has the unknown field {field[:80]!r}")
    if not isinstance(services, dict) or list(services) != ["enclave"]:
        raise RecipeError("recipe-service", "a recipe has one service, named enclave")
    if not isinstance(services["enclave"], dict) or not isinstance(section, dict):
        _malformed("docker_compose_file lacks the settings of its service, or x-sealroom")
    return services["enclave"], section


def _malformed(message: str) -> NoReturn:
    raise RecipeError("recipe-malformed", message)
