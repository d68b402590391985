# SPDX-License-Identifier: Apache-2.0
"""The history of a consortium over HTTP: page by page as JSON, whole as CSV, and what runs booked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from sealroom.codes import Code
from sealroom_agents.console import models
from sealroom_agents.console.activity import Activity
from sealroom_agents.console.archive import Subject, archived
from sealroom_agents.console.bodies import activity, spending
from sealroom_agents.console.history import KINDS, Filter, as_csv
from sealroom_agents.console.limits import Rate
from sealroom_agents.console.routes.shared import (
    NOT_MODIFIED,
    ConsortiumAddress,
    From,
    answer,
    client_of,
    gives,
    problems,
)
from sealroom_agents.console.studies import Studies
from sealroom_agents.errors import RequestError, StoreError
from sealroom_agents.store import Store

HISTORY_PAGE = 100
"""Lines in one answer."""
ARCHIVES = 2
"""Archives that are made at once: each is held whole."""
ARCHIVES_EACH, ARCHIVES_WITHIN_S = 30, 600.0
"""Archives of one client in so many seconds: few that ask again and again leave room for others."""
RETRY_S = 5
ZIP = {"type": "string", "format": "binary", "description": "The archive; its README.txt names each file."}

Kind = Annotated[
    str, Query(max_length=16, description=f"Only these: {', '.join(KINDS)}.", examples=["approvals"])
]
Owner = Annotated[
    str, Query(max_length=64, description="Only what names this owner's account, of now or of before.")
]
Since = Annotated[str, Query(max_length=10, description="First day, UTC.", examples=["2026-11-01"])]
Until = Annotated[str, Query(max_length=10, description="Last day, UTC.", examples=["2026-11-30"])]


def asked(kind: Kind = "", owner: Owner = "", since: Since = "", until: Until = "") -> Filter:
    """What of the history a query asks for."""
    return Filter(kind, owner, since, until)


Asked = Annotated[Filter, Depends(asked)]


def router(studies: Studies, store: Store) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1/studies/{consortium}", tags=["Studies"])
    rate = Rate(ARCHIVES_EACH, ARCHIVES_WITHIN_S, what="requests for archives")
    making = threading.BoundedSemaphore(ARCHIVES)

    def envelope(run_id: str) -> str | None:
        try:
            return store.envelope(run_id)
        except StoreError as error:
            if error.code != Code.UNKNOWN_RUN:
                raise
            return None  # it was asked for elsewhere

    @api.get(
        "/history",
        response_model=models.ActivityPage,
        responses=NOT_MODIFIED | problems(404, 503),
    )
    def read_history(consortium: ConsortiumAddress, wanted: Asked, start: From = 0) -> Response:
        """What happened to a consortium, from its logs, newest first, 100 at a time."""
        found, total = studies.happened(consortium, start=start, most=HISTORY_PAGE, wanted=wanted)
        return answer(models.ActivityPage(activities=[activity(item) for item in found], total=total))

    @api.get(
        "/history.csv",
        response_class=StreamingResponse,
        responses=gives("text/csv", {"type": "string"}) | problems(404, 503),
    )
    def read_file(consortium: ConsortiumAddress, wanted: Asked) -> StreamingResponse:
        """The same as one file for a spreadsheet, newest first, with full hashes; at most 100,000 lines."""
        pages: Iterator[list[Activity]] = studies.all_happened(consortium, wanted)
        first = next(pages)  # a refusal comes before the first byte
        headers = {"Content-Disposition": f'attachment; filename="history-{consortium[2:10]}.csv"'}
        return StreamingResponse(as_csv(chain([first], pages)), media_type="text/csv", headers=headers)

    @api.get(
        "/history.zip",
        response_class=Response,
        responses=gives("application/zip", ZIP) | problems(404, 422, 429, 503),
    )
    def read_archive(request: Request, consortium: ConsortiumAddress, wanted: Asked) -> Response:
        """The same with its proofs, for an auditor who keeps it: the rows as CSV and JSON, the envelopes of
        the runs that they name, headers of blocks and paths to receipts, and how to check all of it offline.
        The same history makes the same bytes; at most 20,000 rows, 1,000 runs and 32 MiB."""
        rate.take(client_of(request))
        if not making.acquire(blocking=False):
            raise RequestError(Code.TOO_MANY_REQUESTS, f"{ARCHIVES} archives are being made", retry_s=RETRY_S)
        try:
            picture = studies.picture(consortium)
            subject = Subject(
                chain_id=studies.chain_id(),
                consortium=picture.view.consortium,
                factory=studies.factory,
                asked=urlencode({name: value for name, value in asdict(wanted).items() if value}),
                fault=picture.fault or "",
            )
            data = archived(subject, studies.all_happened(consortium, wanted), envelope)
        finally:
            making.release()
        headers = {"Content-Disposition": f'attachment; filename="history-{consortium[2:10]}.zip"'}
        return Response(data, media_type="application/zip", headers=headers)

    @api.get("/spending", response_model=models.Spending, responses=NOT_MODIFIED | problems(404, 503))
    def read_spending(consortium: ConsortiumAddress, wanted: Asked) -> Response:
        """What runs of a period booked on each dataset. Of the query only `since` and `until` count."""
        return answer(spending(*studies.spent(consortium, wanted)))

    return api
