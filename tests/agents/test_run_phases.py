# SPDX-License-Identifier: Apache-2.0
"""The phases of a training: what they say before the instant of release, and prove after."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.agents.worked import fresh_platform, make_gate, render_recipe
from tests.agents.worked_model import model_run

from sealroom.codes import Code
from sealroom.encoding import to_base64
from sealroom.envelope import Anchor, Envelope
from sealroom.recipe import Recipe, parse
from sealroom_agents.console.phases import phases
from sealroom_agents.store import Event, Run

HAPPENED = (
    "queued", "starting", "attesting", "granted", "computing", "final", "emitting", "anchoring", "verified",
    "done",
)  # fmt: skip
STATE = {"granted": "attesting", "final": "computing", "emitting": "computing", "verified": "anchoring"}
RUN = Run(
    id="0x" + "11" * 32, compose_hash="0x" + "22" * 32, consortium="0x" + "33" * 20, state="done", code=None,
    message=None, missing=(), created=0.0, updated=9.0, killed=None, observation=None,
)  # fmt: skip


@pytest.fixture(scope="module")
def envelope(tmp_path_factory: pytest.TempPathFactory) -> Envelope:
    platform = fresh_platform()
    made = model_run(tmp_path_factory.mktemp("recipe"), platform, make_gate(platform)).envelope()
    anchor = Anchor(
        chain_id=31337, ledger=made.grant.ledger, tx=b"\x66" * 32, block=130, sequence=7, approvals=()
    )
    return made.with_anchor(anchor)


@pytest.fixture(scope="module")
def recipe(envelope: Envelope) -> Recipe:
    return parse(envelope.recipe)


def events(until: str) -> Sequence[Event]:
    happened = HAPPENED[: HAPPENED.index(until) + 1]
    return [
        Event(id=n, time=float(n), phase=phase, code=None, message="") for n, phase in enumerate(happened)
    ]


@pytest.mark.parametrize(
    ("until", "states"),
    [
        ("queued", "waiting waiting waiting waiting waiting"),
        ("attesting", "under-way waiting waiting waiting waiting"),
        ("granted", "done under-way waiting waiting waiting"),
        ("final", "done under-way waiting waiting waiting"),
        ("emitting", "done done done under-way waiting"),
        ("anchoring", "done done done under-way waiting"),
        ("verified", "done done done done under-way"),
        ("done", "done done done done done"),
    ],
)
def test_nothing_ends_between_the_grant_and_the_instant(until: str, states: str, recipe: Recipe) -> None:
    """Training and evaluating end together, at the instant that the recipe declares."""
    run = replace(RUN, state=STATE.get(until, until))
    told = phases(run, events(until), recipe, None)
    assert [each.name for each in told] == [
        "sealed", "training", "evaluating", "checkpoint verified", "released",
    ]  # fmt: skip
    assert [each.state.replace(" ", "-") for each in told] == states.split()
    assert told[1].ended == told[2].ended
    assert all(not each.proof for each in told)


def test_a_published_run_shows_what_each_phase_proved(recipe: Recipe, envelope: Envelope) -> None:
    told = {each.name: each for each in phases(RUN, events("done"), recipe, envelope)}
    model = envelope.result["fields"]["risk"]["model"][0]
    assert list(told["training"].proof) == ["risk: head of 2 checkpoints"]
    [head] = told["training"].proof.values()
    assert to_base64(bytes.fromhex(head[2:])) == model["checkpoints"]
    assert list(told["checkpoint verified"].proof) == ["risk: weights"]
    assert told["evaluating"].proof == {"result": "0x" + envelope.statement.result_digest.hex()}
    assert told["released"].proof == {"receipt 7": "0x" + "66" * 32}
    assert told["sealed"].proof["grant"] == "0x" + envelope.statement.grant_hash.hex()


def test_a_chain_that_does_not_end_in_the_weights_is_shown_as_broken(
    recipe: Recipe, envelope: Envelope
) -> None:
    result = json.loads(json.dumps(envelope.result))
    result["fields"]["risk"]["model"][0]["previous"] = to_base64(bytes(32))
    told = phases(RUN, events("done"), recipe, replace(envelope, result=result))
    assert told[3].state == "broken" and "does not end in these weights" in told[3].says
    assert told[3].proof == {}
    run = replace(RUN, state="failed", code=Code.CHECKPOINTS_MISMATCH)
    told = phases(run, events("anchoring"), recipe, None)
    assert [each.state for each in told[3:]] == ["broken", "not reached"]


def test_a_run_that_was_refused_reached_no_phase(recipe: Recipe) -> None:
    run = replace(RUN, state="refused", code=Code.REVOKED)
    assert {each.state for each in phases(run, events("attesting"), recipe, None)} == {"not reached"}


def test_a_run_that_trains_nothing_has_no_phases(tmp_path: Path) -> None:
    assert phases(RUN, events("done"), parse(render_recipe(tmp_path)), None) == ()
    assert phases(RUN, events("done"), None, None) == ()
