# SPDX-License-Identifier: Apache-2.0
"""The gate's audit log compared with the chain: what each opening notes is in the log, and in its place.

Before the gate sends an opening it writes an entry `booking` with the run and all that it books, and the
opening's `note` is the head of the log after that. So each opening that this gate made has its entry, and
notes that entry or a later one. An opening without one was made by somebody else who has the gate's key, or
the log was rewritten since (RE-12, CH-36). Every node that is asked tells the openings, so one that leaves
some out hides nothing (CH-03).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sealroom.encoding import to_hex
from sealroom.key_release import Grant
from sealroom.model import Opening, Run
from sealroom_agents.chain import History, TxResult
from sealroom_agents.chain.owner_events import PlatformAdoption
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.facts import Evidence
from sealroom_agents.gate.audit import Log, read
from sealroom_agents.gate.gpus import Judged

BOOKING = "booking"
"""Event of the entry that comes before an opening."""
GRANTED = "granted"
"""Event of the entry of a grant, with which the run's lease begins."""
STARTED = "started"
"""Event of the entry with which a gate starts; it names its signer."""


def booking_facts(consortium: str, run: Run) -> dict[str, Any]:
    """What the entry before an opening says, and by what it is found again: all but the time until which it
    may be opened, which is another one where an opening that was lost is sent again. Whoever has the gate's
    key sees an opening before a block takes it, and can be faster with one of the same grant."""
    return {
        "consortium": consortium,
        "runId": to_hex(run.run_id),
        "grantHash": to_hex(run.grant_hash),
        "enclaveSigner": run.enclave_signer,
        "epsilonMicro": run.epsilon_micro,
        "deltaPico": run.delta_pico,
    }


def granted_facts(
    grant: Grant,
    consortium: str,
    grant_hash: bytes,
    evidence: Evidence,
    opened: TxResult,
    gpus: Judged | None,
) -> dict[str, Any]:
    """What the entry of a grant says; of GPUs only where the recipe demands some."""
    shown = {} if gpus is None else gpus.facts()
    return {
        **shown,
        "runId": to_hex(grant.run_id),
        "consortium": consortium,
        "study": to_hex(grant.study),
        "composeHash": to_hex(grant.compose_hash),
        "device": to_hex(evidence.device_id),
        "enclaveSigner": grant.enclave_signer,
        "grantHash": to_hex(grant_hash),
        "epsilonMicro": grant.epsilon_micro,
        "deltaPico": grant.delta_pico,
        "standing": to_hex(grant.standing),
        "block": grant.block_number,
        "openedTx": opened.tx,
    }


@dataclass
class Bookings:
    """What a log says of the runs that its gate had opened."""

    log: Log
    """What holds of it."""
    signers: set[str] = field(default_factory=set)
    """Addresses with which the gate signed."""
    entries: dict[tuple[str, ...], int] = field(default_factory=dict)
    """Number of the last entry of each opening."""

    @property
    def consortia(self) -> list[str]:
        """Consortia of these runs."""
        return sorted({consortium for consortium, *_ in self.entries})

    def compare(self, consortium: str, histories: Sequence[History]) -> Comparison:
        """Compare the openings of a consortium, as far as its owners had adopted this gate then.

        histories: one of each node. An opening that any node shows counts.
        """
        sequences = {digest: number for number, digest in enumerate(self.log.digests, start=1)}
        each = [self._ours(history) for history in histories]
        mine = {event.opening: event for openings, _, _ in each for event in openings}
        others = {one for _, openings, _ in each for one in openings} - mine.keys()
        ordered = sorted(mine.values(), key=lambda event: event.opening.number)
        everywhere = set.intersection(*({event.opening for event in openings} for openings, _, _ in each))
        return Comparison(
            consortium,
            tuple(Noted(event, self._trouble(consortium, event, sequences)) for event in ordered),
            len(others),
            adopted=all(ever for _, _, ever in each),
            complete=all(history.complete for history in histories),
            partly=len(mine) - len(everywhere),
        )

    def _ours(self, history: History) -> tuple[list[RunOpening], list[Opening], bool]:
        """Openings while the owners had adopted this gate, the others, and whether they ever had."""
        mine: list[RunOpening] = []
        others: list[Opening] = []
        ours, ever = False, False
        for event in history.events:
            if isinstance(event, PlatformAdoption):
                ours = event.platform.gate_signer in self.signers
                ever = ever or ours
            elif isinstance(event, RunOpening):
                if ours:
                    mine.append(event)
                else:
                    others.append(event.opening)
        return mine, others, ever

    def _trouble(self, consortium: str, event: RunOpening, sequences: Mapping[bytes, int]) -> str | None:
        opening = event.opening
        facts = booking_facts(consortium, opening.run)
        entry, noted = self.entries.get(_key(facts)), sequences.get(opening.note)
        if entry is None:
            return "the log has no entry of it: another one has the gate's key, or the log was rewritten"
        if noted is None:
            return f"it notes entry {to_hex(opening.note)}, which is NOT in the log: it was cut or changed"
        if noted < entry:
            return f"it notes entry {noted}, and its own entry is the later {entry}"
        return None


@dataclass(frozen=True)
class Noted:
    """One opening on chain."""

    event: RunOpening
    """The opening."""
    trouble: str | None
    """Why it does not fit the log; `None` when it does."""


@dataclass(frozen=True)
class Comparison:
    """A log beside the openings of one consortium."""

    consortium: str
    """Whose openings."""
    openings: tuple[Noted, ...]
    """Those made while the owners had adopted this gate, oldest first."""
    others: int
    """How many were made while they had adopted another one."""
    adopted: bool
    """Whether the owners ever adopted this gate."""
    complete: bool
    """Whether these are all; a very long history is cut."""
    partly: int
    """How many of these openings not every node shows: it lags, or one node lies."""

    @property
    def ok(self) -> bool:
        """Whether each opening fits the log, and the log is of a gate of this consortium."""
        return self.adopted and all(one.trouble is None for one in self.openings)


def bookings(path: Path) -> Bookings:
    """Read a log up to where it holds."""
    signers: set[str] = set()
    entries: dict[tuple[str, ...], int] = {}

    def see(entry: Mapping[str, Any]) -> None:
        facts = entry.get("facts")
        if not isinstance(facts, dict):
            return
        if entry.get("event") == STARTED:
            signers.add(str(facts.get("signer")))
        elif entry.get("event") == BOOKING:
            entries[_key(facts)] = int(entry["sequence"])

    return Bookings(read(path, see), signers, entries)


def _key(facts: Mapping[str, Any]) -> tuple[str, ...]:
    names = ("consortium", "runId", "grantHash", "enclaveSigner", "epsilonMicro", "deltaPico")
    return tuple(str(facts.get(name)) for name in names)
