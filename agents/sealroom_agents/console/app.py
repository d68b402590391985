# SPDX-License-Identifier: Apache-2.0
"""The console as one ASGI application: REST, pages and static files behind one guard."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom_agents.console.answers import Answers
from sealroom_agents.console.assets import STATIC, StaticAnswers, shipped
from sealroom_agents.console.change_page import ChangePage
from sealroom_agents.console.deciding import Deciding
from sealroom_agents.console.how import Recordings
from sealroom_agents.console.identity import Identity
from sealroom_agents.console.middleware import Guard
from sealroom_agents.console.openapi import described
from sealroom_agents.console.pages import Pages
from sealroom_agents.console.pins import Pins
from sealroom_agents.console.problems import answer as problem
from sealroom_agents.console.problems import status_of
from sealroom_agents.console.queues import Queues
from sealroom_agents.console.reads import Chain
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.reference import Reference
from sealroom_agents.console.researchers import Askers
from sealroom_agents.console.routes import TAGS, routers
from sealroom_agents.console.signing import Signed
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.submission import Submissions
from sealroom_agents.console.verify_page import VerifyPage
from sealroom_agents.errors import RequestError, server_code
from sealroom_agents.index import Indexed
from sealroom_agents.store import Store
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Conditions

API_VERSION = "2.0"
DESCRIPTION = """Studies on sealed data: submit runs, follow them, read what the owners agreed to.

Bodies are JSON in camelCase, and unknown fields are refused. A refusal is a problem (RFC 9457) with a stable
`code`. Every answer is signed (RFC 9421) by the key of `GET /v1/console`; `sealroom call` verifies it. HEAD
is answered wherever GET is."""
NO_PINS = Pins()
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")

log = logging.getLogger(__name__)


def create_app(
    store: Store,
    chain: Chain,
    indexed: Indexed,
    *,
    conditions: Conditions = NO_CONDITIONS,
    identity: Identity | None = None,
    pins: Pins = NO_PINS,
    how: Recordings | None = None,
    allowed_hosts: Sequence[str] = LOCAL_HOSTS,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The application, which shows what `indexed` has of the chain. `conditions` are what it needs to be
    ready, `identity` has the key that signs its answers, by default one of this process alone, `pins` are
    names for which its operator vouches, `how` what the page of that name walks through, by default the
    example that is shipped, `allowed_hosts` the names under which it may be reached, `clock` is
    the time in unix seconds."""
    identity = identity or Identity()
    recipes = Recipes(store)
    studies = Studies(indexed, chain, store, recipes, clock=clock)
    askers = Askers(store, indexed, clock=clock)
    submissions = Submissions(chain, store, indexed, askers, clock=clock)
    queues = Queues(indexed, studies, store, pins)
    how = how or Recordings()
    pages = Pages(store, recipes, studies, queues, how, factory=indexed.factory, assets=shipped(), pins=pins)
    # FastAPI's own pages load scripts from elsewhere; ours are drawn here.
    app = FastAPI(
        title="Sealroom console",
        version=API_VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    # As routes of its own: for a router that is included, each request is matched twice.
    api = routers(
        store, recipes, studies, queues, submissions, askers, conditions, identity, version=API_VERSION
    )
    verify = VerifyPage()
    change = ChangePage(pages, indexed, studies, clock=clock)
    web = (pages.router(Reference()), change.router(), how.router(), verify.router())
    for routes in (*api, *web):
        app.router.routes.extend(routes.routes)
    app.mount("/static", StaticAnswers(directory=STATIC), name="static")
    app.add_middleware(Answers, look=Deciding(indexed, studies, store, clock=clock))
    app.add_middleware(Guard, allowed_hosts=tuple(allowed_hosts), policies=verify.policies)
    app.add_middleware(Signed, key=identity.key, clock=clock)

    def answer(request: Request, error: SealroomError, status: int) -> Response:
        if request.url.path.startswith("/v1/") or request.url.path == "/openapi.json":
            return problem(error, status)
        return pages.error(error, status)

    @app.exception_handler(SealroomError)
    async def ours(request: Request, error: SealroomError) -> Response:
        status = status_of(error)
        if status >= 500:
            log.warning("%s %s: %s", request.method, request.url.path, error.message)
        return answer(request, error, status)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])[:80]
        refused = RequestError(Code.MALFORMED, f"{where}: {str(first['msg'])[:120]}", field=where or None)
        return answer(request, refused, 400)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = server_code(error.status_code)
        refused = RequestError(code, code.line, status=error.status_code)
        response = answer(request, refused, error.status_code)
        response.headers.update(error.headers or {})
        return response

    described(app)
    return app
