# SPDX-License-Identifier: Apache-2.0
"""`/v1/studies`: consortia, what they study, and what their owners decide."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from sealroom.codes import Code
from sealroom_agents.chain.contracts import interface
from sealroom_agents.console import models
from sealroom_agents.console.bodies import board, summary_text
from sealroom_agents.console.middleware import MAX_BODY_BYTES
from sealroom_agents.console.routes.shared import (
    EXAMPLE_ADDRESS,
    NOT_MODIFIED,
    ConsortiumAddress,
    From,
    Takers,
    answer,
    as_json,
    body_of,
    problems,
    read,
)
from sealroom_agents.console.studies import Studies
from sealroom_agents.errors import RequestError

BOARD_PAGE = 25
"""Studies in one answer."""


def router(studies: Studies, taken: Takers) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1", tags=["Studies"])

    @api.get("/studies", response_model=models.Studies, responses=NOT_MODIFIED | problems(503))
    def list_studies(
        start: From = 0,
        status: Annotated[models.Status | None, Query(description="Only those of this status.")] = None,
        owner: Annotated[
            str,
            Query(max_length=64, pattern=models.OWNER, description="Only those with an owner of this id."),
        ] = "",
        sort: Annotated[models.Sort, Query(description="Order.")] = "newest",
    ) -> Response:
        """The board of studies, newest first, 25 at a time; those that only their creators declared come
        last. Everything is read from chain."""
        rows, total, progress = studies.board(
            start=start, most=BOARD_PAGE, status=status, owner=owner, sort=sort
        )
        return as_json(board(studies.pictures(rows, progress), total, progress))

    @api.get(
        "/studies/{consortium}", response_model=models.Study, responses=NOT_MODIFIED | problems(404, 503)
    )
    def read_study(consortium: ConsortiumAddress) -> Response:
        """One consortium and its present study."""
        return as_json(summary_text(studies.picture(consortium)))

    @api.post(
        "/calls",
        response_model=models.Call,
        responses=problems(404, 408, 413, 415, 503),
        openapi_extra=body_of(
            models.CallRequest,
            revocation={"consortium": EXAMPLE_ADDRESS, "action": "revoke", "reason": "consent withdrawn"},
        ),
    )
    async def prepare_call(request: Request) -> Response:
        """The unsigned transaction of an approval, a withdrawal or a revocation, for an owner's wallet."""
        asked = read(models.CallRequest, request, await request.body(), MAX_BODY_BYTES)
        return answer(await taken(call, studies, asked))

    return api


def call(studies: Studies, wanted: models.CallRequest) -> models.Call:
    """The calldata. Raises `RequestError`."""
    row = studies.row(wanted.consortium)
    if wanted.action == "revoke":
        if wanted.reason is None or wanted.study is not None:
            raise RequestError(Code.MALFORMED, "a revocation gives a reason, and no study")
        if len(wanted.reason.encode()) > models.MAX_REASON_BYTES:
            raise RequestError(Code.MALFORMED, f"the reason has more than {models.MAX_REASON_BYTES} bytes")
        argument: Any = wanted.reason
    else:
        if wanted.study is None or wanted.reason is not None:
            raise RequestError(Code.MALFORMED, f"to {wanted.action} names a study, and no reason")
        study = bytes.fromhex(wanted.study[2:])
        # The contract takes the whole content of what is approved, and the id of what is withdrawn from.
        argument = study if wanted.action == "withdraw" else _content(studies, wanted.consortium, study)
    contract = interface("Consortium")
    # An approval is the caller's own vote: it comes without others' signatures.
    others: tuple[list[Any], ...] = ([],) if wanted.action == "approve" else ()
    return models.Call(
        chain_id=studies.chain_id(),
        to=row.consortium,
        function=contract.signature(wanted.action),
        data="0x" + contract.encode(wanted.action, argument, *others).hex(),
    )


def _content(studies: Studies, consortium: str, study: bytes) -> tuple[Any, ...]:
    current = studies.chosen(consortium, study).current
    if current is None or current.state != "pending":
        raise RequestError(Code.UNKNOWN_STUDY, "no such study waits for approval here")
    return current.study.solidity()
