# SPDX-License-Identifier: Apache-2.0
"""The console as one ASGI application: REST, pages and static files behind one guard."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from sealroom.codes import Code
from sealroom.errors import SealroomError
from sealroom_agents.console.api import router, status_of
from sealroom_agents.console.middleware import Guard
from sealroom_agents.console.pages import Pages
from sealroom_agents.console.reads import Chain
from sealroom_agents.console.reference import Reference
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.submission import Submissions
from sealroom_agents.errors import RequestError, server_code
from sealroom_agents.index import Indexed
from sealroom_agents.store import Store
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Conditions

STATIC = Path(__file__).with_name("static")
API_VERSION = "1.0"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")

log = logging.getLogger(__name__)


def create_app(
    store: Store,
    chain: Chain,
    indexed: Indexed,
    *,
    conditions: Conditions = NO_CONDITIONS,
    allowed_hosts: Sequence[str] = LOCAL_HOSTS,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The application, which shows what `indexed` has of the chain. `conditions` are what it needs to be
    ready, `allowed_hosts` the names under which it may be reached, `clock` the time in unix seconds."""
    studies = Studies(indexed, chain, store, clock=clock)
    submissions = Submissions(chain, store, indexed, clock=clock)
    pages = Pages(store, studies, submissions, factory=indexed.factory)
    # FastAPI's own pages load scripts from elsewhere; ours are drawn here.
    app = FastAPI(
        title="Sealroom console",
        version=API_VERSION,
        description="Studies on sealed data: submit runs, follow them, read what the owners agreed to.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.include_router(router(store, studies, submissions, conditions))
    app.include_router(pages.router(Reference()))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, allowed_hosts=tuple(allowed_hosts))

    def answer(request: Request, error: SealroomError, status: int) -> Response:
        if request.url.path.startswith("/v1/") or request.url.path == "/openapi.json":
            body = {"code": error.code, "message": error.message}
            return JSONResponse(body | ({"hint": error.hint} if error.hint else {}), status_code=status)
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
        refused = RequestError(Code.MALFORMED, f"{where}: {str(first['msg'])[:120]}")
        return answer(request, refused, 400)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        code = server_code(error.status_code)
        refused = RequestError(code, code.line, status=error.status_code)
        response = answer(request, refused, error.status_code)
        response.headers.update(error.headers or {})
        return response

    document = app.openapi

    def openapi() -> dict[str, Any]:
        """FastAPI announces its own form of a validation error; here that is a `Problem` like any other."""
        if app.openapi_schema is None:
            schema = document()
            for operations in schema["paths"].values():
                for operation in operations.values():
                    if "HTTPValidationError" in json.dumps(operation["responses"].get("422", {})):
                        del operation["responses"]["422"]
                        operation["responses"].setdefault("400", _MALFORMED)
            for name in ("HTTPValidationError", "ValidationError"):
                schema["components"]["schemas"].pop(name, None)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
    return app


_MALFORMED = {
    "description": "A parameter is not what it must be.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
