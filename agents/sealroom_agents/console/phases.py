# SPDX-License-Identifier: Apache-2.0
"""The five phases of a run that trains a model, with what each proved.

How long data take tells how many they are, so nothing shows how far a training is: from the grant to the
instant of release that the recipe declares, it trains, and at that instant all that it made is there at once.
What a phase proved is taken from the published envelope, and the chain of checkpoints is computed again here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from sealroom.codes import Code
from sealroom.encoding import to_hex
from sealroom.envelope import Envelope
from sealroom.errors import SealroomError
from sealroom.recipe import Recipe
from sealroom.recipe.result import check_result
from sealroom_agents.store import ENDS, Event, Run
from sealroom_agents.verification.released_model import ReleasedModel, models_of, trains

PhaseName = Literal["sealed", "training", "evaluating", "checkpoint verified", "released"]
PhaseState = Literal["waiting", "under way", "done", "broken", "not reached"]
_ENDED_BY: dict[PhaseName, tuple[str, ...]] = {
    "sealed": ("granted",),
    "training": ("emitting", "anchoring"),
    "evaluating": ("emitting", "anchoring"),
    "checkpoint verified": ("verified", "done"),
    "released": ("done",),
}
"""The phases in their order, each with the events of which the first one ends it."""
_SAYS: dict[PhaseName, str] = {
    "sealed": "the gate gives the keys of all datasets to the attested enclave alone",
    "training": "a noisy sum of gradients a step; nothing tells how far it is before its instant",
    "evaluating": "people who were held out; it ends in the same instant",
    "checkpoint verified": "the hash chain of checkpoints ends in the weights that leave",
    "released": "the receipt is on chain, and the envelope is there for everybody",
}


@dataclass(frozen=True)
class Phase:
    """One phase."""

    name: PhaseName
    state: PhaseState
    says: str
    """What happens in it."""
    ended: float | None
    """When it ended, unix seconds."""
    proof: Mapping[str, str] = field(default_factory=dict)
    """What it proved, once the envelope is published: digests by what they are of."""


def phases(
    run: Run, events: Sequence[Event], recipe: Recipe | None, envelope: Envelope | None
) -> tuple[Phase, ...]:
    """The phases of a run; none where its recipe trains no model, or is not known."""
    if recipe is None or not trains(recipe):
        return ()
    ended: dict[PhaseName, float | None] = {}
    for name, by in _ENDED_BY.items():
        ended[name] = next((event.time for event in events if event.phase in by), None)
    models, fault = _checked(recipe, envelope)
    proofs = {} if envelope is None else _proofs(envelope, models)
    begun = run.state not in ("waiting", "queued")
    under_way = next((name for name in ended if begun and ended[name] is None), None)

    def state(name: PhaseName) -> PhaseState:
        if name == "checkpoint verified" and fault is not None:
            return "broken"
        if ended[name] is not None:
            return "done"
        if run.state in ENDS:
            broken = name == "checkpoint verified" and run.code == Code.CHECKPOINTS_MISMATCH
            return "broken" if broken else "not reached"
        return "under way" if name == under_way else "waiting"

    return tuple(
        Phase(name, state(name), fault or says if name == "checkpoint verified" else says, ended[name],
              proofs.get(name, {}))
        for name, says in _SAYS.items()
    )  # fmt: skip


def _checked(
    recipe: Recipe, envelope: Envelope | None
) -> tuple[tuple[ReleasedModel, ...], str | None]:  # fmt: skip
    """The models of a published result, and what is wrong with them."""
    if envelope is None:
        return (), None
    try:
        check_result(envelope.result, recipe)
        models = models_of(envelope.result, recipe)
        for model in models:
            model.check_chain(model.weights)
    except SealroomError as error:
        return (), error.message
    return models, None


def _proofs(envelope: Envelope, models: Sequence[ReleasedModel]) -> dict[str, dict[str, str]]:
    statement, anchor = envelope.statement, envelope.anchor
    return {
        "sealed": {"quote": to_hex(statement.quote_body_digest), "grant": to_hex(statement.grant_hash)},
        "training": {f"{model.field}: head of {model.chain.steps:,} checkpoints": to_hex(model.chain.head)
                     for model in models},
        "evaluating": {"result": to_hex(statement.result_digest)},
        "checkpoint verified": {f"{model.field}: weights": to_hex(model.digest) for model in models},
        "released": {} if anchor is None else {f"receipt {anchor.sequence}": to_hex(anchor.tx)},
    }  # fmt: skip
