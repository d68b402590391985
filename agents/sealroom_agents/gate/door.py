# SPDX-License-Identifier: Apache-2.0
"""The server's side of HTTP, as far as the gate needs it: routes by method and path, bounded bodies, lanes.

It is an ASGI application and no framework: what a release costs is counted in milliseconds, and each layer
between the socket and the gate takes its part of them.

Who talks to the gate is a stranger until its evidence is judged. So a body is refused as soon as it is too
long, small ones never wait for large ones, and all large ones together have `MAX_LARGE` bytes. Where they
have more, one goes of the clients that hold more than `SHARE`, or of all where none does: the one that has
held the most bytes for the longest time. So a body is not crowded out for its size: who would keep the room
full has to send it anew, again and again, and from many addresses. How long a head or a body may take is
bounded by `sealroom_agents.host`.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from sealroom.codes import Code
from sealroom.encoding import canonical
from sealroom.key_release.messages import MAX_EVIDENCE_BODY
from sealroom_agents.clients import client_of
from sealroom_agents.errors import server_code

FREE = 128 * 1024
"""Bytes that each body may have, whatever others have: evidence of a study with narrow tables."""
MAX_LARGE = 64 * 1024 * 1024
"""Bytes that all longer bodies may have together (RE-05)."""
SHARE = MAX_EVIDENCE_BODY
"""Of that a client keeps so much while another one has more: the longest evidence."""
FORBIDDEN = 403
"""Status of a refusal whose code names none."""
NOT_FOUND = 404
NOT_ALLOWED = 405
UNSUPPORTED = 415

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """What is sent back: JSON."""

    status: int
    """HTTP status."""
    body: bytes
    """Canonical JSON."""
    allow: str = ""
    """Methods that the path has, where the one asked for is none of them."""


def told(status: int, value: Mapping[str, Any]) -> Answer:
    """An answer of a JSON value."""
    return Answer(status, canonical(value))


def refusal(code: Code, message: str) -> Answer:
    """An answer that says no."""
    return told(code.http or FORBIDDEN, {"code": code, "message": message})


class Refuse(Exception):
    """Ends a request with an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class Gone(Exception):
    """Whoever asked has hung up: nobody waits for an answer."""


class Body:
    """The body of one request, from its first byte until it is answered."""

    def __init__(self, client: str = "") -> None:
        self.client = client
        """Who sends it."""
        self.data: bytes | bytearray | None = b""
        """What has come; `None` once it was dropped or taken."""
        self.size = 0
        """Bytes that count for it."""
        self.since = 0.0
        """Since when they count, seconds of the server's clock."""

    def take(self) -> bytes:
        """The whole of it, once. Raises `Refuse` where it was dropped meanwhile."""
        data, self.data = self.data, None
        if data is None:
            raise Refuse(_BUSY)
        return bytes(data)


class Intake:
    """The large bodies that are held. For one event loop's thread, but for `Body.take`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._large: dict[Body, None] = {}
        self._sum = 0

    def grown(self, body: Body, size: int) -> None:
        """A body has so many bytes now. Raises `Refuse` where it is the one that has to go."""
        if size <= FREE:
            return
        if body not in self._large:
            self._large[body] = None
            body.since = self._clock()
        self._sum += size - body.size
        body.size = size
        while self._sum > MAX_LARGE:
            goes = self._burden()
            self.ended(goes)
            goes.data = None
            if goes is body:
                raise Refuse(_BUSY)

    def _burden(self) -> Body:
        """What has held the most for the longest time, of the client that has."""
        now = self._clock()
        of: defaultdict[str, list[Body]] = defaultdict(list)
        for one in self._large:
            # One that is being worked on is out of reach, and over soon.
            if one.data is not None:
                of[one.client].append(one)

        def held(*bodies: Body) -> tuple[float, int]:
            return sum(one.size * (now - one.since) for one in bodies), sum(one.size for one in bodies)

        above = [bodies for bodies in of.values() if held(*bodies)[1] > SHARE]
        return max(max(above or of.values(), key=lambda bodies: held(*bodies)), key=held)

    def ended(self, body: Body) -> None:
        """It is held no more."""
        if self._large.pop(body, body) is None:
            self._sum -= body.size


_CROWDED = refusal(Code.BUSY, "too many others wait for the same; try again in a minute")
_BUSY = refusal(Code.BUSY, "too many large messages are under way; try again in a minute")


class Call:
    """One request."""

    def __init__(self, scope: Mapping[str, Any], receive: Receive, intake: Intake) -> None:
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._intake = intake
        address = scope.get("client")
        self.client = client_of(address[0] if address else None)
        """Who asks."""
        self._body = Body(self.client)

    def header(self, name: str) -> str:
        """A header by its lower-case name; empty where it is missing."""
        wanted = name.encode()
        return next((value.decode("latin-1") for key, value in self._headers if key == wanted), "")

    async def body(self, limit: int, too_long: Answer) -> Body:
        """Its body, of at most `limit` bytes. Raises `Refuse`, with `too_long` as soon as it is longer, and
        `Gone`."""
        if self.header("content-encoding") not in ("", "identity"):
            raise Refuse(
                told(UNSUPPORTED, {"code": Code.MALFORMED, "message": "content encodings are not accepted"})
            )
        said = self.header("content-length")
        if len(said) > len(str(limit)) or (said.isdecimal() and int(said) > limit):
            raise Refuse(too_long)
        body = self._body
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece, more = message.get("body", b""), message.get("more_body", False)
            if body.data is None:
                raise Refuse(_BUSY)
            if not body.data and not more:
                body.data = piece
            else:
                body.data = bytearray(body.data) if isinstance(body.data, bytes) else body.data
                body.data += piece
            if len(body.data) > limit:
                raise Refuse(too_long)
            self._intake.grown(body, len(body.data))
        return body

    def end(self) -> None:
        """Hold nothing of it."""
        self._body.data = None
        self._intake.ended(self._body)


class Lane:
    """Threads for one kind of work: however many wait in one lane, nobody waits in another."""

    def __init__(self, name: str, most: int, waiting: int = 0) -> None:
        """`most`: how much of this work is done at once. `waiting`: how much of it may be under way or wait,
        so that no lane fills the server; 0 for any amount."""
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=name)
        self._waiting = waiting
        self._there = 0

    async def __call__(self, work: Callable[[], T]) -> T:
        """What the work gives, done in a thread of the lane. Raises `Refuse` where too much of it waits."""
        if self._waiting and self._there >= self._waiting:
            raise Refuse(_CROWDED)
        self._there += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._there -= 1


Route = Callable[[Call], Awaitable[Answer]]


class Door:
    """An ASGI application of these routes, and no others."""

    def __init__(
        self, routes: Mapping[tuple[str, str], Route], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`routes` by method and path."""
        self._routes = dict(routes)
        self._intake = Intake(clock)

    @property
    def routes(self) -> frozenset[tuple[str, str]]:
        """Methods and paths that it serves."""
        return frozenset(self._routes)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await _begin_and_end(scope, receive, send)
            return
        route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await _send(send, self._nothing(scope["path"]))
            return
        call = Call(scope, receive, self._intake)
        try:
            answer = await route(call)
        except Refuse as no:
            answer = no.answer
        except Gone:
            return
        except Exception:
            # The server logs what it was, and the caller learns no more than that it was a fault.
            await _send(send, refusal(Code.INTERNAL, Code.INTERNAL.line))
            raise
        finally:
            call.end()
        await _send(send, answer)

    def _nothing(self, path: str) -> Answer:
        methods = sorted(method for method, known in self._routes if known == path)
        status = NOT_ALLOWED if methods else NOT_FOUND
        code = server_code(status)
        return Answer(status, canonical({"code": code, "message": code.line}), ", ".join(methods))


async def _send(send: Send, answer: Answer) -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(answer.body)).encode()),
    ]
    if answer.allow:
        headers.append((b"allow", answer.allow.encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _begin_and_end(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """The server's own start and end, for which there is nothing to do; nothing else is served."""
    while scope["type"] == "lifespan":
        what = (await receive())["type"]
        await send({"type": f"{what}.complete"})
        if what == "lifespan.shutdown":
            return
