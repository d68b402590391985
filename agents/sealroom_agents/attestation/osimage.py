# SPDX-License-Identifier: Apache-2.0
"""A file of OS images, for an auditor who pins their registers.

The registers come from dstack's measurement tool, which computes them offline::

    {"images": [{"digest": "0x…32 bytes", "mrTd": "0x…48 bytes", "rtMr": ["0x…48 bytes", "0x…", "0x…"]}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from sealroom.codes import Code
from sealroom.encoding import Fields, strict_json
from sealroom.errors import FormatError
from sealroom.platform_policy import MAX_OS_IMAGES, OsImage
from sealroom_agents.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024


def load_os_images(path: Path) -> tuple[OsImage, ...]:
    """Read a file of OS images; raises `ConfigurationError` `os-images`."""
    try:
        with path.open("rb") as stream:
            document = Fields(strict_json(stream.read(MAX_FILE_BYTES + 1), MAX_FILE_BYTES), path.name)
        images = tuple(OsImage.from_json(item) for item in document.array("images", limit=MAX_OS_IMAGES))
        document.done()
    except FormatError as error:
        raise ConfigurationError(Code.OS_IMAGES, f"{path}: {error.message}") from error
    except OSError as error:
        raise ConfigurationError(Code.OS_IMAGES, f"cannot read {path}: {error.strerror}") from error
    return images


def encode_os_images(images: Iterable[OsImage]) -> bytes:
    """The file that `load_os_images` reads."""
    document = {"images": [image.to_json() for image in images]}
    return json.dumps(document, indent=1).encode() + b"\n"
