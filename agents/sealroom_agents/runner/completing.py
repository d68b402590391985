# SPDX-License-Identifier: Apache-2.0
"""Proofs for published envelopes: each is published once more, with them, when its anchoring is final.

With the proofs comes the gate's word on their blocks. A gate that is away is waited for, and one that refuses
is not: the proofs hold without it, and nodes can vouch for the blocks.

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

from sealroom.codes import Code
from sealroom.envelope import MAX_ENVELOPE_BYTES, Envelope, parse_envelope
from sealroom.errors import SealroomError
from sealroom_agents.finality import Gate, with_word
from sealroom_agents.store import Store

LOOK_S = 2.0
"""Pause between two looks at published runs, seconds; also before the second try of one."""
MAX_PAUSE_S = 300.0
"""Longest pause between two tries of one run, seconds."""
GROWTH = 1.5
"""How many times longer each pause is than the one before."""
GATE_PATIENCE_S = 3600.0
"""How long the gate is waited for, seconds, before an envelope is published without its word."""
KEPT_S = 86_400.0
"""Seconds for which a run that another process may have completed is remembered."""
MAX_RUNS = 100
"""Published runs without proofs that one look takes; the next look goes on after them."""

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
    silent_since: float | None = None
    """When the gate was first asked in vain for its word."""


class Completer:
    """Completes published envelopes."""

    def __init__(
        self, store: Store, chain: Chain, gate: Gate, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._chain = chain
        self._gate = gate
        self._clock = clock
        self._after = ""
        """Id of the run at which the last look ended; empty where it came to the end."""
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
        ids = self._store.unsettled(after=self._after, limit=MAX_RUNS)
        self._after = ids[-1] if len(ids) == MAX_RUNS else ""
        now = self._clock()
        self._tries = {one: each for one, each in self._tries.items() if each.due > now - KEPT_S}
        for run_id in ids:
            tried = self._tries.setdefault(run_id, _Try(due=now))
            if tried.due > now:
                continue
            try:
                done = self._try(run_id, tried)
            except SealroomError as error:
                done = False
                log.warning("run %s: its envelope has no proofs yet: %s", run_id, error.message)
            if done:
                self._store.settle(run_id)
                del self._tries[run_id]
            tried.due, tried.pause = now + tried.pause, min(MAX_PAUSE_S, GROWTH * tried.pause)

    def _try(self, run_id: str, tried: _Try) -> bool:
        """Whether the envelope of a run is complete now."""
        text = self._store.envelope(run_id) or ""
        envelope = parse_envelope(text.encode())
        if envelope.anchor is None or envelope.anchor.proofs:
            return True
        proven = self._chain.with_proofs(envelope)
        if proven is None or (complete := self._with_word(run_id, proven, tried)) is None:
            return False
        encoded = complete.encode()
        if len(encoded) > MAX_ENVELOPE_BYTES:
            log.warning("run %s: its envelope has no room for proofs", run_id)
        elif self._store.complete(run_id, text, encoded.decode()):
            log.info("run %s: its envelope has proofs now", run_id)
        return True

    def _with_word(self, run_id: str, proven: Envelope, tried: _Try) -> Envelope | None:
        """The envelope with the gate's word; without it where the gate refuses, or is silent for too long;
        `None` while it is waited for."""
        try:
            return with_word(proven, self._gate)
        except SealroomError as error:
            now = self._clock()
            passes = error.code.transient or error.code is Code.NOT_FINALIZED
            tried.silent_since = now if tried.silent_since is None else tried.silent_since
            waits = passes and now - tried.silent_since < GATE_PATIENCE_S
            what = "it waits" if waits else "it has proofs without it"
            log.warning("run %s: no word of the gate on its blocks, %s: %s", run_id, what, error.message)
            return None if waits else proven
