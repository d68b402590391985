# SPDX-License-Identifier: Apache-2.0
"""The console as tests ask it: before it answers, its index has caught up with the chain."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from sealroom_agents.chain import ChainReader
from sealroom_agents.console.app import LOCAL_HOSTS, NO_PINS, create_app
from sealroom_agents.console.pins import Pins
from sealroom_agents.errors import ChainError
from sealroom_agents.index import Follower, Indexed, Line, Portrait, Progress
from sealroom_agents.store import Store


class Lying(Indexed):
    """An index that tells of a consortium what a test makes of it."""

    def __init__(
        self, store: Store, factory: str, lie: Callable[[Portrait], Portrait], **options: Any
    ) -> None:
        super().__init__(store, factory, **options)
        self._lie = lie

    def progress(self) -> Progress | None:
        """With the lie's chain, where it has one."""
        found, chain_id = super().progress(), getattr(self._lie, "id", None)
        return found if found is None or chain_id is None else replace(found, chain_id=chain_id)

    def of(self, line: Line, progress: Progress) -> Portrait:
        return self._lie(super().of(line, progress))


def console(
    store: Store,
    chain: ChainReader,
    factory: str,
    *,
    clock: Callable[[], float] = time.time,
    lie: Callable[[Portrait], Portrait] = lambda told: told,
    pins: Pins = NO_PINS,
) -> ASGIApp:
    """The application, which follows the chain before each answer, as far as the chain can be read."""
    app = create_app(
        store, chain, Lying(store, factory, lie, clock=clock),
        allowed_hosts=(*LOCAL_HOSTS, "testserver"), clock=clock, pins=pins,
    )  # fmt: skip
    follower, one_at_a_time = Follower(chain, store, factory=factory), threading.Lock()

    def catch_up() -> None:
        with one_at_a_time, suppress(ChainError):
            follower.catch_up()
        follower.release()

    async def followed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/static/"):
            await run_in_threadpool(catch_up)
        await app(scope, receive, send)

    return followed
