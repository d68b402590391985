# SPDX-License-Identifier: Apache-2.0
"""OS images by the registers that a machine shows when it boots exactly that image.

A guest names its image itself; that the name is true follows from MRTD and RTMR0 to RTMR2 alone (AT-20).
Whoever runs a gate computes the registers offline, with dstack's measurement tool, and keeps them in a file::

    {"images": [{"digest": "0x…32 bytes", "mrTd": "0x…48 bytes", "rtMr": ["0x…48 bytes", "0x…", "0x…"]}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.encoding import Fields, strict_json, to_hex
from sealroom.errors import FormatError
from sealroom_agents.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024
MAX_IMAGES = 64
REGISTER_BYTES = 48


@dataclass(frozen=True)
class OsImage:
    """An OS image, and the registers that a machine shows when it boots exactly that."""

    digest: bytes
    """dstack's `os_image_hash`, 32 bytes."""
    mr_td: bytes
    """MRTD: virtual firmware, 48 bytes."""
    rt_mr: tuple[bytes, bytes, bytes]
    """RTMR0 to RTMR2: virtual hardware, kernel, command line; 48 bytes each."""


def load_os_images(path: Path) -> tuple[OsImage, ...]:
    """Read a file of OS images; raises `ConfigurationError` `os-images`."""
    try:
        with path.open("rb") as stream:
            document = Fields(strict_json(stream.read(MAX_FILE_BYTES + 1), MAX_FILE_BYTES), path.name)
        images = tuple(parse_image(item) for item in document.array("images", limit=MAX_IMAGES))
        document.done()
    except FormatError as error:
        raise ConfigurationError("os-images", f"{path}: {error.message}") from error
    except OSError as error:
        raise ConfigurationError("os-images", f"cannot read {path}: {error.strerror}") from error
    return images


def encode_os_images(images: Iterable[OsImage]) -> bytes:
    """The file that `load_os_images` reads."""
    document = {"images": [image_json(image) for image in images]}
    return json.dumps(document, indent=1).encode() + b"\n"


def image_json(image: OsImage) -> dict[str, Any]:
    """What `parse_image` reads."""
    return {
        "digest": to_hex(image.digest),
        "mrTd": to_hex(image.mr_td),
        "rtMr": [to_hex(register) for register in image.rt_mr],
    }


def parse_image(value: object) -> OsImage:
    """Read one image strictly. Raises `FormatError`."""
    fields = Fields(value, "image")
    registers = fields.array("rtMr", limit=3)
    rt_mr = [Fields({"rtMr": item}, "image").hex("rtMr", REGISTER_BYTES) for item in registers]
    if len(rt_mr) != 3:
        fields.fail("has rtMr without three registers")
    image = OsImage(
        digest=fields.hex("digest", 32),
        mr_td=fields.hex("mrTd", REGISTER_BYTES),
        rt_mr=(rt_mr[0], rt_mr[1], rt_mr[2]),
    )
    fields.done()
    return image
