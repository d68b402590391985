# SPDX-License-Identifier: Apache-2.0
"""Proofs for published envelopes: each is published once more, with them, when its anchoring is final.

Nobody waits for that to use a result. Any runner of the database does it, for whichever run; what it writes
follows from the chain alone, so it does not matter who comes first, or how often.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from sealroom.envelope import MAX_ENVELOPE_BYTES, Envelope, parse_envelope
from sealroom.errors import SealroomError
from sealroom_agents.store import Store

LOOK_S = 2.0
"""Pause between two looks at published runs, seconds; also before the second try of one."""
MAX_PAUSE_S = 300.0
"""Longest pause between two tries of one run, seconds."""
GROWTH = 1.5
"""How many times longer each pause is than the one before."""
MAX_RUNS = 100
"""Newest published runs that are looked at."""

log = logging.getLogger(__name__)


class Chain(Protocol):
    """What is read of `sealroom_agents.chain.ChainReader`."""

    def with_proofs(self, envelope: Envelope) -> Envelope | None:
        """An anchored envelope with proofs; `None` as long as its anchoring is not final."""


@dataclass
class _Try:
    """When a run is tried next."""

    due: float
    pause: float = LOOK_S


class Completer:
    """Completes published envelopes."""

    def __init__(self, store: Store, chain: Chain, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._chain = chain
        self._clock = clock
        self._complete: set[str] = set()
        """Runs whose envelopes have their proofs, or can't get them."""
        self._tries: dict[str, _Try] = {}

    def serve(self, stop: Event) -> None:
        """Look for envelopes to complete until told to stop. Never raises."""
        while not stop.wait(LOOK_S):
            try:
                self.look()
            except Exception as error:
                log.warning("no look for envelopes without proofs: %s: %s", type(error).__name__, error)

    def look(self) -> None:
        """Complete the envelopes that can be completed now."""
        ids = [run.id for run in self._store.runs(state="done", limit=MAX_RUNS)]
        self._complete &= set(ids)
        self._tries = {run_id: each for run_id, each in self._tries.items() if run_id in ids}
        now = self._clock()
        for run_id in ids:
            tried = self._tries.setdefault(run_id, _Try(due=now))
            if run_id in self._complete or tried.due > now:
                continue
            try:
                done = self._try(run_id)
            except SealroomError as error:
                done = False
                log.warning("run %s: its envelope has no proofs yet: %s", run_id, error.message)
            if done:
                self._complete.add(run_id)
            tried.due, tried.pause = now + tried.pause, min(MAX_PAUSE_S, GROWTH * tried.pause)

    def _try(self, run_id: str) -> bool:
        """Whether the envelope of a run is complete now."""
        text = self._store.envelope(run_id) or ""
        envelope = parse_envelope(text.encode())
        if envelope.anchor is None or envelope.anchor.proofs:
            return True
        proven = self._chain.with_proofs(envelope)
        if proven is None:
            return False
        encoded = proven.encode()
        if len(encoded) > MAX_ENVELOPE_BYTES:
            log.warning("run %s: its envelope has no room for proofs", run_id)
        elif self._store.complete(run_id, text, encoded.decode()):
            log.info("run %s: its envelope has proofs now", run_id)
        return True
