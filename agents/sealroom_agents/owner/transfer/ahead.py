# SPDX-License-Identifier: Apache-2.0
"""What sending a sealed file would do: asked of the store before anybody is asked, and before a byte leaves.

Nothing is written, made or held, neither there nor here. Sending asks all of it again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealroom.sealed import SealedInfo
from sealroom_agents.object_stores import open_store
from sealroom_agents.owner.disk_space import folder_there
from sealroom_agents.owner.transfer import places
from sealroom_agents.owner.transfer.outgoing import Outgoing
from sealroom_agents.owner.transfer.pace import Limits, Patience
from sealroom_agents.owner.transfer.places import There
from sealroom_agents.owner.transfer.urls import WEB, require_supported, shown


@dataclass(frozen=True)
class Ahead:
    """A sealed file, and what is where it would be sent."""

    info: SealedInfo
    """The sealed file."""
    there: There
    """What the store has."""
    digest: bytes | None
    """SHA-256 of all the file's bytes, where all of them were read."""


def look(
    path: Path,
    url: str,
    *,
    overwrite: bool,
    whole: bool,
    progress: Callable[[int, int], None] | None = None,
    limits: Limits | None = None,
) -> Ahead:
    """Look at both ends. whole: also read all of the file, and compare each part with the index.

    Raises as `sending.upload` does before it sends, and while it reads.
    """
    require_supported(url)
    with Outgoing(path) as outgoing:
        there = asyncio.run(_there(url, outgoing, path, overwrite, Patience(limits or Limits())))
        done = 0
        for piece in outgoing.pieces() if whole else ():
            done += len(piece)
            if progress is not None:
                progress(done, outgoing.size)
        return Ahead(outgoing.info, there, outgoing.digest if whole else None)


async def _there(url: str, outgoing: Outgoing, sealed: Path, overwrite: bool, patience: Patience) -> There:
    scheme, place = require_supported(url), shown(url)
    if scheme == "s3":
        from sealroom_agents.owner.transfer import notes, s3, s3_parts

        noted = notes.look(sealed, url)
        async with s3.bucket_at(url, place, patience, 1) as bucket:
            return await s3_parts.look(bucket, outgoing, noted, overwrite=overwrite)
    if scheme in WEB:
        return There(known=False)
    store, name = open_store(url)
    size = _size_in_folder(Path(name), place) if scheme == "file" else _size_in_memory(store, name)
    if size is not None and not overwrite:
        raise places.exists(place)
    return There(known=True, size=size)


def _size_in_folder(path: Path, place: str) -> int | None:
    """Bytes of what lies there. Raises `remote-refused` where we could not put a file."""
    with places.store_errors(place):
        folder = folder_there(path.parent)
        if not folder.is_dir():
            raise NotADirectoryError(20, "not a directory")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, "not ours to write in")
        if path.is_dir():
            raise IsADirectoryError(21, "is a directory")
    return os.lstat(path).st_size if os.path.lexists(path) else None


def _size_in_memory(store: Any, name: str) -> int | None:
    return int(store.info(name)["size"]) if store.exists(name) else None
