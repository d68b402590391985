# SPDX-License-Identifier: Apache-2.0
"""OS images by the registers that a machine shows when it boots exactly that image.

A guest names its image itself; that the name is true follows from MRTD and RTMR0 to RTMR2 alone (AT-20). The
operator of a gate computes the registers offline, with dstack's measurement tool, and keeps them in a file::

    {"images": [{"digest": "0x…32 bytes", "mrTd": "0x…48 bytes", "rtMr": ["0x…48 bytes", "0x…", "0x…"]}]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from sealroom.codes import Code
from sealroom.encoding import Fields, strict_json
from sealroom.errors import FormatError
from sealroom.model import Record
from sealroom.model.base import AtMost
from sealroom.model.kinds import B32, Hex
from sealroom_agents.errors import ConfigurationError

MAX_FILE_BYTES = 64 * 1024
MAX_IMAGES = 64
Register = Annotated[bytes, Hex(48)]
"""A measurement register, 48 bytes."""


@dataclass(frozen=True, kw_only=True)
class OsImage(Record, what="image"):
    """An OS image, and the registers that a machine shows when it boots exactly that."""

    digest: B32
    """dstack's `os_image_hash`."""
    mr_td: Register
    """MRTD: virtual firmware."""
    rt_mr: Annotated[tuple[Register, ...], AtMost(3)]
    """RTMR0 to RTMR2: virtual hardware, kernel, command line."""

    def fault(self) -> str | None:
        return None if len(self.rt_mr) == 3 else "has rtMr without three registers"


def load_os_images(path: Path) -> tuple[OsImage, ...]:
    """Read a file of OS images; raises `ConfigurationError` `os-images`."""
    try:
        with path.open("rb") as stream:
            document = Fields(strict_json(stream.read(MAX_FILE_BYTES + 1), MAX_FILE_BYTES), path.name)
        images = tuple(OsImage.from_json(item) for item in document.array("images", limit=MAX_IMAGES))
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
