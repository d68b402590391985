# SPDX-License-Identifier: Apache-2.0
"""How a run ended without a result, for people: a headline, what it did to keys and ε, and who does what.

What happened to keys and budget is never guessed from the code. That keys were released, the runner wrote
down; that ε was booked, the ledger says. The words stand in `endings.toml`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sealroom.codes import Code, Stage
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.store import Event, Run

WORDS_FILE = Path(__file__).with_name("endings.toml")
HEADED = frozenset(
    {
        Stage.RELEASE, Stage.ATTESTATION, Stage.GATE, Stage.GATE_STATE, Stage.CHAIN, Stage.RUN, Stage.RUNNER,
        Stage.READINESS, Stage.ENVELOPE,
    }
)  # fmt: skip
"""Stages whose codes have a headline of their own."""
PLAIN = frozenset({Stage.FORMAT, Stage.KEY, Stage.RECIPE, Stage.SEALED, Stage.SERVER, Stage.FAILURE})
"""Further stages whose codes can end a run: the registry's sentence is the headline."""
ROLES = ("researcher", "owners", "operator")
_ENDED = {"refused": "Refused", "revoked": "Revoked", "cancelled": "Cancelled", "failed": "Failed"}
_HIDDEN = Code.parse("refused")
_UNKNOWN = {
    "researcher": "Wait for the operator.",
    "owners": "Nothing.",
    "operator": "Read the log of the process that said it.",
}


@dataclass(frozen=True)
class Ending:
    """One end."""

    headline: str
    """What happened: `Refused: the machine runs another recipe`."""
    keys: str
    """What became of the keys, by the runner's word."""
    spent: str
    """What became of ε."""
    booked: bool
    """Whether the ledger says that ε is booked."""
    todo: tuple[tuple[str, str], ...]
    """Role, and what it does next."""
    code: Code
    message: str
    """What the one who ended it said."""


def ending_codes() -> tuple[Code, ...]:
    """Every code of the registry with which a run can end."""
    return tuple(code for code in Code if code.stage in HEADED | PLAIN)


def headline(code: Code) -> str:
    """What a code means for a run, without a full stop."""
    told: Mapping[str, str] = _words()["headline"]
    return told.get(code) or (code.line if code.stage in PLAIN else f"it ended with the code {code}")


def todo(code: Code) -> tuple[tuple[str, str], ...]:
    """Role, and what it does next."""
    groups: Sequence[Mapping[str, Any]] = _words()["ending"]
    group = next((one for one in groups if code in one.get("codes", ())), None)
    if group is None:
        group = next((one for one in groups if code.stage in one.get("stages", ())), _UNKNOWN)
    return tuple((role, group[role]) for role in ROLES)


def ending(run: Run, events: Sequence[Event], opening: RunOpening | None, *, block: int) -> Ending | None:
    """How a run ended; `None` for one that did not, or is done. `opening`: what the ledger booked, as far as
    the chain is read, which is up to `block`."""
    word = _ENDED.get(run.state)
    if word is None:
        return None
    code = run.code or _HIDDEN
    told = headline(code)
    seen = {event.phase for event in events}
    return Ending(
        headline=told[:1].upper() + told[1:] if code in (Code.REVOKED, Code.CANCELLED) else f"{word}: {told}",
        keys=_keys(seen, booked=opening is not None),
        spent=_spent(opening, granted="granted" in seen, block=block),
        booked=opening is not None,
        todo=todo(code),
        code=code,
        message=run.message or "",
    )


def _keys(seen: set[str], *, booked: bool) -> str:
    if "granted" in seen:
        if "lease-ended" in seen:
            return "The enclave had the keys, and wiped them when its lease ended. No result left."
        if "killed" in seen:
            return "The enclave had the keys; it is dead, and they died with it. No result left."
        return "The enclave had the keys, and has ended. No result left."
    if booked:
        return "Whether the keys were released is not known here: the runner saw no grant. No result left."
    return "The gate kept the keys. Nothing was read."


def _spent(opening: RunOpening | None, *, granted: bool, block: int) -> str:
    if opening is not None:
        epsilon, delta = (
            epsilon_text(opening.opening.run.epsilon_micro),
            delta_text(opening.opening.run.delta_pico),
        )
        return f"ε {epsilon} and δ {delta} are spent for this run, and stay spent."
    if granted:
        return "ε is booked before keys are released, so it is spent; the booking is not read here yet."
    return (
        f"As of block {block:,}, no ε was spent."
        if block
        else "The chain is not read yet: whether ε was spent is not known."
    )


@cache
def _words() -> dict[str, Any]:
    return tomllib.loads(WORDS_FILE.read_text())
