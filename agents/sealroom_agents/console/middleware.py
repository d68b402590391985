# SPDX-License-Identifier: Apache-2.0
"""What every request passes before anything reads it, and what every answer carries.

Bodies are small, come in time, and come as they are: no content encoding, no body where none belongs
(RE-02). The `Host` must be one of ours, so that no other site's name can be pointed at this process (DNS
rebinding). Answers forbid scripts, styles, frames and forms of others (WE-06 to WE-08).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence

from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealroom.codes import Code
from sealroom.recipe import MAX_COMPOSE_BYTES
from sealroom_agents.errors import RequestError

MAX_BODY_BYTES = 64 * 1024
"""Largest body of any request but a run's and a recipe's."""
MAX_RUN_BODY_BYTES = MAX_COMPOSE_BYTES * 4 // 3 + 16 * 1024
"""Largest body of `POST /v1/runs`: a recipe as base64, and what stands around it."""
BODY_TIMEOUT_S = 10.0
"""How long a body may take to arrive, seconds."""
RUNS_PATH = "/v1/runs"
RECIPES_PATH = "/v1/recipes/"

REQUESTS = Counter("sealroom_console_requests", "Answers of the console, by HTTP status.", ["status"])

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
    )
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """ASGI middleware around the whole console."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with a bounded body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def hardened(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                REQUESTS.labels(f"{message['status'] // 100}xx").inc()
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            limit = self._check_head(scope)
        except RequestError as error:
            await _refuse(error, hardened)
            return
        try:
            await self._app(scope, _bounded(receive, limit), hardened)
        except Exception:
            # The outermost handler: details of an error go to the log, not to the client (RE-09).
            log.exception("%s %s", scope["method"], scope["path"])
            if not started:
                await _refuse(RequestError(Code.INTERNAL, "something went wrong here"), hardened)

    def _check_head(self, scope: Scope) -> int:
        """Refuse by the head alone; returns how long the body may be."""
        headers = Headers(scope=scope)
        host = headers.get("host", "").rpartition(":")[0] or headers.get("host", "")
        if host.lower() not in self._hosts:
            raise RequestError(
                Code.UNKNOWN_HOST,
                "this server does not answer under that name",
                "start it with --allowed-host",
            )
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise RequestError(Code.CONTENT_ENCODED, "bodies are taken as they are, without content encoding")
        limit = _limit(scope["path"])
        length = headers.get("content-length", "0")
        if not length.isdecimal():
            raise RequestError(Code.MALFORMED, "the content length is no number")
        if int(length) > limit:
            raise _too_large(limit)
        return limit


def _limit(path: str) -> int:
    if path == RUNS_PATH:
        return MAX_RUN_BODY_BYTES
    return MAX_COMPOSE_BYTES if path.startswith(RECIPES_PATH) else MAX_BODY_BYTES


def _bounded(receive: Receive, limit: int) -> Receive:
    taken = 0
    deadline: float | None = None
    whole = False

    async def bounded() -> Message:
        nonlocal taken, deadline, whole
        if whole:
            return await receive()  # only news of a disconnect is left, which may take as long as it likes
        if deadline is None:
            deadline = asyncio.get_running_loop().time() + BODY_TIMEOUT_S
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise RequestError(Code.TOO_SLOW, f"the body took longer than {BODY_TIMEOUT_S:.0f} s") from None
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > limit:
                raise _too_large(limit)
        return message

    return bounded


def _too_large(limit: int) -> RequestError:
    return RequestError(Code.TOO_LARGE, f"the body is larger than {limit // 1024} KiB")


async def _refuse(error: RequestError, send: Send) -> None:
    body = {"code": error.code, "message": error.message} | ({"hint": error.hint} if error.hint else {})
    data = json.dumps(body).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(data)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
