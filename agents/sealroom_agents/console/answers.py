# SPDX-License-Identifier: Apache-2.0
"""Answers that only the database decides, kept as bytes for as long as it says the same (`deciding`).

Whoever asks is told what the database said when the request came, or something newer: before an answer is
given again, the database is asked whether anything has changed, by this process or by another. One look
serves all requests that came before it began. Answers are named by their bytes (`ETag`), so that a reader who
has them gets none again. They are the same for everybody. What strangers ask for takes a bounded room here,
and displaces what is asked for least; runs, which are many, displace nothing but runs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sealroom_agents.console.deciding import known
from sealroom_agents.errors import StoreError
from sealroom_agents.kept import Kept

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of answers that are kept, of runs and of consortia each."""
ENTRY_BYTES = 1024
"""What one of them takes beside its body: its query, its headers, and its place."""
MAX_QUERY_BYTES = 128
"""Longest query of an answer that is kept."""

Look = Callable[[set[str]], Mapping[str, Any]]
"""Gives by path what decides its answer, to be compared; nothing where the answer may not be kept. May raise
`StoreError`."""


@dataclass(frozen=True)
class _Answer:
    """One answer with status 200."""

    state: Any
    """What decided it."""
    headers: list[tuple[bytes, bytes]]
    body: bytes
    tag: bytes


class Answers:
    """ASGI middleware around what draws the answers."""

    def __init__(self, app: ASGIApp, *, look: Look) -> None:
        self._app = app
        self._state = Together(look)
        self._kept: dict[str, Kept[tuple[str, bytes], _Answer]] = {
            "runs": Kept(MAX_BYTES),
            "consortia": Kept(MAX_BYTES),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self._app(scope, receive, send)
            return
        key = path, query = scope["path"], scope["query_string"]
        among = known(path, query)
        if among is None or len(query) > MAX_QUERY_BYTES:
            await self._app(scope, receive, send)
            return
        room = self._kept[among]
        try:
            state = await self._state(path)
        except StoreError:
            state = None  # the application says so
        kept = room.get(key)
        if state is None or kept is None or kept.state != state:
            # The state was read before what is drawn now: what changed since is drawn again, never missed.
            kept = await self._drawn(scope, receive, send, state)
            if kept is None:
                return
            if state is not None:
                room.put(key, kept, len(kept.body) + ENTRY_BYTES)
        await _give(kept, scope, send)

    async def _drawn(self, scope: Scope, receive: Receive, send: Send, state: Any) -> _Answer | None:
        """A new answer; `None` for one that is not kept, and was sent: no page, or one that says itself how
        it is cached."""
        told: list[Message] = []

        async def tell(message: Message) -> None:
            told.append(message)

        await self._app(scope, receive, tell)
        whole = len(told) == 2 and told[0]["status"] == 200 and not told[1].get("more_body")
        if whole and not any(name == b"cache-control" for name, _ in told[0]["headers"]):
            body = told[1]["body"]
            tag = b'"%s"' % hashlib.sha256(body).hexdigest().encode()
            headers = [*told[0]["headers"], (b"etag", tag), (b"cache-control", _caching(scope["path"]))]
            return _Answer(state, headers, body, tag)
        for message in told:
            await send(message)
        return None


def _caching(path: str) -> bytes:
    """How a browser keeps it. Its back button shows what it keeps without asking, however old; and how old a
    page is on which owners decide, the page itself tells from when it was loaded."""
    return b"no-store" if path.startswith("/studies/") else b"no-cache"


async def _give(answer: _Answer, scope: Scope, send: Send) -> None:
    if names(Headers(scope=scope).get("if-none-match", ""), answer.tag.decode()):
        headers = [(name, value) for name, value in answer.headers if name in (b"etag", b"cache-control")]
        await send({"type": "http.response.start", "status": 304, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})


def names(if_none_match: str, tag: str) -> bool:
    """Whether a reader has the bytes of this tag."""
    known = [one.strip() for one in if_none_match.split(",")]
    return tag in known or f"W/{tag}" in known or known == ["*"]


class Together:
    """Looks at something in a thread of its own: one look for all who asked before it began."""

    def __init__(self, look: Look) -> None:
        self._look = look
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")
        self._turn = asyncio.Lock()
        self._asked: set[str] = set()
        self._next: asyncio.Future[Mapping[str, Any]] | None = None

    async def __call__(self, path: str) -> Any:
        """What a look shows of a path that began after this call; `None` where it shows nothing."""
        self._asked.add(path)
        if self._next is None:
            self._next = asyncio.ensure_future(self._seen())
        return (await asyncio.shield(self._next)).get(path)

    async def _seen(self) -> Mapping[str, Any]:
        async with self._turn:
            asked, self._asked = self._asked, set()
            self._next = None  # who asks from here on waits for another look
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._look, asked)
