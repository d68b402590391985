# SPDX-License-Identifier: Apache-2.0
"""The HTML pages, drawn on the server with everything escaped; scripts only add to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from functools import cache
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup

from sealroom.codes import Code
from sealroom.errors import FormatError, SealroomError
from sealroom.guarantee import GUARANTEES
from sealroom_agents.chains import LOCAL_CHAIN_IDS, SUPPORTED
from sealroom_agents.console import spellings
from sealroom_agents.console.assets import Assets
from sealroom_agents.console.board import (
    CRITERIA,
    MAX_QUERY,
    SOURCES_SHOWN,
    STATUSES,
    Filters,
    Row,
    leading,
    rows,
    sources,
)
from sealroom_agents.console.build_page import BuildPage
from sealroom_agents.console.history import KINDS, Filter
from sealroom_agents.console.how import Recordings
from sealroom_agents.console.pins import Pins
from sealroom_agents.console.queues import CONSORTIA, Queues
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.reference import Reference
from sealroom_agents.console.routes.history import HISTORY_PAGE, Asked
from sealroom_agents.console.run_page import RunPage
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.study_page import study_values
from sealroom_agents.console.tasks import GROUPS
from sealroom_agents.console.templating import environment
from sealroom_agents.console.words import words
from sealroom_agents.errors import RequestError
from sealroom_agents.store import Store

BOARD_PAGE = 500
"""Consortia on one page of the board."""
HISTORY_SHOWN = 50
"""ActivityPage on the page of a consortium."""
NAVIGATION = (
    ("board", "Studies", "/"),
    ("queue", "Needs you", "/needs-you"),
    ("verify", "Verify", "/verify"),
    ("how", "How it works", "/how"),
    ("build", "Build", "/build"),
)
"""Name, label and address of the pages at the head of each."""
Consortium = Annotated[str, PathParameter(pattern=r"^0x[0-9a-f]{40}$")]
MaybeConsortium = Annotated[str | None, Query(pattern=r"^0x[0-9a-f]{40}$")]
RunId = Annotated[str, PathParameter(pattern=r"^0x[0-9a-f]{64}$")]
StudyId = Annotated[str | None, Query(pattern=r"^0x[0-9a-f]{64}$")]
Criteria = Annotated[
    tuple[Literal["owners", "jurisdictions", "grade"], ...], Query(alias="with", max_length=3)
]
Status = Annotated[Literal["", "live", "forming", "revoked"], Query()]
Sort = Annotated[Literal["name", "owners", "records", "newest"], Query()]
Search = Annotated[str, Query(alias="q", max_length=MAX_QUERY)]
Account = Annotated[str, Query(max_length=100)]
Where = Annotated[Literal["own", "strangers"], Query()]
Dstack = Annotated[Literal["on", "off"], Query()]
From = Annotated[int, Query(alias="from", ge=0, le=1_000_000)]


@cache
def _templates(assets: Assets) -> Environment:
    """The templates, each compiled when it is first drawn, for all applications of a process."""
    return environment(asset=assets.address, disk=False, teller="server", frame="base.html")


class Pages:
    """Draws pages."""

    def __init__(
        self,
        store: Store,
        recipes: Recipes,
        studies: Studies,
        queues: Queues,
        how: Recordings,
        *,
        factory: str,
        assets: Assets,
        pins: Pins,
    ) -> None:
        self._store = store
        self._recipes = recipes
        self._studies = studies
        self._queues = queues
        self._factory = factory
        self._pins = pins
        self._run_page = RunPage(store, recipes, studies)
        self._build_page = BuildPage(store, recipes, studies, pins, self._run_page)
        self._how = how
        self._templates = _templates(assets)
        self.words = words()
        """Texts of the pages, by page."""

    def router(self, reference: Reference) -> APIRouter:
        """Routes of the pages; none is part of the REST interface."""
        web = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

        @web.get("/")
        def board(
            start: From = 0,
            criteria: Criteria = (),
            status: Status = "",
            sort: Sort = "newest",
            search: Search = "",
        ) -> HTMLResponse:
            return self.board(start, Filters(frozenset(criteria), status, sort, search.strip()))

        @web.get("/needs-you")
        def queue(account: Account = "", where: Where = "own", start: From = 0) -> HTMLResponse:
            return self.queue(account.strip(), where, start)

        @web.get("/studies/{consortium}")
        def study(consortium: Consortium, study: StudyId = None) -> HTMLResponse:
            return self.study(consortium, study)

        @web.get("/studies/{consortium}/history")
        def history(consortium: Consortium, wanted: Asked, start: From = 0) -> HTMLResponse:
            return self.history(consortium, wanted, start)

        @web.get("/runs/{run_id}")
        def run(run_id: RunId) -> HTMLResponse:
            return self.run(run_id)

        @web.get("/build")
        def build(request: Request, consortium: MaybeConsortium = None) -> HTMLResponse:
            return self.build(f"{request.url.scheme}://{request.url.netloc}", consortium)

        @web.get("/how")
        def how(dstack: Dstack = "on") -> HTMLResponse:
            return self.how(on=dstack == "on")

        @web.get("/docs")
        def docs(request: Request) -> HTMLResponse:
            page = reference.read(request.app.openapi())
            return self._page(
                "docs.html",
                page="docs",
                version=page.version,
                routes=page.routes,
                schemas=page.schemas,
                codes=page.codes,
            )

        return web

    def board(self, start: int, filters: Filters) -> HTMLResponse:
        """The board of studies: newest first, and behind them those that only their creators declared, one
        line each, for which no contract of theirs is asked."""
        shown, total, progress = self._studies.board(start=start, most=BOARD_PAGE)
        pictures = self._studies.pictures([row for row in shown if not row.declared], progress)
        made = rows(pictures, self._pins, filters)
        lead = leading(made)
        found = sources(lead.picture) if lead else []
        statuses = Counter(row.status for row in made)
        receipts = sum(row.picture.receipts for row in made)
        return self._page(
            "board.html",
            page="board",
            words=self.words["board"],
            filters=filters,
            criteria=CRITERIA,
            statuses=STATUSES,
            rows=made,
            cells=self._cells,
            leading=lead,
            sources=found[:SOURCES_SHOWN],
            more=max(0, len(found) - SOURCES_SHOWN),
            figures=[*((name, statuses[name]) for name in ("live", "forming")), ("receipts", receipts)],
            declared=[row for row in shown if row.declared],
            total=total,
            start=start,
            size=BOARD_PAGE,
            block=progress.number,
            guarantees=GUARANTEES.values(),
        )

    def queue(self, account: str, where: str, start: int) -> HTMLResponse:
        """What awaits an account; nothing is stored of who asks. A form asks for it where none is given, or
        one that is mistyped."""
        found, mistyped = None, ""
        if account:
            try:
                found = self._queues(spellings.address(account), own=where == "own", start=start)
            except FormatError as error:
                mistyped = error.message
        return self._page(
            "queue.html",
            status=400 if mistyped else 200,
            page="queue",
            words=self.words["queue"],
            queue=found,
            mistyped=mistyped,
            given=account,
            groups=GROUPS,
            size=CONSORTIA,
        )

    def study(self, consortium: str, study: str | None) -> HTMLResponse:
        """One consortium with its present study, or with the proposal that was asked for."""
        if study is None:
            picture = self._studies.picture(consortium)
        else:
            proposal = bytes.fromhex(study[2:])
            try:
                picture = self._studies.chosen(consortium, proposal)
            except RequestError as error:
                return self.became(consortium, proposal, error)
        picture = self._studies.with_runs(picture)
        activities, total = self._studies.happened(consortium, start=0, most=HISTORY_SHOWN)
        return self._page(
            "study.html",
            page="study",
            **study_values(picture, self._studies.recipe),
            activities=activities,
            more=total if total > len(activities) else 0,
        )

    def became(self, consortium: str, proposal: bytes, error: RequestError) -> HTMLResponse:
        """What became of a proposal that waits no more; the error where that is not known."""
        known = error.code == Code.UNKNOWN_STUDY
        found = self._studies.became(consortium, proposal) if known else None
        if found is None:
            raise error
        return self._page("became.html", page="study", consortium=consortium, became=found)

    def history(self, consortium: str, wanted: Filter, start: int) -> HTMLResponse:
        """What happened to a consortium, for an auditor: filtered, with what runs booked meanwhile."""
        activities, total = self._studies.happened(consortium, start=start, most=HISTORY_PAGE, wanted=wanted)
        spent, whole = self._studies.spent(consortium, wanted)
        chain = SUPPORTED.get(self._studies.chain_id())
        return self._page(
            "history.html",
            page="history",
            picture=self._studies.picture(consortium),
            progress=self._studies.progress(),
            activities=activities,
            total=total,
            start=start,
            size=HISTORY_PAGE,
            wanted=wanted,
            query=urlencode({name: value for name, value in asdict(wanted).items() if value}),
            kinds=KINDS,
            spent=spent,
            whole=whole,
            chain=chain,
        )

    def run(self, run_id: str) -> HTMLResponse:
        """One run, live."""
        values = self._run_page.values(run_id)
        page = self._page("run.html", page="run", **values)
        if values["envelope"] and values["chain"] is None:
            page.headers["Cache-Control"] = "no-store"  # the next reader's node may answer
        return page

    def build(self, base: str, consortium: str | None) -> HTMLResponse:
        """For researchers: what there is, and how to ask for it."""
        return self._page(
            "build.html",
            page="build",
            words=self.words["build"],
            **self._build_page.values(base, consortium),
        )

    def how(self, *, on: bool) -> HTMLResponse:
        """One recorded run, step by step: as it was, or as the central pipeline that ran on the same rows."""
        return self._page(
            "how.html", page="how", words=self.words["how"], on=on, **self._how.values(self._store)
        )

    def error(self, error: SealroomError, status: int) -> HTMLResponse:
        """A page that says what is wrong."""
        return self._page(
            "error.html", status=status, page="error", code=error.code, message=error.message, hint=error.hint
        )

    def _cells(self, row: Row) -> Markup:
        """A consortium's cells of the board, made once for a picture."""
        text = row.picture.drawn.get("row")
        if text is None:
            template = self._templates.get_template("row.html")
            text = row.picture.drawn["row"] = template.render(row=row, words=self.words["board"])
        return Markup(text)

    def draw(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A page of another module, within the same frame."""
        return self._page(template, status=status, **values)

    def _page(self, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        try:
            progress = self._studies.progress()
        except SealroomError:
            progress = None
        shared = {
            "late": progress.late if progress else "",
            "chain_id": progress.chain_id if progress else "not read yet",
            "at_block": progress.number if progress else 0,
            "simulated": progress is not None and progress.chain_id in LOCAL_CHAIN_IDS,
            "factory": self._factory,
            "navigation": NAVIGATION,
        }
        values = {"step": 0, "revoked": False} | shared | values
        return HTMLResponse(self._templates.get_template(template).render(values), status_code=status)
