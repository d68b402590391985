# SPDX-License-Identifier: Apache-2.0
"""The HTML pages, drawn on the server with everything escaped; scripts only add to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sealroom.errors import SealroomError
from sealroom.guarantee import GUARANTEES
from sealroom.model.units import delta_text, epsilon_text
from sealroom_agents.console import display
from sealroom_agents.console.bodies import known_recipe, published
from sealroom_agents.console.phases import phases
from sealroom_agents.console.reference import Reference
from sealroom_agents.console.results import Table, tables
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.submission import Submissions
from sealroom_agents.recipe_words import (
    column_words,
    counted_words,
    dataset_words,
    people_words,
    rows_words,
    type_words,
)
from sealroom_agents.store import ENDS, Run, Store

TEMPLATES = Path(__file__).with_name("templates")
BOARD_PAGE = 20
"""Consortia on one page of the board."""
HISTORY_SHOWN = 50
"""ActivityPage on the page of a consortium."""
FILTERS = ("source", "prose", "plain", "number", "declared", "moment", "day", "short", "count")
"""What the templates take from `display`."""
WORDS = {
    "type": type_words,
    "dataset": dataset_words,
    "column": column_words,
    "rows": rows_words,
    "counted": counted_words,
    "people": people_words,
}
"""What they take from `recipe_words`."""

Consortium = Annotated[str, PathParameter(pattern=r"^0x[0-9a-f]{40}$")]
RunId = Annotated[str, PathParameter(pattern=r"^0x[0-9a-f]{64}$")]
StudyId = Annotated[str | None, Query(pattern=r"^0x[0-9a-f]{64}$")]
From = Annotated[int, Query(alias="from", ge=0, le=1_000_000)]


class Pages:
    """Draws pages."""

    def __init__(self, store: Store, studies: Studies, submissions: Submissions, *, factory: str) -> None:
        self._store = store
        self._studies = studies
        self._submissions = submissions
        self._factory = factory
        self._jinja = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        for name in FILTERS:
            self._jinja.filters[name] = getattr(display, name)
        self._jinja.filters |= {"epsilon": epsilon_text, "delta": delta_text, **WORDS}

    def router(self, reference: Reference) -> APIRouter:
        """Routes of the pages; none is part of the REST interface."""
        web = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

        @web.get("/")
        def board(start: From = 0) -> HTMLResponse:
            return self.board(start)

        @web.get("/studies/{consortium}")
        def study(consortium: Consortium, study: StudyId = None) -> HTMLResponse:
            return self.study(consortium, study)

        @web.get("/runs/{run_id}")
        def run(run_id: RunId) -> HTMLResponse:
            return self.run(run_id)

        @web.get("/docs")
        def docs(request: Request) -> HTMLResponse:
            page = reference.read(request.app.openapi())
            return self._page(
                "docs.html", page="docs", version=page.version, routes=page.routes, schemas=page.schemas
            )

        return web

    def board(self, start: int) -> HTMLResponse:
        """The board of studies: newest first, and behind them those that only their creators declared, one
        line each, for which no contract of theirs is asked."""
        shown, total = self._studies.board(start=start, most=BOARD_PAGE)
        pictures = self._studies.pictures([row for row in shown if not row.declared])
        return self._page(
            "board.html",
            page="board",
            pictures=pictures,
            declared=[row for row in shown if row.declared],
            total=total,
            start=start,
            size=BOARD_PAGE,
            block=self._studies.block(),
            guarantees=GUARANTEES.values(),
        )

    def study(self, consortium: str, study: str | None) -> HTMLResponse:
        """One consortium with its present study, or with the proposal that was asked for."""
        if study is None:
            picture = self._studies.picture(consortium)
        else:
            picture = self._studies.chosen(consortium, bytes.fromhex(study[2:]))
        picture = self._studies.with_runs(picture)
        activities, total = self._studies.happened(consortium, start=0, most=HISTORY_SHOWN)
        current = picture.current
        recipe = current.recipe if current else None
        relation = recipe.relation if recipe else None
        text = relation.sql if relation else recipe.analysis if recipe else ""
        return self._page(
            "study.html",
            page="study",
            picture=picture,
            step=picture.step,
            revoked=picture.view.revoked_by is not None,
            no_study=bytes(32),
            text=text,
            odd=display.oddities(text),
            activities=activities,
            more=total if total > len(activities) else 0,
        )

    def run(self, run_id: str) -> HTMLResponse:
        """One run, live."""
        run = self._store.run(run_id)
        body = self._envelope(run)
        result: dict[str, Any] | None = body["result"] if body else None
        envelope = published(self._store, run)
        events, recipe = self._store.events(run_id), known_recipe(self._store, run)
        return self._page(
            "run.html",
            page="run",
            run=run,
            events=events,
            phases=phases(run, events, recipe, envelope),
            ended=run.state in ENDS,
            failure=self._store.failure(run.id) is not None,
            result=result,
            recipe=recipe,
            anchor=body["anchor"] if body else None,
            chain=self._studies.anchored(envelope) if envelope else None,
            tables=self._tables(run, result) if result else [],
            step={"waiting": 2, "computing": 4, "anchoring": 5, "done": 5}.get(run.state, 3),
            revoked=run.state == "revoked",
        )

    def error(self, error: SealroomError, status: int) -> HTMLResponse:
        """A page that says what is wrong."""
        return self._page(
            "error.html", status=status, page="error", code=error.code, message=error.message, hint=error.hint
        )

    def _page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        try:
            chain_id: object = self._studies.chain_id()
            late = self._studies.late()
        except SealroomError:
            chain_id, late = "not read yet", ""
        shared = {"late": late, "chain_id": chain_id, "factory": self._factory}
        values = {"step": 0, "revoked": False} | shared | values
        return HTMLResponse(self._jinja.get_template(template).render(values), status_code=status)

    def _envelope(self, run: Run) -> dict[str, Any] | None:
        text = self._store.envelope(run.id) if run.state == "done" else None
        return json.loads(text) if text else None

    def _tables(self, run: Run, result: dict[str, Any]) -> list[tuple[str, Table]]:
        """The result's fields as tables, in the recipe's order."""
        recipe = known_recipe(self._store, run)
        shapes = {}
        if recipe is not None:
            shapes = {spec.name: spec.shape(recipe.rows) for spec in recipe.output.fields}
        fields = result["fields"]
        names = [
            *(name for name in shapes if name in fields),
            *(name for name in fields if name not in shapes),
        ]
        return [found for name in names for found in tables(name, fields[name], shapes.get(name))]
