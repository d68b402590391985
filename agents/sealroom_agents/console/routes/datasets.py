# SPDX-License-Identifier: Apache-2.0
"""`/v1/datasets`: what may be used, and by whom, in all consortia of the factory."""

from __future__ import annotations

import base64
from typing import Annotated

from fastapi import APIRouter, Query, Response

from sealroom.codes import Code
from sealroom_agents.console import models
from sealroom_agents.console.bodies import dataset
from sealroom_agents.console.routes.shared import answer, problems
from sealroom_agents.console.studies import Studies
from sealroom_agents.errors import RequestError

PAGE = 25
"""Consortia in one answer."""
FIRST = -1
"""Before the first place of the factory's list."""


def router(studies: Studies) -> APIRouter:
    """The route."""
    api = APIRouter(prefix="/v1", tags=["Studies"])

    @api.get("/datasets", response_model=models.DatasetPage, responses=problems(404, 503))
    def list_datasets(
        consortium: Annotated[
            models.Address | None, Query(description="Only those that this consortium may use.")
        ] = None,
        owner: Annotated[
            str,
            Query(
                max_length=64,
                pattern=models.OWNER,
                description="Only those of the owner with this id.",
                examples=["hospital-A"],
            ),
        ] = "",
        declared: Annotated[
            bool,
            Query(
                description="Those of consortia that only their creators declared, in place of all others: "
                "anybody may have made them, with any names."
            ),
        ] = False,
        after: Annotated[
            str, Query(max_length=64, description="The cursor `next` of the page before.", examples=["MjQ"])
        ] = "",
    ) -> Response:
        """All datasets that consortia may use, with what may be spent on each, and is: those of up to 25
        consortia at a time, which may be none. A cursor stays good while new consortia come."""
        if consortium is not None:
            lines, progress = [studies.row(consortium)], studies.require_ready()
            more = False
        else:
            found, progress = studies.made_after(
                _place(after) if after else FIRST, most=PAGE + 1, owner=owner, declared=declared
            )
            lines, more = found[:PAGE], len(found) > PAGE
        seen = studies.seen(lines, progress)
        listed = [
            models.ListedDataset(consortium=picture.view.consortium, dataset=dataset(picture, one))
            for picture, facts in seen
            for one in studies.usable(facts)
            if owner in ("", one.holder_id)
        ]
        return answer(
            models.DatasetPage(
                datasets=listed,
                consortia=len(lines),
                unread=len(lines) - len(seen),
                next=_cursor(lines[-1].number) if more else None,
                block=progress.number,
                late=progress.late,
            )
        )

    return api


def _cursor(number: int) -> str:
    return base64.urlsafe_b64encode(str(number).encode()).decode().rstrip("=")


def _place(cursor: str) -> int:
    """The place in the factory's list. Raises `RequestError` `malformed`."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
    except ValueError:
        number = None
    if number is None or _cursor(number) != cursor:
        raise RequestError(Code.MALFORMED, "after is no cursor of this list")
    return number
