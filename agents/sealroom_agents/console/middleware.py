# SPDX-License-Identifier: Apache-2.0
"""What every request passes before anything reads it, and what every answer carries.

Bodies are small, come in time, come as they are, without content encoding, and are what their digest says
(RE-02). The `Host` must be one of ours, so that no other site's name can be pointed at this process (DNS
rebinding). HEAD is answered wherever GET is. Answers forbid scripts, styles, frames and forms of others
(WE-06 to WE-08).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

from prometheus_client import Counter
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealroom.codes import Code
from sealroom.errors import FormatError
from sealroom.recipe import MAX_COMPOSE_BYTES
from sealroom_agents.console import problems, spellings
from sealroom_agents.errors import RequestError
from sealroom_agents.signed_answers import content_digest
from sealroom_agents.telemetry.metrics import at_zero

MAX_BODY_BYTES = 64 * 1024
"""Largest body of any request but a run's and a recipe's."""
MAX_RUN_BODY_BYTES = MAX_COMPOSE_BYTES * 4 // 3 + 16 * 1024
"""Largest body of `POST /v1/runs`: a recipe as base64, and what stands around it."""
BODY_TIMEOUT_S = 10.0
"""How long a body may take to arrive, seconds."""
RUNS_PATH = "/v1/runs"
RECIPES_PATH = "/v1/recipes/"

REQUESTS = Counter("sealroom_console_requests", "Answers of the console, by HTTP status.", ["status"])
at_zero(REQUESTS, ("2xx", "3xx", "4xx", "5xx"))

log = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "font-src data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
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

_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
_NAMES = frozenset(name for name, _ in _HEADERS)
_POLICY = b"content-security-policy"
_NO_STORE = b"cache-control", b"no-store"


class Guard:
    """ASGI middleware around the whole console."""

    def __init__(
        self, app: ASGIApp, *, allowed_hosts: Sequence[str], policies: Mapping[str, str] | None = None
    ) -> None:
        """`policies`: of paths whose page brings a policy of its own, instead of that of all others."""
        self._app = app
        self._policies = {path: policy.encode() for path, policy in (policies or {}).items()}
        self._hosts = frozenset(map(spellings.host_name, allowed_hosts))

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
                told = [pair for pair in message["headers"] if pair[0] not in _NAMES]
                cached = any(name == b"cache-control" for name, _ in told)
                own = self._policies.get(scope["path"])
                ours = [(name, own if own and name == _POLICY else value) for name, value in _HEADERS]
                message["headers"] = [*told, *ours, *(() if cached else (_NO_STORE,))]
            await send(message)

        try:
            limit = self._check_head(scope)
            scope = {**scope, "path": spellings.path(scope["path"])}
        except FormatError as error:
            await _refuse(RequestError(error.code, error.message, error.hint), hardened)
            return
        except RequestError as error:
            await _refuse(error, hardened)
            return
        answer: Send = hardened
        receive = _bounded(receive, limit, Headers(scope=scope).get("content-digest"))
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
            receive, answer = _only_head(hardened)
        try:
            await self._app(scope, receive, answer)
        except Exception:
            # The outermost handler: details of an error go to the log, not to the client (RE-09).
            log.exception("%s %s", scope["method"], scope["path"])
            if not started:
                await _refuse(RequestError(Code.INTERNAL, "something went wrong here"), hardened)

    def _check_head(self, scope: Scope) -> int:
        """Refuse by the head alone; returns how long the body may be."""
        headers = Headers(scope=scope)
        if spellings.host(headers.get("host", "")) not in self._hosts:
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


def _only_head(send: Send) -> tuple[Receive, Send]:
    """For a request of a head: nothing of the body leaves, and a stream ends when its head is there."""
    done = asyncio.Event()
    begun = False

    async def receive() -> Message:
        nonlocal begun
        if not begun:
            begun = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await done.wait()
        return {"type": "http.disconnect"}

    async def answer(message: Message) -> None:
        if done.is_set():
            return
        await send(message)
        if message["type"] == "http.response.start":
            done.set()
            await send({"type": "http.response.body", "body": b""})

    return receive, answer


def _bounded(receive: Receive, limit: int, digest: str | None) -> Receive:
    taken = 0
    parts: list[bytes] = []
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
            if digest is not None:
                parts.append(message.get("body", b""))
                if whole and content_digest(b"".join(parts)) != digest.strip():
                    raise RequestError(
                        Code.DIGEST_MISMATCH,
                        "the body is not what Content-Digest says",
                        "send sha-256=:…: of the bytes as they are sent, or no Content-Digest",
                    )
        return message

    return bounded


def _too_large(limit: int) -> RequestError:
    return RequestError(Code.TOO_LARGE, f"the body is larger than {limit // 1024} KiB")


async def _refuse(error: RequestError, send: Send) -> None:
    response = problems.answer(error, error.status)
    headers = [*response.raw_headers, (b"connection", b"close")]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(response.body)})
