# SPDX-License-Identifier: Apache-2.0
"""One run, from its claim to its end: start the enclave, follow what it says, stop it when the watcher says
so.

Nothing here decides whether a run may happen: the enclave asks the gate, and the runner writes down the
answer.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from sealroom_agents.errors import AgentError, ChainError, RunnerError
from sealroom_agents.facts import LatestView, OwnerRecord
from sealroom_agents.runner import backend
from sealroom_agents.runner.backend import Assignment, Backend, Enclave
from sealroom_agents.store import Observation, Run, Store

POLL_S = 0.1
"""How long the runner listens to the enclave before it looks for a kill order, seconds."""
WIPE_S = 1.0
"""How long an enclave that must end may take to wipe its keys before it is killed, seconds."""
CHAIN_PATIENCE_S = 60.0
"""How long a claimed run waits for a chain that does not answer, seconds."""
MAX_MESSAGE_CHARACTERS = 500
"""What is kept of a message that an enclave prints."""
REVOKED_CODES = frozenset({"revoked", "epoch-mismatch", "lease-ended"})
"""Codes of a lease that ended because the owners' will changed."""

log = logging.getLogger(__name__)


class Chain(Protocol):
    """What following a run needs of `sealroom_agents.chain.ChainReader`."""

    def chain_id(self) -> int:
        """Chain id."""

    def latest_view(self, consortium: str, *, whole: bool = False) -> LatestView:
        """Newest state; `best` when `whole`."""


@dataclass(frozen=True)
class _Ended:
    """How an enclave ended."""

    state: str
    """`done`, or the run's end."""
    code: str
    message: str


class Follower:
    """Follows runs, one after the other; several may work in parallel on one store."""

    def __init__(
        self, store: Store, chain: Chain, backend: Backend, *, stop: Event, run_timeout_s: float
    ) -> None:
        self._store = store
        self._chain = chain
        self._backend = backend
        self._stop = stop
        self._run_timeout_s = run_timeout_s

    def follow(self, run: Run) -> bool:
        """Carry a claimed run to its end or to `anchoring`; true when its envelope waits for an anchor."""
        try:
            compose = self._store.recipe(run.compose_hash)
            if compose is None:
                raise RunnerError("recipe-unknown", "the recipe's bytes are not in the database")
            latest, chain_id = self._read(run)
            if latest.best is None:
                raise RunnerError("backend", "the chain reader gave no whole view")
            owners = latest.best.owners
            enclave = self._backend.start(
                Assignment(
                    run_id=run.id,
                    consortium=run.consortium,
                    app=latest.best.app,
                    chain_id=chain_id,
                    compose=compose,
                )
            )
        except AgentError as error:
            self._store.end(run.id, "failed", code=error.code, message=error.message)
            return False
        try:
            ended = self._watch(run, enclave, owners)
            enclave.kill()
            order = self._store.kill_order(run.id)
            if order is not None:
                self._store.killed(run.id)
                after = max(0.0, time.time() - order.block_time)
                self._store.note(
                    run.id, "killed", f"enclave and job dead {after:.1f} s after the block", code=order.kind
                )
                ended = _by_order(order, owners)
            if ended.state == "done":
                self._store.emitted(run.id, enclave.envelope().decode("utf-8", errors="replace"))
                return True
            self._store.end(run.id, ended.state, code=ended.code, message=ended.message)
        except AgentError as error:
            log.warning("run %s: %s", run.id, error.message)
            self._store.end(run.id, "failed", code=error.code, message=error.message)
        finally:
            enclave.clean()
        return False

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
        raise RunnerError("backend", "the chain was not read")

    def _sleep(self, seconds: float) -> None:
        self._stop.wait(seconds)

    def _watch(self, run: Run, enclave: Enclave, owners: tuple[OwnerRecord, ...]) -> _Ended:
        """Listen until the enclave ends, the watcher ends it, its time is up, or this process stops."""
        deadline = time.monotonic() + self._run_timeout_s
        last: Mapping[str, object] = {}
        while True:
            line = enclave.line(POLL_S)
            if line is not None:
                self._hear(run, line)
                if _text(line, "phase") in ("refused", "lease-ended", "failed"):
                    last = line
                continue
            code = enclave.exit_code()
            if code is not None:
                return _by_exit(code, last)
            order = self._store.kill_order(run.id)
            if order is not None:
                self._let_wipe(run, enclave)
                return _by_order(order, owners)
            if time.monotonic() > deadline:
                return _Ended("failed", "timeout", f"the run took longer than {self._run_timeout_s:.0f} s")
            if self._stop.is_set():
                return _Ended("failed", "runner-stopped", "the runner was stopped")

    def _let_wipe(self, run: Run, enclave: Enclave) -> None:
        """Ask the enclave to end its lease, wipe and say so; one that doesn't in time is killed all the
        same."""
        enclave.terminate()
        deadline = time.monotonic() + WIPE_S
        # Whatever else it says now, it ends as revoked.
        with suppress(RunnerError):
            while enclave.exit_code() is None and time.monotonic() < deadline:
                line = enclave.line(POLL_S)
                if line is not None and _text(line, "phase") == "lease-ended":
                    self._hear(run, line)

    def _hear(self, run: Run, line: Mapping[str, object]) -> None:
        phase = _text(line, "phase")
        message = _text(line, "message") or _SAID.get(phase, "")
        match phase:
            case "attesting" | "computing":
                self._store.advance(run.id, phase, message=message)
            case "granted" | "emitting" | "lease-ended":
                self._store.note(run.id, phase, message, code=_text(line, "code") or None)
            case "refused" | "done" | "failed":
                pass  # the exit status says it again, and that is what counts
            case _:
                raise RunnerError("enclave-protocol", f"the enclave is in an unknown phase {phase[:40]!r}")


_SAID = {
    "attesting": "the enclave shows its quote to the gate",
    "granted": "the gate released the data keys to the attested enclave",
    "computing": "the analysis runs",
    "emitting": "the release slot is there; the signed result leaves",
    "lease-ended": "the lease ended; keys are wiped",
}
"""What a phase means, where the enclave says no more."""


def _by_exit(code: int, last: Mapping[str, object]) -> _Ended:
    said, message = _text(last, "code"), _text(last, "message")
    match code:
        case backend.EXIT_DONE:
            return _Ended("done", "", "")
        case backend.EXIT_REFUSED:
            return _Ended("refused", said or "refused", message or "the gate refused")
        case backend.EXIT_LEASE_ENDED:
            state = "revoked" if said in REVOKED_CODES else "failed"
            return _Ended(state, said or "lease-ended", message or "the gate did not renew the lease")
        case backend.EXIT_JOB_FAILED:
            return _Ended("failed", said or "job-failed", message or "the analysis failed")
        case backend.EXIT_CONFIGURATION:
            return _Ended(
                "failed", said or "configuration", message or "the enclave refuses its configuration"
            )
    how = f"by signal {-code}" if code < 0 else f"with status {code}"
    return _Ended("failed", said or "enclave-died", message or f"the enclave ended {how}")


def _by_order(order: Observation, owners: tuple[OwnerRecord, ...]) -> _Ended:
    if order.kind != "revoked":
        return _Ended("revoked", "epoch-mismatch", f"the consortium advanced to epoch {order.epoch}")
    who = next((owner.id for owner in owners if owner.account == order.owner), order.owner)
    return _Ended("revoked", "revoked", f'revoked by {who}: "{order.reason}"')


def _text(line: Mapping[str, object], name: str) -> str:
    value = line.get(name, "")
    return value[:MAX_MESSAGE_CHARACTERS] if isinstance(value, str) else ""
