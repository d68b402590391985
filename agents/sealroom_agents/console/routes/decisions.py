# SPDX-License-Identifier: Apache-2.0
"""What waits for owners and what they signed; datasets, budgets and receipts of a consortium."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from sealroom.encoding import from_hex, to_hex
from sealroom_agents.chain.event import Event
from sealroom_agents.chain.run_events import BatchAnchoring, ReceiptAnchoring
from sealroom_agents.console import models
from sealroom_agents.console.bodies import dataset, proposal
from sealroom_agents.console.gathering import gathered, require_vote, waiting_study
from sealroom_agents.console.limits import Rate
from sealroom_agents.console.middleware import MAX_BODY_BYTES
from sealroom_agents.console.pictures import Picture, StudyPicture
from sealroom_agents.console.routes.shared import (
    ConsortiumAddress,
    From,
    StudyId,
    Takers,
    answer,
    body_of,
    client_of,
    problems,
    read,
)
from sealroom_agents.console.studies import Studies
from sealroom_agents.store import Store

PAGE = 100
"""Receipts in one answer."""
SIGNATURES_EACH, SIGNATURES_WITHIN_S = 60, 600.0
"""Signatures of one client in so many seconds."""
READ_EACH, READ_WITHIN_S = 120, 120.0
"""Times that one client reads signatures in so many seconds: contracts are asked through a node each time."""


def router(store: Store, studies: Studies, taken: Takers) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/studies/{consortium}", tags=["Decisions"])
    rate = Rate(SIGNATURES_EACH, SIGNATURES_WITHIN_S, what="signatures")
    reading = Rate(READ_EACH, READ_WITHIN_S, what="questions for signatures")

    @api.get("/proposals", response_model=models.Proposals, responses=problems(404, 503))
    def list_proposals(consortium: ConsortiumAddress) -> Response:
        """Studies that wait for approvals, with the whole content that owners sign."""
        picture = studies.picture(consortium)
        signed = store.gathered(picture.view.consortium, [to_hex(one.study.id) for one in picture.pending])
        found = [_content(picture, one, signed[to_hex(one.study.id)]) for one in picture.pending]
        return answer(
            models.Proposals(proposals=found, threshold=picture.view.threshold, waiting=picture.waiting)
        )

    @api.get(
        "/proposals/{study}/signatures",
        response_model=models.Signatures,
        responses=problems(404, 429, 503),
    )
    def read_signatures(request: Request, consortium: ConsortiumAddress, study: StudyId) -> Response:
        """Signatures of owners that were handed in for a study that waits, and the one transaction that hands
        all of them to the contract. Anybody may send it."""
        reading.take(client_of(request))
        picture, current = waiting_study(studies, consortium, study)
        return answer(gathered(store, studies, picture, current))

    @api.post(
        "/signatures",
        response_model=models.Signatures,
        responses=problems(403, 404, 408, 413, 415, 422, 429, 503),
        openapi_extra=body_of(models.SignatureRequest),
    )
    async def hand_in_signature(request: Request, consortium: ConsortiumAddress) -> Response:
        """Hand in an owner's signature of an approval: typed data `ApproveStudy` of the contract's domain. It
        counts once somebody sends the transaction. Of an owner that is a contract, such as a Safe, it is what
        its `isValidSignature` takes (EIP-1271): a node asks it, with the gas that the consortium grants."""
        rate.take(client_of(request))
        asked = read(models.SignatureRequest, request, await request.body(), MAX_BODY_BYTES)

        def take() -> models.Signatures:
            picture, current = waiting_study(studies, consortium, asked.study)
            require_vote(studies, picture, current.study, asked.owner, from_hex(asked.signature))
            store.gather(
                picture.view.consortium,
                asked.study,
                asked.owner,
                asked.signature,
                expires=current.study.expiry,
            )
            return gathered(store, studies, picture, current)

        return answer(await taken(take))

    @api.get("/datasets", response_model=models.Datasets, responses=problems(404, 503))
    def list_datasets(consortium: ConsortiumAddress) -> Response:
        """Datasets that owners let the consortium use, with what may be spent on each, and is."""
        picture = studies.picture(consortium)
        return answer(
            models.Datasets(datasets=[dataset(picture, one) for one in studies.offered(consortium)])
        )

    @api.get("/budgets", response_model=models.Budgets, responses=problems(404, 503))
    def read_budgets(consortium: ConsortiumAddress) -> Response:
        """What the present study may spend and has spent, and the lifetime of each of its datasets."""
        picture = studies.picture(consortium)
        current = picture.current
        study = current.study if current else None
        return answer(
            models.Budgets(
                study=to_hex(study.id) if study else None,
                epsilon_micro=study.epsilon_micro if study else None,
                spent_micro=current.spent_micro if current else None,
                left_micro=study.epsilon_micro - current.spent_micro if study and current else None,
                delta_pico=study.delta_pico if study else None,
                spent_pico=current.spent_pico if current else None,
                left_pico=study.delta_pico - current.spent_pico if study and current else None,
                max_runs=study.max_runs if study else None,
                runs=current.runs if current else 0,
                datasets=[dataset(picture, one) for one in picture.datasets],
            )
        )

    @api.get("/receipts", response_model=models.Receipts, responses=problems(404, 503))
    def list_receipts(consortium: ConsortiumAddress, start: From = 0) -> Response:
        """Receipts that were anchored, newest first, 100 events at a time."""
        picture = studies.picture(consortium)
        found = studies.anchorings(consortium, start=start, most=PAGE)
        anchored = [_anchored(event, picture.final) for event in found]
        return answer(models.Receipts(anchored=[one for one in anchored if one], total=picture.receipts))

    return api


def _content(picture: Picture, one: StudyPicture, signed: dict[str, str]) -> models.ProposalContent:
    missing = [vote.owner for vote in one.votes if not vote.approved]
    return models.ProposalContent(
        proposal=proposal(picture, one),
        content=one.study.to_json(),
        missing=[owner.id for owner in missing],
        required=[vote.owner.id for vote in one.votes if vote.required],
        signed=[owner.id for owner in missing if owner.account in signed],
    )


def _anchored(event: Event, final: int) -> models.Anchored | None:
    at: dict[str, Any] = {
        "block": event.at.block,
        "tx": event.at.tx,
        "final": event.at.block <= final,
    }
    match event:
        case ReceiptAnchoring():
            return models.Anchored(
                **at, run=to_hex(event.run_id), study=to_hex(event.study), sequence=event.sequence,
                count=1, root=None,
            )  # fmt: skip
        case BatchAnchoring():
            return models.Anchored(
                **at, run=None, study=None, sequence=event.first, count=event.count, root=to_hex(event.root)
            )
    return None
