# SPDX-License-Identifier: Apache-2.0
"""The runner's loop: check waiting runs again, claim queued ones, supervise each claimed run to its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from threading import Event, Thread

from prometheus_client import Counter, Gauge

from sealroom.codes import Code, Stage
from sealroom.errors import SealroomError
from sealroom.recipe import parse
from sealroom_agents.chain import ChainReader
from sealroom_agents.config.model import DRAIN_S
from sealroom_agents.errors import ChainError, RunnerError, StoreError
from sealroom_agents.finality import Gate
from sealroom_agents.readiness import check_readiness, should_wait
from sealroom_agents.runner.backend import Backend
from sealroom_agents.runner.completing import Completer
from sealroom_agents.runner.pauses import Pauses
from sealroom_agents.runner.preflight import NoPreflight, Preflight
from sealroom_agents.runner.publish import Publisher
from sealroom_agents.runner.supervisor import Stopped, Supervisor
from sealroom_agents.store import CLAIM_S, ENDS, Holder, Run, Store
from sealroom_agents.telemetry.logs import about
from sealroom_agents.telemetry.metrics import at_zero, code_label, codes_of

LOOP_S = 0.2
"""Pause between two looks at the queue, seconds."""
RECHECK_S = 1.0
"""Pause between two looks at what waiting runs lack, seconds."""
BEATS = 6
"""How often claims are renewed within the time that they hold."""
PAUSE_S = 1.0
"""Pause after a look for work that failed, seconds."""
HELD_S = 10.0
"""For how long a runner that let a run wait leaves it to others, seconds."""
MAX_RECHECKS = 100
"""Waiting runs that one look takes; the next look goes on after them."""
LOOK_S = 5.0
"""How long one look may take, seconds, before queued runs have their turn."""

RUNS_ENDED = Counter("sealroom_runner_runs_ended", "Runs that this runner has ended.", ["code"])
at_zero(RUNS_ENDED, [*sorted(ENDS), *codes_of(Stage.RUNNER, Stage.CHAIN)])
RUNS_UNDER_WAY = Gauge("sealroom_runner_runs_under_way", "Runs that this runner has claimed.")

log = logging.getLogger(__name__)


class Runner:
    """One runner process."""

    def __init__(
        self,
        store: Store,
        chain: ChainReader,
        backend: Backend,
        supervisor: Supervisor,
        publisher: Publisher,
        gate: Gate,
        *,
        holder: Holder,
        parallel: int,
        stop: Event,
        drain: Event | None = None,
        drain_s: float = DRAIN_S,
        claim_s: float = CLAIM_S,
        preflight: Preflight | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`drain` asks the runner to take no more runs and to end with those it has, within `drain_s`
        seconds; `stop` to end now. Supervisor and publisher have the same `stop`."""
        self._store = store
        self._chain = chain
        self._backend = backend
        self._supervisor = supervisor
        self._publisher = publisher
        self._gate = gate
        self._holder = holder
        self._parallel = parallel
        self._stop = stop
        self._drain = drain or Event()
        self._drain_s = drain_s
        self._claim_s = claim_s
        self._preflight = preflight or NoPreflight()
        self._clock = clock
        self._left = Pauses()
        """Runs that this runner let wait, or had to let go: for a while it leaves such a one to others."""
        self._rechecked = 0.0
        self._before: tuple[float, str] | None = None
        """Time and id of the waiting run at which the last look ended; `None` where it came to the end."""
        self._unread = Pauses()
        """Waiting runs of which something cannot be read."""
        self._dropped: SimpleQueue[str] = SimpleQueue()
        """Runs without a supervisor, whose claims are to be released."""

    def serve(self) -> None:
        """Work until told to drain or to stop, and until the runs under way have ended."""
        self._clean_up()
        ended = Event()
        beat = Thread(target=self._renew_claims, args=(ended,), name="claims", daemon=True)
        beat.start()
        completer = Completer(self._store, self._chain, self._gate)
        later = Thread(target=completer.serve, args=(ended,), name="proofs", daemon=True)
        later.start()
        try:
            with ThreadPoolExecutor(self._parallel, thread_name_prefix="run") as pool:
                self._work(pool)
        finally:
            ended.set()
            beat.join()
            later.join()
            with suppress(StoreError):
                self._store.release(self._holder)

    def process(self, run: Run) -> None:
        """One claimed run, to its end, or as far as it goes. Never raises: the other runs go on."""
        with about(run=run.id, consortium=run.consortium):
            self._process(run)

    def _process(self, run: Run) -> None:
        try:
            go_on = self._supervisor.resume(run) if run.taken_up else self._supervisor.supervise(run)
            if go_on:
                self._publisher.publish(run)
                self._backend.forget(run.id)
            ended = self._store.run(run.id)
            if ended.state == "waiting":
                self._left.leave(run.id, HELD_S)
            else:
                self._left.over(run.id)
                RUNS_ENDED.labels(code_label(ended.code) if ended.code else ended.state).inc()
            more = f": {ended.code}" if ended.code not in (None, ended.state) else ""
            log.info("run %s is %s%s", run.id, ended.state, more)
        except Stopped:
            log.info("run %s is left for the next runner", run.id)
        except StoreError as error:
            log.warning("run %s is let go: %s", run.id, error.message)
            self._let_go(run)
        except SealroomError as error:
            log.warning("run %s: %s", run.id, error.message)
            self._fail(run, error.code, error.message)
        except Exception as error:  # a fault of ours ends one run, with a cause, and not all of them
            log.exception("run %s", run.id)
            message = f"the runner failed on {type(error).__name__}; its log says more"
            self._fail(run, Code.RUNNER_ERROR, message)

    def _fail(self, run: Run, code: Code, message: str) -> None:
        RUNS_ENDED.labels(code_label(code)).inc()
        try:
            self._store.end(run, "failed", code=code, message=message)
        except StoreError:
            self._let_go(run)

    def _let_go(self, run: Run) -> None:
        """What is left of it may not come back, and others wait behind it."""
        self._left.failed(run.id)
        self._dropped.put(run.id)

    def _work(self, pool: ThreadPoolExecutor) -> None:
        busy: set[Future[None]] = set()
        until: float | None = None
        while not self._stop.is_set():
            busy = {future for future in busy if not future.done()}
            RUNS_UNDER_WAY.set(len(busy))
            if self._drain.is_set():
                if until is None:
                    log.info("no more runs are taken; %d under way", len(busy))
                    until = time.monotonic() + self._drain_s
                if not busy:
                    return
                if time.monotonic() > until:
                    log.warning("%d run(s) took too long to end, and are stopped", len(busy))
                    self._stop.set()
            else:
                try:
                    self._round(pool, busy)
                except Exception as error:
                    log.warning("no look for work: %s: %s", type(error).__name__, error)
                    self._stop.wait(PAUSE_S)
            self._stop.wait(LOOP_S)

    def _round(self, pool: ThreadPoolExecutor, busy: set[Future[None]]) -> None:
        while not self._dropped.empty():
            run_id = self._dropped.get()
            try:
                self._store.release(self._holder, run_id)
            except StoreError:
                self._dropped.put(run_id)
                raise
            log.info("run %s can be taken up again", run_id)
        self.recheck()
        while len(busy) < self._parallel and not self._drain.is_set():
            run = self._store.claim(self._holder, claim_s=self._claim_s, but_not=self._left.left())
            if run is None:
                return
            log.info("run %s of %s%s", run.id, run.consortium, ", taken up" if run.taken_up else "")
            busy.add(pool.submit(self.process, run))

    def _renew_claims(self, ended: Event) -> None:
        while not ended.wait(self._claim_s / BEATS):
            try:
                self._store.renew(self._holder, claim_s=self._claim_s)
            except Exception as error:
                log.warning("the claims are not renewed: %s", error)

    def _clean_up(self) -> None:
        """What is left on the disk of runs that ended otherwise; an envelope that was not published stays."""
        for run_id in self._backend.known():
            try:
                run = self._store.run(run_id)
            except StoreError:
                continue  # of another database
            if run.state == "failed" and self._backend.leftovers(run_id).envelope is not None:
                log.warning(
                    "run %s failed (%s), but its envelope is on the disk, and stays", run_id, run.code
                )
            elif run.state in ENDS:
                self._backend.forget(run_id)

    def recheck(self) -> None:
        """Look again at what waiting runs lack; queue those that lack nothing, or nothing that can still
        arrive. Each look goes on where the one before ended: anyone may let many runs wait."""
        if time.monotonic() - self._rechecked < RECHECK_S:
            return
        self._rechecked = time.monotonic()
        until = time.monotonic() + LOOK_S
        runs = self._store.page_of_runs(state="waiting", before=self._before, limit=MAX_RECHECKS)
        left = set(self._unread.left())
        for run in runs:
            self._before = run.created, run.id
            if run.id not in left and not self._look_at(run):
                return
            if time.monotonic() > until:
                return
        if len(runs) < MAX_RECHECKS:
            self._before = None

    def _look_at(self, run: Run) -> bool:
        """One waiting run; false where nothing can be read of any. One that alone cannot be read is left
        alone for a while."""
        try:
            self._recheck(run)
        except (ChainError, StoreError) as error:
            log.warning("cannot look at what run %s waits for: %s", run.id, error.message)
            if error.code is Code.DATABASE or (isinstance(error, ChainError) and not self._chain_answers()):
                return False
            self._unread.failed(run.id)
        except SealroomError as error:
            self._store.end(run, "failed", code=error.code, message=error.message)
        else:
            self._unread.over(run.id)
        return True

    def _chain_answers(self) -> bool:
        try:
            self._chain.finalized_head()
        except ChainError:
            return False
        return True

    def _recheck(self, run: Run) -> None:
        compose = self._store.recipe(run.compose_hash)
        if compose is None:
            raise RunnerError(Code.RECIPE_UNKNOWN, "the recipe's bytes are not in the database")
        recipe = parse(compose)
        lacks = check_readiness(self._chain, run.consortium, recipe, now=self._clock())
        if not lacks:
            # Who let it wait, or another whose datasets lie there, sees whether that was seen to.
            lacks = self._preflight.lacks(run, recipe)
        self._store.recheck(run.id, missing=[item.to_json() for item in lacks], waiting=should_wait(lacks))
