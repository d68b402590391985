# SPDX-License-Identifier: Apache-2.0
"""The runner's loop: look again at what waits, claim what is queued, carry each claimed run to its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from sealroom.errors import SealroomError
from sealroom.recipe import parse
from sealroom_agents.chain import ChainReader
from sealroom_agents.errors import ChainError, StoreError
from sealroom_agents.readiness import look, waits
from sealroom_agents.runner.backend import Backend
from sealroom_agents.runner.follow import Follower
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.store import Run, Store

LOOP_S = 0.2
"""Pause between two looks at the queue, seconds."""
RECHECK_S = 1.0
"""Pause between two looks at what waiting runs lack, seconds."""
MAX_RECHECKS = 100
"""Waiting runs looked at in one round."""

log = logging.getLogger(__name__)


class Runner:
    """One runner process."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        backend: Backend,
        follower: Follower,
        publisher: Publisher,
        *,
        name: str,
        parallel: int,
        stop: Event,
        from_block: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._chain = chain
        self._backend = backend
        self._follower = follower
        self._publisher = publisher
        self._name = name
        self._parallel = parallel
        self._stop = stop
        self._from_block = from_block
        self._clock = clock
        self._rechecked = 0.0

    def serve(self) -> None:
        """Work until `stop` is set; then the runs under way are ended, and this returns."""
        self.recover()
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="run") as pool:
            busy: set[Future[None]] = set()
            while not self._stop.is_set():
                finished = {future for future in busy if future.done()}
                for future in finished:
                    future.result()
                busy -= finished
                self.recheck()
                while len(busy) < self._parallel and (run := self._store.claim(self._name)) is not None:
                    log.info("run %s of %s", run.id, run.consortium)
                    busy.add(pool.submit(self.carry, run))
                self._stop.wait(LOOP_S)

    def carry(self, run: Run) -> None:
        """One claimed run, to its end."""
        if self._follower.follow(run):
            self._publisher.publish(run)
        ended = self._store.run(run.id)
        log.info("run %s is %s%s", run.id, ended.state, f": {ended.code}" if ended.code else "")

    def recover(self) -> None:
        """What an earlier process of this name left: envelopes are still anchored, the rest is lost.

        An enclave's keys die with it and a run id opens once, so an interrupted run cannot go on.
        """
        for run in self._store.held(self._name):
            self._backend.orphaned(run.id)
            if run.state == "anchoring":
                self._publisher.publish(run)
            else:
                self._store.end(run.id, "failed", code="runner-lost", message="the runner died while it ran")

    def recheck(self) -> None:
        """Look again at what waiting runs lack; queue those that lack nothing, or nothing that can still
        arrive."""
        if time.monotonic() - self._rechecked < RECHECK_S:
            return
        self._rechecked = time.monotonic()
        for run in self._store.runs(state="waiting", limit=MAX_RECHECKS):
            try:
                self._recheck(run)
            except ChainError as error:
                log.warning("cannot look at what run %s waits for: %s", run.id, error.message)
                return
            except SealroomError as error:
                self._store.end(run.id, "failed", code=error.code, message=error.message)

    def _recheck(self, run: Run) -> None:
        compose = self._store.recipe(run.compose_hash)
        if compose is None:
            raise StoreError("recipe-unknown", "the recipe's bytes are not in the database")
        lacks = look(
            self._chain, run.consortium, parse(compose), now=self._clock(), from_block=self._from_block
        )
        self._store.recheck(run.id, missing=[item.to_json() for item in lacks], waiting=waits(lacks))
