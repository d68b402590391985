# SPDX-License-Identifier: Apache-2.0
"""The gate over HTTP: bounded bodies in, canonical JSON out, one stable code for each refusal.

    GET  /v1/gate       who the gate is, with its proof      GET  /              dstack KMS: status
    POST /v1/hello      hello → challenge                    POST /bootAuth/app  dstack KMS: may this app boot
    POST /v1/evidence   evidence → grant and keys            POST /bootAuth/kms  dstack KMS: may this KMS boot
    POST /v1/lease      renewal → lease                      GET  /v1/healthz    the process lives
    POST /v1/watch      the watcher's heartbeat (bearer token)
    POST /v1/receipts   receipts to be anchored together (the same token)
    GET  /v1/policy     the platform policy by which it judges
    GET  /v1/readyz     whether it can take a run through, and what it lacks (503)

Status: 400 malformed, 401 watcher's token, 403 refused, 409 used before, 413 and 415 body, 503 refused for
now (chain out of reach or stale, watcher dead, opening lost), each with `{code, message, seen?, pinned?}`.
What reaches no route or fails in one (404, 405, 500) has code and message, too. Nothing here trusts TLS.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable
from typing import Any

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.errors import SealroomError
from sealroom.key_release import Refusal
from sealroom.key_release.messages import MAX_BODY, MAX_EVIDENCE_BODY
from sealroom_agents.errors import Refused, server_code
from sealroom_agents.gate.batch import MAX_RECEIPTS_BODY
from sealroom_agents.gate.booking import MAX_TOGETHER
from sealroom_agents.gate.boot import add_boot_routes
from sealroom_agents.gate.counters import REFUSALS
from sealroom_agents.gate.service import Gate
from sealroom_agents.gate.webhook import BootAuthority
from sealroom_agents.telemetry.conditions import NO_CONDITIONS, Conditions

FORBIDDEN = 403
"""Status of a refusal whose code names none."""
EVIDENCE_AT_ONCE = 2 * MAX_TOGETHER
"""Evidences under way at once: those of one transaction wait to be mined while the next ones are judged."""
LEASES_AT_ONCE = 32
"""Renewals at once; those that come together are written together."""
REPORTS_AT_ONCE = 4
"""Reports of watchers at once."""
BATCHES_AT_ONCE = 4
"""Batches of receipts at once; each may wait a minute until it is mined."""
OTHERS_AT_ONCE = 16
"""Challenges, and questions about the gate, at once."""

_log = logging.getLogger(__name__)


def create_app(
    gate: Gate, authority: BootAuthority, *, watch_token: str, conditions: Conditions = NO_CONDITIONS
) -> FastAPI:
    """The application. `watch_token` is the secret that the operator's processes show, `conditions` what the
    gate needs to be ready."""
    app = FastAPI(title="Sealroom gate", docs_url=None, redoc_url=None, openapi_url=None)
    # Each kind has threads of its own: so however many wait in one lane, nobody waits in another.
    handle, handle_evidence, handle_lease, handle_report, handle_batch = (
        _Handler(CapacityLimiter(most))
        for most in (OTHERS_AT_ONCE, EVIDENCE_AT_ONCE, LEASES_AT_ONCE, REPORTS_AT_ONCE, BATCHES_AT_ONCE)
    )

    def authorized(request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), watch_token.encode())

    @app.get("/v1/gate")
    async def identity() -> Response:
        return await handle(lambda: gate.identity().encode())

    @app.get("/v1/policy")
    async def policy() -> Response:
        return await handle(gate.platform_policy)

    @app.post("/v1/hello")
    async def hello(request: Request) -> Response:
        return await handle.body(request, MAX_BODY, lambda body: gate.hello(body).encode())

    @app.post("/v1/evidence")
    async def evidence(request: Request) -> Response:
        return await handle_evidence.body(
            request, MAX_EVIDENCE_BODY, lambda body: gate.evidence(body).encode()
        )

    @app.post("/v1/lease")
    async def lease(request: Request) -> Response:
        return await handle_lease.body(request, MAX_BODY, lambda body: gate.lease(body).encode())

    @app.post("/v1/watch")
    async def watch(request: Request) -> Response:
        if not authorized(request):
            return _refusal(Code.UNAUTHORIZED, "the watcher's token is missing or wrong")
        return await handle_report.body(request, MAX_BODY, lambda body: canonical(gate.watch(body)))

    @app.post("/v1/receipts")
    async def receipts(request: Request) -> Response:
        # The gate pays for it, so it is for the operator's own processes.
        if not authorized(request):
            return _refusal(Code.UNAUTHORIZED, "the operator's token is missing or wrong")
        return await handle_batch.body(
            request, MAX_RECEIPTS_BODY, lambda body: canonical(gate.receipts(body))
        )

    @app.get("/v1/healthz")
    async def healthz() -> Response:
        return _json(200, {"status": "ok"})

    @app.get("/v1/readyz")
    async def readyz() -> Response:
        # In a thread of its own kind: it looks at the disk.
        return _json(*await to_thread.run_sync(conditions.answer))

    add_boot_routes(app, authority)

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> Response:
        code = server_code(error.status_code)
        answer = _json(error.status_code, {"code": code, "message": code.line})
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        # The server raises it again once this is sent, so that the log has it.
        return _refusal(Code.INTERNAL, Code.INTERNAL.line)

    return app


class _Handler:
    """Runs blocking work off the event loop, and turns what it raises into a refusal."""

    def __init__(self, limiter: CapacityLimiter) -> None:
        """`limiter`: how much of this work is done at once; more of it waits."""
        self._limiter = limiter

    async def __call__(self, work: Callable[[], bytes]) -> Response:
        try:
            return Response(
                await to_thread.run_sync(work, limiter=self._limiter), media_type="application/json"
            )
        except Refused as refused:
            REFUSALS.labels(refused.code).inc()
            refusal = Refusal(refused.code, refused.message, seen=refused.seen, pinned=refused.pinned)
            return Response(
                refusal.encode(), status_code=refused.code.http or FORBIDDEN, media_type="application/json"
            )
        except SealroomError as error:
            # Ours, but no refusal: the gate itself cannot serve. What it was stays in the log (RE-09).
            _log.error("%s: %s", error.code, error)
            return _json(503, {"code": error.code, "message": "the gate cannot serve at the moment"})

    async def body(self, request: Request, limit: int, work: Callable[[bytes], bytes]) -> Response:
        """Read at most `limit` bytes, then work."""
        if request.headers.get("content-encoding", "identity") != "identity":
            return _json(415, {"code": Code.MALFORMED, "message": "content encodings are not accepted"})
        data = await _read(request, limit)
        if data is None:
            return _refusal(Code.EVIDENCE_TOO_LARGE, f"a body has at most {limit} bytes")
        return await self(lambda: work(data))


async def _read(request: Request, limit: int) -> bytes | None:
    """The body, or `None` as soon as it is larger than `limit`; never more than that is held."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > limit:
            return None
    return bytes(data)


def _refusal(code: Code, message: str) -> Response:
    return _json(code.http or FORBIDDEN, {"code": code, "message": message})


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(canonical(value), status_code=status, media_type="application/json")
