# SPDX-License-Identifier: Apache-2.0
"""The REST interface under `/v1`. It holds no key and needs none:
requests are public, and readers verify the answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ValidationError
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool

from sealroom.codes import Code
from sealroom.encoding import strict_json
from sealroom.errors import FormatError, SealroomError
from sealroom.recipe import parse
from sealroom_agents.chain.contracts import interface
from sealroom_agents.console import models
from sealroom_agents.console.bodies import accepted, activity, recipe_body, run_event, run_state, summary
from sealroom_agents.console.middleware import MAX_BODY_BYTES, MAX_RUN_BODY_BYTES
from sealroom_agents.console.studies import Studies
from sealroom_agents.console.submission import Submissions, decode, to_wanted
from sealroom_agents.errors import RequestError
from sealroom_agents.store import ENDS, Run, Store
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Conditions

EVENT_POLL_S = 0.3
"""Pause between two looks for new events of a run, seconds."""
PING_S = 15
"""Pause between two signs of life in an event stream, seconds."""
MAX_STREAMS = 64
"""Event streams open at once."""
MAX_IDEMPOTENCY_CHARACTERS = 128
BOARD_PAGE = 25
"""Studies in one answer."""
HISTORY_PAGE = 100
"""ActivityPage in one answer."""

Model = TypeVar("Model", bound=BaseModel)

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
RunId = Annotated[str, Path(pattern=r"^0x[0-9a-f]{64}$", description="Run id.")]
Digest = Annotated[str, Path(pattern=r"^0x[0-9a-f]{64}$", description="SHA-256 of the envelope's bytes.")]
RecipeHash = Annotated[str, Path(pattern=r"^0x[0-9a-f]{64}$", description="Compose hash.")]
ConsortiumAddress = Annotated[
    str, Path(pattern=r"^0x[0-9a-f]{40}$", description="Address of the consortium.")
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that a route documents."""
    return {status: {"model": models.Problem, "description": _SAYS[status]} for status in statuses}


def gives(media: str) -> dict[int | str, dict[str, Any]]:
    """A route whose answer is no model."""
    return {200: {"description": "As described.", "content": {media: {}}}}


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "`If-None-Match` names these bytes."}}
_SAYS = {
    400: "The body is not what it must be.",
    404: "Not found.",
    409: "It contradicts something that exists.",
    413: "The body is too large.",
    415: "The body is not plain application/json.",
    422: "The recipe breaks a rule; the code names it.",
    429: "Too many at once.",
    503: "The chain, or what is kept here, cannot be read now.",
}


def body_of(model: type[BaseModel]) -> dict[str, Any]:
    """OpenAPI of a body that the route reads by itself."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def router(
    store: Store, studies: Studies, submissions: Submissions, conditions: Conditions = NO_CONDITIONS
) -> APIRouter:
    """All routes. `conditions`: what the console needs to be ready."""
    api = APIRouter(prefix="/v1")
    streams = asyncio.Semaphore(MAX_STREAMS)

    @api.post(
        "/runs",
        status_code=202,
        response_model=models.RunAccepted,
        responses=problems(400, 404, 409, 413, 415, 422, 429, 503),
        openapi_extra=body_of(models.RunRequest)
        | {
            "parameters": [
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": MAX_IDEMPOTENCY_CHARACTERS},
                    "description": "The same key with the same body makes one run; with another body, 409.",
                }
            ]
        },
    )
    async def submit_run(request: Request) -> models.RunAccepted:
        """Submit a run, with its recipe or with the hash of one that was handed in. It starts by itself once
        nothing is missing."""
        body = await request.body()
        asked = read(models.RunRequest, request, body, MAX_RUN_BODY_BYTES)
        if (asked.compose is None) is (asked.compose_hash is None):
            raise RequestError(Code.MALFORMED, "a run names its recipe by compose or by composeHash")
        key = request.headers.get("idempotency-key")
        if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
            raise RequestError(Code.MALFORMED, "Idempotency-Key must be 1 to 128 printable characters")

        def take() -> Run:
            compose = (
                submissions.recipe(asked.compose_hash or "")
                if asked.compose is None
                else decode(asked.compose)
            )
            run = to_wanted(compose, asked.owners, asked.consortium)
            return submissions.take(run, idempotency=(key, body) if key else None)

        return accepted(await run_in_threadpool(take))

    @api.get("/runs/{run_id}", response_model=models.RunState, responses=problems(404, 503))
    def read_run(run_id: RunId) -> models.RunState:
        """A run as it stands; when it is done, with its result and its envelope."""
        run = store.run(run_id)
        return run_state(store, submissions, run)

    @api.get(
        "/runs/{run_id}/events",
        response_class=EventSourceResponse,
        responses=gives("text/event-stream") | problems(404, 429),
    )
    async def follow_run(request: Request, run_id: RunId) -> EventSourceResponse:
        """Server-sent events: what happened so far, then what happens, until the
        run ends. `Last-Event-ID` resumes."""
        await run_in_threadpool(store.run, run_id)
        if streams.locked():
            raise RequestError(Code.TOO_MANY_STREAMS, f"{MAX_STREAMS} event streams are open")
        after = request.headers.get("last-event-id", "0")
        start = int(after) if after.isdecimal() and len(after) < 16 else 0
        return EventSourceResponse(_events(store, run_id, start, streams), ping=PING_S, sep="\n")

    @api.get(
        "/runs/{run_id}/failure",
        response_class=Response,
        responses=gives("application/json") | problems(404),
    )
    def read_failure(run_id: RunId) -> Response:
        """The failure file of a run that ended as `run-failed`, for `sealroom explain-failure`."""
        failure = store.failure(run_id)
        if failure is None:
            raise RequestError(Code.NO_FAILURE, "the run wrote no failure file")
        headers = {"Content-Disposition": f'attachment; filename="failure-{run_id[2:10]}.json"'}
        return Response(failure, media_type="application/json", headers=headers)

    @api.get(
        "/runs/{run_id}/envelope",
        response_class=Response,
        responses=gives("application/json") | problems(404),
    )
    def read_envelope(run_id: RunId) -> Response:
        """The Sign-RPC envelope as a file for `sealroom verify`."""
        envelope = store.envelope(run_id)
        if envelope is None:
            raise RequestError(Code.NO_ENVELOPE, "the run has no envelope whose receipt is on chain")
        name = f"envelope-{run_id[2:10]}.json"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(envelope, media_type="application/json", headers=headers)

    @api.get(
        "/envelopes/{digest}",
        response_class=Response,
        responses=gives("application/json") | NOT_MODIFIED | problems(404, 503),
    )
    def read_by_digest(request: Request, digest: Digest) -> Response:
        """A Sign-RPC envelope by the SHA-256 of its bytes, which never change."""
        envelope = store.published(digest)
        if envelope is None:
            raise RequestError(Code.UNKNOWN_ENVELOPE, "no envelope of this digest is published")
        return immutable(request, digest, envelope)

    @api.get(
        "/recipes/{compose_hash}",
        response_class=Response,
        responses=gives("application/json") | NOT_MODIFIED | problems(404, 503),
    )
    def read_recipe(request: Request, compose_hash: RecipeHash) -> Response:
        """The exact bytes of a recipe: their SHA-256 is the compose hash."""
        return immutable(request, compose_hash, submissions.recipe(compose_hash))

    @api.put(
        "/recipes/{compose_hash}",
        response_model=models.RecipeKept,
        responses=problems(400, 413, 415, 422, 429, 503)
        | {201: {"model": models.RecipeKept, "description": "It was not known before."}},
        openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": {}}}}},
    )
    async def keep_recipe(
        request: Request, response: Response, compose_hash: RecipeHash
    ) -> models.RecipeKept:
        """Hand in a recipe, so that runs can name it by its hash. The body is the file app-compose.json as it
        is. The same recipe may be handed in again; one that no run names may be forgotten after a day."""
        require_json(request)
        data = await request.body()
        recipe, new = await run_in_threadpool(submissions.keep, compose_hash, data)
        response.status_code = 201 if new else 200
        return models.RecipeKept(compose_hash=compose_hash, name=recipe.name, size=len(data))

    @api.get("/recipes/{compose_hash}/content", response_model=models.Recipe, responses=problems(404, 422))
    def read_content(compose_hash: RecipeHash) -> models.Recipe:
        """What a recipe promises, reads and computes. The compiled SQL is this server's word: nothing is
        signed for it, and `sealroom relation` compiles it anew from the recipe's bytes."""
        return recipe_body(parse(submissions.recipe(compose_hash)))

    @api.get("/studies", response_model=models.Studies, responses=problems(503))
    def list_studies(
        start: Annotated[
            int, Query(alias="from", ge=0, le=1_000_000, description="Position to begin at.")
        ] = 0,
        status: Annotated[models.Status | None, Query(description="Only those of this status.")] = None,
        owner: Annotated[str, Query(max_length=64, description="Only those with an owner of this id.")] = "",
        sort: Annotated[models.Sort, Query(description="Order.")] = "newest",
    ) -> models.Studies:
        """The board of studies, newest first, 25 at a time; those that only their creators declared come
        last. Everything is read from chain."""
        rows, total = studies.board(start=start, most=BOARD_PAGE, status=status, owner=owner, sort=sort)
        page = [summary(picture) for picture in studies.pictures(rows)]
        return models.Studies(studies=page, total=total, block=studies.block(), late=studies.late())

    @api.get("/studies/{consortium}", response_model=models.Study, responses=problems(404, 503))
    def read_study(consortium: ConsortiumAddress) -> models.Study:
        """One consortium and its present study."""
        return summary(studies.picture(consortium))

    @api.get(
        "/studies/{consortium}/history", response_model=models.ActivityPage, responses=problems(404, 503)
    )
    def read_history(
        consortium: ConsortiumAddress,
        start: Annotated[
            int, Query(alias="from", ge=0, le=1_000_000, description="Position to begin at.")
        ] = 0,
    ) -> models.ActivityPage:
        """What happened to a consortium, from its logs, newest first, 100 at a time."""
        found, total = studies.happened(consortium, start=start, most=HISTORY_PAGE)
        return models.ActivityPage(activities=[activity(item) for item in found], total=total)

    @api.post(
        "/calls",
        response_model=models.Call,
        responses=problems(400, 404, 413, 415, 503),
        openapi_extra=body_of(models.CallRequest),
    )
    async def prepare_call(request: Request) -> models.Call:
        """The unsigned transaction of an approval, a withdrawal or a revocation, for an owner's wallet."""
        asked = read(models.CallRequest, request, await request.body(), MAX_BODY_BYTES)
        return await run_in_threadpool(call, studies, asked)

    @api.get("/healthz")
    def healthz() -> dict[str, str]:
        """Whether this process lives."""
        return {"status": "ok"}

    @api.get("/readyz", response_model=models.Readiness, responses={503: {"model": models.Readiness}})
    def readyz() -> Response:
        """Whether it can do its work, and what it lacks: status 503."""
        status, body = conditions.answer()
        return JSONResponse(body, status_code=status)

    return api


def immutable(request: Request, digest: str, data: bytes) -> Response:
    """Bytes that are named by their digest: whoever has them need not ask again."""
    tag = f'"{digest[2:]}"'
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "ETag": tag}
    known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
    if tag in known or f"W/{tag}" in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    return Response(data, media_type="application/json", headers=headers)


def require_json(request: Request) -> None:
    """Raises `RequestError`: a form or a plain-text fetch of another site cannot set this type without asking
    first (WE-05)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise RequestError(Code.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json")


def read(model: type[Model], request: Request, body: bytes, limit: int) -> Model:
    """A strict body. Raises `RequestError`; never repeats what was sent."""
    require_json(request)
    try:
        return model.model_validate(strict_json(body, limit))
    except FormatError as error:
        raise RequestError(Code.MALFORMED, f"the body is {error.message}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        raise RequestError(Code.MALFORMED, f"{where}: {first['msg'][:120]}") from error


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


async def _events(
    store: Store, run_id: str, after: int, streams: asyncio.Semaphore
) -> AsyncIterator[ServerSentEvent]:
    async with streams:
        while True:
            ended = (await run_in_threadpool(store.run, run_id)).state in ENDS
            for event in await run_in_threadpool(store.events, run_id, after=after):
                after = event.id
                yield ServerSentEvent(
                    run_event(event).model_dump_json(by_alias=True), id=str(event.id), event="phase", sep="\n"
                )
            if ended:
                yield ServerSentEvent("{}", event="end", sep="\n")
                return
            await asyncio.sleep(EVENT_POLL_S)


def status_of(error: SealroomError) -> int:
    """The HTTP status of one of our errors."""
    return error.status if isinstance(error, RequestError) else error.code.http or 422
