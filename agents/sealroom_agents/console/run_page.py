# SPDX-License-Identifier: Apache-2.0
"""What the page of a run shows: its five steps, how it ended, its result, and what stands behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealroom.envelope import Envelope
from sealroom.errors import SealroomError
from sealroom.recipe import Recipe, parse
from sealroom_agents.chain.run_events import RunOpening
from sealroom_agents.console.bodies import envelope_of
from sealroom_agents.console.display import count
from sealroom_agents.console.endings import ending
from sealroom_agents.console.figures import Finding, findings
from sealroom_agents.console.phases import phases
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.words import words
from sealroom_agents.store import ENDS, Event, Run, Store
from sealroom_agents.verification.released_model import models_of

SAY = words()["run"]
_REACHED = {"granted": 4, "computing": 4, "final": 4, "emitting": 5, "anchoring": 5, "verified": 5, "done": 6}
"""Which step goes on after an event; before, the run waits (2) or attests (3)."""


@dataclass(frozen=True)
class Step:
    """One of the five steps."""

    label: str
    state: str
    """`past`, `now`, `no` for the one at which the run ended, or nothing."""
    says: str
    """What is known of it, in a few words."""


@dataclass(frozen=True)
class Model:
    """A network that a run released."""

    field: str
    numbers: int
    digest: str
    """SHA-256 of its weights."""
    steps: int
    head: str
    """End of the hash chain of its checkpoints."""


@dataclass(frozen=True)
class Result:
    """What a run gave."""

    findings: tuple[Finding, ...]
    models: tuple[Model, ...]
    fault: str
    """Why nothing is drawn; empty where all is."""


class RunPage:
    """Gathers what the page of a run shows."""

    def __init__(self, store: Store, recipes: Recipes, studies: Studies) -> None:
        self._store = store
        self._recipes = recipes
        self._studies = studies

    def values(self, run_id: str) -> dict[str, Any]:
        """By name what its template reads. Raises `StoreError` `unknown-run`."""
        run, events = self._store.story(run_id)
        text, recipe = self._store.published_text(run), self._recipes.of(run.compose_hash)
        envelope = envelope_of(text)
        opening = self._studies.opening(run.consortium, run.id)
        progress = self._studies.progress()
        return {
            "run": run,
            "events": events,
            "recipe": recipe,
            "opening": opening,
            "steps": steps(run, events, recipe, opening, envelope),
            "ended": run.state in ENDS,
            "ending": ending(run, events, opening, block=progress.number if progress else 0),
            "failure": self._store.failure(run.id) is not None,
            "phases": phases(run, events, recipe, envelope),
            "envelope": envelope,
            "unread": text is not None and envelope is None,
            "size": len(text.encode()) if text else 0,
            "result": result_of(envelope) if envelope else None,
            "chain": self._studies.anchored(envelope) if envelope else None,
        }

    def trained(self, run: Run) -> dict[str, Any]:
        """What the card of a training reads."""
        events, recipe = self._store.events(run.id), self._recipes.of(run.compose_hash)
        envelope = envelope_of(self._store.published_text(run))
        return {
            "run": run,
            "recipe": recipe,
            "phases": phases(run, events, recipe, envelope),
            "envelope": envelope,
            "result": result_of(envelope) if envelope else None,
        }


def result_of(envelope: Envelope) -> Result:
    """A result drawn, or why it is not."""
    try:
        found = findings(envelope)
        models = models_of(envelope.result, parse(envelope.recipe))
    except SealroomError as error:
        return Result((), (), error.message)
    return Result(
        found,
        tuple(
            Model(
                one.field, one.numbers, "0x" + one.digest.hex(), one.chain.steps, "0x" + one.chain.head.hex()
            )
            for one in models
        ),
        "",
    )


def steps(
    run: Run,
    events: Sequence[Event],
    recipe: Recipe | None,
    opening: RunOpening | None,
    envelope: Envelope | None,
) -> tuple[Step, ...]:
    """The five steps of a run, with the one at which it is or ended."""
    seen = {event.phase for event in events}
    now = max((_REACHED.get(phase, 2) for phase in seen), default=2)
    if now < 4 and (seen & {"queued", "starting", "attesting"} or run.state not in ("waiting", "cancelled")):
        now = 3
    ended = run.state in ENDS and run.state != "done"
    if ended:
        now = min(now, 5)
    datasets = len(recipe.datasets) if recipe else 0
    anchor = envelope.anchor if envelope else None
    says = [
        SAY["datasets_one" if datasets == 1 else "datasets_several"].format(count=datasets)
        if datasets
        else "",
        SAY["waits"] if run.state == "waiting" else "",
        SAY["booked"].format(block=count(opening.at.block)) if opening else "",
        "",
        SAY["anchored_step"].format(sequence=anchor.sequence, block=count(anchor.block)) if anchor else "",
    ]
    if ended:
        says[now - 1] = run.state

    def state(number: int) -> str:
        if number == now:
            return "no" if ended else "now"
        return "past" if number < now else ""

    return tuple(Step(label, state(number), says[number - 1]) for number, label in enumerate(SAY["steps"], 1))
