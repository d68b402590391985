# SPDX-License-Identifier: Apache-2.0
"""What the REST interface answers, made from what the console knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Literal, cast

from sealroom.encoding import to_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import SealroomError
from sealroom.recipe import Recipe
from sealroom_agents.console import models
from sealroom_agents.console.activity import Activity
from sealroom_agents.console.history import Spent
from sealroom_agents.console.phases import phases
from sealroom_agents.console.pictures import GoverningPicture, Picture, StudyPicture
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.submission import Submissions
from sealroom_agents.facts import DatasetRecord
from sealroom_agents.index import Progress
from sealroom_agents.readiness import OPERATORS
from sealroom_agents.recipe_words import guarantee_facts, recipe_facts
from sealroom_agents.store import Event, Run, Store


def accepted(run: Run) -> models.RunAccepted:
    """What a submission answers."""
    return models.RunAccepted(
        id=run.id,
        compose_hash=run.compose_hash,
        consortium=run.consortium,
        researcher=run.researcher,
        state=run.state,
        missing=[models.Missing(**item) for item in run.missing],
    )


def run_state(
    store: Store, recipes: Recipes, submissions: Submissions, run: Run, events: Sequence[Event]
) -> models.RunState:
    """A run with its events; what a waiting run lacks is looked up anew, where the chain answers."""
    lacks = [models.Missing(**item) for item in run.missing]
    recipe = recipes.of(run.compose_hash)
    if run.state == "waiting" and recipe is not None:
        try:
            found = submissions.lacks_still(run.consortium, recipe)
            told = [one for one in lacks if one.code in OPERATORS]
            lacks = [*(models.Missing(**item.to_json()) for item in found), *told]
        except SealroomError:
            pass  # the runner's last look stands
    text = store.published_text(run)
    envelope = json.loads(text) if text else None
    return models.RunState(
        id=run.id,
        compose_hash=run.compose_hash,
        consortium=run.consortium,
        researcher=run.researcher,
        state=cast(models.State, run.state),
        missing=lacks,
        code=run.code,
        message=run.message,
        created=run.created,
        updated=run.updated,
        events=[run_event(event) for event in events],
        phases=[
            models.RunPhase(
                name=one.name,
                state=one.state,
                says=one.says,
                ended=one.ended,
                proof=dict(one.proof),
            )
            for one in phases(run, events, recipe, envelope_of(text))
        ],
        payload=envelope["result"] if envelope else None,
        envelope=envelope,
        envelope_digest=run.envelope,
    )


def run_line(run: Run) -> models.RunLine:
    """A run in a list."""
    return models.RunLine(
        id=run.id,
        compose_hash=run.compose_hash,
        consortium=run.consortium,
        researcher=run.researcher,
        state=cast(models.State, run.state),
        code=run.code,
        message=run.message,
        created=run.created,
        updated=run.updated,
    )


def envelope_of(text: str | None) -> Envelope | None:
    """An envelope as verifiers read it; `None` where there is none, or where it is none."""
    try:
        return parse_envelope(text.encode()) if text else None
    except SealroomError:
        return None


def run_event(event: Event) -> models.RunEvent:
    """One event as JSON."""
    return models.RunEvent(
        id=event.id, time=event.time, phase=event.phase, code=event.code, message=event.message
    )


def summary(picture: Picture) -> models.Study:
    """One consortium as JSON."""
    view, current = picture.view, picture.current
    study = current.study if current else None
    recipe = current.recipe if current else None
    votes = {one.owner.account: one for one in current.votes} if current else {}
    owners = []
    for owner in view.owners:
        one = votes.get(owner.account)
        owners.append(
            models.Owner(
                id=owner.id,
                account=owner.account,
                jurisdiction=owner.jurisdiction,
                regimes=list(owner.regimes),
                approved=bool(one and one.approved),
                withdrawn=bool(one and one.withdrawn),
                required=bool(one and one.required),
                confirmed=owner.account in picture.confirmed,
                revoked=owner.account in view.revokers,
                tx=one.tx if one else None,
            )
        )
    return models.Study(
        consortium=view.consortium,
        app=view.app,
        ledger=view.ledger,
        chain_id=view.chain_id,
        block=view.block_number,
        basis="0x" + view.basis.hex(),
        steps=view.steps,
        nonce=view.nonce,
        status=cast(models.Status, picture.status),
        records=picture.records,
        criteria={label: cast(models.Grade, grade) for label, grade in picture.grades},
        threshold=view.threshold,
        owners=owners,
        study="0x" + study.id.hex() if study else None,
        state=current.state if current else None,
        compose_hash="0x" + study.compose_hash.hex() if study else None,
        name=recipe.name if recipe else None,
        question=recipe.question if recipe else None,
        guarantee=guarantee(recipe),
        epsilon_micro=study.epsilon_micro if study else None,
        spent_micro=current.spent_micro if current else None,
        delta_pico=study.delta_pico if study else None,
        spent_pico=current.spent_pico if current else None,
        max_runs=study.max_runs if study else None,
        runs=current.runs if current else 0,
        receipts=picture.receipts,
        expiry=study.expiry if study else None,
        revoked_by=picture.owner_id(view.revoked_by) or None,
        revocation_reason=view.revocation_reason,
        proposals=[proposal(picture, one) for one in picture.pending],
        governing=[governing(one) for one in picture.governing],
        notices=[
            models.Notice(kind=one.kind, about=one.about, block=one.block, text=one.text)
            for one in picture.notices
        ],
        datasets=[dataset(picture, one) for one in picture.datasets],
        waiting=picture.waiting,
    )


def board(pictures: Iterable[Picture], total: int, progress: Progress) -> bytes:
    """A page of the board, `models.Studies`, from the text of each study that was made before."""
    empty = models.Studies(studies=[], total=total, block=progress.number, late=progress.late)
    studies = ",".join(map(summary_text, pictures))
    return empty.model_dump_json(by_alias=True).replace("[]", f"[{studies}]", 1).encode()


def summary_text(picture: Picture) -> str:
    """`summary` as JSON, made once for a picture."""
    text = picture.drawn.get("summary")
    if text is None:
        text = picture.drawn["summary"] = summary(picture).model_dump_json(by_alias=True)
    return text


def guarantee(recipe: Recipe | None) -> models.Guarantee | None:
    """What a recipe promises, as JSON."""
    return None if recipe is None else models.Guarantee.model_validate(guarantee_facts(recipe))


def recipe_body(recipe: Recipe) -> models.Recipe:
    """What a recipe promises, reads and computes, as JSON."""
    return models.Recipe.model_validate(recipe_facts(recipe))


def governing(one: GoverningPicture) -> models.Governing:
    """A roster, a platform or machines as JSON."""
    return models.Governing(
        id="0x" + one.id.hex(),
        kind=cast(Literal["roster", "platform", "machines"], one.kind),
        content=[list(line) for line in one.lines],
        approved=list(one.approved),
        missing=list(one.missing),
        closed_by=list(one.closed_by),
        needed=one.needed,
        expiry=one.expiry,
        removes=list(one.removes),
    )


def dataset(picture: Picture, one: DatasetRecord) -> models.Dataset:
    """A dataset as JSON."""
    return models.Dataset(
        id="0x" + one.id.hex(),
        name=one.name,
        holder=one.holder_id or one.holder,
        version=one.number,
        pinned=picture.pinned_version(one),
        rows=one.version.rows,
        lifetime=one.account.to_json(),
        allowance=one.allowance.to_json(),
    )


def proposal(picture: Picture, one: StudyPicture) -> models.Proposal:
    """One study that waits, as JSON."""
    study = one.study
    return models.Proposal(
        study="0x" + study.id.hex(),
        compose_hash="0x" + study.compose_hash.hex(),
        name=one.recipe.name if one.recipe else None,
        guarantee=guarantee(one.recipe),
        proposed_by=picture.owner_id(one.proposal.by if one.proposal else None),
        block=one.proposal.at.block if one.proposal else 0,
        epsilon_micro=study.epsilon_micro,
        delta_pico=study.delta_pico,
        max_runs=study.max_runs,
        expiry=study.expiry,
        approved=[vote.owner.id for vote in one.votes if vote.approved],
        closed_by=list(one.closed_by(picture.view.threshold)),
    )


def activity(item: Activity) -> models.Activity:
    """One line of the history as JSON."""
    return models.Activity(
        block=item.at.block,
        tx=item.at.tx,
        kind=item.kind,
        who=item.who,
        what=item.what,
        reason=item.reason,
        final=item.final,
        time=item.time,
        run=to_hex(item.run) if item.run else None,
        study=to_hex(item.study) if item.study else None,
        datasets=[to_hex(one) for one in item.datasets],
        accounts=list(item.accounts),
    )


def spending(found: Sequence[Spent], whole: bool) -> models.Spending:
    """What runs of a period booked, as JSON."""
    return models.Spending(
        datasets=[
            models.Booked(
                dataset="0x" + one.dataset.hex(), name=one.name, holder=one.holder, runs=one.runs,
                epsilon_micro=one.epsilon_micro, delta_pico=one.delta_pico,
            )
            for one in found
        ],
        whole=whole,
    )  # fmt: skip
