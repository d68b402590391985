# SPDX-License-Identifier: Apache-2.0
"""Supervise one run from its claim to its end: start the enclave, read its messages, stop it on a kill order.

Nothing here decides whether a run may happen: the enclave asks the gate, and the runner records the answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Event
from typing import Protocol, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential,
)

from sealroom.codes import Code
from sealroom.errors import RecipeError
from sealroom.key_release.messages import MAX_LEASE_SECONDS
from sealroom.model import Owner
from sealroom.recipe import parse
from sealroom_agents.errors import ChainError, RunnerError, StoreError
from sealroom_agents.facts import LatestView
from sealroom_agents.readiness import FINAL, Missing
from sealroom_agents.runner.backend import Assignment, Backend, Enclave
from sealroom_agents.runner.ending import (
    SAID,
    Ended,
    Moment,
    by_exit,
    by_order,
    said_code,
    text_of,
    with_failure,
)
from sealroom_agents.runner.preflight import NoPreflight, Preflight
from sealroom_agents.store import Observation, Run, Store

POLL_S = 0.1
"""How long the runner reads from the enclave before it checks for a kill order, seconds."""
WIPE_S = 0.5
"""How long an enclave that must end may take to wipe its keys before it is killed, seconds."""
WORDS_S = 2.0
"""How long the end of a run waits for the words of the revocation that ended it, seconds."""
CHAIN_PATIENCE_S = 60.0
"""How long a claimed run waits for a chain that does not answer, seconds."""
STORE_PATIENCE_S = 600.0
"""How long a run waits for a database or a content store that does not answer, seconds."""
STORE_AWAY = frozenset({Code.DATABASE, Code.CONTENT_STORE})
"""Codes of a store that cannot be read or written now."""
UNSAID = frozenset({Code.RUNNER_STOPPED, Code.TIMEOUT, Code.ENCLAVE_DIED})
"""Codes of an enclave that did not say how it ended: it may have finished all the same."""
LEFT_ALONE = frozenset({Code.CLAIM_LOST, *STORE_AWAY})
"""Codes with which the store tells that a run is not ours to end."""

log = logging.getLogger(__name__)
Returned = TypeVar("Returned")


class Chain(Protocol):
    """What following a run needs of `sealroom_agents.chain.ChainReader`."""

    def chain_id(self) -> int:
        """Chain id."""

    def latest_view(self, consortium: str, *, whole: bool = False) -> LatestView:
        """Newest state; `best` when `whole`."""


class Stopped(Exception):
    """The runner was stopped before it had started an enclave: the run is as good as untouched."""


class Supervisor:
    """Follows runs, one after the other; several may work in parallel on one store."""

    def __init__(
        self,
        store: Store,
        chain: Chain,
        backend: Backend,
        *,
        stop: Event,
        run_timeout_s: float,
        preflight: Preflight | None = None,
    ) -> None:
        self._preflight = preflight or NoPreflight()
        self._store = store
        self._chain = chain
        self._backend = backend
        self._stop = stop
        self._run_timeout_s = run_timeout_s

    def supervise(self, run: Run) -> bool:
        """Carry a claimed run to its end or to `anchoring`; true when its envelope waits for an anchor.

        Raises `StoreError` `claim-lost`, `database` or `content-store`, and `Stopped`: then the run is as it
        is, what its enclave made stays on the disk, and the runner that takes the run up continues there.
        """
        try:
            lacks, compose = self._ready(run)
            if lacks:
                self._until_stored(self._store.hold, run, [item.to_json() for item in lacks])
                return False
            owners, enclave = self._start(run, compose)
        except (StoreError, ChainError, RunnerError, RecipeError) as error:
            if isinstance(error, StoreError) and error.code in LEFT_ALONE:
                raise
            if self._stop.is_set():
                raise Stopped from error
            self._end(run, Ended("failed", error.code, error.message))
            return False
        try:
            done = self._to_its_end(run, enclave, owners)
        except BaseException:
            enclave.kill()
            raise
        # Not before: what is on the disk goes only when the database has it, or it has to go.
        enclave.clean()
        return done

    def resume(self, run: Run) -> bool:
        """The same for a run whose runner is gone, and its enclave with it; what it finished is not lost."""
        left = self._backend.leftovers(run.id)
        if run.state == "anchoring":
            if left.envelope is not None:
                self._until_stored(self._store.mend_draft, run, left.envelope)
            return True  # also when it is to be killed: its receipt may have been on chain before
        order = self._until_stored(self._store.order, run)
        if order is not None:
            order = self._was_killed(run, order, Moment("killed", ""))
            self._end(run, by_order(order, ()))
        elif left.envelope is not None:
            self._emitted(run, left.envelope)
            return True
        elif run.state == "starting" and not left.started:
            return self.supervise(run)
        else:
            why = "the runner died while the run was under way, and its enclave with it"
            ended = Ended("failed", Code.RUNNER_LOST, why)
            self._end(run, with_failure(run, ended, left.failure))
        self._backend.forget(run.id)
        return False

    def _ready(self, run: Run) -> tuple[tuple[Missing, ...], bytes]:
        """What the run lacks of its operator, and its recipe: asked before anything is spent."""
        compose = self._until_stored(self._recipe, run)
        if isinstance(compose, Missing):
            return (compose,), b""
        if compose is None:
            raise RunnerError(Code.RECIPE_UNKNOWN, "the recipe's bytes are not in the database")
        # One that the gate will refuse costs nothing, and must not wait for anybody.
        if any(item["code"] in FINAL for item in run.missing):
            return (), compose
        return self._preflight.lacks(run, parse(compose)), compose

    def _recipe(self, run: Run) -> bytes | Missing | None:
        """Without its store the run could not keep an envelope either, and waits, as for the rest."""
        try:
            return self._store.recipe(run.compose_hash)
        except StoreError as error:
            if error.code != Code.CONTENT_STORE:
                raise
            return Missing(Code.RUNNER_NOT_READY, f"content: {error.message}")

    def _start(self, run: Run, compose: bytes) -> tuple[tuple[Owner, ...], Enclave]:
        latest, chain_id = self._read(run)
        if latest.best is None:
            raise RunnerError(Code.BACKEND, "the chain reader gave no whole view")
        assignment = Assignment(
            run_id=run.id,
            consortium=run.consortium,
            app=latest.best.app,
            chain_id=chain_id,
            compose=compose,
        )
        return latest.best.owners, self._backend.start(assignment)

    def _to_its_end(self, run: Run, enclave: Enclave, owners: tuple[Owner, ...]) -> bool:
        try:
            ended = self._watch(run, enclave, owners)
        except RunnerError as error:
            log.warning("run %s: %s", run.id, error.message)
            ended = Ended("failed", error.code, error.message)
        enclave.kill()
        dead = Moment("killed", "")
        order = self._until_stored(self._store.order, run)
        if order is not None:
            order = self._was_killed(run, order, *ended.moments, dead)
            ended = by_order(order, owners)
        elif ended.state == "done" or ended.code in UNSAID:
            try:
                self._emitted(run, enclave.envelope())
                return True
            except RunnerError as error:
                if ended.state == "done":
                    ended = Ended("failed", error.code, error.message)
        if (
            order is None
            and ended.state != "done"
            and (ended.code == Code.RUN_FAILED or ended.code in UNSAID)
        ):
            ended = with_failure(run, ended, enclave.failure())
        self._end(run, ended)
        return False

    def _emitted(self, run: Run, envelope: bytes) -> None:
        self._until_stored(self._store.emitted, run, envelope.decode("utf-8", errors="replace"))

    def _end(self, run: Run, ended: Ended) -> None:
        self._until_stored(
            self._store.end, run, ended.state, code=ended.code, message=ended.message, failure=ended.failure
        )

    def _was_killed(self, run: Run, order: Observation, *moments: Moment) -> Observation:
        """Write down how it came to its death, which is the last moment; the order, with its words."""
        for one in moments[:-1]:
            self._until_stored(self._store.note, run, one.phase, one.message, code=one.code, at=one.at)
        dead = moments[-1].at
        self._until_stored(self._store.killed, run, at=dead)
        since = "it was taken back" if order.kind == Code.CANCELLED else "the block"
        message = f"enclave and job dead {max(0.0, dead - order.block_time):.1f} s after {since}"
        self._until_stored(self._store.note, run, "killed", message, code=order.kind, at=dead)
        deadline = time.monotonic() + WORDS_S
        while order.kind == Code.REVOKED and not order.reason and time.monotonic() < deadline:
            if self._stop.wait(POLL_S):
                break
            order = self._until_stored(self._store.order, run) or order
        return order

    def _until_stored(self, act: Callable[..., Returned], *arguments: object, **options: object) -> Returned:
        """Do something to the store; while it is away, the enclave works on, and this waits."""
        for attempt in Retrying(
            retry=retry_if_exception(_store_away),
            wait=wait_exponential(multiplier=0.2, max=5.0),
            stop=lambda state: self._stop.is_set() or stop_after_delay(STORE_PATIENCE_S)(state),
            sleep=self._sleep,
            before_sleep=_tell_once,
            reraise=True,
        ):
            with attempt:
                return act(*arguments, **options)
        raise StoreError(Code.DATABASE, "the database was not asked")

    def _read(self, run: Run) -> tuple[LatestView, int]:
        """The app's address; without it nothing can boot."""
        for attempt in Retrying(
            retry=retry_if_exception_type(ChainError),
            wait=wait_exponential(multiplier=0.2, max=5.0),
            stop=lambda state: self._stop.is_set() or stop_after_delay(CHAIN_PATIENCE_S)(state),
            sleep=self._sleep,
            reraise=True,
        ):
            with attempt:
                return self._chain.latest_view(run.consortium, whole=True), self._chain.chain_id()
        raise RunnerError(Code.BACKEND, "the chain was not read")

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _watch(self, run: Run, enclave: Enclave, owners: tuple[Owner, ...]) -> Ended:
        """Listen until the enclave ends, the watcher ends it, its time is up, or this process stops."""
        deadline = time.monotonic() + self._run_timeout_s
        last: Mapping[str, object] = {}
        while True:
            line = enclave.line(POLL_S)
            if line is not None:
                self._handle_line(run, line)
                if text_of(line, "phase") in ("refused", "lease-ended", "failed"):
                    last = line
                continue
            code = enclave.exit_code()
            if code is not None:
                return by_exit(code, last)
            order = self._until_stored(self._store.order, run)
            if order is not None:
                return replace(by_order(order, owners), moments=tuple(self._wait_for_wipe(enclave)))
            if time.monotonic() > deadline:
                return Ended("failed", Code.TIMEOUT, f"the run took longer than {self._run_timeout_s:.0f} s")
            if self._stop.is_set():
                return Ended("failed", Code.RUNNER_STOPPED, "the runner was stopped")

    def _wait_for_wipe(self, enclave: Enclave) -> list[Moment]:
        """Ask the enclave to end its lease, wipe and say so; one that doesn't
        in time is killed all the same."""
        enclave.terminate()
        moments = [Moment("told", "the enclave is told to wipe its keys and end")]
        deadline = time.monotonic() + WIPE_S
        # Whatever else it says now, it ends as revoked.
        with suppress(RunnerError):
            while enclave.exit_code() is None and time.monotonic() < deadline:
                line = enclave.line(POLL_S)
                if line is not None and (phase := text_of(line, "phase")) == "lease-ended":
                    moments.append(Moment(phase, text_of(line, "message") or SAID[phase], said_code(line)))
                    break  # it has no key any more, and may die
        return moments

    def _handle_line(self, run: Run, line: Mapping[str, object]) -> None:
        phase = text_of(line, "phase")
        message = text_of(line, "message") or SAID.get(phase, "")
        match phase:
            case "attesting" | "computing":
                self._until_stored(self._store.advance, run, phase, message=message)
            case "granted" | "final" | "emitting" | "lease-ended":
                self._until_stored(self._store.note, run, phase, message, code=said_code(line))
            case "renewed":
                self._renewed(run, line)
            case "refused" | "done" | "failed":
                pass  # the exit status says it again, and that is what counts
            case _:
                raise RunnerError(Code.ENCLAVE_PROTOCOL, f"the enclave is in an unknown phase {phase[:40]!r}")

    def _renewed(self, run: Run, line: Mapping[str, object]) -> None:
        """For people alone, so a store that is away is not waited for: the next renewal comes."""
        left, seconds = line.get("left"), line.get("seconds")
        if not (isinstance(left, (int, float)) and isinstance(seconds, int)):
            raise RunnerError(Code.ENCLAVE_PROTOCOL, "the enclave tells of a renewal without its seconds")
        if not (0 <= left <= MAX_LEASE_SECONDS and 0 < seconds <= MAX_LEASE_SECONDS):
            raise RunnerError(Code.ENCLAVE_PROTOCOL, f"the enclave tells of a lease of {seconds} s")
        try:
            self._store.renewed(run, left=left, seconds=seconds)
        except StoreError as error:
            if error.code not in STORE_AWAY:
                raise


def _store_away(error: BaseException) -> bool:
    return isinstance(error, StoreError) and error.code in STORE_AWAY


def _tell_once(state: RetryCallState) -> None:
    error = None if state.outcome is None else state.outcome.exception()
    if state.attempt_number == 1 and isinstance(error, StoreError):
        log.warning("the run waits for its store: %s; %s", error.message, error.hint)
