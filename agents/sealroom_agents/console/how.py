# SPDX-License-Identifier: Apache-2.0
"""What the page `/how` walks through: the recording of one run, the operator's own or the shipped one.

A recording is a file of the operator's. It is read strictly all the same, and shown as its writer's word.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Response

from sealroom.codes import Code
from sealroom.encoding import canonical, from_base64
from sealroom.errors import FormatError
from sealroom_agents.errors import ConfigurationError, StoreError
from sealroom_agents.store import Store
from sealroom_agents.walk import document
from sealroom_agents.walk.document import Document

EXAMPLE = Path(document.__file__).with_name("example.json")
"""Recorded by the command that stands in it."""
File = Literal["recording.json", "envelope.json", "pin.json", "root.der"]
"""What a reader takes along to check it."""


@dataclass(frozen=True)
class Recording:
    """What is shown."""

    document: Document
    shipped: bool
    """Whether it came with the package, instead of from this console's operator."""

    def file(self, name: File) -> tuple[bytes, str]:
        """A file of it, with its media type."""
        found = self.document
        match name:
            case "recording.json":
                return found.encode(), "application/json"
            case "envelope.json":
                return canonical(found.envelope), "application/json"
            case "pin.json":
                return canonical(found.pin), "application/json"
            case "root.der":
                return from_base64(found.root), "application/pkix-cert"


class Recordings:
    """Reads the operator's file, as it is now, else the example. Thread safe."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._kept: dict[Path, tuple[tuple[int, int], Recording]] = {}

    def current(self) -> Recording:
        """Raises `ConfigurationError` for a file that is no recording."""
        if self._file is not None and self._file.exists():
            return self._read(self._file, shipped=False)
        return self._read(EXAMPLE, shipped=True)

    def values(self, store: Store) -> dict[str, Any]:
        """What the template draws."""
        shown = self.current()
        walk = shown.document
        try:
            here = store.run(walk.run).id
        except StoreError:
            here = ""  # it ran elsewhere, or nobody knows now
        return {"recording": shown, "walk": walk, "proof": walk.proof, "here": here}

    def _read(self, file: Path, *, shipped: bool) -> Recording:
        with self._lock:
            try:
                seen = file.stat()
                stamp = (seen.st_mtime_ns, seen.st_size)
                kept = self._kept.get(file)
                if kept is None or kept[0] != stamp:
                    with file.open("rb") as stream:
                        data = stream.read(document.MAX_BYTES + 1)
                    kept = stamp, Recording(document.read(data), shipped)
                    self._kept[file] = kept
            except (OSError, FormatError) as error:
                raise ConfigurationError(
                    Code.CONFIGURATION,
                    f"what /how walks through cannot be read: {error}",
                    "record it anew: sealroom demo --made-up --record FILE",
                ) from error
            return kept[1]

    def router(self) -> APIRouter:
        """The files of the recording; none is part of the REST interface."""
        web = APIRouter(include_in_schema=False)

        @web.get("/how/{name}")
        def file(name: File) -> Response:
            data, media = self.current().file(name)
            return Response(
                data, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'}
            )

        return web
