# SPDX-License-Identifier: Apache-2.0
"""Where sealed files are sent and fetched from, by URL: http(s) by `web`, s3 by `s3`, others by `places`.

http(s) doesn't go through fsspec's own client: that one follows redirects by itself and sends an upload in
pieces of unknown number, which stores with signed URLs refuse.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from sealroom_agents.object_stores import open_store
from sealroom_agents.owner.transfer import places
from sealroom_agents.owner.transfer.incoming import Incoming
from sealroom_agents.owner.transfer.outgoing import Outgoing
from sealroom_agents.owner.transfer.pace import Patience
from sealroom_agents.owner.transfer.urls import WEB, require_supported, shown


@asynccontextmanager
async def reading(url: str, patience: Patience, parallel: int) -> AsyncIterator[Incoming]:
    """Open a URL for reading. Raises `ToolError`: `url-unsupported`, `remote-missing`, `remote-refused`,
    `remote-unreachable`, `redirect-refused`, `package-missing`."""
    scheme, place = require_supported(url), shown(url)
    if scheme in WEB:
        from sealroom_agents.owner.transfer import web

        async with web.reading(url, patience, parallel) as incoming:
            yield incoming
    elif scheme == "s3":
        from sealroom_agents.owner.transfer import s3

        async with s3.reading(url, place, patience, parallel) as incoming:
            yield incoming
    elif scheme == "file":
        with places.local_file(Path(open_store(url)[1]), place) as incoming:
            yield incoming
    else:
        store, path = open_store(url)
        with places.store_errors(place):
            size = int(store.info(path)["size"])
        yield places.PlacedFile(place, size, lambda start, stop: store.cat_file(path, start=start, end=stop))


async def send(
    url: str,
    outgoing: Outgoing,
    sealed: Path,
    *,
    overwrite: bool,
    parallel: int,
    patience: Patience,
    progress: Callable[[int], None],
) -> int:
    """Send a sealed file, which lies at `sealed`; it appears whole or not at all. Returns how many bytes the
    store had of a run before. Raises as `reading`, and `remote-exists`, `already-sending`."""
    scheme, place = require_supported(url), shown(url)
    if scheme == "s3":
        from sealroom_agents.owner.transfer import s3, s3_parts
        from sealroom_agents.owner.transfer.notes import Notes

        with Notes(sealed, url) as notes:
            async with s3.bucket_at(url, place, patience, parallel) as bucket:
                return await s3_parts.send(
                    bucket, outgoing, notes, overwrite=overwrite, parallel=parallel, progress=progress
                )

    async def chunks() -> AsyncIterator[bytes]:
        for piece in outgoing.pieces():
            yield bytes(piece)
            progress(len(piece))

    if scheme in WEB:
        from sealroom_agents.owner.transfer import web

        await web.put(url, chunks, outgoing.size, patience)
    elif scheme == "file":
        await places.write_file(Path(open_store(url)[1]), place, chunks, overwrite=overwrite)
    else:
        store, path = open_store(url)
        await places.write_memory(store, path, place, chunks, overwrite=overwrite)
    return 0
