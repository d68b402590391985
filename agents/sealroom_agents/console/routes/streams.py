# SPDX-License-Identifier: Apache-2.0
"""A run's events as a stream that ends with the run, and can be taken up where it broke."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from sealroom_agents.console.bodies import run_event
from sealroom_agents.store import ENDS, Store

EVENT_POLL_S = 0.3
"""Pause between two looks for new events of a run, seconds."""
PING_S = 15
"""Pause between two signs of life in an event stream, seconds."""


class Stream(EventSourceResponse):
    """A run's events after the one with id `after`; `give` is called when it is over, however it ends."""

    def __init__(self, store: Store, run_id: str, after: int, give: Callable[[], None]) -> None:
        super().__init__(_events(store, run_id, after), ping=PING_S, sep="\n")
        self._give = give

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._give()


def last_event(header: str | None) -> int:
    """The id in `Last-Event-ID`: 0 where there is none."""
    text = header or ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else 0


async def _events(store: Store, run_id: str, after: int) -> AsyncIterator[ServerSentEvent]:
    told: float | None = None
    while True:
        run = await run_in_threadpool(store.run, run_id)
        ended = run.state in ENDS
        for event in await run_in_threadpool(store.events, run_id, after=after):
            after = event.id
            yield ServerSentEvent(
                run_event(event).model_dump_json(by_alias=True), id=str(event.id), event="phase", sep="\n"
            )
        if run.lease_until is not None and run.lease_until != told and not ended:
            told = run.lease_until
            lease = {"left": round(max(0.0, told - time.time()), 1), "of": run.lease_seconds}
            # Without an id: it is of the moment, and nothing to resume behind.
            yield ServerSentEvent(json.dumps(lease), event="lease", sep="\n")
        if ended:
            yield ServerSentEvent("{}", event="end", sep="\n")
            return
        await asyncio.sleep(EVENT_POLL_S)
