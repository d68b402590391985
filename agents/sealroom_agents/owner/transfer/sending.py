# SPDX-License-Identifier: Apache-2.0
"""Sending a sealed file: only sealed files, read once, compared on the way out and again at the store.

A server is not trusted. What it says that it keeps is fetched again and compared, part by part.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealroom.codes import Code
from sealroom.errors import SealError
from sealroom.sealed import SealedInfo
from sealroom_agents.errors import ToolError
from sealroom_agents.owner.transfer import stores
from sealroom_agents.owner.transfer.gathering import gather, read_bytes
from sealroom_agents.owner.transfer.incoming import Incoming
from sealroom_agents.owner.transfer.outgoing import Outgoing
from sealroom_agents.owner.transfer.pace import Limits, Patience
from sealroom_agents.owner.transfer.urls import PARALLEL, require_supported, shown

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


@dataclass(frozen=True)
class Sent:
    """What was sent."""

    info: SealedInfo
    """The sealed file."""
    digest: bytes
    """SHA-256 of all its bytes, 32 bytes."""
    resumed: int
    """Bytes that the store had of a run that was stopped."""
    read_back: bool
    """Whether it was fetched again and compared."""


def upload(
    path: Path,
    url: str,
    *,
    overwrite: bool = False,
    read_back: bool = True,
    parallel: int = PARALLEL,
    arrived: Callable[[], None] = lambda: None,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Sent:
    """Send a sealed file. Raises `SealError` when it is none or broken, `ToolError`: `source-changed`,
    `remote-differs`, and what `stores` raises.

    parallel: requests at a time, where the store takes parts. arrived: called once all of it is there, before
    it is compared. progress: of sending and comparing together.
    """
    require_supported(url)
    with Outgoing(path) as outgoing:
        done, total = 0, outgoing.size * (2 if read_back else 1)

        def tell(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress(done, total)

        async def work() -> int:
            patience = Patience(limits or Limits())
            resumed = await stores.send(
                url,
                outgoing,
                path,
                overwrite=overwrite,
                parallel=parallel,
                patience=patience,
                progress=tell,
            )
            arrived()
            if read_back:
                async with stores.reading(url, patience, parallel) as incoming:
                    await _compare(incoming, outgoing, shown(url), parallel, patience, tell)
            return resumed

        resumed = asyncio.run(work())
        return Sent(info=outgoing.info, digest=outgoing.digest, resumed=resumed, read_back=read_back)


async def _compare(
    incoming: Incoming,
    outgoing: Outgoing,
    place: str,
    parallel: int,
    patience: Patience,
    tell: Callable[[int], None],
) -> None:
    """Raises `remote-differs`."""
    layout = outgoing.layout
    if incoming.size not in (None, layout.size):
        raise _differs(place)
    if not incoming.ranged:
        await _compare_stream(incoming, outgoing, place, tell)
        return
    head = await read_bytes(incoming, 0, len(layout.head), patience)
    tail = await read_bytes(incoming, layout.size - len(layout.tail), layout.size, patience)
    if (head, tail) != (layout.head, layout.tail):
        raise _differs(place)
    tell(len(head) + len(tail))
    try:
        await gather(
            incoming,
            layout,
            range(layout.parts),
            parallel=parallel,
            patience=patience,
            take=lambda _, framed: tell(len(framed)),
        )
    except SealError:
        raise _differs(place) from None


async def _compare_stream(
    incoming: Incoming, outgoing: Outgoing, place: str, tell: Callable[[int], None]
) -> None:
    found, done = hashlib.sha256(), 0

    def take(chunk: bytes) -> None:
        nonlocal done
        found.update(chunk)
        done += len(chunk)
        if done > outgoing.size:
            raise _differs(place)
        tell(len(chunk))

    await incoming.stream(take)
    if found.digest() != outgoing.digest:
        raise _differs(place)


def _differs(place: str) -> ToolError:
    return ToolError(
        Code.REMOTE_DIFFERS,
        f"{place} gives back other bytes than were sent",
        "do not count on what lies there; send it again",
    )
