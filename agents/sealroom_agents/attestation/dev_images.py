# SPDX-License-Identifier: Apache-2.0
"""dstack's OS images for developers, by name: whoever holds a key to one can log in, so none may hold data.

They differ from the images for production in the kernel's command line and initial disk, RTMR2, alone. Known
are those that were seen in quotes of real machines; RTMR1 and RTMR2 are told by their first bytes, which
nobody meets by chance. Any other is told by its name, which its host says of it: who lies about it still has
to show the registers of an image that the owners know.
"""

from __future__ import annotations

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError
from sealroom_agents.attestation.lite import MAX_VM_CONFIG_BYTES
from sealroom_agents.errors import AttestationError

_SEEN = {
    ("c0445b704e4c4813", "f1d5f8b1fd4a198f"): "dstack-nvidia-dev-0.5.5",
    ("6e1afb74", "54a76ae2"): "dstack-nvidia-dev-0.5.4.1",
    ("c0445b70", "056e8b64"): "dstack-nvidia-dev-0.5.6",
    ("920eb831", "dad4e81e"): "dstack-nvidia-dev-0.5.7",
    ("b598fde949142734", "976bc2e546f2e12c"): "dstack-nvidia-dev-0.5.8",
}
"""Beginnings of RTMR1 and RTMR2, and the image's name."""


def dev_image(rt_mr: tuple[bytes, ...]) -> str | None:
    """Name of the image for developers that a machine with these RTMRs booted, if it is a known one."""
    kernel, system = rt_mr[1].hex(), rt_mr[2].hex()
    for (first, second), name in _SEEN.items():
        if kernel.startswith(first) and system.startswith(second):
            return name
    return None


def is_dev_name(name: str) -> bool:
    """Whether an image's name says that it is for developers: `dstack-nvidia-dev-0.5.8`."""
    return "dev" in name.lower().split("-")


def require_production_image(rt_mr: tuple[bytes, ...]) -> None:
    """Raises `AttestationError` `os-image-dev`, which names the image."""
    name = dev_image(rt_mr)
    if name is not None:
        raise AttestationError(
            Code.OS_IMAGE_DEV,
            f"the machine booted {name}, an image for developers: whoever runs it can log in",
            "boot the image without dev in its name, and allow that one",
        )


def said_image(vm_config: str) -> str:
    """Name of the image that a host says it booted, in dstack's `vm_config`; empty where it says none.

    Raises `AttestationError` `malformed`.
    """
    try:
        found = strict_json(vm_config.encode("utf-8", "surrogatepass"), MAX_VM_CONFIG_BYTES)
    except FormatError as error:
        raise AttestationError(Code.MALFORMED, "the host's vm_config is not JSON") from error
    name = found.get("image", "")
    return name if isinstance(name, str) else ""
