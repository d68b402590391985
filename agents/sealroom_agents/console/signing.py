# SPDX-License-Identifier: Apache-2.0
"""Every answer leaves with a signature, refusals and streams too: `sealroom_agents.signed_answers`."""

from __future__ import annotations

import time
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealroom.encoding import from_base64
from sealroom_agents.signed_answers import STREAM, WHERE_ASKED, AnswerKey, Asked, Chain, nonce_asked


class Signed:
    """ASGI middleware around the whole console. It holds an answer back until its last byte is there, since
    the signature stands in front; a stream's events go out one by one."""

    def __init__(self, app: ASGIApp, *, key: AnswerKey, clock: Callable[[], float] = time.time) -> None:
        self._app = app
        self._key = key
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, and sign what it says."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = asked_of(scope)
        head: Message | None = None
        parts: list[bytes] = []
        chain: Chain | None = None

        async def signed(message: Message) -> None:
            nonlocal head, chain
            if message["type"] == "http.response.start":
                head = message
                if asked.method != "HEAD" and _is_stream(message):
                    chain = Chain(self._sign(asked, message, None))
                    await send(message)
                return
            body = message.get("body", b"")
            if chain is not None:
                await send({**message, "body": self._event(chain, body)})
                return
            parts.append(body)
            if head is not None and not message.get("more_body", False):
                whole = b"" if asked.method == "HEAD" else b"".join(parts)
                self._sign(asked, head, whole)
                await send(head)
                await send({"type": "http.response.body", "body": whole})

        await self._app(scope, receive, signed)

    def _sign(self, asked: Asked, message: Message, body: bytes | None) -> bytes:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]}
        added = self._key.headers(asked, message["status"], headers, body, created=int(self._clock()))
        message["headers"] = [
            *message["headers"],
            *((name.encode(), value.encode()) for name, value in added),
        ]
        return from_base64(added[-1][1].partition(":")[2].removesuffix(":"))

    def _event(self, chain: Chain, block: bytes) -> bytes:
        """An event as it is sent. Signs of life say nothing, and have no signature."""
        if not block or block.startswith(b":"):
            return block
        return chain.signed(self._key, block.removesuffix(b"\n")) + b"\n"


def asked_of(scope: Scope) -> Asked:
    """What a signature says of the request."""
    headers = Headers(scope=scope)
    path = scope.get("raw_path") or scope["path"].encode()
    return Asked(
        method=scope["method"],
        path=path.partition(b"?")[0].decode("latin-1"),
        query=scope.get("query_string", b"").decode("latin-1"),
        headers={name: " ".join(headers[name].split()) for name in WHERE_ASKED if name in headers},
        nonce=nonce_asked(headers.get("accept-signature", "")),
    )


def _is_stream(message: Message) -> bool:
    kind = Headers(raw=message["headers"]).get("content-type", "")
    return kind.partition(";")[0] == STREAM
