# SPDX-License-Identifier: Apache-2.0
"""`/v1/runs`: ask for a run, follow it, fetch what it gave."""

from __future__ import annotations

import base64
import math
import re
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from sealroom.codes import Code
from sealroom.encoding import from_hex
from sealroom.envelope import Envelope, parse_envelope
from sealroom.errors import EnvelopeError
from sealroom_agents.console import models
from sealroom_agents.console.bodies import accepted, run_line, run_state
from sealroom_agents.console.limits import Rate, Streams
from sealroom_agents.console.middleware import MAX_BODY_BYTES, MAX_RUN_BODY_BYTES
from sealroom_agents.console.recipes import Recipes
from sealroom_agents.console.researchers import Asker, Askers
from sealroom_agents.console.researchers import Signed as SignedAsk
from sealroom_agents.console.routes.shared import (
    FILE,
    NOT_MODIFIED,
    Digest,
    RunId,
    Takers,
    answer,
    body_of,
    client_of,
    gives,
    immutable,
    problems,
    read,
)
from sealroom_agents.console.routes.streams import Stream, last_event
from sealroom_agents.console.submission import Submissions, Wanted, decode, to_wanted
from sealroom_agents.errors import RequestError
from sealroom_agents.researcher import RunCancellation, RunRequest, listed
from sealroom_agents.store import Run, Store
from sealroom_agents.verification.attestation_file import attestation_of, encode_attestation
from sealroom_agents.verification.model_file import write_model

MAX_IDEMPOTENCY_CHARACTERS = 128
RUNS_EACH, RUNS_WITHIN_S = 100, 600.0
"""Requests for runs, or to take one back, of one client in so many seconds."""
PAGE = 100
"""Most runs in one answer."""
TOKEN: dict[str, object] = {"security": [{"token": []}, {}]}
MODEL = {"type": "string", "format": "binary", "description": "The file, byte by byte."}
FieldName = Annotated[
    str,
    Path(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Field of the result.", examples=["risk"]),
]
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
_RUN_ID = re.compile(r"0x[0-9a-f]{64}")
_HASH = "0x" + "5e" * 32
_SUBMISSION = {
    "with its recipe": {"compose": "eyJtYW5pZmVzdF92ZXJzaW9uIjoy…", "owners": ["hospital-A", "hospital-B"]},
    "with the hash of one that was handed in": {"composeHash": _HASH, "owners": ["hospital-A", "hospital-B"]},
}


def router(
    store: Store, recipes: Recipes, submissions: Submissions, askers: Askers, taken: Takers
) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/v1", tags=["Runs"])
    streams = Streams()
    rate = Rate(RUNS_EACH, RUNS_WITHIN_S, what="requests about runs")

    @api.post(
        "/runs",
        status_code=202,
        response_model=models.RunAccepted,
        responses=problems(401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
        openapi_extra=body_of(models.RunRequest, **_SUBMISSION)
        | TOKEN
        | {
            "parameters": [
                {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "string", "maxLength": MAX_IDEMPOTENCY_CHARACTERS},
                    "description": "The same key with the same body makes one run; with another body, 409.",
                    "example": "monday-1",
                }
            ]
        },
    )
    async def submit_run(request: Request) -> Response:
        """Submit a run, with its recipe or with the hash of one that was handed in. It starts by itself once
        nothing is missing. Unless the recipe lets anyone ask, a researcher whom it names, or an owner, signs
        the request or shows an API token."""
        rate.take(client_of(request))
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
            asker = _asker(askers, asked, run, request.headers.get("authorization"))
            return submissions.take(run, asker, idempotency=(key, body) if key else None)

        run = await taken(take)
        return answer(accepted(run), status=202, headers={"Location": f"/v1/runs/{run.id}"})

    @api.get("/runs", response_model=models.RunPage, responses=problems(503))
    def list_runs(
        consortium: Annotated[
            models.Address | None, Query(description="Only those of this consortium.")
        ] = None,
        state: Annotated[models.State | None, Query(description="Only those in this state.")] = None,
        researcher: Annotated[
            models.Address | None, Query(description="Only those that this account asked for.")
        ] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE, description="Most runs in the answer.")] = PAGE,
        after: Annotated[
            str, Query(max_length=256, description="The cursor `next` of the page before.")
        ] = "",
    ) -> Response:
        """Runs, newest first. A cursor stays good while new runs come."""
        found = store.page_of_runs(
            consortium=consortium,
            state=state,
            researcher=researcher,
            before=_position(after) if after else None,
            limit=limit + 1,
        )
        shown = found[:limit]
        more = _cursor(shown[-1]) if len(found) > limit else None
        return answer(models.RunPage(runs=[run_line(run) for run in shown], next=more))

    @api.post(
        "/runs/{run_id}/cancel",
        response_model=models.RunLine,
        responses=problems(401, 403, 404, 408, 409, 413, 415, 429, 503),
        openapi_extra=body_of(models.CancelRequest, **{"with an API token": {}}) | TOKEN,
    )
    async def cancel_run(request: Request, run_id: RunId) -> Response:
        """Take a run back. One that waits ends at once; one that computes is killed. Whoever asked for it may
        do so, and each owner. ε that was booked stays spent."""
        rate.take(client_of(request))
        asked = read(models.CancelRequest, request, await request.body(), MAX_BODY_BYTES)

        def take_back() -> Run:
            run = store.run(run_id)
            authorization = request.headers.get("authorization")
            if asked.signed is None:
                asker = askers.of_token(authorization)
            else:
                _require_one(authorization)
                content = RunCancellation(run=from_hex(run_id, 32), expires=asked.signed.expires)
                asker = askers.of_signature(_signed(asked.signed, content), consortium=run.consortium)
            askers.require_cancel(asker, researcher=run.researcher, consortium=run.consortium)
            return store.cancel(run_id, by=asker.account or "")

        return answer(run_line(await taken(take_back)))

    @api.get("/runs/{run_id}", response_model=models.RunState, responses=problems(404, 503))
    def read_run(run_id: RunId) -> Response:
        """A run as it stands; when it is done, with its result and its envelope."""
        return answer(run_state(store, recipes, submissions, *store.story(run_id)))

    @api.get(
        "/runs/{run_id}/events",
        response_class=Response,
        responses=gives("text/event-stream", {"type": "string"}) | problems(404, 429),
        openapi_extra={
            "parameters": [
                {
                    "name": "Last-Event-ID",
                    "in": "header",
                    "required": False,
                    "schema": {"type": "integer"},
                    "description": "Go on behind the event with this id.",
                    "example": 12,
                }
            ]
        },
    )
    async def follow_run(request: Request, run_id: RunId) -> Response:
        """Server-sent events: what happened so far, then what happens, until the run ends. The data of an
        event `phase` is a `RunEvent`. An event `lease` tells at each renewal how many seconds of the lease
        are `left`, and of how many (`of`). The event `end` is the last one. `Last-Event-ID` resumes."""
        await run_in_threadpool(store.run, run_id)
        give = streams.take(client_of(request))
        return Stream(store, run_id, last_event(request.headers.get("last-event-id")), give)

    @api.get(
        "/runs/{run_id}/failure",
        response_class=Response,
        responses=gives("application/json", FILE) | problems(404),
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
        responses=gives("application/json", FILE) | problems(404),
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
        "/runs/{run_id}/attestation",
        response_class=Response,
        responses=gives("application/json", FILE) | problems(404),
    )
    def read_attestation(run_id: RunId) -> Response:
        """`attestation.json`: what the run's envelope proves, as an in-toto Statement with SLSA Provenance.
        It follows from the envelope and is signed by nobody: `sealroom verify --attestation` compares."""
        data = encode_attestation(attestation_of(_envelope(store, run_id)))
        return _file(data, f"attestation-{run_id[2:10]}.json", "application/json")

    @api.get(
        "/runs/{run_id}/models/{field}",
        response_class=Response,
        responses=gives("application/octet-stream", MODEL) | problems(404),
    )
    def read_model_file(run_id: RunId, field: FieldName) -> Response:
        """A network that the run released, as safetensors with the envelope in it, for `sealroom verify`."""
        envelope = _envelope(store, run_id)
        try:
            data = write_model(envelope, field)
        except EnvelopeError as error:
            raise RequestError(error.code, error.message, status=404) from error
        return _file(data, f"{field}-{run_id[2:10]}.safetensors", "application/octet-stream")

    @api.get(
        "/envelopes/{digest}",
        response_class=Response,
        responses=gives("application/json", FILE) | NOT_MODIFIED | problems(404, 503),
    )
    def read_by_digest(request: Request, digest: Digest) -> Response:
        """A Sign-RPC envelope by the SHA-256 of its bytes, which never change."""
        envelope = store.published(digest)
        if envelope is None:
            raise RequestError(Code.UNKNOWN_ENVELOPE, "no envelope of this digest is published")
        return immutable(request, digest, envelope)

    return api


def _envelope(store: Store, run_id: str) -> Envelope:
    """The published envelope of a run. Raises `RequestError` `no-envelope`."""
    text = store.envelope(run_id)
    if text is None:
        raise RequestError(Code.NO_ENVELOPE, "the run has no envelope whose receipt is on chain")
    return parse_envelope(text.encode())


def _file(data: bytes, name: str, media: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=media, headers=headers)


def _asker(askers: Askers, asked: models.RunRequest, run: Wanted, authorization: str | None) -> Asker:
    """Who asks for a run. Raises `RequestError`."""
    if asked.signed is None:
        return askers.of_token(authorization)
    _require_one(authorization)
    if asked.consortium is None:
        raise RequestError(Code.MALFORMED, "a signed request names its consortium")
    content = RunRequest(
        recipe=run.recipe.compose_hash,
        owners=listed(asked.owners),
        salt=from_hex(asked.signed.salt, 32),
        expires=asked.signed.expires,
    )
    return askers.of_signature(_signed(asked.signed, content), consortium=asked.consortium)


def _require_one(authorization: str | None) -> None:
    if authorization is not None:
        raise RequestError(Code.MALFORMED, "a request is signed or carries a token, not both")


def _signed(signed: models.Signed, content: RunRequest | RunCancellation) -> SignedAsk:
    return SignedAsk(content, signed.account, from_hex(signed.signature, 65))


def _cursor(run: Run) -> str:
    """The place of a run in the list."""
    return base64.urlsafe_b64encode(f"{run.created!r} {run.id}".encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[float, str]:
    """Time and id of a cursor. Raises `RequestError`."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created, _, run_id = text.partition(" ")
        position = float(created), run_id
        if not math.isfinite(position[0]) or not _RUN_ID.fullmatch(run_id):
            raise ValueError
        return position
    except ValueError:
        raise RequestError(Code.MALFORMED, "after is no cursor of this list") from None
