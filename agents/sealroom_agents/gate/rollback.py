# SPDX-License-Identifier: Apache-2.0
"""Whether the gate's own state is the newest one: the chain has the entry of the log that each opening noted.

Log and database of an older copy agree with each other, so nothing on disk shows that both were put back
(OP-08). But each opening carries the head of the log at that moment. Where the chain shows an opening of
this gate that notes an entry which the log does not have, the state is an older one, or another gate has the
same key: then nothing is granted, since nonces, leases and halts since then are unknown here. Renewals and
stops go on. The state has to be put right; the chain cannot. A log that was damaged, and set aside for a new
one, is no older one: what is whole of it counts (`breaks`).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from sealroom import typed
from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.model import Opening
from sealroom_agents.chain import History
from sealroom_agents.chain.owner_events import PlatformAdoption
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.errors import ChainError, Refused
from sealroom_agents.gate.breaks import written
from sealroom_agents.gate.refusals import chain_refused

MAX_NOTES = 4096
"""Digests of which is remembered whether the log has them."""
HINT = (
    "put back the newest copy of the whole --state folder. Where it is lost, the owners adopt a gate with "
    "another root: nobody can know what this one has released since the copy was made"
)


class Chain(Protocol):
    """What is asked of the chain; `sealroom_agents.chain.ChainReader` answers."""

    def study_histories(self, consortium: str) -> tuple[History, ...]:
        """Everything that happened to a consortium, as each node tells it."""
        ...

    def booked(self, ledger: str, consortium: str, run_id: bytes) -> bytes | None:
        """What the ledger keeps of a run, the same at a quorum."""
        ...


class Rollback:
    """Compares the log with the newest opening of a consortium, once in a process' life. Thread safe."""

    def __init__(self, *, chain: Chain, log: Path, signer: str) -> None:
        """`log`: the file of the audit log. `signer`: this gate's address."""
        self._chain = chain
        self._log = log
        self._signer = signer
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        self._notes: OrderedDict[bytes, bool] = OrderedDict()
        self._fine: set[str] = set()
        self._trouble: dict[str, str] = {}

    @property
    def trouble(self) -> str | None:
        """Why the state is an older one, as far as was looked; `None` when nothing shows it."""
        with self._lock:
            return next(iter(self._trouble.values()), None)

    def require_newest(self, consortium: str, ledger: str) -> None:
        """Raises `Refused` `state-rolled-back` where the chain is ahead of the log, and the codes of the
        chain.

        The first time for a consortium the chain is asked. A trouble is looked for again each time, so that a
        node which lied, or a state that was put right, does not bar the gate for good.
        """
        with self._lock:
            if consortium in self._fine:
                return
        try:
            trouble = self._look(consortium, ledger)
        except ChainError as error:
            raise chain_refused(error) from error
        with self._lock:
            if trouble is None:
                self._fine.add(consortium)
                self._trouble.pop(consortium, None)
                return
            self._trouble[consortium] = trouble
        raise Refused(Code.STATE_ROLLED_BACK, trouble, HINT)

    def _look(self, consortium: str, ledger: str) -> str | None:
        newest: dict[bytes, Opening] = {}
        for history in self._chain.study_histories(consortium):
            found = list(self._ours(history))
            if found:
                newest[found[-1].run.run_id] = found[-1]
        known = self._known({opening.note for opening in newest.values()})
        for run_id, opening in newest.items():
            if known[opening.note]:
                continue
            # A node alone can make an event up, and not what a quorum of them keeps.
            kept = self._chain.booked(ledger, consortium, run_id)
            if kept == typed.opening_hash(opening):
                return (
                    f"the chain has run {to_hex(run_id)[:18]}… of this gate, which notes entry "
                    f"{to_hex(opening.note)[:18]}…, and the audit log has no such entry"
                )
        return None

    def _ours(self, history: History) -> Iterator[Opening]:
        """Openings while the owners had adopted this gate, oldest first. What comes before the first adoption
        of a history that does not go back to the beginning counts too: the log decides."""
        ours = not history.complete
        for event in history.events:
            if isinstance(event, PlatformAdoption):
                ours = event.platform.gate_signer == self._signer
            elif isinstance(event, RunOpening) and ours:
                yield event.opening

    def _known(self, notes: Collection[bytes]) -> dict[bytes, bool]:
        """Whether the log has, or had before a break that was accepted, an entry with each of these digests.

        An opening is sent after the entry that it notes is on disk. So one pass through the log decides for
        as long as the process lives, however often, and by however many, the same is asked.
        """
        with self._reading:
            lacking = {note for note in notes if note not in self._notes}
            if lacking:
                digests = written(self._log)
                self._notes.update({note: note in digests for note in lacking})
            found = {note: self._notes[note] for note in notes}
            while len(self._notes) > MAX_NOTES:
                self._notes.popitem(last=False)
            return found
